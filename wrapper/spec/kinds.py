"""Files that were given to the wrong command: what they are, and which command takes them."""

from __future__ import annotations

import re
from pathlib import Path

from wrapper.errors import InputError
from wrapper.spec.conda_list import is_export
from wrapper.spec.explicit import is_explicit
from wrapper.spec.lockfile import is_lock

_REQUIREMENT = re.compile(
    r"-{1,2}[a-z][\w-]*([ =].*)?"  # an option
    r"|(\.{0,2}/|git\+|https?://)\S+"  # a path, a repository, a URL
    # NAME[EXTRA]>=VERSION; MARKER
    r"|[A-Za-z0-9][\w.-]*\s*(\[[^]]*\])?\s*((===?|[<>!~]=?|@)\s*\S.*)?(;.*)?"
)
_CONDA_KEYS = re.compile(r"^dependencies:", re.M)
_PROJECT = re.compile(r"^\[(project|build-system|dependency-groups|tool\.[\w.-]+)\]\s*$", re.M)


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
    if _PROJECT.search(text):
        raise InputError(
            f"{path.name} is a Python project's file, not a conda environment",
            where=path,
            hint="use pip-containerize",
        )


def refuse_condas(text: str, path: Path) -> None:
    """:raises InputError: a requirements file is one for ``conda-containerize``."""
    if is_explicit(text) or is_export(text) or is_lock(text) or _CONDA_KEYS.search(text):
        raise InputError(
            f"{path.name} describes a conda environment, not pip packages",
            where=path,
            hint="use conda-containerize",
        )
