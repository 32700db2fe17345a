"""The cache directory: who may write what in it.

A cache is one user's or, in a project's directory (group-writable and set-group-ID), its members'.
What is checked against a hash as it is used is common to all of them. All else is each user's own:
what other programs keep as they like (uv, pip, the solver's copies of indexes), images and answers.

Who can write to a directory can put another one in the place of what is in it. So where a user's
own part could be exchanged, it is looked at and then used through a descriptor that stays open.

Answers that cost time to find are kept there: digests, facts, what was pulled. Without a cache
directory nothing is kept. What counts are our own answers and root's: anybody who can write to the
cache could say that an image is the one that was asked for. A damaged entry counts as none, and
where the cache cannot be written the answer is found again next time.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import glob
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from wrapper.errors import InputError
from wrapper.util import foreign, removal

FILE_MODE = 0o644  # whatever the umask: colleagues read what we cached
_DIRECTORY_MODE, _PROJECT_MODE = 0o755, 0o2775
_PROJECT_BITS = stat.S_ISGID | stat.S_IWGRP
_DRAFT = ".partial"


def make_directory(path: Path) -> None:
    """Make a directory of the cache, and those above it that are missing.

    Members of a project may write to it where they may write to the one above.
    """
    if path.is_dir():
        return
    make_directory(path.parent)
    shared = path.parent.stat().st_mode & _PROJECT_BITS == _PROJECT_BITS
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
        with opened(path) as handle:  # another may have put a link there by now
            os.fchmod(handle, _PROJECT_MODE if shared else _DIRECTORY_MODE)


@contextlib.contextmanager
def opened(directory: Path) -> Iterator[int]:
    """A descriptor of a directory of ours. :raises OSError: it is none, but a link to one, say."""
    with removal.opened(directory) as handle:
        if os.fstat(handle).st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, "it is not yours", str(directory))
        yield handle


def make_cache(directory: Path) -> None:
    """Make a directory of the cache. :raises InputError: it cannot be made, or written to."""
    try:
        make_directory(directory)
        why = "" if os.access(directory, os.W_OK | os.X_OK) else "no permission to write"
    except OSError as error:
        why = str(error.strerror)
    if why:
        raise _unusable(directory, why)


def _unusable(directory: Path, why: str) -> InputError:
    return InputError(
        f"the cache directory cannot be used: {why}",
        where=directory,
        hint="set CONTAINERIZE_CACHE_DIR to a directory of yours, or unset it",
    )


@dataclass(frozen=True)
class UsersOwn:
    """A part of the cache that is this user's alone.

    :ivar place: its path, by which somebody else's could be reached a moment later, where it is
        not :attr:`closed`. :ivar path: the way to it for this process, which nobody can change.
    """

    place: Path
    path: Path

    @property
    def closed(self) -> bool:
        """Whether nobody else could put another one in its place."""
        return self.path == self.place


@functools.cache
def users_own(cache: Path) -> UsersOwn:
    """The part of the cache that is this user's alone; it is made.

    :raises InputError: it cannot be made, or written to, or is another's by now.
    """
    place = cache / "users" / str(os.geteuid())
    make_cache(place.parent)
    try:
        with contextlib.suppress(FileExistsError):
            place.mkdir(mode=0o700)
        with opened(place) as handle:
            if os.fstat(handle).st_mode & foreign.OTHERS_WRITE:
                raise PermissionError(errno.EPERM, "others could write to it", str(place))
            os.fchmod(handle, 0o700)
            path = place if foreign.only_ours(place) else Path(f"/proc/self/fd/{os.dup(handle)}")
    except OSError as error:
        raise _unusable(place, str(error.strerror)) from None
    return UsersOwn(place, path)


def users_directory(cache: Path, name: str) -> Path:
    """A directory in it, for this process; it is made. :raises InputError: as above."""
    directory = users_own(cache).path / name
    make_cache(directory)
    return directory


def draft(path: Path) -> Path:
    """Where to write a file before it is renamed to ``path``; nobody else writes there."""
    return path.with_name(f"{path.name}.{secrets.token_hex(4)}{_DRAFT}")


def drafts(path: Path) -> Iterator[Path]:
    """All drafts of ``path`` that are there, those of processes that were killed among them."""
    return path.parent.glob(f"{glob.escape(path.name)}.*{_DRAFT}")


# -- answers that cost time ----------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True)
class Memo:
    """A drawer of the cache: a directory outside the container, or ``None`` to keep nothing."""

    directory: Path | None

    def path(self, key: str) -> Path | None:
        """Where the entry for ``key`` (any text) is or would be."""
        if self.directory is None:
            return None
        return self.directory / f"{hashlib.sha256(os.fsencode(key)).hexdigest()[:32]}.json"

    def recall(self, key: str) -> dict[str, object] | None:
        """What was remembered for ``key``, ``None`` where nothing is known."""
        path = self.path(key)
        if path is None:
            return None
        with (
            contextlib.suppress(OSError),
            foreign.open_regular(path, follow=False) as file,
        ):
            if foreign.is_kept_from_others(os.fstat(file.fileno())):
                entry = foreign.json_object(file.read(foreign.MOST))
                data = entry.get("data") if entry.get("key") == key else None
                return data if isinstance(data, dict) else None
        return None

    def remember(self, key: str, data: Mapping[str, object]) -> None:
        """Keep ``data``, for JSON; where that is not possible nothing happens."""
        path = self.path(key)
        if path is None:
            return
        fresh = draft(path)
        with contextlib.suppress(OSError):
            make_directory(path.parent)
            try:
                fresh.write_text(json.dumps({"key": key, "data": dict(data)}, indent=1))
                foreign.set_mode(fresh, FILE_MODE)
                fresh.replace(path)
            finally:
                fresh.unlink(missing_ok=True)
