"""Lists of conda packages that are no environment file: ``conda list --export`` and others' specs.

A line is a spec as ``conda create --file`` takes it, ``NAME=VERSION=BUILD`` in an export. An export
lists pip packages likewise, with the build ``pypi_0``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from wrapper import platforms
from wrapper.errors import InputError
from wrapper.models import EnvironmentSpec, Located

_EXPORT = "# This file may be used to create an environment using:"
_SPEC = re.compile(r"([\w.:/-]+::)?[A-Za-z0-9_][\w.-]*( ?[=<>!~].*| [\d*].*|\[\w+=.*\])?")
_CONDAS = re.compile(r"[\w.:/-]+::.*|[\w.-]+ ?=[^=].*|[\w.-]+\[\w+=.*")  # none of pip's
_CONDAS_OR_PYTHON = re.compile(rf"{_CONDAS.pattern}|python( ?[=<>!~].*)?")
_PIPS_NAME = re.compile(r"requirement|constraint|freeze|\bpip\b", re.I)
_PLATFORM = re.compile(r"# platform: ([\w-]+)")
_OF_PIP = re.compile(r"([^=\s]+)=([^=\s]+)=pypi_\d+")


def is_export(text: str) -> bool:
    """Whether ``conda list --export`` wrote it: a comment of its says so."""
    lines = (line.strip() for line in text.splitlines())
    first = next((line for line in lines if line and not line.startswith("#")), "")
    return _EXPORT in text and first != "@EXPLICIT" and bool(_SPEC.fullmatch(first))


def is_conda_list(text: str, path: Path) -> bool:
    """Whether each line is a spec, and at least one of them no requirement of pip's, or none
    pinned as pip's are (``==``), in a file that is not called as pip's are.
    """
    specs = [spec for spec, _ in _lines(text)]
    if not specs or not all(map(_SPEC.fullmatch, specs)):
        return False
    return _is_condas(text, path) or not (
        _PIPS_NAME.search(path.name) or any("==" in spec for spec in specs)
    )


def _is_condas(text: str, path: Path) -> bool:
    """Whether a list cannot be one of pip's, which has no Python."""
    known = _CONDAS if _PIPS_NAME.search(path.name) else _CONDAS_OR_PYTHON
    return is_export(text) or any(known.fullmatch(spec) for spec, _ in _lines(text))


def parse_conda_list(text: str, path: Path, wanted: str | None = None) -> EnvironmentSpec:
    """Parse a list that :func:`is_conda_list`; it names no channels.

    :param wanted: the platform, ``None`` for this machine's.
    :raises InputError: it is an export of another system's packages.
    """
    platform = _PLATFORM.search(text)
    if platform and platform[1] not in (wanted or platforms.here(), platforms.NOARCH):
        raise InputError(
            f"{path.name} lists packages for {platform[1]}",
            where=path,
            hint="take what was asked for there: conda env export --from-history > env.yml",
        )
    specs, pip = [], []
    for spec, number in _lines(text):
        if found := _OF_PIP.fullmatch(spec):
            pip.append(Located(text=f"{found[1]}=={found[2]}", line=number))
        else:
            specs.append(Located(text=spec, line=number))
    return EnvironmentSpec(
        source=path,
        specs=tuple(specs),
        notes=()
        if _is_condas(text, path)
        else (f"{path.name} is read as a list of conda packages",),
        pip_lines=tuple(one.text for one in pip),
        pip_places=tuple(f"{path}, line {one.line}" for one in pip),
    )


def _lines(text: str) -> Iterator[tuple[str, int]]:
    """The lines that say something, blanks made one, with their numbers."""
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if words:
            yield " ".join(words), number
