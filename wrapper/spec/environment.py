"""``env.yml``, the format of ``conda env create``."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.reader import ReaderError

from wrapper.errors import InputError
from wrapper.models import EnvironmentSpec, Located
from wrapper.spec.names import why_not

_EXAMPLE_HINT = "an env.yml has 'channels:' and 'dependencies:', see docs/users.md"
_IGNORED = ("name", "prefix")
_KNOWN = (*_IGNORED, "channels", "dependencies", "variables")
_DEFAULT_CHANNELS = ("conda-forge",)
# conda's words for its own configuration. "defaults" are Anaconda's channels, which need a licence
# in most organisations: who has one names their URLs.
_NO_CHANNELS = ("defaults", "nodefaults")


def parse_environment(text: str, path: Path) -> EnvironmentSpec:
    """Parse the text of an ``env.yml``.

    :param path: where the text is from, for messages and relative paths.
    :raises InputError: with file, line and column, where the text is not an environment.
    """
    keys = _top_level(text, path)
    values = {name: value for name, (_, value) in keys.items()}
    specs, pip_lines = _dependencies(values.get("dependencies"), path)
    channels = tuple(
        _scalar(item, path, "a channel")
        for item in _sequence(values.get("channels"), path, "channels")
    )
    notes = [f"'{key}:' of {path.name} is ignored" for key in _IGNORED if key in keys]
    if "defaults" in channels:
        notes.append(f"the channel 'defaults' of {path.name} is left out: name its URLs to use it")
    if not set(channels) - set(_NO_CHANNELS):
        notes.append(f"no channels in {path.name}: using {', '.join(_DEFAULT_CHANNELS)}")
    return EnvironmentSpec(
        source=path,
        specs=specs,
        channels=tuple(c for c in channels if c not in _NO_CHANNELS) or _DEFAULT_CHANNELS,
        pip_lines=pip_lines,
        variables=_variables(values.get("variables"), path),
        notes=tuple(notes),
        warnings=tuple(
            f"{path}:{_line(key)}: unknown key '{name}' is ignored"
            for name, (key, _) in keys.items()
            if name not in _KNOWN
        ),
    )


def _top_level(text: str, path: Path) -> dict[str, tuple[Node, Node]]:
    """The top-level keys: name -> the nodes of key and value."""
    root = _compose(text, path)
    if not isinstance(root, MappingNode):
        raise InputError(
            f"{path.name} is " + ("empty" if root is None else "not a mapping of keys to values"),
            where=_place(root, path) if root else f"{path}, line 1, column 1",
            hint=_EXAMPLE_HINT,
        )
    keys: dict[str, tuple[Node, Node]] = {}
    for key, value in root.value:
        name = _scalar(key, path, "a key")
        if name in keys:
            raise InputError(
                f"'{name}:' is there twice",
                where=_place(key, path),
                hint=f"the first is in line {_line(keys[name][0])}: join them",
            )
        keys[name] = (key, value)
    return keys


def _compose(text: str, path: Path) -> Node | None:
    try:
        root: Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{path}, line {mark.line + 1}, column {mark.column + 1}" if mark else str(path)
        raise InputError(
            f"{path.name} is not valid YAML: {error.problem}",
            where=place,
            hint="check indentation and quotes there",
        ) from None
    except ReaderError as error:
        before = text[: error.position]
        column = len(before) - before.rfind("\n")
        raise InputError(
            f"{path.name} is not valid YAML: it contains the character U+{error.character:04X}",
            where=f"{path}, line {before.count(chr(10)) + 1}, column {column}",
            hint="remove that character",
        ) from None
    return root


def _dependencies(node: Node | None, path: Path) -> tuple[tuple[Located, ...], tuple[str, ...]]:
    specs: list[Located] = []
    pip_lines: list[str] = []
    for item in _sequence(node, path, "dependencies"):
        if isinstance(item, MappingNode):
            pip_lines += _pip_section(item, path)
        else:
            specs.append(Located(text=_scalar(item, path, "a dependency"), line=_line(item)))
    if not specs:
        raise InputError(
            f"{path.name} has " + ("only pip dependencies" if pip_lines else "no dependencies"),
            where=path if node is None else _place(node, path),
            hint="list at least one package under 'dependencies:', for example python",
        )
    return tuple(specs), tuple(pip_lines)


def _pip_section(node: MappingNode, path: Path) -> list[str]:
    lines: list[str] = []
    for key, value in node.value:
        name = _scalar(key, path, "a dependency")
        if name != "pip":
            raise InputError(
                f"a dependency must be a string, found a mapping with the key '{name}'",
                where=_place(key, path),
                hint=f"write '{name}=VERSION' in one word; only 'pip:' opens a list",
            )
        lines += [
            _scalar(item, path, "a pip requirement") for item in _sequence(value, path, "pip")
        ]
    return lines


def _variables(node: Node | None, path: Path) -> dict[str, str]:
    if node is None or _is_null(node):
        return {}
    if not isinstance(node, MappingNode):
        raise InputError(
            "'variables:' must be a mapping of names to values",
            where=_place(node, path),
            hint="write 'NAME: value' lines below it",
        )
    variables: dict[str, str] = {}
    for key, value in node.value:
        name = _scalar(key, path, "a variable's name")
        if reason := why_not(name):
            raise InputError(
                f"'{name}' cannot be the name of an environment variable",
                where=_place(key, path),
                hint=reason,
            )
        if not isinstance(value, ScalarNode) or re.search(r"[\x00\ud800-\udfff]", value.value):
            raise InputError(
                f"the value of '{name}' must be one string that a variable can hold",
                where=_place(value, path),
                hint="put it in quotes",
            )
        variables[name] = value.value
    return variables


def _sequence(node: Node | None, path: Path, what: str) -> list[Node]:
    if node is None or _is_null(node):
        return []
    if not isinstance(node, SequenceNode):
        raise InputError(
            f"'{what}:' must be a list",
            where=_place(node, path),
            hint="start each entry with '- '",
        )
    return list(node.value)


def _scalar(node: Node, path: Path, what: str) -> str:
    is_scalar = isinstance(node, ScalarNode)
    if not is_scalar or node.tag != "tag:yaml.org,2002:str" or not node.value.strip():
        kind = type(node).__name__.removesuffix("Node").lower()
        found = (node.value.strip() or "nothing") if is_scalar else f"a {kind}"
        raise InputError(
            f"{what} must be a string, found {found}",
            where=_place(node, path),
            hint="put it in quotes, or check the indentation",
        )
    value: str = node.value
    return value.strip()


def _is_null(node: Node) -> bool:
    return isinstance(node, ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def _place(node: Node, path: Path) -> str:
    return f"{path}, line {_line(node)}, column {node.start_mark.column + 1}"


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1
