"""``pylock.toml`` (PEP 751), a lock of pip packages for several Pythons, which uv chooses from."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from wrapper.errors import InputError
from wrapper.util import toml

_HINT = "see PEP 751, or write it anew: uv export --format pylock.toml"
_FILES = ("archive", "sdist")  # keys of a package that hold one file
_SOURCES = ("vcs", "directory", *_FILES, "wheels")


@dataclass(frozen=True, kw_only=True)
class PyLock:
    """A lock as it was read, its paths absolute.

    :ivar where: the file. :ivar head: its keys besides the packages. :ivar packages: its tables.
    :ivar extras: of those that it has the ones to install, :ivar groups: likewise.
    """

    where: str
    head: toml.Table
    packages: tuple[toml.Table, ...]
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    def text(self, copied: Callable[[Path], Path] = lambda path: path) -> str:
        """For uv. :param copied: gives for a project's directory the one to build in."""
        lines = [f"{key} = {_toml(value)}" for key, value in self.head.items()]
        for package in self.packages:
            table = dict(package)
            if directory := table.get("directory"):
                path = str(copied(Path(directory["path"])))
                table["directory"] = {**directory, "path": path, "editable": False}
            lines += ["[[packages]]", *(f"{_key(k)} = {_toml(v)}" for k, v in table.items())]
        return "\n".join(lines) + "\n"

    def without(self, names: Iterable[str]) -> PyLock:
        """The lock without packages of these names."""
        left_out = set(names)
        kept = tuple(package for package in self.packages if package["name"] not in left_out)
        return replace(self, packages=kept)

    @property
    def directories(self) -> list[Path]:
        """Projects and files on this host."""
        files = [file for package in self.packages for file in _files(package)]
        places = [p["directory"] for p in self.packages if "directory" in p]
        return [Path(file["path"]) for file in (*files, *places) if "path" in file]

    @property
    def repositories(self) -> list[str]:
        """Names of packages that need git."""
        return [package["name"] for package in self.packages if "vcs" in package]

    @property
    def without_hash(self) -> list[str]:
        """Names of packages, or one of their files, that no hash is told of."""
        return [
            package["name"]
            for package in self.packages
            if not _files(package) or not all(file.get("hashes") for file in _files(package))
        ]


def is_pylock(text: str) -> bool:
    """Whether the text has the keys of one."""
    return bool(re.search(r"^lock-version\s*=", text, re.M))


def is_uv_lock(text: str) -> bool:
    """Whether it is a ``uv.lock``: see :mod:`wrapper.pip.uv_lock`, which makes the other of it."""
    return all(
        re.search(pattern, text, re.M)
        for pattern in (r"^version = \d+$", r"^requires-python = ", r"^\[\[package\]\]$")
    )


def parse_pylock(
    text: str, path: Path, extras: Sequence[str] = (), groups: Sequence[str] = ()
) -> PyLock:
    """Parse a lock; relative paths in it start at its directory.

    :param extras: what to install besides its packages without a condition; of those that it does
        not have nothing is said. :param groups: likewise.
    :raises InputError: it is none, or names a directory that is no project.
    """
    data = toml.parse(text, path)
    version, packages = str(data.pop("lock-version", "")), data.pop("packages", [])
    if not version.startswith("1.") or not isinstance(packages, list):
        raise InputError(f"{path.name} is not a pylock.toml of version 1", where=path, hint=_HINT)
    head = {"lock-version": version, "created-by": "containerize"}
    known = ("requires-python", "extras", "dependency-groups", "default-groups", "environments")
    head |= {key: data[key] for key in known if key in data}
    lock = PyLock(
        where=str(path),
        head=head,
        packages=tuple(_package(package, path) for package in packages),
        extras=_named(extras, data.get("extras")),
        groups=_named(groups, data.get("dependency-groups")),
    )
    try:
        lock.text()
    except RecursionError:
        raise InputError(f"{path.name} is nested too deeply", where=path, hint=_HINT) from None
    return lock


def _named(names: Sequence[str], known: object) -> tuple[str, ...]:
    return tuple(name for name in names if isinstance(known, list) and name in known)


def _package(table: object, path: Path) -> toml.Table:
    """A package without what does not concern installing, its paths absolute."""
    if not isinstance(table, dict) or not isinstance(table.get("name"), str):
        raise InputError(f"a package of {path.name} has no name", where=path, hint=_HINT)
    keys = ("name", "version", "marker", "requires-python", "index", *_SOURCES)
    package = {key: table[key] for key in keys if key in table}
    parts = [*(package[key] for key in ("vcs", "directory", *_FILES) if key in package)]
    wheels = package.get("wheels", [])
    parts += wheels if isinstance(wheels, list) else [wheels]
    if not parts or not all(isinstance(part, dict) for part in parts):
        raise InputError(
            f"{path.name} does not say where {package['name']} is from", where=path, hint=_HINT
        )
    for key in ("vcs", "directory", *_FILES):
        if key in package:
            package[key] = _absolute(package[key], path)
    if wheels:
        package["wheels"] = [_absolute(wheel, path) for wheel in wheels]
    if directory := package.get("directory"):
        place = Path(directory.get("path", ""))
        # (False, not raised, for what is no path.)
        if not any(os.path.isfile(place / name) for name in ("pyproject.toml", "setup.py")):  # noqa: PTH113
            raise InputError(
                f"{place} is no Python project",
                where=f"{path}, package {package['name']}",
                hint="it has neither pyproject.toml nor setup.py: give the lock in its own place",
            )
    return package


def _absolute(part: toml.Table, path: Path) -> toml.Table:
    """A file or directory with an absolute path."""
    found = dict(part)
    place, url = found.get("path"), found.get("url", "")
    try:
        if not isinstance(url, str) or not isinstance(place, str | None):
            raise ValueError("neither a URL nor a path")
        urlsplit(url)
        if place is not None and "\0" in place:
            raise ValueError("a zero byte in a path")
    except ValueError as error:
        raise InputError(
            f"{path.name} names what cannot be: {error}", where=path, hint=_HINT
        ) from None
    if place is not None and not url:
        found["path"] = str((path.parent / place).absolute())
    return found


def _files(package: toml.Table) -> list[toml.Table]:
    return [*(package[key] for key in _FILES if key in package), *package.get("wheels", ())]


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _toml(name)


def _toml(value: object) -> str:
    """A value as TOML writes it; times, of which nothing depends, are left out of tables."""
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if isinstance(v, str | bool | int | list | dict)}
        return "{ " + ", ".join(f"{_key(k)} = {_toml(v)}" for k, v in kept.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, bool | int):
        return json.dumps(value)
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
