"""What may be somebody else's: read within bounds, never followed, never started unasked.

Where others may write, a name can be a pipe that nobody writes to, a link to a device without an
end, or a file of terabytes with nothing in it. Who looks at it shall neither hang nor run out of
memory. The owner of a name decides whether it is removed or started.
"""

from __future__ import annotations

import errno
import grp
import json
import os
import pwd
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

MOST = 16 << 20  # bytes of a record: a manifest of 10,000 packages has 6 MB
_ROOT = 0
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH  # access lists show as the group's
_MOST_STEPS = 1000  # of a path, links followed; the kernel ends after 40 links


def open_regular(path: Path, *, follow: bool = True, inside: int | None = None) -> BinaryIO:
    """A regular file for reading, unbuffered. Never waits, and opens nothing else.

    :param follow: whether ``path`` may be a link. :param inside: descriptor of the directory in
        which ``path`` is. :raises OSError: there is none, or it cannot be read.
    """
    status = os.stat(path, dir_fd=inside, follow_symlinks=follow)  # opening a device may do harm
    _require_regular(status, path)
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    handle = os.open(path, flags | (0 if follow else os.O_NOFOLLOW), dir_fd=inside)
    try:
        _require_regular(os.fstat(handle), path)  # another one now?
    except OSError:
        os.close(handle)
        raise
    return open(handle, "rb", buffering=0)  # noqa: PTH123 - a descriptor


def _require_regular(status: os.stat_result, path: Path) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "is not a regular file", str(path))


def read_bytes(
    path: Path, *, most: int = MOST, follow: bool = True, inside: int | None = None
) -> bytes:
    """The content of a regular file of at most ``most`` bytes.

    :param follow: as of :func:`open_regular`, and ``inside``. :raises OSError: there is none, it
        is longer, or cannot be read.
    """
    with open_regular(path, follow=follow, inside=inside) as file:
        if os.fstat(file.fileno()).st_size <= most:  # a hole of terabytes would fill the memory
            blocks, left = [], most + 1
            while left > 0 and (block := file.read(left)):
                blocks.append(block)
                left -= len(block)
            if left > 0:
                return b"".join(blocks)
    raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))


def set_mode(path: Path, mode: int) -> None:
    """Permissions of a regular file, and of none to which a link in its place leads.

    :raises OSError: there is none, or it is not ours.
    """
    with open_regular(path, follow=False) as file:
        os.fchmod(file.fileno(), mode)


def parse_json(text: str | bytes) -> object:
    """The value of a JSON text. :raises ValueError: it is none, or nested beyond reason."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def json_object(text: str | bytes) -> dict[str, object]:
    """The same where only an object is of use: what is none, or damaged, counts as empty."""
    try:
        found = parse_json(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


# -- owners --------------------------------------------------------------------------------------
def user_name(uid: int) -> str:
    """Name of a user, or the number where there is none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def is_trusted(status: os.stat_result) -> bool:
    """Whether a file is ours or root's, who can do anything anyway."""
    return status.st_uid in (_ROOT, os.geteuid())


def is_kept_from_others(status: os.stat_result) -> bool:
    """Whether what is in a file was written by us or root, and nobody else can change it."""
    return is_trusted(status) and not status.st_mode & OTHERS_WRITE


def why_exposed(directory: Path) -> str:
    """Why somebody else may put things in the place of ours in a directory; empty: nobody does.

    Names in directories that everybody can write to, as ``/tmp/$USER``, can be anybody's: there
    each must be ours or root's. Elsewhere who can write was chosen by whoever made the directory.
    What is missing is nobody's. Links are followed as the kernel does.
    """
    for place, status, above in _steps(directory):
        if status is None:  # who may not look there cannot use it either, which is told elsewhere
            break
        if _open_to_all(above) and not is_trusted(status):
            return f"{place} belongs to {user_name(status.st_uid)}"
        if stat.S_ISLNK(status.st_mode):
            continue
        if _open_to_all(status) and not status.st_mode & stat.S_ISVTX:
            return f"everybody can write to {place}, and it has no sticky bit"
        if _open_to_all(above) and _open_to_group(status):
            return f"its group can write to {place} (chmod g-w)"
    return ""


def only_ours(path: Path) -> bool:
    """Whether nobody but we and root can change ``path``, or put another one in its place.

    All names on the way to it count. In a sticky directory (``/tmp``) nobody can exchange what is
    ours. What is not there yet will be as the directory is that it is made in.
    """
    status: os.stat_result | None = None
    for _, status, above in _steps(path):
        sticky = status is not None and above.st_mode & stat.S_ISVTX
        if above.st_mode & OTHERS_WRITE and not sticky:
            return False
        if status is not None and not is_trusted(status):
            return False
    return status is None or not status.st_mode & OTHERS_WRITE


def _steps(path: Path) -> Iterator[tuple[Path, os.stat_result | None, os.stat_result]]:
    """The names on the way to ``path``, links followed as the kernel does.

    Each with its status, and that of the directory which it is in. The last has ``None`` where it
    cannot be looked at.
    """
    here, todo = Path("/"), [*reversed(path.absolute().parts[1:])]
    above = here.lstat()
    for _ in range(_MOST_STEPS):
        if not todo:
            return
        part = todo.pop()
        if part == os.pardir:
            here = here.parent
            above = here.lstat()
            continue
        place = here / part
        try:
            status = place.lstat()
        except OSError:
            yield place, None, above
            return
        yield place, status, above
        if stat.S_ISLNK(status.st_mode):
            target = place.readlink()
            todo += [word for word in reversed(target.parts) if word != "/"]
            here = Path("/") if target.is_absolute() else here
            above = here.lstat()
        else:
            here, above = place, status
    yield here, None, above


def _open_to_all(status: os.stat_result) -> bool:
    return bool(status.st_mode & stat.S_IWOTH) and not stat.S_ISLNK(status.st_mode)


def _open_to_group(status: os.stat_result) -> bool:
    """Whether a group may write that is more than its owner's own, which has the owner's name."""
    if status.st_mode & (stat.S_IWGRP | stat.S_ISVTX) != stat.S_IWGRP:
        return False
    try:
        return grp.getgrgid(status.st_gid).gr_name != user_name(status.st_uid)
    except KeyError:
        return True


def stranger(paths: Iterable[Path]) -> str | None:
    """Name of the owner of the first path that is neither ours nor root's; ``None``: all are.

    Links are not followed; what is not there is nobody's. :raises OSError: we may not look.
    """
    for path in paths:
        try:
            status = path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        if not is_trusted(status):
            return user_name(status.st_uid)
    return None
