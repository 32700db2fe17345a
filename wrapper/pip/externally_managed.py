"""The notice by which pip and uv leave an installation alone, and say what to do instead.

A file ``EXTERNALLY-MANAGED`` beside the standard library makes them refuse to install into that
Python or to remove from it (PEP 668). Virtual environments on top, ``--target``, ``--prefix`` and
``pip download`` are not concerned, and ``--break-system-packages`` overrides it. It is there only
while nothing is built: scripts of a build run pip themselves. In a virtual environment they do not
look for it: there the shim refuses (``templates/shim.sh``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_NAME = "EXTERNALLY-MANAGED"
_PROGRAMS = ("pip", "pip3")
_STAND_IN_MARK = b"# Written by containerize, there is no pip."
_STAND_IN = (
    "#!{python}\n"
    + _STAND_IN_MARK.decode()
    + """
import importlib.util
import runpy
import sys

if importlib.util.find_spec("pip") is None:
    sys.exit("this environment has no pip; bin/list-packages lists its packages\\n\\n" + {advice!r})
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""
)
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
    """Remove what :func:`put_notice` and :func:`put_pip` wrote."""
    for library in _libraries(tree):
        notice = library / _NAME
        if notice.is_file() and notice.read_text(errors="replace").startswith(_HEAD):
            notice.unlink()
    for program in (tree / "bin" / name for name in _PROGRAMS):
        if program.is_file() and _STAND_IN_MARK in program.read_bytes():
            program.unlink()


def put_pip(tree: Path, install_path: str, advice: str) -> None:
    """Give an environment that has Python and no pip a program of that name.

    The next pip on PATH would answer otherwise, and change another Python than this one. Where
    ``python3 -m pip`` finds one (that of the Python below), it is called.
    """
    folder = tree / "bin"
    python = folder / "python3"
    if not os.path.lexists(python):
        return
    text = _STAND_IN.format(python=f"{install_path}/bin/python3", advice=advice)
    for name in _PROGRAMS:
        if not os.path.lexists(folder / name):
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)


def _libraries(tree: Path) -> Iterator[Path]:
    """Standard libraries (a virtual environment has none of its own)."""
    for library in sorted((tree / "lib").glob("python3*")):
        own = not library.is_symlink() and not (library / "os.py").is_symlink()
        if own and (library / "os.py").is_file():
            yield library
