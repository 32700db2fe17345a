"""The lock of an installation, or of a file that one command alone shall make.

It is a file that appears by link(2), which is exclusive on Lustre and NFS also where they have no
flock. It names its process, which touches it.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from wrapper import layout
from wrapper.errors import BusyError, PrefixError, SpaceError, means_no_space
from wrapper.util import foreign
from wrapper.util.cache import draft, drafts
from wrapper.util.owner import has_ended, identity

LOCK_NAME = ".lock"  # inside a prefix whose parent is not ours to write to; elsewhere beside it
_HEARTBEAT_SECONDS = 20.0
_DEAD_SECONDS = 300.0
_OLD_SECONDS = 3600.0  # more than clocks of nodes and file servers differ
_TRIES = 10  # to take a lock that others take away, or make again, at the same moment


def lock_path(prefix: Path) -> Path:
    """Where the lock is: the same for everybody who may change the installation.

    Of an existing one inside it; of one to be made beside it, or inside where only the prefix
    itself is ours to write to.
    """
    inside, beside = _lock_places(prefix)
    if not (prefix / layout.CURRENT).is_symlink() and os.access(prefix.parent, os.W_OK | os.X_OK):
        return beside
    return inside


def _lock_places(prefix: Path) -> tuple[Path, Path]:
    return prefix / LOCK_NAME, prefix.parent / f".{prefix.name}.lock"


@contextlib.contextmanager
def locked(prefix: Path) -> Iterator[None]:
    """Hold the installation for the ``with`` block.

    The holder touches its lock every 20 seconds. A lock is dead where its process is gone (same
    host), or where it has not been touched for five minutes (another host), and is taken over.

    :raises BusyError: another build holds it. :raises PrefixError: there is something that is no
        lock, or that only somebody else could take away.
    """
    path = lock_path(prefix)
    mine = _taken(path, prefix)
    _remove_old_drafts(path)
    stop = threading.Event()
    thread = threading.Thread(target=_heartbeat, args=(path, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        with contextlib.suppress(OSError):
            # Else it was taken over while this process was stopped.
            if foreign.read_bytes(path, follow=False) == mine:
                path.unlink()


def _taken(path: Path, prefix: Path) -> bytes:
    """Make the lock, in place of a dead one if need be; returns its content."""
    record: dict[str, object] = {}
    for _ in range(_TRIES):
        if mine := _try_create(path):
            return mine
        record = _take_over_or_fail(path, prefix)
    raise _busy(path, prefix, record)


def _try_create(path: Path) -> bytes | None:
    """Make the lock; returns its content, or ``None`` where there is one already."""
    record = {**identity(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
    content = json.dumps(record).encode()
    # Written beside and linked: a lock is never there without its content.
    fresh = draft(path)
    try:
        fresh.write_bytes(content)
        path.hardlink_to(fresh)
    except FileExistsError:
        return None
    except OSError as error:
        kind = SpaceError if means_no_space(error) else PrefixError
        raise kind(
            f"cannot lock the installation: {error.strerror}",
            where=path.parent,
            hint="free some room or quota there, or ask its owner for the right to write",
        ) from None
    finally:
        with contextlib.suppress(OSError):
            fresh.unlink()
    return content


def _remove_old_drafts(path: Path) -> None:
    """Those of processes that were killed: a draft of a living one is seconds old."""
    for old in drafts(path):
        with contextlib.suppress(OSError):
            if time.time() - old.lstat().st_mtime > _OLD_SECONDS:
                old.unlink()


def _take_over_or_fail(path: Path, prefix: Path) -> dict[str, object]:
    """Take a dead lock away; returns what it said."""
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise _in_the_way(path, status, "it is no lock of a build")
        content = _content(path)
    except FileNotFoundError:
        return {}
    record = foreign.json_object(content)
    if not _is_dead(path, record):
        raise _busy(path, prefix, record)
    if not _take_away(path, content):
        raise _in_the_way(path, status, "the lock of a build that died, which you may not remove")
    return record


def _content(path: Path) -> bytes:
    """What a lock says, nothing where we may not read it. :raises FileNotFoundError: it has gone"""
    try:
        return foreign.read_bytes(path, follow=False)
    except FileNotFoundError:
        raise
    except OSError:
        return b""


def _busy(path: Path, prefix: Path, record: dict[str, object]) -> BusyError:
    owner = foreign.stranger([path])
    removal = f"ask {owner} to remove {path}" if owner else f"remove {path}"
    return BusyError(
        f"another build is at work there: {_told(record)}{f' ({owner})' if owner else ''}",
        where=prefix,
        hint=f"wait for it to end; if it is gone for sure, {removal}",
    )


def _in_the_way(path: Path, status: os.stat_result, what: str) -> PrefixError:
    owner = foreign.user_name(status.st_uid)
    removal = "remove it" if status.st_uid == os.geteuid() else f"ask {owner} to remove it"
    if path.name != LOCK_NAME:  # beside what is still to be made
        removal += ", or choose another place"
    return PrefixError(
        f"{path.name} is in the way: {what} (of {owner})",
        where=path,
        hint=removal,
    )


def _take_away(path: Path, content: bytes) -> bool:
    """Remove a dead lock; false where we may not.

    Of two that find it, the second may come when the first already holds a new one. So it is
    renamed, looked at again, and a living one put back.
    """
    aside = draft(path)
    try:
        path.rename(aside)
        try:
            if _content(aside) != content:
                path.hardlink_to(aside)
        finally:
            aside.unlink()
    except FileNotFoundError:
        return True
    except OSError:
        return not os.path.lexists(path)
    return True


def _is_dead(path: Path, record: dict[str, object]) -> bool:
    ended = has_ended(record)
    return _age(path) > _DEAD_SECONDS if ended is None else ended


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Who holds an installation, as its lock says; ``dead``: the lock would be taken over."""

    lock: Path
    text: str
    dead: bool


def holder(prefix: Path) -> Holder | None:
    """Who holds the installation, or the file; only looks, and compares with this host's clock.

    Whoever asks may do less there than who builds: the lock can be in either place, and closed.

    :raises PrefixError: there is something by that name that is no lock.
    """
    for path in _lock_places(prefix):
        with contextlib.suppress(OSError):
            return _holder(path, path.lstat())
    return None


def _holder(path: Path, status: os.stat_result) -> Holder:
    if not stat.S_ISREG(status.st_mode):
        raise _in_the_way(path, status, "it is no lock of a build")
    record = foreign.json_object(_content(path))
    ended = has_ended(record)
    dead = time.time() - status.st_mtime > _DEAD_SECONDS if ended is None else ended
    return Holder(lock=path, text=_told(record), dead=dead)


def _told(record: dict[str, object]) -> str:
    process, host, since = (record.get(name, "?") for name in ("pid", "host", "since"))
    return f"process {process} on {host}, since {since}"


def _age(path: Path) -> float:
    """Seconds since a file was touched, by the clock of its own file system."""
    probe = draft(path)
    try:
        probe.touch()
        age = probe.stat().st_mtime - path.lstat().st_mtime
        probe.unlink()
    except OSError:
        return 0.0
    return age


def _heartbeat(path: Path, stop: threading.Event) -> None:
    while not stop.wait(_HEARTBEAT_SECONDS):
        with contextlib.suppress(OSError):
            os.utime(path, follow_symlinks=False)
