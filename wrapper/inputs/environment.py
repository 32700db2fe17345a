"""``env.yml``, the format of ``conda env create``."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from yaml.nodes import MappingNode, Node, ScalarNode

from wrapper.errors import InputError
from wrapper.inputs.advice import for_conda, of_another, only_a_comment
from wrapper.inputs.variables import why_not
from wrapper.models import EnvironmentSpec, Located
from wrapper.util.yaml_nodes import is_null, line, place, scalar, sequence, top_level

_EXAMPLE_HINT = "an env.yml has 'channels:' and 'dependencies:', see docs/users.md"
_IGNORED = ("name", "prefix")
_EXTRAS = re.compile(r"^((?:[^\s:\[]+::)?[\w.-]+)\[[\w., -]*\]")  # pip's: conda's have a '='
_VARIABLE = re.compile(r"\$\{(\w+)\}")
_TEMPLATE = re.compile(r"^[ \t]*\{%", re.M)
_KNOWN = (*_IGNORED, "channels", "dependencies", "variables")
_MEANT = {"packages", "requirements", "requires"}  # what is written for 'dependencies'


def parse_environment(text: str, path: Path, platform: str | None = None) -> EnvironmentSpec:
    """Parse the text of an ``env.yml``.

    :param path: where the text is from, for messages and relative paths. :param platform: for
        which it is meant, ``None`` for this machine's.
    :raises InputError: with file, line and column, where the text is not an environment.
    """
    if template := _TEMPLATE.search(text):
        raise InputError(
            f"{path.name} is a template, which another program fills in",
            where=f"{path}, line {text.count(chr(10), 0, template.end()) + 1}",
            hint="give the file that it makes of it",
        )
    keys = top_level(text, path, _EXAMPLE_HINT)
    values = {name: value for name, (_, value) in keys.items()}
    if "dependencies" not in keys:
        _refuse_typing_error(keys, path)
    asked, pip = _dependencies(values.get("dependencies"), path)
    specs = tuple(replace(one, text=_EXTRAS.sub(r"\1", one.text)) for one in asked)
    channels = tuple(
        _channel(item, path) for item in sequence(values.get("channels"), path, "channels")
    )
    notes = [f"'{key}:' of {path.name} is ignored" for key in _IGNORED if key in keys]
    return EnvironmentSpec(
        source=path,
        specs=specs,
        channels=tuple(c for c in channels if c != "nodefaults"),  # a word to conda, no channel
        pip_lines=tuple(one.text for one in pip),
        pip_places=tuple(f"{path}, line {one.line}" for one in pip),
        variables=_variables(values.get("variables"), path),
        notes=tuple(notes),
        warnings=tuple(
            f"{path}:{line(key)}: {_unknown(name)}"
            for name, (key, _) in keys.items()
            if name not in _KNOWN
        )
        + _selectors(text, path, platform)
        + tuple(
            f"{path}:{one.line}: conda passes over the extras of '{one.text}': write it below "
            "'pip:', or name what they need"
            for one in asked
            if _EXTRAS.match(one.text)
        ),
    )


def _refuse_typing_error(keys: Mapping[str, tuple[Node, Node]], path: Path) -> None:
    """:raises InputError: ``dependencies`` is missing, and a key looks as if it should be that."""
    if "package" in keys and "requirements" in keys:
        raise InputError(
            f"{path.name} is a recipe, from which a conda package is built",
            where=path,
            hint="build it, and name the package in an env.yml",
        )
    for name, (key, _) in keys.items():
        if name not in _KNOWN and (name in _MEANT or _near(name, ("dependencies",))):
            raise InputError(
                f"{path.name} has no 'dependencies:', but '{name}:'",
                where=place(key, path),
                hint="correct the key to 'dependencies:'",
            )


def _selectors(text: str, path: Path, platform: str | None) -> tuple[str, ...]:
    """Warnings of recipes' selectors for other systems, which are comments in an env.yml."""
    return tuple(
        f"{path}:{number}: {only_a_comment(found)}"
        for number, line in enumerate(text.splitlines(), 1)
        if not line.lstrip().startswith("#") and (found := of_another(line, platform))
    )


def _unknown(name: str) -> str:
    if name == "pip":
        return "'pip:' stands beside 'dependencies:' and is ignored: write '- pip:' below it"
    return f"unknown key '{name}' is ignored{_near(name, _KNOWN)}"


