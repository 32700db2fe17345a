"""Bytes from one open file into another, by the kernel."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from io import FileIO

from wrapper.errors import PackageError

_CHUNK = 1 << 26  # bytes at a time, so that an interruption does not wait
_PAGE = 4096


def copy_bytes(source: FileIO, out: FileIO, size: int, copied: Callable[[int], None]) -> None:
    """Copy ``size`` bytes from where ``source`` stands to where ``out`` stands.

    copy_file_range(2) lets XFS, Btrfs and NFS share or copy blocks without moving them through
    us; sendfile(2) works on everything else. Only whole pages can be shared, so what comes before
    the first is copied by itself.

    :param copied: is told the bytes of every step. :raises PackageError: the source is too short.
    """
    copy = _by_range
    while size:
        try:
            before_page = -source.tell() % _PAGE
            count = copy(source, out, min(size, before_page or _CHUNK))
        except OSError as error:
            if copy is not _by_range or error.errno not in _CANNOT_COPY_RANGES:
                raise
            copy = _by_sendfile
            continue
        if not count and copy is _by_range:  # so some kernels say that they cannot
            copy = _by_sendfile
            continue
        if not count:
            raise PackageError(
                "the image became shorter while it was copied", where=source.name, hint="try again"
            )
        # Writing out starts now: the final fsync of a large image then waits less.
        _start_writing(out, count)
        size -= count
        copied(count)


_CANNOT_COPY_RANGES = (errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EBADF)


def _by_range(source: FileIO, out: FileIO, count: int) -> int:
    return os.copy_file_range(source.fileno(), out.fileno(), count)


def _by_sendfile(source: FileIO, out: FileIO, count: int) -> int:
    return os.sendfile(out.fileno(), source.fileno(), None, count)


def _start_writing(out: FileIO, count: int) -> None:
    """Let the kernel write the ``count`` bytes before the current position out, without waiting."""
    position = os.lseek(out.fileno(), 0, os.SEEK_CUR)
    os.posix_fadvise(out.fileno(), position - count, count, os.POSIX_FADV_DONTNEED)
