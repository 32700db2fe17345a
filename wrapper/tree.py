"""The built tree on disk: its permissions and its size."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from wrapper.models import TreeSize


def settle(root: Path, *, fix: bool = True) -> TreeSize:
    """Make ``root`` and all below it readable for all and writable for none but the owner.

    The image is read-only and owned by root in the end: who may use it is decided by the
    permissions of the image file.

    :param fix: false leaves the modes as they are, but that the owner may read all: what cannot
        be read would not be in the image.
    :returns: number of files, directories and links below it, and bytes of the files.
    """
    root.chmod(0o755)
    files = size = 0
    for directory, names, leaves in os.walk(root):
        for name in (*names, *leaves):
            path = os.path.join(directory, name)  # noqa: PTH118 - tens of thousands of them
            status = os.lstat(path)
            files += 1
            if stat.S_ISLNK(status.st_mode):
                continue
            mode = _settled(status.st_mode) if fix else _owners(status.st_mode)
            if mode != stat.S_IMODE(status.st_mode):
                os.chmod(path, mode)  # noqa: PTH101
            if stat.S_ISREG(status.st_mode):
                size += status.st_size
    return TreeSize(files=files, size=size)


def make_readable(root: Path) -> None:
    """Let the owner read all below ``root``, as an image's own root could; the rest stays."""
    for directory, names, leaves in os.walk(root, onerror=None):
        for name in (*names, *leaves):
            path = os.path.join(directory, name)  # noqa: PTH118 - tens of thousands of them
            status = os.lstat(path)
            mode = _owners(status.st_mode)
            if not stat.S_ISLNK(status.st_mode) and mode != stat.S_IMODE(status.st_mode):
                os.chmod(path, mode)  # noqa: PTH101


def _owners(mode: int) -> int:
    return stat.S_IMODE(mode) | (stat.S_IRWXU if stat.S_ISDIR(mode) else stat.S_IRUSR)


def _settled(mode: int) -> int:
    readable = stat.S_IRUSR | stat.S_IWUSR | stat.S_IRGRP | stat.S_IROTH
    executable = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH
    return readable | (executable if stat.S_ISDIR(mode) or mode & stat.S_IXUSR else 0)
