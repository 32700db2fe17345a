"""YAML files of users, read so that every error names its line and column."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from yaml.constructor import ConstructorError, SafeConstructor
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.reader import ReaderError

from wrapper.errors import InputError

# Nodes of a document with its aliases written out: the largest lock we know has 200,000.
_MOST_NODES = 2_000_000
_LONG = 200_000  # characters that PyYAML's own parser reads in about a second
_UNFIT = re.compile("[\ud800-\udfff]")
_NESTING = "exceeded maximum nesting depth"  # libyaml's, 1,000


def top_level(
    text: str, path: Path, hint: str, *, may_be_empty: bool = False
) -> dict[str, tuple[Node, Node]]:
    """The top-level keys: name -> the nodes of key and value."""
    root = compose(text, path)
    if root is None and may_be_empty:  # all of it may be commented out
        return {}
    if not isinstance(root, MappingNode):
        raise InputError(
            f"{path.name} is " + ("empty" if root is None else "not a mapping of keys to values"),
            where=place(root, path) if root else f"{path}, line 1, column 1",
            hint=hint,
        )
    keys: dict[str, tuple[Node, Node]] = {}
    for key, value in root.value:
        name = scalar(key, path, "a key")
        if name in keys:
            raise InputError(
                f"'{name}:' is there twice",
                where=place(key, path),
                hint=f"the first is in line {line(keys[name][0])}: join them",
            )
        keys[name] = (key, value)
    return keys


def compose(text: str, path: Path) -> Node | None:
    """The root of a document, ``None`` of an empty one."""
    try:
        root = _composed(text)
    except yaml.MarkedYAMLError as error:
        unclosed = "end of stream" in str(error.problem) and "quoted" in str(error.context)
        mark = error.context_mark if unclosed else error.problem_mark
        at = f"{path}, line {mark.line + 1}, column {mark.column + 1}" if mark else str(path)
        raise InputError(
            f"{path.name} is not valid YAML: "
            + ("a quote is not closed" if unclosed else str(error.problem)),
            where=at,
            hint="indent with blanks, not with tabs"
            if "'\\t'" in str(error.problem)
            else "check indentation, quotes and the blank after each ':' there and above",
        ) from None
    except ReaderError as error:
        before = text[: error.position]
        column = len(before) - before.rfind("\n")
        raise InputError(
            f"{path.name} is not valid YAML: it contains the character U+{error.character:04X}",
            where=f"{path}, line {before.count(chr(10)) + 1}, column {column}",
            hint="remove that character",
        ) from None
    except RecursionError:
        raise InputError(
            f"{path.name} is not valid here: its lists are nested too deeply",
            where=path,
            hint="is it the right file?",
        ) from None
    if root is not None:
        _refuse_harm(root, path)
    return root


def _composed(text: str) -> Node | None:
    """By libyaml, which is fast; what it refuses by PyYAML, whose messages name the place."""
    root: Node | None
    try:
        root = yaml.compose(text, Loader=yaml.CSafeLoader)
    except yaml.YAMLError as error:
        if _NESTING in str(error):
            raise RecursionError from None
        if len(text) > _LONG:
            raise
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    return root


def _refuse_harm(root: Node, path: Path) -> None:
    """:raises InputError: with its aliases written out, the document is huge or has no end; or an
    escape in it stands for what is no character.
    """
    sizes: dict[int, int] = {}
    opened: set[int] = set()
    todo = [root]
    while todo:
        node = todo[-1]
        children = _children(node)
        if isinstance(node, ScalarNode) and (unfit := _UNFIT.search(node.value)):
            raise InputError(
                f"{path.name} has the character U+{ord(unfit[0]):04X}, which no name can have",
                where=place(node, path),
                hint="remove that character",
            )
        if id(node) not in opened:
            opened.add(id(node))
            todo += [child for child in children if id(child) not in opened]
            continue
        todo.pop()
        # A child that is open and has no size yet is one of those around this node.
        size = 1 + sum(sizes.get(id(child), _MOST_NODES) for child in children)
        if size > _MOST_NODES:
            raise InputError(
                f"{path.name} refers to its own parts so often that it grows without bounds",
                where=place(node, path),
                hint="write out what '*' stands for",
            )
        sizes[id(node)] = size


def _children(node: Node) -> list[Node]:
    if isinstance(node, MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, SequenceNode) else []


def plain(node: Node, path: Path) -> object:
    """A node as Python's own values. :raises InputError: it has a tag that YAML itself lacks."""
    try:
        return SafeConstructor().construct_object(node, deep=True)
    except (ConstructorError, ValueError, TypeError) as error:
        raise InputError(
            f"a value of {path.name} cannot be read: {error}",
            where=place(node, path),
            hint="put it in quotes",
        ) from None


def sequence(node: Node | None, path: Path, what: str) -> list[Node]:
    """The items of a list, none of a missing one. :raises InputError: it is something else."""
    if node is None or is_null(node):
        return []
    if not isinstance(node, SequenceNode):
        raise InputError(
            f"'{what}:' must be a list",
            where=place(node, path),
            hint="start each entry with '- '",
        )
    return list(node.value)


def scalar(node: Node, path: Path, what: str) -> str:
    """A string. :raises InputError: it is empty or something else."""
    is_scalar = isinstance(node, ScalarNode)
    if not is_scalar or node.tag != "tag:yaml.org,2002:str" or not node.value.strip():
        kind = type(node).__name__.removesuffix("Node").lower()
        found = (node.value.strip() or "nothing") if is_scalar else f"a {kind}"
        raise InputError(
            f"{what} must be a string, found {found}",
            where=place(node, path),
            hint="put it in quotes, or check the indentation",
        )
    value: str = node.value
    return value.strip()


def is_null(node: Node) -> bool:
    return isinstance(node, ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def place(node: Node, path: Path) -> str:
    """Where a node stands, for messages."""
    return f"{path}, line {line(node)}, column {node.start_mark.column + 1}"


def places(node: Node, path: Path) -> dict[str, str]:
    """Where each key of a mapping stands; nothing of another node, or of keys merged into it."""
    pairs = node.value if isinstance(node, MappingNode) else ()
    return {str(key.value): place(key, path) for key, _ in pairs}


def all_places(node: Node, path: Path, name: str) -> dict[str, str]:
    """Where the keys of a table and of those in it stand, by their names joined with dots.

    :param name: the key of the table itself.
    """
    found: dict[str, str] = {}
    for key, value in node.value if isinstance(node, MappingNode) else ():
        dotted = f"{name}.{key.value}"
        found[dotted] = place(key, path)
        found |= all_places(value, path, dotted)
    return found


def line(node: Node) -> int:
    """The line that a node begins in, counted from 1."""
    return int(node.start_mark.line) + 1
