"""The installation directory: may it be used, who holds it, which permissions it gives.

Every installation is locked while it is built by a file beside it. The file is made with
``O_EXCL``, which Lustre keeps also where it is mounted without flock.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from wrapper.errors import BusyError, PrefixError

_HEARTBEAT_SECONDS = 20.0
_DEAD_SECONDS = 300.0


def absolute_prefix(path: Path) -> Path:
    """The prefix as an absolute path whose parent is free of symlinks only where it must be.

    :raises PrefixError: the runtime's bind syntax, or PATH, cannot express the path.
    """
    prefix = Path(os.path.normpath(path.expanduser().absolute()))
    if bad := re.search(r"[:,\\\n]", str(prefix)):
        raise PrefixError(
            f"the prefix contains {bad[0]!r}, which cannot be in a bind path or in PATH",
            where=prefix,
            hint="choose a directory without colons, commas and backslashes in its path",
        )
    return prefix


def check_new(prefix: Path) -> None:
    """Whether a new installation may appear at ``prefix``: absent, or an empty directory.

    :raises PrefixError: it is not, or we may not write there.
    """
    above = next(p for p in (prefix, *prefix.parents) if p.exists() or p.is_symlink())
    if not above.is_dir():
        raise PrefixError(
            "the prefix is a file" if above == prefix else "the prefix would be below a file",
            where=above,
            hint="choose another --prefix",
        )
    if above == prefix:
        _require_writable(prefix)
        if (prefix / "current").is_symlink() or (prefix / ".generations").is_dir():
            raise PrefixError(
                "there is an installation already",
                where=prefix,
                hint="choose another --prefix, or remove that directory first",
            )
        if any(prefix.iterdir()):
            raise PrefixError(
                "the prefix is not empty",
                where=prefix,
                hint="choose a new or an empty directory",
            )
    else:
        _require_writable(above)


def _require_writable(directory: Path) -> None:
    if not os.access(directory, os.W_OK | os.X_OK):
        raise PrefixError(
            "no permission to write",
            where=directory,
            hint="choose another --prefix, or ask the owner",
        )


def directory_mode(prefix: Path) -> int:
    """Permissions for directories of the installation: the prefix's own, never world-writable.

    An existing prefix decides; a new one gets what the umask leaves.
    """
    mode = stat.S_IMODE(prefix.stat().st_mode) if prefix.is_dir() else 0o777 & ~_umask()
    return (mode | stat.S_IRWXU) & ~stat.S_IWOTH


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


@contextlib.contextmanager
def parents(prefix: Path) -> Iterator[None]:
    """Create the directories above the prefix; on failure those that stayed empty go again."""
    missing = [directory for directory in reversed(prefix.parents) if not directory.exists()]
    for directory in missing:
        directory.mkdir(exist_ok=True)
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            for directory in reversed(missing):
                directory.rmdir()
        raise


# -- lock --------------------------------------------------------------------------------------
def lock_path(prefix: Path) -> Path:
    """Beside the prefix, or inside where only the prefix itself is ours to write to."""
    if os.access(prefix.parent, os.W_OK | os.X_OK):
        return prefix.parent / f".{prefix.name}.lock"
    return prefix / ".lock"


@contextlib.contextmanager
def locked(prefix: Path) -> Iterator[None]:
    """Hold the installation for the ``with`` block.

    The holder touches its lock every 20 seconds. A lock is dead where its process is gone (same
    host), or where it has not been touched for five minutes (another host), and is taken over.

    :raises BusyError: another build holds it.
    """
    path = lock_path(prefix)
    while not _try_create(path):
        _take_over_or_fail(path, prefix)
    stop = threading.Event()
    thread = threading.Thread(target=_heartbeat, args=(path, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        with contextlib.suppress(OSError):
            path.unlink()


def _try_create(path: Path) -> bool:
    record = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": _process_start(os.getpid()),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    except OSError as error:
        raise PrefixError(
            f"cannot write beside the prefix: {error.strerror}",
            where=path.parent,
            hint="choose another --prefix, or free some quota",
        ) from None
    with os.fdopen(handle, "w") as file:
        json.dump(record, file)
    return True


def _take_over_or_fail(path: Path, prefix: Path) -> None:
    try:
        record = json.loads(path.read_text())
    except FileNotFoundError:
        return
    except (OSError, ValueError):
        record = {}
    if _is_dead(path, record):
        # Renaming first: of two that find a dead lock, one takes it away and the other fails.
        with contextlib.suppress(FileNotFoundError):
            aside = path.with_name(f"{path.name}.{os.getpid()}")
            path.rename(aside)
            aside.unlink()
        return
    raise BusyError(
        f"another build is at work there: process {record.get('pid', '?')} on "
        f"{record.get('host', '?')}, since {record.get('since', '?')}",
        where=prefix,
        hint=f"wait for it to end; if it is gone for sure, remove {path}",
    )


def _is_dead(path: Path, record: dict[str, object]) -> bool:
    pid = record.get("pid")
    if record.get("host") == socket.gethostname() and isinstance(pid, int):
        return _process_start(pid) != record.get("started")
    return _age(path) > _DEAD_SECONDS


def _process_start(pid: int) -> str | None:
    """Boot and start time of a process, which tell it from a later one of the same number."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    return f"{boot} {fields[19]}"  # field 22 of proc(5) stat: starttime, in clock ticks


def _age(path: Path) -> float:
    """Seconds since a file was touched, by the clock of its own file system."""
    probe = path.with_name(f"{path.name}.{os.getpid()}.now")
    try:
        probe.touch()
        age = probe.stat().st_mtime - path.stat().st_mtime
        probe.unlink()
    except OSError:
        return 0.0
    return age


def _heartbeat(path: Path, stop: threading.Event) -> None:
    while not stop.wait(_HEARTBEAT_SECONDS):
        with contextlib.suppress(OSError):
            os.utime(path)
