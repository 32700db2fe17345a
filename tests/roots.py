"""``roots.py DIRECTORY COMMAND…``: run it where the root directory has what is in DIRECTORY, too.

So tests have ``/pfs``, and links such as ``/appl -> /pfs/appl``, as on a cluster, and nobody else
on the machine sees them. Root only; the command may then become an ordinary user.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

CLONE_NEWNS = 0x00020000
MS_BIND, MS_REC, MS_PRIVATE, MNT_DETACH = 0x1000, 0x4000, 0x40000, 2
PIVOT_ROOT = 155  # on x86_64; glibc has no function for it

_libc = ctypes.CDLL(None, use_errno=True)


def _done(status: int, what: str) -> None:
    if status != 0:
        raise OSError(ctypes.get_errno(), f"{what} (only root can)")


def _mount(source: str, target: Path, kind: str, flags: int) -> None:
    words = (source.encode(), os.fsencode(target), kind.encode())
    _done(_libc.mount(*words, ctypes.c_ulong(flags), None), f"mount {target}")


def _entries(directory: Path) -> Iterator[Path]:
    for entry in Path("/").iterdir():
        if not os.path.lexists(directory / entry.name):
            yield entry
    yield from directory.iterdir()


def extend_root(directory: Path) -> None:
    """For this process and its children. :param directory: of what is to be there besides."""
    _done(_libc.unshare(CLONE_NEWNS), "a mount namespace")
    _mount("none", Path("/"), "", MS_REC | MS_PRIVATE)
    new = Path(tempfile.mkdtemp())
    _mount("root", new, "tmpfs", 0)
    new.chmod(0o755)
    for entry in _entries(directory):
        place = new / entry.name
        if entry.is_symlink():
            place.symlink_to(entry.readlink())
        elif entry.is_dir():
            place.mkdir()
            _mount(str(entry), place, "", MS_BIND | MS_REC)
    os.chdir(new)
    _done(_libc.syscall(PIVOT_ROOT, b".", b"."), "another root directory")
    _done(_libc.umount2(b".", MNT_DETACH), "leaving the root directory")


if __name__ == "__main__":
    here = Path.cwd()
    extend_root(Path(sys.argv[1]))
    os.chdir(here)
    # (No exec: an Apptainer that this process itself became did not find its own files, 1.4.5.)
    sys.exit(subprocess.run(sys.argv[2:], check=False).returncode)
