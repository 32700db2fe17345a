"""Python projects on disk: copies to build from, and what identifies their content.

A build writes into its project (``build/``, ``*.egg-info``), which is the user's: so a copy is
built. The copy remembers where it came from.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

from wrapper.errors import InputError, means_no_space

_ORIGIN = "origin.json"
# What builds and tools leave in a project; not part of it.
_LITTER = ("__pycache__", ".tox", ".nox", ".mypy_cache", ".pytest_cache", "node_modules")
_VERSION_CONTROL = (".git", ".hg", ".svn")


def copy_project(project: Path, places: Path) -> Path:
    """Copy the project into a new directory below ``places``; returns the copy.

    :raises InputError: a part of it cannot be read.
    """
    place = places / str(len(list(places.iterdir())) if places.is_dir() else 0)
    copy = place / project.name
    try:
        shutil.copytree(project, copy, symlinks=True, ignore=_ignored)
    except OSError as error:
        if means_no_space(error):
            raise
        raise InputError(
            "the project cannot be copied, from which its package is built",
            where=project,
            hint="check that you may read all of it",
            detail=str(error),
        ) from None
    origin = {"path": str(project), "content": content_digest(copy)}
    (place / _ORIGIN).write_text(json.dumps(origin))
    return copy


def origin_of(directory: Path) -> tuple[Path, str]:
    """Where a project is that was built in ``directory``, and the SHA-256 of its content."""
    record = directory.parent / _ORIGIN
    if record.is_file():
        origin = json.loads(record.read_text())
        return Path(origin["path"]), str(origin["content"])
    return directory, content_digest(directory)


def content_digest(project: Path) -> str:
    """SHA-256 over names, permissions to execute and contents of a project's files."""
    digest = hashlib.sha256()
    for folder, names, leaves in os.walk(project):
        ignored = _ignored(folder, [*names, *leaves]) | set(_VERSION_CONTROL)
        names[:] = sorted(name for name in names if name not in ignored)
        links = [name for name in names if Path(folder, name).is_symlink()]
        for path in (Path(folder, name) for name in sorted([*leaves, *links])):
            if path.name in ignored:
                continue
            kind, content = _content(path)
            name = os.fsencode(path.relative_to(project))
            digest.update(b"%s %d %s %d\0" % (kind, len(name), name, len(content)) + content)
    return digest.hexdigest()


def _content(path: Path) -> tuple[bytes, bytes]:
    if path.is_symlink():
        return b"link", os.fsencode(path.readlink())
    return (b"program" if os.access(path, os.X_OK) else b"file"), path.read_bytes()


def _ignored(folder: str, names: list[str]) -> set[str]:
    """Litter and virtual environments; sockets and the like cannot be copied."""
    return {
        name
        for name in names
        if name in _LITTER
        or Path(folder, name, "pyvenv.cfg").exists()
        or not _can_be_copied(Path(folder, name))
    }


def _can_be_copied(path: Path) -> bool:
    return path.is_symlink() or path.is_dir() or path.is_file()
