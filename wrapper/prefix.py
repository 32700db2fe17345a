"""The installation directory: may it be used, who holds it, which permissions it gives.

Every installation is locked while it is changed by a file. It appears by link(2), which is
exclusive on Lustre and NFS also where they have no flock.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from wrapper import foreign
from wrapper.binds import UNBINDABLE_NAMES, unbindable
from wrapper.cache import draft, drafts
from wrapper.errors import BusyError, PrefixError, SpaceError, means_no_space
from wrapper.models import Site
from wrapper.owner import has_ended, identity

LOCK_NAME = ".lock"  # inside a prefix whose parent is not ours to write to; elsewhere beside it
STAGING_NAME = ".staging"  # inside a prefix that is there already; elsewhere beside it
# What an installation consists of, besides "current", which makes it one.
OWN_NAMES = frozenset(
    {"bin", "lib", "pyvenv.cfg", ".generations"}
    | {"img.sqfs", "container.sif", "common.sh", "_bin", "share"}
)
_HEARTBEAT_SECONDS = 20.0
_DEAD_SECONDS = 300.0
_OLD_SECONDS = 3600.0  # more than clocks of nodes and file servers differ
_TRIES = 10  # to take a lock that others take away, or make again, at the same moment


def absolute_prefix(path: Path) -> Path:
    """The prefix as an absolute path, its parents as the user wrote them.

    Where the prefix itself is a link to a directory, it is that directory: a rename would replace
    the link.

    :raises PrefixError: the runtime's bind syntax, or PATH, cannot express the path.
    """
    prefix = Path(os.path.normpath(Path(os.path.expanduser(path)).absolute()))  # noqa: PTH111
    if os.path.islink(prefix) and os.path.isdir(prefix):  # noqa: PTH114, PTH112 - never raise
        prefix = prefix.resolve()
    if bad := unbindable(prefix):
        raise PrefixError(
            f"the prefix contains {bad!r}, which cannot be in a bind path or in PATH",
            where=prefix,
            hint=f"choose a directory without {UNBINDABLE_NAMES} in its path",
        )
    return prefix


def install_path(target: Path, site: Site) -> str:
    """Where an installation's environment is inside the container.

    A directory of the root that exists on no host, because binds of the host's directories would
    hide it anywhere else. Derived from the prefix: the same over updates, so that paths stored by
    VS Code, Jupyter or a virtual environment stay true; different for two installations that are
    used together.
    """
    return f"{site.install_path}-{hashlib.sha256(os.fsencode(target)).hexdigest()[:10]}"


def check_new(prefix: Path) -> None:
    """Whether a new installation may appear at ``prefix``: absent, or an empty directory.

    :raises PrefixError: it is not, or we may not write there.
    """
    above = next(p for p in (prefix, *prefix.parents) if os.path.lexists(p))
    if not os.path.isdir(above):  # noqa: PTH112 - raises nothing where we may not look
        raise PrefixError(
            "the prefix is a file" if above == prefix else "the prefix would be below a file",
            where=above,
            hint="choose another --prefix",
        )
    if above == prefix:
        _require_writable(prefix)
        names = {entry.name for entry in prefix.iterdir()}
        if STAGING_NAME in names and "current" not in names:
            names -= OWN_NAMES  # of a build that was killed while it moved in
        if names & {"current", ".generations"}:
            raise PrefixError(
                "there is an installation already",
                where=prefix,
                hint="change it with 'update', choose another --prefix, or remove it first",
            )
        if names - {LOCK_NAME, STAGING_NAME}:
            raise PrefixError(
                "the prefix is not empty",
                where=prefix,
                hint="choose a new or an empty directory",
            )
    else:
        _require_writable(above)


def check_update(prefix: Path) -> None:
    """Whether we may change the installation at ``prefix``. :raises PrefixError: we may not."""
    _require_writable(prefix)
    _require_writable(prefix / "bin")


def _require_writable(directory: Path) -> None:
    if not os.access(directory, os.W_OK | os.X_OK):
        raise PrefixError(
            "no permission to write",
            where=directory,
            hint="choose another --prefix, or ask the owner",
        )


def directory_mode(prefix: Path) -> int:
    """Permissions for directories of the installation: the prefix's own, never world-writable.

    An existing prefix decides. A new one gets what the umask leaves. In a project's directory (with
    the set-group-ID bit, which every new directory gets from the one above) its members can use it
    whatever the umask.
    """
    if prefix.is_dir():
        mode = stat.S_IMODE(prefix.stat().st_mode)
    else:
        above = next(p for p in prefix.parents if p.is_dir()).stat().st_mode
        mode = 0o777 & ~_umask()
        if above & stat.S_ISGID:
            mode |= above & (stat.S_ISGID | stat.S_IRGRP | stat.S_IXGRP)
    return (mode | stat.S_IRWXU) & ~stat.S_IWOTH


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


@contextlib.contextmanager
def parents(prefix: Path) -> Iterator[None]:
    """Create the directories above the prefix; on failure those that stayed empty go again.

    :raises PrefixError: they cannot be created.
    """
    missing = [directory for directory in reversed(prefix.parents) if not directory.exists()]
    try:
        for directory in missing:
            _make_directory(directory)
        yield
    except BaseException:
        for directory in reversed(missing):
            with contextlib.suppress(OSError):
                directory.rmdir()
        raise


def _make_directory(directory: Path) -> None:
    try:
        mode = directory_mode(directory)
        directory.mkdir()
        directory.chmod(mode)
    except FileExistsError:
        pass  # another builder made it
    except OSError as error:
        raise PrefixError(
            f"cannot create the directory: {error.strerror}",
            where=directory,
            hint="choose another --prefix, or free some quota",
        ) from None


# -- lock --------------------------------------------------------------------------------------
def lock_path(prefix: Path) -> Path:
    """Where the lock is: the same for everybody who may change the installation.

    Of an existing one inside it; of one to be made beside it, or inside where only the prefix
    itself is ours to write to.
    """
    inside, beside = _lock_places(prefix)
    if not (prefix / "current").is_symlink() and os.access(prefix.parent, os.W_OK | os.X_OK):
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
            hint="choose another --prefix, or free some quota",
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
    record = _record(content)
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
    return PrefixError(
        f"{path.name} is in the way: {what} (of {owner})",
        where=path,
        hint=f"{removal}, or choose another --prefix",
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


def _record(content: bytes) -> dict[str, object]:
    """What a lock says, as far as it can be read."""
    try:
        record = foreign.parse_json(content)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


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
    record = _record(_content(path))
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
