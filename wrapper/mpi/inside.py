"""An MPI inside an image that its programs would load before any other, whatever is put in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from wrapper.mpi.abis import OPEN_MPI, abi_of
from wrapper.mpi.files import Files
from wrapper.mpi.loader import BY_RPATH, Loader

_EXTENSION = re.compile(r"(.*)/lib/python3[^/]*/site-packages/mpi4py/MPI[^/]*\.so")
_WHEELS_SEARCH = "mpi4py/_mpiabi.py"


def found_first(paths: Sequence[str], files: Files) -> list[str]:
    """Libraries of an MPI that mpi4py loads by its own search path: DT_RPATH of its module and of
    Python, and, of a wheel in a virtual environment, ``lib`` of that.

    :param paths: of all files.
    """
    there, loader = set(paths), Loader(files)
    found: dict[str, None] = {}
    for path in sorted(there):
        match = _EXTENSION.fullmatch(path)
        module = loader.start(path) if match else None
        if not (match and module):
            continue
        root = match[1]
        python = loader.start(f"{root}/bin/python3")
        needed = [name for name in module.elf.needed if is_mpich(name)]
        if f"{root}/pyvenv.cfg" in there and f"{_folder(path)}/{_WHEELS_SEARCH}" in there:
            own = [f"{root}/lib/{name}" for name in ("libmpi.so", *needed)]
            found |= dict.fromkeys(path for path in own if files.real(path))
        for name in needed:
            by = replace(module, by=python)
            library = loader.find(name, by=by)
            if library and library.how == BY_RPATH:
                found[library.found] = None
    return [*found]


def is_mpich(name: str) -> bool:
    """Whether a library is an MPI whose place the host's can take."""
    abi = abi_of(name)
    return abi is not None and abi.name != OPEN_MPI


def _folder(path: str) -> str:
    """The directory that has the package of a module."""
    return str(PurePosixPath(path).parents[1])
