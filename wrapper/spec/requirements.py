"""pip's inputs: requirements files, ``pyproject.toml``, and our lock of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

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
    lines = list(project.get("dependencies", ()))
    optional = project.get("optional-dependencies", {})
    declared = data.get("dependency-groups", {})
    for extra in extras:
        lines += _section(optional, extra, path, "extra")
    for group in groups:
        lines += _group(declared, group, path)
    return tuple(lines)


def _section(table: dict[str, list[str]], name: str, path: Path, what: str) -> list[str]:
    if name not in table:
        raise InputError(
            f"{path.name} has no {what} '{name}'",
            where=path,
            hint=f"it has: {', '.join(table) or 'none'}",
        )
    return list(table[name])


def _group(declared: dict[str, list[object]], name: str, path: Path) -> list[str]:
    lines: list[str] = []
    for item in _section(declared, name, path, "dependency group"):  # type: ignore[arg-type]
        if isinstance(item, dict):
            lines += _group(declared, str(item["include-group"]), path)
        else:
            lines.append(item)
    return lines
