"""TOML, with the standard library where it has a parser (Python 3.11)."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any

from wrapper.errors import InputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Table = dict[str, Any]
"""A table as it was read; who takes something out of it looks what it is."""


def loads(text: str) -> Table:
    """Parse a text that a tool wrote."""
    return tomllib.loads(text)


@functools.cache
def beside(module: str) -> Table:
    """The data of a module of ours. :param module: its file; the data are in NAME.toml there."""
    return loads(Path(module).with_suffix(".toml").read_text(encoding="utf-8"))


def load(path: Path) -> Table:
    """Parse a user's file. :raises InputError: it is not TOML (with line and column)."""
    return parse(path.read_bytes(), path)


def parse(content: str | bytes, path: Path) -> Table:
    """The same of a file that was read."""
    try:
        text = content if isinstance(content, str) else content.decode("utf-8-sig")
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # of TOML's grammar, or of UTF-8
        raise InputError(
            f"{path.name} is not valid TOML: {error}", where=path, hint="correct it there"
        ) from None
