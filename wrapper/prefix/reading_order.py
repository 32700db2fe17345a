"""The order in which a recorded program opens the files of an image: a record of a generation.

A path a line, as it is in the image, without a first slash. Images are written in this order, by
updates too; paths that are not there any more do not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wrapper import layout
from wrapper.util import foreign


def read_order(directory: Path | None) -> list[str]:
    """The order that a generation has; nothing where none was recorded."""
    try:
        text = foreign.read_bytes(directory / layout.READING) if directory else b""
    except OSError:
        return []
    return [line for line in text.decode("utf-8", "surrogateescape").split("\n") if line]


def write_order(directory: Path, order: Sequence[str]) -> None:
    """Record an order, if there is any."""
    if lines := [f"{path}\n" for path in order if "\n" not in path]:
        text = "".join(lines).encode("utf-8", "surrogateescape")
        (directory / layout.READING).write_bytes(text)
