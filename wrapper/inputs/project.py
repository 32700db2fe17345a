"""``pyproject.toml`` as a source of requirements: its dependencies, extras and groups."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from packaging.utils import InvalidName, canonicalize_name

from wrapper.errors import InputError
from wrapper.inputs.files import read_text

FILE_NAME = "pyproject.toml"


def project_lines(
    path: Path,
    extras: Sequence[str],
    groups: Sequence[str],
    read: Callable[[Path], str] = read_text,
) -> tuple[str, ...]:
    """Requirement lines that install what a ``pyproject.toml`` asks for, without the project.

    :param extras: of its optional dependencies. :param groups: of its dependency groups (PEP 735).
    :param read: gives the text of a file.
    :raises InputError: it is no project's file, or has no such extra or group.
    """
    from wrapper.util import toml

    data = toml.parse(read(path), path)
    project = data.get("project")
    if not isinstance(project, dict):
        raise InputError(
            f"{path.name} has no [project] table", where=path, hint="see PEP 621 for its keys"
        )
    dynamic = project.get("dynamic", [])
    if isinstance(dynamic, list) and "dependencies" in dynamic and not (extras or groups):
        raise InputError(
            f"the dependencies of {path.name} are dynamic: only a build of the project tells them",
            where=path,
            hint="give a requirements file with the project's directory in it (./NAME)",
        )
    lines = _strings(project.get("dependencies", []), "dependencies", path)
    optional = project.get("optional-dependencies", {})
    declared = data.get("dependency-groups", {})
    for extra in extras:
        lines += _strings(_section(optional, extra, path, "extra"), extra, path)
    for group in groups:
        lines += _group(declared, group, path, ())
    return tuple(lines)


def project_name(directory: Path) -> str | None:
    """The canonical name that a project's ``pyproject.toml`` says; ``None`` where only its build
    tells it, or what is wrong with it.
    """
    name = _written(directory, "name")
    try:
        return None if name is None else canonicalize_name(name, validate=True)
    except InvalidName:
        return None


def says_its_version(directory: Path) -> bool:
    """Whether a project's version is written in it. Others' comes from a repository, which does not
    count as content, or from anywhere.
    """
    return _written(directory, "version") is not None


def _written(directory: Path, key: str) -> str | None:
    """A text of a project's table ``[project]``, ``None`` where there is none."""
    from wrapper.util import toml

    path = directory / FILE_NAME
    try:
        project = toml.parse(read_text(path), path).get("project")
    except InputError:
        return None
    value = project.get(key) if isinstance(project, dict) else None
    return value if isinstance(value, str) else None


def passed_over(text: str) -> str:
    """What of a ``pyproject.toml`` has no effect here and would matter; empty where nothing is."""
    if re.search(r"^\[\[?tool\.uv\.(sources|index)", text, re.M):
        return (
            "[tool.uv.sources] and [[tool.uv.index]] are uv's and have no effect: let 'uv lock' "
            "make a uv.lock, and give that"
        )
    if found := re.search(r"^\[\[tool\.(pdm|poetry)\.source\]\]", text, re.M):
        return (
            f"[[tool.{found[1]}.source]] has no effect, the usual index is asked: let "
            f"'{found[1]} export -o requirements.txt' write what it has chosen, and give that"
        )
    return ""


def _section(table: object, name: str, path: Path, what: str) -> object:
    known = table if isinstance(table, dict) else {}
    if name not in known:
        raise InputError(
            f"{path.name} has no {what} '{name}'",
            where=path,
            hint=f"it has: {', '.join(known) or 'none'}",
        )
    return known[name]


def _strings(value: object, name: str, path: Path) -> list[str]:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return list(value)
    raise InputError(
        f"'{name}' must be a list of strings", where=path, hint="see PEP 621 and PEP 735"
    )


def _group(declared: dict[str, object], name: str, path: Path, outer: tuple[str, ...]) -> list[str]:
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
