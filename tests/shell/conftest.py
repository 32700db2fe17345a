"""An installation whose container runtime only records how it was called."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from wrapper.activation.model import Activation
from wrapper.models import Environment, Site
from wrapper.prefix import shims
from wrapper.prefix.staging import Staging
from wrapper.util.removal import remove_tree

NOWHERE = "/containerize-nowhere"
PROGRAMS = ("python", "python3", "tool")

# The kernel's own record of an exec: no shell between it and the bytes.
_RECORDER = """\
#!/bin/bash -p
/bin/cat /proc/$$/cmdline >'{out}/argv'
/bin/cat /proc/$$/environ >'{out}/environ'
/bin/readlink /proc/$$/cwd >'{out}/cwd'
echo $$ >'{out}/pid'
"""
# Runs the command as a container would, on the host.
RUNNER = """\
while [ "$1" != -B ]; do shift; done
shift 3
exec "$@"
"""
# The same, and spoils what real runtimes spoil: they make text of words and variables, expand "~",
# lose variables whose names mean something to their shell, and set all signals back.
SPOILER = """\
exec {python} -IS -c '
import os, signal, sys
words = [os.fsencode(word).decode("utf-8", "replace") for word in sys.argv[1:]]
words = words[words.index("-B") + 3:]
given = {{name: value.decode("utf-8", "replace") for name, value in os.environb.items()}}
for name in [b"e", b"key", b"IFS", b"OPTIND"]:
    given.pop(name, None)
env = {{name: "/expanded" if value[:1] == "~" and b"." not in name else value
    for name, value in given.items()}}
for name, value in given.items():
    if name.startswith(b"APPTAINERENV_"):
        del env[name]
        for character in "\\\\$`":
            value = value.replace("\\\\" + character, character)
        env[name[13:]] = value
for number in signal.valid_signals() - {{signal.SIGKILL, signal.SIGSTOP}}:
    signal.signal(number, signal.SIG_DFL)
os.chdir(os.fsencode(os.getcwd()).decode("utf-8", "replace"))
os.execvpe(words[0], words, {{name: value.encode() for name, value in env.items()}})
' "$@"
"""
# Words before a command that run it without root's powers.
ORDINARY_USER = (
    ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups") if os.getuid() == 0 else ()
)


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of a shim: its end, and what the runtime was given (empty where it was not)."""

    status: int
    stdout: bytes
    stderr: str
    argv: tuple[bytes, ...]
    environ: Mapping[bytes, bytes]
    cwd: Path | None
    pid: int | None

    @property
    def started(self) -> bool:
        """Whether the runtime was called at all."""
        return bool(self.argv)

    @property
    def binds(self) -> list[str]:
        return os.fsdecode(self.argv[self.argv.index(b"-B") + 1]).split(",")

    @property
    def image(self) -> str:
        return os.fsdecode(self.argv[self.argv.index(b"-B") + 2])

    @property
    def command(self) -> tuple[bytes, ...]:
        """The words after the image: what runs inside."""
        return self.argv[self.argv.index(b"-B") + 3 :]

    def variable(self, name: str) -> str | None:
        """A variable as the runtime saw it."""
        value = self.environ.get(os.fsencode(name))
        return None if value is None else os.fsdecode(value)

    def inside(self, name: str) -> str | None:
        """A variable as Apptainer, which the runtime says it is, would set it for programs."""
        assert self.variable(f"SINGULARITYENV_{name}") is None
        return self.variable(f"APPTAINERENV_{name}")


@dataclass(frozen=True, kw_only=True)
class Prefix:
    """An installation with a fake runtime."""

    root: Path
    install_path: str
    runtime: Path
    out: Path

    def program(self, name: str = "python3") -> Path:
        return self.root / "bin" / name

    def at(self, root: Path) -> Prefix:
        """The same installation, found at another path."""
        return Prefix(root=root, install_path=self.install_path, runtime=self.runtime, out=self.out)

    def call(
        self,
        *words: str | bytes | Path,
        env: Mapping[str, str | bytes | None] | None = None,
        cwd: Path | None = None,
        stdin: bytes = b"",
        before: Sequence[str | Path] = (),
    ) -> Call:
        """Run ``words`` (a program and its arguments), and collect what happened.

        :param env: changes to a plain environment; ``None`` removes a variable.
        :param before: words to start it with, for instance strace.
        """
        for name in ("argv", "environ", "cwd", "pid"):
            (self.out / name).unlink(missing_ok=True)
        done = subprocess.run(
            [os.fsencode(word) for word in (*before, *words)],
            env=environment(env),
            cwd=cwd or self.out,
            input=stdin,
            capture_output=True,
            check=False,
            timeout=60,
        )
        return Call(
            status=done.returncode,
            stdout=done.stdout,
            stderr=done.stderr.decode("utf-8", "backslashreplace"),
            argv=self._recorded("argv")[2:],  # without the recorder's shell and its -p
            environ=dict(_pair(item) for item in self._recorded("environ")),
            cwd=Path(os.fsdecode(self._text("cwd"))) if self._text("cwd") else None,
            pid=int(self._text("pid")) if self._text("pid") else None,
        )

    def run(self, *args: str | bytes | Path, name: str = "python3", **options: object) -> Call:
        """Call one of the programs; the runtime must be reached."""
        call = self.call(self.program(name), *args, **options)  # type: ignore[arg-type]
        assert call.started and call.status == 0, call.stderr
        return call

    def _text(self, name: str) -> bytes:
        path = self.out / name
        return path.read_bytes().strip() if path.exists() else b""

    def _recorded(self, name: str) -> tuple[bytes, ...]:
        path = self.out / name
        return tuple(path.read_bytes().split(b"\0")[:-1]) if path.exists() else ()


