"""Files that were given to the wrong command: what they are, and which command takes them."""

from __future__ import annotations

import functools
import re
from pathlib import Path

from wrapper.errors import InputError
from wrapper.inputs.conda_list import is_export
from wrapper.inputs.explicit import is_explicit
from wrapper.inputs.lockfile import is_lock
from wrapper.inputs.pixi_lock import is_pixi_lock
from wrapper.inputs.pylock import is_pylock, is_uv_lock
from wrapper.util import toml

_REQUIREMENT = re.compile(
    r"-{1,2}[a-z][\w-]*([ =].*)?"  # an option
    r"|(\.{0,2}/|git\+|https?://)\S+"  # a path, a repository, a URL
    # NAME[EXTRA]>=VERSION; MARKER
    r"|[A-Za-z0-9][\w.-]*\s*(\[[^]]*\])?\s*((===?|[<>!~]=?|@)\s*\S.*)?(;.*)?"
)
_CONDA_KEYS = re.compile(r"^(dependencies|channels):", re.M)
_PROJECT = re.compile(r"^\[(project|build-system|dependency-groups|tool\.[\w.-]+)\]\s*$", re.M)


_data = functools.partial(toml.beside, __file__)
_PIXI = re.compile(r"^\[tool\.pixi\.", re.M)


def refuse_others(text: str, path: Path) -> None:
    """:raises InputError: a file is of a tool that has to make another one of it, or no list of
    packages at all.
    """
    for kind in _data()["strange"]:
        if found := re.search(kind["told"], text):
            place = f"{path}, line {text.count(chr(10), 0, found.start()) + 1}"
            raise InputError(f"{path.name} {kind['what']}", where=place, hint=kind["hint"])
    for kind in (_data()["pixi"], *_data()["others"]):
        if re.search(kind["told"], text):
            raise _of_another_tool(kind, path)


def _of_another_tool(kind: toml.Table, path: Path) -> InputError:
    what = f"{path.name} is {kind['what']}, which is not read"
    return InputError(what, where=path, hint=kind["hint"])


def refuse_pips(text: str, path: Path) -> None:
    """:raises InputError: a file for ``conda-containerize`` is one of pip's."""
    lines = [re.sub(r"(^|\s)#.*", "", line) for line in text.splitlines()]
    # One blank for many: the pattern would try every way to share them out.
    lines = [" ".join(line.split()) for line in lines if line.strip()]
    if lines and all(map(_REQUIREMENT.fullmatch, lines)):
        raise InputError(
            f"{path.name} is a requirements file of pip, not a conda environment",
            where=path,
            hint="use pip-containerize, or give it with -r besides an env.yml",
        )
    if _PIXI.search(text):
        raise _of_another_tool(_data()["pixi"], path)
    if is_pylock(text) or is_uv_lock(text):
        raise InputError(
            f"{path.name} locks pip packages, not a conda environment",
            where=path,
            hint="use pip-containerize, or give it with -r besides an env.yml",
        )
    refuse_projects(text, path, "use pip-containerize")


def refuse_projects(
    text: str, path: Path, hint: str = "give it by itself, as -r pyproject.toml"
) -> None:
    """:raises InputError: a file is a ``pyproject.toml`` where none can be."""
    if _PROJECT.search(text):
        raise InputError(
            f"{path.name} is a Python project's file, not a list of packages",
            where=path,
            hint=hint,
        )


def refuse_condas(text: str, path: Path) -> None:
    """:raises InputError: a requirements file is one for ``conda-containerize``."""
    if (
        is_explicit(text)
        or is_export(text)
        or is_lock(text)
        or is_pixi_lock(text)
        or _CONDA_KEYS.search(text)
    ):
        raise InputError(
            f"{path.name} describes a conda environment, not pip packages",
            where=path,
            hint="use conda-containerize",
        )
