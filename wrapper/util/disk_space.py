"""Is there room, and what to do where there is not."""

from __future__ import annotations

import os
from pathlib import Path

from wrapper.console import human_size
from wrapper.errors import SpaceError

TMPDIR_VARIABLE = "CW_BUILD_TMPDIR"
MORE_ROOM = f"name a larger file system with --tmpdir or {TMPDIR_VARIABLE}"


def free_space(path: Path) -> int:
    """Bytes that an ordinary user can still write on the file system of ``path``."""
    status = os.statvfs(existing(path))
    return status.f_bavail * status.f_frsize


def require_space(path: Path, needed: int, what: str, hint: str) -> None:
    """:raises SpaceError: fewer than ``needed`` bytes are free where ``path`` is."""
    free = free_space(path)
    if free < needed:
        raise SpaceError(
            f"no room for {what}: about {human_size(needed)} needed, {human_size(free)} free",
            where=path,
            hint=hint,
        )


def existing(path: Path) -> Path:
    """The path, or the one above it that is there: Tykky's sites build in ``/tmp/$USER``."""
    return next(p for p in (path, *path.parents) if os.path.lexists(p))
