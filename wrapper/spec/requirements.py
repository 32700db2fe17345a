"""pip's inputs: requirements files, ``pyproject.toml``, and our lock of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wrapper.errors import InputError
from wrapper.models import LockedPackage

_LOCK_MARK = "# containerize lock of pip packages, format 1"
_LOCK_LINE = re.compile(r"(\S+)==(\S+) @ (\S+) --hash=sha256:([0-9a-f]{64})")


def write_requirements_lock(packages: Sequence[LockedPackage], path: Path) -> None:
    """Write the packages that have a hash, a line each: ``NAME==VERSION @ URL --hash=…``."""
    lines = [
        f"{p.canonical}=={p.version} @ {p.url} --hash=sha256:{p.sha256}"
        for p in sorted(packages, key=lambda package: package.canonical)
    ]
    path.write_text("\n".join([_LOCK_MARK, *lines]) + "\n")


def parse_requirements_lock(text: str, path: Path) -> tuple[LockedPackage, ...] | None:
    """The packages of a lock; ``None`` where the text is none.

    :raises InputError: a line is not a lock's, with its number.
    """
    if not text.startswith(_LOCK_MARK):
        return None
    packages = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LOCK_LINE.fullmatch(line.strip())
        if not match:
            raise InputError(
                f"'{line}' is not a line of a lock",
                where=f"{path}, line {number}",
                hint="write the lock anew, or remove its first line to use it as requirements",
            )
        name, version, url, sha256 = match.groups()
        packages.append(
            LockedPackage(manager="pip", name=name, version=version, url=url, sha256=sha256)
        )
    return tuple(packages)


def project_lines(path: Path, extras: Sequence[str], groups: Sequence[str]) -> tuple[str, ...]:
    """Requirement lines that install what a ``pyproject.toml`` asks for, without the project.

    :param extras: of its optional dependencies. :param groups: of its dependency groups (PEP 735).
    :raises InputError: it is no project's file, or has no such extra or group.
    """
    from wrapper import toml

    data = toml.load(path)
    project = data.get("project")
    if not isinstance(project, dict):
        raise InputError(
            f"{path.name} has no [project] table", where=path, hint="see PEP 621 for its keys"
        )
    lines = _strings(project.get("dependencies", []), "dependencies", path)
    optional = project.get("optional-dependencies", {})
    declared = data.get("dependency-groups", {})
    for extra in extras:
        lines += _strings(_section(optional, extra, path, "extra"), extra, path)
    for group in groups:
        lines += _group(declared, group, path, ())
    return tuple(lines)


def _section(table: dict[str, Any], name: str, path: Path, what: str) -> Any:
    if name not in table:
        raise InputError(
            f"{path.name} has no {what} '{name}'",
            where=path,
            hint=f"it has: {', '.join(table) or 'none'}",
        )
    return table[name]


def _strings(value: Any, name: str, path: Path) -> list[str]:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return list(value)
    raise InputError(
        f"'{name}' must be a list of strings", where=path, hint="see PEP 621 and PEP 735"
    )


def _group(declared: dict[str, Any], name: str, path: Path, outer: tuple[str, ...]) -> list[str]:
    """Requirements of a group and of those that it includes; ``outer`` are those around it."""
    if name in outer:
        raise InputError(
            f"the dependency group '{name}' includes itself",
            where=path,
            hint=f"break the circle: {' -> '.join((*outer, name))}",
        )
    items = _section(declared, name, path, "dependency group")
    lines: list[str] = []
    for item in items if isinstance(items, list) else _strings(items, name, path):
        if isinstance(item, dict) and list(item) == ["include-group"]:
            lines += _group(declared, str(item["include-group"]), path, (*outer, name))
        else:
            lines += _strings([item], name, path)
    return lines