def _channel(node: Node, path: Path) -> str:
    """A channel, with variables (``${TOKEN}``) filled in, as pip does in its files."""
    text = scalar(node, path, "a channel")
    for name in _VARIABLE.findall(text):
        if not os.environ.get(name):  # an empty token is none
            state = "empty" if name in os.environ else "not set"
            raise InputError(
                f"the channel needs the variable {name}, which is {state}",
                where=place(node, path),
                hint=f"export {name} before the command",
            )
    return _VARIABLE.sub(lambda found: os.environ[found[1]], text)


def _near(name: str, known: Sequence[str]) -> str:
    """A question for who mistyped a key."""
    near = difflib.get_close_matches(name, known, 1)
    return f"; did you mean '{near[0]}'?" if near else ""


def _dependencies(node: Node | None, path: Path) -> tuple[tuple[Located, ...], list[Located]]:
    specs: list[Located] = []
    pip: list[Located] = []
    for item in sequence(node, path, "dependencies"):
        if isinstance(item, MappingNode):
            pip += _pip_section(item, path)
        else:
            text = _dependency(item, path)
            if re.search(r"\s-\s", text):  # YAML joins lines that are indented deeper
                raise InputError(
                    f"'{text}' looks like two entries in one",
                    where=place(item, path),
                    hint="let the '-' of all dependencies stand in the same column",
                )
            if advice := for_conda(text):
                raise InputError(
                    f"'{text}' is no package of conda's", where=place(item, path), hint=advice
                )
            specs.append(Located(text=text, line=line(item)))
    if not specs:
        raise InputError(
            f"{path.name} has " + ("only pip dependencies" if pip else "no dependencies"),
            where=path if node is None else place(node, path),
            hint="list at least one package under 'dependencies:', for example python",
        )
    return tuple(specs), pip


def _dependency(node: Node, path: Path) -> str:
    if isinstance(node, ScalarNode) and re.fullmatch(r"\d+(\.\d+)*", node.value):
        raise InputError(
            f"a dependency must be a string, found {node.value}",
            where=place(node, path),
            hint=f"write a version behind its package: NAME={node.value}",
        )
    return scalar(node, path, "a dependency")


def _pip_section(node: MappingNode, path: Path) -> list[Located]:
    lines: list[Located] = []
    for key, value in node.value:
        name = scalar(key, path, "a dependency")
        if selector := re.fullmatch(r"sel\((.+)\)", name):
            package = scalar(value, path, "a dependency")
            raise InputError(
                f"'{name}: {package}' is a selector of anaconda-project, which conda does not read",
                where=place(key, path),
                hint=f"write '- {package}'"
                if selector[1].startswith(("linux", "unix"))
                else "remove the line: it is not for Linux",
            )
        if name != "pip":
            version = value.value if isinstance(value, ScalarNode) and value.value else "VERSION"
            hint = f"write '{name}={version}' in one word; only 'pip:' opens a list"
            if name == "if":
                hint = "that is a recipe's: write the packages for Linux"
            elif re.match(r"pip *[=<>!~]", name):
                hint = f"write '- {name}', and in a line below it '- pip:' with the list"
            raise InputError(
                f"a dependency must be a string, found a mapping with the key '{name}'",
                where=place(key, path),
                hint=hint,
            )
        for item in sequence(value, path, "pip"):
            lines.append(Located(text=_requirement(item, path), line=line(item)))
    return lines


def _requirement(node: Node, path: Path) -> str:
    if isinstance(node, MappingNode) and len(node.value) == 1:
        name, version = (part.value for part in node.value[0])
        if isinstance(name, str) and isinstance(version, str):
            raise InputError(
                f"a pip requirement must be a string, found a mapping with the key '{name}'",
                where=place(node, path),
                hint=f"write '{name}=={version or 'VERSION'}', without the colon",
            )
    return scalar(node, path, "a pip requirement")


def _variables(node: Node | None, path: Path) -> dict[str, str]:
    if node is None or is_null(node):
        return {}
    if not isinstance(node, MappingNode):
        raise InputError(
            "'variables:' must be a mapping of names to values",
            where=place(node, path),
            hint="write 'NAME: value' lines below it",
        )
    variables: dict[str, str] = {}
    for key, value in node.value:
        name = scalar(key, path, "a variable's name")
        if reason := why_not(name):
            raise InputError(
                f"'{name}' cannot be the name of an environment variable",
                where=place(key, path),
                hint=reason,
            )
        if not isinstance(value, ScalarNode) or re.search(r"[\x00\ud800-\udfff]", value.value):
            raise InputError(
                f"the value of '{name}' must be one string that a variable can hold",
                where=place(value, path),
                hint="put it in quotes",
            )
        variables[name] = value.value
    return variables
