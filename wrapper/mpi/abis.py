"""Names of MPI's libraries, packages and programs: ``abis.toml``."""

from __future__ import annotations

import functools
import platform
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from wrapper.packages import LockedPackage
from wrapper.util import toml

_data = functools.partial(toml.beside, __file__)
# mpi4py, h5py=*=mpi_mpich_py311_0, and what depends on "mpich >=4.1".
_USES = re.compile(r"(?:^|[-_])(?:mpi|mpi4py|mpich|openmpi|impi|mvapich)(?:$|[-_ ])")
OPEN_MPI = "Open MPI"
NONE, HOST, CONTAINER = "none", "host", "container"
"""Whose MPI programs get: of the host, of the environment or its base; none: nobody cares."""


@dataclass(frozen=True, kw_only=True)
class Abi:
    """:ivar library: the name that programs are linked with; ``others`` are files' names for the
    same. :ivar companions: further libraries of it, each with its other name.
    """

    name: str
    library: str
    others: tuple[str, ...]
    companions: Mapping[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        return (self.library, *self.others)


@dataclass(frozen=True, kw_only=True)
class Plugins:
    """What a library opens by itself. :ivar directory: where they are; :ivar variable: names it."""

    variable: str
    directory: Path
    files: tuple[Path, ...]


def abis() -> tuple[Abi, ...]:
    """All that are known; the first is what most programs are linked with."""
    return tuple(
        Abi(
            name=table["name"],
            library=table["library"],
            others=tuple(table["others"]),
            companions=table["companions"],
        )
        for table in _data()["abis"]
    )


def abi_of(name: str) -> Abi | None:
    """The ABI of a library by its name (``libmpi.so.12.1.8``), ``None`` of all others."""
    for abi in abis():
        if any(name == known or name.startswith(f"{known}.") for known in abi.names):
            return abi
    return None


def of_network(name: str) -> bool:
    """Whether a library is always the host's."""
    return bool(re.fullmatch(_data()["network"]["names"], name))


def of_gpu(name: str) -> bool:
    """Whether a library is a part of ROCm or CUDA."""
    return bool(re.fullmatch(_data()["gpu"]["names"], name))


def variables(
    libraries: Mapping[str, Path] | None, there: Callable[[Path], bool] = Path.exists
) -> dict[str, str]:
    """Defaults of variables for ranks in containers.

    :param libraries: in use, ``None`` where that is not known. :param there: whether they see a
        file, which may be a plug-in of one.
    """
    found: dict[str, str] = {}
    for table in _data()["variables"]:
        library = None if libraries is None else libraries.get(table["library"])
        files = _places(table.get("plugin", ()), library)
        wanted = libraries is None or library is not None
        if wanted and (not files or any(map(there, files))):
            found |= table["set"]
    return found


def _places(texts: Iterable[str], library: Path | None) -> list[Path]:
    """Paths that depend on the machine, and on where a library is."""
    places = {"machine": platform.machine(), "folder": library.parent if library else ""}
    return [Path(text.format(**places)) for text in texts]


def plugins(libraries: Mapping[str, Path]) -> dict[str, Plugins]:
    """Those of the libraries in use, by the library's name."""
    found = {}
    for table in _data()["plugins"]:
        name = table["library"]
        places = _places(table["directories"], libraries[name]) if name in libraries else []
        there = ((place, tuple(sorted(place.glob(table["names"])))) for place in places)
        if first := next((pair for pair in there if pair[1]), None):
            found[name] = Plugins(variable=table["variable"], directory=first[0], files=first[1])
    return found


def reason(name: str, value: str) -> tuple[str, str]:
    """Why a variable has this value, and the source of that, which is empty where it has no such
    value any more.
    """
    for table in _data()["variables"]:
        if table["set"].get(name) == value:
            return table["why"], table["source"]
    for table in _data()["plugins"]:
        if table["variable"] == name:
            return table["why"], table["source"]
    return "of an earlier version", ""


def is_launcher(name: str) -> bool:
    """Whether a program starts ranks, or asks libfabric of the machine."""
    return bool(re.fullmatch(_data()["launchers"]["names"], name))


def uses_mpi(packages: Iterable[LockedPackage]) -> bool:
    """Whether one of them looks like it: by its name, its build, or what it depends on."""
    return any(
        _USES.search(text)
        for package in packages
        for text in (package.canonical, package.build, *package.depends)
    )


def packages_with_mpi(packages: Iterable[LockedPackage]) -> dict[str, list[LockedPackage]]:
    """Those that hold an MPI, by the name of its ABI."""
    names = {name: table["abi"] for table in _data()["packages"] for name in table["names"]}
    found: dict[str, list[LockedPackage]] = {}
    for package in packages:
        abi = names.get(package.canonical)
        if abi and not package.build.startswith("external"):
            found.setdefault(abi, []).append(package)
    return found
