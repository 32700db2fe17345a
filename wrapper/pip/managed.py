"""The notice by which pip and uv leave an installation alone, and say what to do instead.

A file ``EXTERNALLY-MANAGED`` beside the standard library makes them refuse to install into that
Python or to remove from it (PEP 668). Virtual environments on top, ``--target``, ``--prefix`` and
``pip download`` are not concerned, and ``--break-system-packages`` overrides it. It is there only
while nothing is built: scripts of a build run pip themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_NAME = "EXTERNALLY-MANAGED"
_HEAD = "# Written by containerize.\n[externally-managed]\nError="


def put_notice(tree: Path, advice: str) -> None:
    """Write the notice for the Pythons of ``tree``; one that a package brought stays.

    :param advice: what a user is to do instead, lines that need no indentation (pip drops it).
    """
    text = _HEAD + "\n ".join(advice.splitlines()) + "\n"  # a value goes on in indented lines
    for library in _libraries(tree):
        if not (library / _NAME).exists():
            (library / _NAME).write_text(text)


def take_notice_away(tree: Path) -> None:
    """Remove what :func:`put_notice` wrote."""
    for library in _libraries(tree):
        notice = library / _NAME
        if notice.is_file() and notice.read_text(errors="replace").startswith(_HEAD):
            notice.unlink()


def _libraries(tree: Path) -> Iterator[Path]:
    """Standard libraries (a virtual environment has none of its own)."""
    for library in sorted((tree / "lib").glob("python3*")):
        if not library.is_symlink() and (library / "os.py").is_file():
            yield library