def _pair(item: bytes) -> tuple[bytes, bytes]:
    name, _, value = item.partition(b"=")
    return name, value


def environment(changes: Mapping[str, str | bytes | None] | None = None) -> dict[bytes, bytes]:
    """A plain environment with ``changes``."""
    plain: dict[str, str | bytes | None] = {"PATH": "/usr/bin:/bin", "HOME": "/home/someone"}
    plain.update(changes or {})
    return {os.fsencode(n): os.fsencode(v) for n, v in plain.items() if v is not None}


def write_program(path: Path, text: str) -> Path:
    """A script that can be run, with its directories."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def write_runtime(path: Path, out: Path, *, then: str = "") -> Path:
    """A fake runtime that records in ``out`` and then does ``then``."""
    return write_program(path, _RECORDER.format(out=out) + then)


def write_environment(
    prefix: Path,
    *,
    generation: int = 1,
    install_path: str = NOWHERE,
    links: Sequence[str] = (),
    activation: Activation | None = None,
    variables: Mapping[str, str] | None = None,
    site: Site | None = None,
    **facts: Any,
) -> None:
    """The file ``env`` of a generation, as a build writes it."""
    text = shims.environment_file(
        generation=generation,
        install_path=install_path,
        links=links,
        activation=activation or Activation(),
        variables=variables or {},
        site=site or Site(),
        **facts,
    )
    path = prefix / ".generations" / str(generation) / "env"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def make_prefix(
    base: Path,
    root: Path | None = None,
    *,
    runtime: Path | None = None,
    install_path: str = NOWHERE,
    runs: bool = False,
    spoils: bool = False,
    then: str = "",
    links: Sequence[str] = (),
    activation: Activation | None = None,
) -> Prefix:
    """Make an installation, by default at ``base/env``.

    :param runs: the runtime runs the command after recording it.
    :param spoils: it does so as real ones do.
    :param then: other lines of shell for the runtime to end with.
    """
    root, out = root or base / "env", base / "record"
    out.mkdir(exist_ok=True)
    then = then or RUNNER * runs or SPOILER.format(python=sys.executable) * spoils
    runtime = write_runtime(runtime or base / "runtime/apptainer", out, then=then)
    root.parent.mkdir(parents=True, exist_ok=True)
    with (
        pytest.MonkeyPatch.context() as patch,
        Staging(root, generation=1, mode=0o755) as staging,
    ):
        patch.setattr(os, "fsync", lambda _handle: None)  # disks are slow
        names = {name: f"bin/{name}" for name in PROGRAMS}
        environment = Environment(
            root=install_path,
            python=f"{install_path}/bin",
            pythons={name: name for name in PROGRAMS if name.startswith("python")},
        )
        staging.write_programs(names, install_path, shims.shim(root, runtime), environment)
        staging.write_links(environment)
        staging.image.write_bytes(b"")
        (staging.directory / "packages.txt").write_text("demo  1.0\n")
        write_environment(
            staging.root, install_path=install_path, links=links, activation=activation
        )
        staging.publish()
    return Prefix(root=root, install_path=install_path, runtime=runtime, out=out)


Install = Callable[..., Prefix]


@pytest.fixture
def install(tmp_path: Path) -> Install:
    """:func:`make_prefix` in a directory of the test's own."""
    return functools.partial(make_prefix, tmp_path)


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A directory that every user can reach, which pytest's own are not."""
    place = Path(tempfile.mkdtemp(prefix="test-containerize-"))
    place.chmod(0o755)
    yield place
    remove_tree(place)


@pytest.fixture
def prefix(install: Install) -> Prefix:
    """An installation at an ordinary path."""
    return install()


def can_trace() -> bool:
    """Whether strace is there and may trace (a container may forbid it)."""
    if not shutil.which("strace"):
        return False
    done = subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True, check=False)
    return done.returncode == 0


def ended_by(number: signal.Signals) -> int:
    """What :mod:`subprocess` reports of a process that a signal ended."""
    return -int(number)
