"""Is there room, what to do where there is not, and what directories take where they share files,
or blocks of files.

XFS and Btrfs let a copy share the blocks of its source (copy_file_range(2), see
:mod:`wrapper.util.copying`); FIEMAP, of the kernel's Documentation/filesystems/fiemap.rst, tells
which blocks those are, without privileges.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import stat
import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from wrapper.console import human_size
from wrapper.errors import SpaceError

TMPDIR_VARIABLE = "CW_BUILD_TMPDIR"
MORE_ROOM = f"name a larger file system with --tmpdir or {TMPDIR_VARIABLE}"


def free_space(path: Path) -> int:
    """Bytes that an ordinary user can still write on the file system of ``path``."""
    status = os.statvfs(existing(path))
    return status.f_bavail * status.f_frsize


def require_space(path: Path, needed: int, what: str, hint: str) -> None:
    """:raises SpaceError: fewer than ``needed`` bytes are free where ``path`` is."""
    free = free_space(path)
    if free < needed:
        raise SpaceError(
            f"no room for {what}: about {human_size(needed)} needed, {human_size(free)} free",
            where=path,
            hint=hint,
        )


def no_room(what: str, where: str | Path, detail: str) -> SpaceError:
    """The error where it has run out in a build. :param detail: what a program or library said."""
    return SpaceError(what, where=where, hint=MORE_ROOM, detail=detail)


def existing(path: Path) -> Path:
    """The path, or the one above it that is there: Tykky's sites build in ``/tmp/$USER``."""
    return next(p for p in (path, *path.parents) if os.path.lexists(p))


# -- what directories take -----------------------------------------------------------------------
_FIEMAP = 0xC020660B  # FS_IOC_FIEMAP
_REQUEST = struct.Struct("<2Q4I")  # start, length, flags, extents that there are, and room for
_EXTENT = struct.Struct("<3Q16xI12x")  # in the file, on the device, length, flags
_AT_ONCE = 512
_LAST, _SHARED = 0x1, 0x2000
_BLOCK = 512  # what st_blocks counts
_WORTH = (
    1 << 20
)  # bytes from which on a file is opened to ask: an image, not each of 100,000 modules

Run = tuple[int, int]
"""Of a device: from here to there, in bytes."""


def disk_usage(directories: Sequence[Path]) -> list[int]:
    """Bytes that each directory takes, without those that one before it has already.

    What cannot be read counts as nothing.
    """
    files: set[tuple[int, int]] = set()
    shared: dict[int, list[Run]] = {}
    found = []
    for directory in directories:
        size = 0
        for path in _files(directory):
            with contextlib.suppress(OSError):
                status = path.lstat()
                if (status.st_dev, status.st_ino) not in files:
                    files.add((status.st_dev, status.st_ino))
                    ask = stat.S_ISREG(status.st_mode) and status.st_size >= _WORTH
                    runs = _shared_runs(path) if ask else []
                    before = shared.setdefault(status.st_dev, [])
                    # (Blocks of Btrfs may be compressed: they are counted by what they hold.)
                    size += max(0, status.st_blocks * _BLOCK - overlap(runs, before))
                    add(runs, before)
        found.append(size)
    return found


def add(runs: Iterable[Run], others: list[Run]) -> None:
    """Put ``runs`` into ``others``, which stay a union: runs that do not touch, in order."""
    for begin, end in runs:
        first = bisect_left(others, (begin, begin))
        if first and others[first - 1][1] >= begin:
            first -= 1
        last = bisect_right(others, end, lo=first, key=lambda run: run[0])
        touched = others[first:last] or [(begin, end)]
        others[first:last] = [(min(begin, touched[0][0]), max(end, touched[-1][1]))]


def overlap(runs: Iterable[Run], others: Sequence[Run]) -> int:
    """Bytes of ``runs`` that are in ``others``, which are a union."""
    size = 0
    for begin, end in runs:
        at = max(0, bisect_right(others, (begin, begin)) - 1)
        while at < len(others) and others[at][0] < end:
            size += max(0, min(end, others[at][1]) - max(begin, others[at][0]))
            at += 1
    return size


def _files(directory: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(directory):
        yield from (Path(folder, name) for name in names)


def _shared_runs(path: Path) -> list[Run]:
    """Where the blocks of a file are that it shares; nothing where the file system cannot."""
    found: list[Run] = []
    start, flags = 0, 0
    with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
        # (Something else may lie there by now: a pipe would wait for who writes.)
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        stack.callback(os.close, file)
        while not flags & _LAST:
            buffer = array.array("B", bytes(_REQUEST.size + _AT_ONCE * _EXTENT.size))
            _REQUEST.pack_into(buffer, 0, start, 2**64 - 1 - start, 0, 0, _AT_ONCE, 0)
            fcntl.ioctl(file, _FIEMAP, buffer)
            count = _REQUEST.unpack_from(buffer)[3]
            for at in range(count):
                place = _REQUEST.size + at * _EXTENT.size
                logical, physical, length, flags = _EXTENT.unpack_from(buffer, place)
                start = logical + length
                if flags & _SHARED:
                    found.append((physical, physical + length))
            if not count:
                break
    return found
