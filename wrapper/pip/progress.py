"""What uv is at, told from its lines, for somebody who waits at a terminal."""

from __future__ import annotations

import re
from collections.abc import Callable

from wrapper.console import human_size

# As uv says it: "Downloading scipy (33.7MiB)", " Downloaded scipy", "   Building x @ URL".
_BEGUN = re.compile(
    r"\s*(Downloading|Building|Updating) (\S+)(?: .*?)??(?: \(([0-9.]+)(\w+)\))?\s*"
)
_ENDED = re.compile(r"\s*(?:Downloaded|Built|Updated) (\S+)(?: .*)?\s*")
_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_MOST = 3  # names at once


class UvProgress:
    """Sees uv's output line by line.

    :param show: gets what it is at: ``downloading scipy (35.3 MB), building x``; an empty text
        once that is done.
    """

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._under_way: dict[str, str] = {}

    def __call__(self, line: str) -> bool:
        """:returns: false: the line is for the log too."""
        if begun := _BEGUN.fullmatch(line):
            verb, name, number, unit = begun.groups()
            size = f" ({human_size(float(number) * _UNITS[unit])})" if unit in _UNITS else ""
            self._under_way[name] = f"{verb.lower()} {name}{size}"
        elif ended := _ENDED.fullmatch(line):
            self._under_way.pop(ended[1], None)
        else:
            return False
        told = [*self._under_way.values()]
        self._show(", ".join(told[:_MOST]) + (" …" if len(told) > _MOST else ""))
        return False
