"""Whose a file is: marks by which others see which process made it, and whether that still runs.

Other nodes see the same files, and numbers come again: a process is told by its host, its number
and its start.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path


def identity() -> dict[str, object]:
    """This process, for JSON; :func:`has_ended` reads it."""
    pid = os.getpid()
    return {
        "host": socket.gethostname(),
        "pid": pid,
        "pid_namespace": _pid_namespace(),
        "started": process_start(pid),
    }


def has_ended(record: Mapping[str, object]) -> bool | None:
    """Whether the process of an :func:`identity` has ended, ``None`` where that cannot be seen.

    It cannot from another host, nor from a container with process numbers of its own, nor where
    /proc hides a process of that number.
    """
    pid = record.get("pid")
    here = record.get("host") == socket.gethostname()
    if (
        here
        and record.get("pid_namespace", _pid_namespace()) == _pid_namespace()
        and isinstance(pid, int)
    ):
        started = process_start(pid)
        if started or not process_exists(pid):
            return started != record.get("started")
    return None


def _pid_namespace() -> str | None:
    """The namespace of our process numbers."""
    try:
        return os.readlink("/proc/self/ns/pid")  # noqa: PTH115
    except OSError:
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
