"""The prefix as the home of an environment's Python.

What a program writes down to be started later names ``sys.executable`` or ``sys.prefix``. These are
to be paths of the prefix, where there are shims outside and the real programs inside. Started as
``DIR/bin/python`` Python finds them itself (see :mod:`wrapper.prefix.staging`). Started by its path
inside the image, which is in the first lines of scripts, it is told by a line in ``site-packages``,
which costs other starts a fraction of a millisecond (measured in a virtual environment: 0.4 of
13.8).

A virtual environment that is made of another one stands on the Python below both. Here the Python
below may exist in the container only, and the packages that count are in the image. So a virtual
environment in the image has a library like a Python of its own, links to the real one's: what is
made of it stands on it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path

from wrapper.installed import site_packages
from wrapper.prefix.checks import OWN_NAMES

_LINE, _MODULE = "containerize.pth", "_containerize_start"


def put_line(tree: Path, root: str, place: str) -> None:
    """Let the tree's Python speak of the prefix, whichever path it is started by.

    :param root: where the tree is inside. :param place: what the links of the prefix call that.
    """
    code = (files("wrapper") / "templates" / "started-inside.py").read_text()
    started = f"(sys.executable or '').startswith({root + '/bin/'!r})"
    line = f"import sys; {started} and __import__({_MODULE!r}).settle({place!r})\n"
    for site in site_packages(tree):
        if not os.access(site, os.W_OK):  # a copy of somebody's installation may forbid it
            continue
        _write(site / _LINE, line)
        _write(site / f"{_MODULE}.py", code)


def _write(path: Path, text: str) -> None:
    """What is there already keeps its time: it was compiled."""
    if not path.is_file() or path.read_text() != text:
        path.unlink(missing_ok=True)
        path.write_text(text)


def link_library(tree: Path, library: Path, names: Iterable[str], include: Path | None) -> None:
    """Let a virtual environment have a standard library, as links.

    :param library: of the Python that it is made of, inside. :param names: what is in that.
    :param include: directory of that Python's header files, if there is one.
    """
    own, headers = tree / "lib" / library.name, tree / "include"
    # A directory that stays packed in an update is a link meanwhile, and has it all.
    for name in names if own.is_dir() else ():
        link(own / name, library / name)
    if include and not headers.is_symlink():
        headers.mkdir(exist_ok=True)
        with contextlib.suppress(OSError):  # venv makes an empty one
            (headers / include.name).rmdir()
        link(headers / include.name, include)


def link(path: Path, target: Path | str) -> None:
    """A link, where nothing is there."""
    if not os.path.lexists(path):
        path.symlink_to(target)


def pythons(tree: Path, programs: Mapping[str, str]) -> dict[str, str]:
    """The names of ``bin/python3`` among an installation's programs, each by itself.

    :param programs: name -> path below the tree.
    """
    real = os.path.realpath(tree / "bin/python3")
    return {
        name: name
        for name, path in programs.items()
        if name.startswith("python") and path == f"bin/{name}"
        if os.path.realpath(tree / path) == real
    }


def has_library(tree: Path) -> bool:
    """Whether the tree has a Python with a standard library of its own."""
    return any((site.parent / "os.py").is_file() for site in site_packages(tree))


def take_away(tree: Path) -> None:
    """Remove what the functions above made, of an environment that is changed as a whole."""
    for site in site_packages(tree):
        for path in (site / _LINE, site / f"{_MODULE}.py"):
            path.unlink(missing_ok=True)
        for path in (*site.parent.iterdir(), tree / "include" / site.parent.name):
            if path.is_symlink() and path.readlink().parent.name in (site.parent.name, "include"):
                path.unlink()


def entries(names: Iterable[str]) -> tuple[str, ...]:
    """Of what is in an environment that for which a prefix has a link.

    What the prefix has of that name otherwise (``bin``, ``share``) is made in another way. A mark
    that uv leaves would keep the prefix out of backups.
    """
    shown = {name for name in names if not name.startswith(".")}
    return ("lib", *sorted(shown - OWN_NAMES - {"current", "CACHEDIR.TAG"}))
