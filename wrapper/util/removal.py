"""Removing what builds made, and nothing else, also where others may write.

There a name says nothing: somebody can put a link, or another directory of ours, in the place of
one that a build left. So a directory that is to be found again is *marked*: ours, mode 0700, with a
record of the process that made it. It is opened without following links, looked at, and removed
through its descriptor. Nobody else can forge one: nobody else can write into it.

No link is followed on the way down either, and a directory is what it was when it was opened.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import stat
import tempfile
import time
from collections.abc import Container, Iterator
from pathlib import Path

from wrapper.util import foreign
from wrapper.util.owner import has_ended, identity

MARK = "owner.json"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_UNMARKED_SECONDS = 60.0  # longer than a directory is without its mark
_SECONDS = 5.0
_MOST = 4096  # bytes of a mark
_DEEPEST = 100  # levels of a tree at once
_made: set[tuple[int, int]] = set()  # device and inode of what this process marked


# -- trees ---------------------------------------------------------------------------------------
def remove_tree(path: Path, *, inside: int | None = None) -> None:
    """Remove a file or a tree, read-only directories included.

    After an interruption a library's thread may still be writing: retried for a few seconds.

    :param inside: descriptor of the directory in which ``path`` is. :raises OSError: it cannot be
        removed.
    """
    deadline = time.monotonic() + _SECONDS
    while _is_there(path, inside):
        try:
            _remove(path, inside)
        except OSError as error:
            if time.monotonic() > deadline:
                raise OSError(error.errno, error.strerror, str(path)) from None
            time.sleep(0.05)


def _is_there(path: Path, inside: int | None) -> bool:
    try:
        os.lstat(path, dir_fd=inside)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _remove(path: str | Path, inside: int | None, above: tuple[int, ...] = ()) -> None:
    """:param above: descriptors of the directories of the tree in which ``path`` is."""
    try:
        os.unlink(path, dir_fd=inside)
    except IsADirectoryError:
        if inside is not None and len(above) == _DEEPEST:
            _lift(path, inside, above[0])
            return
        with _opened_to_empty(path, inside) as handle:
            while entries := names(handle):  # again, if something was lifted here
                for name in entries:
                    _remove(name, handle, (*above, handle))
        os.rmdir(path, dir_fd=inside)


def _lift(path: str | Path, inside: int, top: int) -> None:
    """Move a directory up: a script can make more levels than there are descriptors."""
    with _opened_to_empty(path, inside):
        os.rename(path, secrets.token_hex(16), src_dir_fd=inside, dst_dir_fd=top)


@contextlib.contextmanager
def opened(path: str | Path, inside: int | None = None) -> Iterator[int]:
    """A descriptor of a directory. :raises OSError: it is none, a link to one included."""
    handle = os.open(path, _DIRECTORY, dir_fd=inside)
    try:
        yield handle
    finally:
        os.close(handle)


def names(handle: int) -> list[str]:
    """What is in a directory."""
    with os.scandir(handle) as entries:
        return [entry.name for entry in entries]


@contextlib.contextmanager
def opened_marked(root: Path) -> Iterator[int]:
    """The same of a directory that this process marked. :raises OSError: it is another one now."""
    with opened(root) as handle:
        if _number(handle) not in _made:
            raise OSError(errno.ESTALE, "something else is in its place", str(root))
        yield handle


@contextlib.contextmanager
def _opened_to_empty(path: str | Path, inside: int | None) -> Iterator[int]:
    """The same of one that is to be emptied, and may be closed to ourselves."""
    try:
        handle = os.open(path, _DIRECTORY, dir_fd=inside)
    except PermissionError:
        _open_up(path, inside)
        handle = os.open(path, _DIRECTORY, dir_fd=inside)
    try:
        if os.fstat(handle).st_mode & stat.S_IRWXU != stat.S_IRWXU:
            os.fchmod(handle, stat.S_IRWXU)
        yield handle
    finally:
        os.close(handle)


def _open_up(path: str | Path, inside: int | None) -> None:
    """Let ourselves into a directory; chmod(2) itself would follow a link."""
    handle = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=inside)
    try:
        Path(f"/proc/self/fd/{handle}").chmod(stat.S_IRWXU)
    finally:
        os.close(handle)


# -- marked directories --------------------------------------------------------------------------
def marked_directory(parent: Path, stem: str) -> Path:
    """A new directory of ours, whose name begins with ``stem``. :raises OSError: none can be made.

    Who is killed leaves it to :func:`remove_abandoned`.
    """
    return _marked(Path(tempfile.mkdtemp(prefix=stem, dir=parent)))


def make_marked(path: Path) -> None:
    """The same with a name that is given. :raises OSError: it is there, or cannot be made."""
    path.mkdir(mode=0o700)
    _marked(path)


def _marked(root: Path) -> Path:
    try:
        (root / MARK).write_text(json.dumps(identity()))
        with opened(root) as handle:
            _made.add(_number(handle))
    except OSError:
        remove_tree(root)
        raise
    return root


def _number(handle: int) -> tuple[int, int]:
    status = os.fstat(handle)
    return status.st_dev, status.st_ino


def remove_marked(root: Path, *, but: str = "") -> None:
    """Remove a directory that this process marked; what took its place meanwhile stays.

    The mark goes last: who is killed meanwhile leaves the rest to the next.

    :param but: the name of what is to stay in it, and the directory with it.
    :raises OSError: something cannot be removed.
    """
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), opened(root) as handle:
        if _number(handle) in _made:
            _empty(handle, {MARK, but})
            os.unlink(MARK, dir_fd=handle)
            if not but:
                root.rmdir()
                _made.discard(_number(handle))  # the next directory may get the number


def empty_marked(root: Path) -> None:
    """Remove what is in a directory that this process marked, as far as that is possible."""
    with contextlib.suppress(OSError), opened(root) as handle:
        if _number(handle) in _made:
            _empty(handle, {MARK})


def remove_abandoned(parent: Path, stem: str, *, held: bool = False) -> None:
    """Remove our marked directories whose process has ended on this host.

    :param stem: with which their names begin. :param held: the caller holds a lock that their
        process would have to hold: they are abandoned also where nobody can see that from here.
        Then what follows the stem has no dot, so that stems of other names are others.
    """
    with contextlib.suppress(OSError), opened(parent.resolve()) as above:
        for name in names(above):
            if name.startswith(stem) and not (held and "." in name.removeprefix(stem)):
                with contextlib.suppress(OSError, ValueError):
                    _remove_if_abandoned(name, above, held)


def remove_expired(parent: Path, stem: str, *, only: str, days: float) -> None:
    """Remove our directories that hold nothing but a file ``only`` which is older than that."""
    oldest = time.time() - days * 86_400
    with contextlib.suppress(OSError), opened(parent.resolve()) as above:
        for name in names(above):
            if name.startswith(stem):
                with contextlib.suppress(OSError), opened(name, above) as handle:
                    expired = _is_private(handle) and names(handle) == [only]
                    if expired and os.lstat(only, dir_fd=handle).st_mtime < oldest:
                        os.unlink(only, dir_fd=handle)
                        os.rmdir(name, dir_fd=above)


def is_abandoned(path: Path) -> bool:
    """Whether a directory is one that :func:`remove_abandoned` would remove, the lock held."""
    try:
        with opened(path) as handle:
            return _is_private(handle) and _has_ended(_record(handle), held=True)
    except (OSError, ValueError):
        return False


def _remove_if_abandoned(name: str, above: int, held: bool) -> None:
    with opened(name, above) as handle:
        if not _is_private(handle):
            return
        try:
            record = _record(handle)
        except FileNotFoundError:
            # Killed before it was marked, or after all else of it was removed.
            if time.time() - os.fstat(handle).st_mtime > _UNMARKED_SECONDS:
                os.rmdir(name, dir_fd=above)
            return
        if _has_ended(record, held=held):
            _empty(handle, {MARK})
            os.unlink(MARK, dir_fd=handle)
            os.rmdir(name, dir_fd=above)


def _is_private(handle: int) -> bool:
    status = os.fstat(handle)
    return status.st_uid == os.geteuid() and stat.S_IMODE(status.st_mode) & 0o077 == 0


def _record(handle: int) -> object:
    """What the mark in a directory says, ``None`` where it is not ours.

    :raises FileNotFoundError: there is no mark. :raises ValueError: it is damaged.
    """
    with foreign.open_regular(Path(MARK), follow=False, inside=handle) as file:
        if os.fstat(file.fileno()).st_uid != os.geteuid():
            return None
        return foreign.parse_json(file.read(_MOST))


def _has_ended(record: object, *, held: bool) -> bool:
    if not isinstance(record, dict):
        return False
    ended = has_ended(record)
    return held if ended is None else ended


def _empty(handle: int, but: Container[str]) -> None:
    for name in names(handle):
        if name not in but:
            remove_tree(Path(name), inside=handle)
