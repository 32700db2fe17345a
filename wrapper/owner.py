"""Whose a file is: who else can change it, which process made it, and whether that still runs.

Other nodes see the same files, and numbers come again: a process is told by its host, its number
and its start.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Mapping
from pathlib import Path

_ROOT = 0  # can do anything anyway
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH  # access lists show as the group's
_MOST_STEPS = 400  # through links, of one path: more is a circle


def only_ours(path: Path) -> bool:
    """Whether nobody but we and root can change ``path``, or put another one in its place.

    All directories on the way to it count, through links too. In a sticky one (``/tmp``) nobody can
    exchange what is ours. What is not there yet will be as the directory is that it is made in.
    """
    here = Path("/")
    todo = [*reversed(path.absolute().parts)]
    for _ in range(_MOST_STEPS):
        if not todo:
            return True
        place = here / todo.pop()  # a root or ".." among the parts is followed as any other
        try:
            status = place.lstat()
        except FileNotFoundError:
            return not here.stat().st_mode & _OTHERS_WRITE
        except OSError:
            return False
        if status.st_uid not in (_ROOT, os.geteuid()):
            return False
        if stat.S_ISLNK(status.st_mode):
            todo += reversed(place.readlink().parts)
            continue
        sticky = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
        if status.st_mode & _OTHERS_WRITE and not (sticky and todo):
            return False
        here = place
    return False


def identity() -> dict[str, object]:
    """This process, for JSON; :func:`has_ended` reads it."""
    pid = os.getpid()
    return {"host": socket.gethostname(), "pid": pid, "started": process_start(pid)}


def has_ended(record: Mapping[str, object]) -> bool | None:
    """Whether the process of an :func:`identity` has ended, ``None`` where that cannot be seen.

    It cannot from another host, nor where /proc hides a process of that number.
    """
    pid = record.get("pid")
    if record.get("host") == socket.gethostname() and isinstance(pid, int):
        started = process_start(pid)
        if started or not process_exists(pid):
            return started != record.get("started")
    return None


def process_start(pid: int) -> str | None:
    """Boot and start time of a process, which tell it from a later one of the same number."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    return f"{boot} {fields[19]}"  # field 22 of proc(5) stat: starttime, in clock ticks


def process_exists(pid: int) -> bool:
    """Whether there is such a process, also where /proc hides those of other users."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True
