"""The cache directory: who may write what in it.

A cache is one user's or, in a project's directory (group-writable and set-group-ID), its members'.
What is checked against a hash whenever it is used is common to all of them. What other programs
keep as they like (uv, pip, the solver's copies of indexes) is each user's own.
"""

from __future__ import annotations

import contextlib
import glob
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from wrapper.errors import InputError

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
        path.mkdir()
        path.chmod(_PROJECT_MODE if shared else _DIRECTORY_MODE)


def make_cache(directory: Path) -> None:
    """Make a directory of the cache. :raises InputError: it cannot be made, or written to."""
    try:
        make_directory(directory)
        why = "" if os.access(directory, os.W_OK | os.X_OK) else "no permission to write"
    except OSError as error:
        why = str(error.strerror)
    if why:
        raise InputError(
            f"the cache directory cannot be used: {why}",
            where=directory,
            hint="set CONTAINERIZE_CACHE_DIR to a directory of yours, or unset it",
        )


def users_own(cache: Path, name: str) -> Path:
    """The directory ``name`` of the cache that is this user's alone; it is made.

    :raises InputError: it cannot be made, or written to.
    """
    mine = cache / "users" / str(os.geteuid())
    make_cache(mine)
    mine.chmod(0o700)
    make_cache(mine / name)
    return mine / name


def uv_options(cache: Path | None) -> list[str]:
    """What tells uv where to keep downloads; ``None``: nowhere."""
    return ["--cache-dir", str(users_own(cache, "uv"))] if cache else ["--no-cache"]


def draft(path: Path) -> Path:
    """Where to write a file before it is renamed to ``path``; nobody else writes there."""
    return path.with_name(f"{path.name}.{secrets.token_hex(4)}{_DRAFT}")


def drafts(path: Path) -> Iterator[Path]:
    """All drafts of ``path`` that are there, those of processes that were killed among them."""
    return path.parent.glob(f"{glob.escape(path.name)}.*{_DRAFT}")
