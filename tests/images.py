"""Container images made by hand, for tests: the bytes of a SIF file, the files of a system."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

PRIMARY, OVERLAY = 2, 4
SQUASHFS, EXT3 = 1, 2
AMD64, ARM64 = b"02\0", b"04\0"


OLD_SIF = bytes(32) + b"SIF_MAGIC\0the old one\n"
"""Enough of a SIF for what does not read it."""


def squashfs_bytes(size: int = 4096, compression: int = 1) -> bytes:
    """A SquashFS superblock and nothing behind it but zeros."""
    head = b"hsqs".ljust(20, b"\0") + struct.pack("<6H", compression, 12, 0, 0, 4, 0)
    return (head.ljust(40, b"\0") + struct.pack("<Q", size)).ljust(size, b"\0")


def sif_bytes(
    partitions: Sequence[tuple[int, int, bytes]], *, architecture: bytes = AMD64
) -> bytes:
    """A SIF file of (role, file system, content): see the SIF specification."""
    start, at = 128, 128 + 585 * 4
    table, data = b"", b""
    for number, (role, system, content) in enumerate(partitions, 1):
        extra = struct.pack("<2i3s", system, role, architecture).ljust(384, b"\0")
        numbers = (number, 1, 0, at + len(data), len(content), len(content), 0, 0, 0, 0)
        table += struct.pack("<i?3I5q2q128s384s", 0x4004, True, *numbers, b"", extra)
        data += content
    header = struct.pack(
        "<32s10s3s3s16s8q",
        *(b"#!/usr/bin/env run-singularity\n", b"SIF_MAGIC\0", b"01\0", architecture, b""),
        *(0, 0, 4 - len(partitions), 4, start, 585 * 4, at, len(data)),
    )
    return header + table.ljust(585 * 4, b"\0") + data


def write_files(root: Path, files: Mapping[str, str | bytes]) -> Path:
    """Files below ``root``; a text that begins with ``-> `` is a symbolic link."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str) and content.startswith("-> "):
            path.symlink_to(content.removeprefix("-> "))
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
            if "/bin/" in f"/{name}":
                path.chmod(0o755)
    return root


PROGRAMS = ("bash", "sh", "env", "cat", "ls", "true", "sleep", "id", "mkdir", "rm", "stat", "chmod")
_LIBRARIES = ("libdl.so.2", "libpthread.so.0", "libm.so.6", "librt.so.1", "libutil.so.1")
_LIBRARIES += ("libgcc_s.so.1", "libstdc++.so.6")


def system_files(root: Path, environment: str = "") -> Path:
    """A small system with glibc, of this machine's own programs: a sandbox directory.

    :param environment: shell text that an image's ``%environment`` has.
    """
    for name in ("usr/bin", "usr/lib", "usr/lib64", "etc", "tmp", "proc", "sys", "dev", "root"):
        (root / name).mkdir(parents=True)
    for name in ("bin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    for name in ("os-release", "passwd", "group"):
        shutil.copy(f"/etc/{name}", root / "etc")
    libraries: set[str] = set()
    for name in PROGRAMS:
        program = shutil.which(name, path="/usr/bin:/bin")
        assert program, f"no {name} on this machine"
        shutil.copy(program, root / "usr/bin" / name)
        told = subprocess.run(["ldd", program], capture_output=True, text=True, check=True)
        libraries |= set(re.findall(r"(/\S+) \(0x", told.stdout))
    folders = {Path(library).parent for library in libraries}
    libraries |= {str(f / n) for f in folders for n in _LIBRARIES if (f / n).exists()}
    for library in libraries:
        target = root / "usr" / library.removeprefix("/usr").lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, target)
    if environment:
        write_files(root, {".singularity.d/env/91-environment.sh": environment})
    return root
