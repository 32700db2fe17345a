"""Whose MPI the programs of an installation get, as a build decides it and a generation keeps it.

A generation has a directory of links to the host's libraries, by all names that programs look for.
Its shims put that first on LD_LIBRARY_PATH. In a container with a system of its own the links lead
to where the host's root is bound.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from wrapper.errors import ToolError
from wrapper.manifest import HostLibrary, MpiRecord
from wrapper.mpi.abis import CONTAINER, HOST, NONE, OPEN_MPI, abi_of, variables
from wrapper.mpi.files import Files
from wrapper.mpi.host import HostMpi, digest_of, find_host_mpi
from wrapper.mpi.loader import BY_RPATH, Loader
from wrapper.runtime.host_program import HOST_ROOT
from wrapper.site_profile import MpiPlaces
from wrapper.util.removal import remove_tree


@dataclass(frozen=True, kw_only=True)
class Choice:
    """:ivar kind: ``host``, ``container`` or ``none``. :ivar srun: see :class:`MpiRecord`.
    :ivar links: name -> library of the host. :ivar own_system: the container's system is another.
    :ivar by_site: whether the site's default was asked for. :ivar variables: defaults for programs.
    :ivar beside: see :class:`MpiRecord`.
    """

    kind: str = NONE
    srun: str = ""
    host: HostMpi | None = None
    links: Mapping[str, Path] = field(default_factory=dict)
    own_system: bool = False
    by_site: bool = False
    variables: Mapping[str, str] = field(default_factory=dict)
    beside: str = ""


@dataclass(frozen=True, kw_only=True)
class BaseSystem:
    """A base image: its files, its name for messages, the version of its glibc (empty: none)."""

    files: Files
    name: str
    glibc: str


def choose(
    kind: str, places: MpiPlaces, environ: Mapping[str, str], base: BaseSystem | None
) -> Choice:
    """:param base: ``None`` for the host's own system.

    :raises ToolError: the host's is asked for, and there is none, or none that runs on the base.
    """
    srun = places.srun.get(kind, "")
    if kind == CONTAINER:
        return of_container(places)
    if kind == NONE:
        return Choice()
    host = find_host_mpi(places, environ)
    links = host.beside(base.files if base else None)
    if base:
        _require_glibc(host.needed_glibc([*links]), base)
    return Choice(
        kind=kind,
        srun=srun,
        host=host,
        links=links,
        own_system=base is not None,
        variables=_beside_image(host, links, base.files) if base else variables(host.files),
    )


def of_container(places: MpiPlaces) -> Choice:
    """The container's own."""
    found = variables(None, lambda _: False)
    return Choice(kind=CONTAINER, srun=places.srun.get(CONTAINER, ""), variables=found)


def _beside_image(host: HostMpi, links: Mapping[str, Path], image: Files) -> dict[str, str]:
    """Of the host's libraries in an image, and of those that it has itself and keeps."""
    opened = [host.plugins[name] for name in host.plugins if name in links]
    return {
        **variables(host.kept_by(image, links), lambda path: bool(image.real(str(path)))),
        **variables(links, lambda path: bool(opened) and path.exists()),
        **{it.variable: f"{HOST_ROOT}{it.directory}" for it in opened},
    }


def _require_glibc(needed: str, base: BaseSystem) -> None:
    if not base.glibc or _numbers(needed) > _numbers(base.glibc):
        has = f"has {base.glibc}" if base.glibc else "has another C library"
        raise ToolError(
            f"this machine's MPI needs glibc {needed}, and the base image {has}",
            where=base.name,
            hint="choose a newer base image; or --mpi container: its own MPI, which has to know "
            "the machine's network to be fast",
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def write(choice: Choice, generation: Path) -> MpiRecord | None:
    """Put the links into the directory of a generation; returns what its manifest says.

    Their directory's name tells what is in it: what another start has bound never changes.
    """
    if choice.kind == NONE:
        return None
    host = choice.host
    if host is None:
        return MpiRecord(kind=CONTAINER, srun=choice.srun, variables=choice.variables)
    root = HOST_ROOT if choice.own_system else ""
    links = {name: f"{root}{path}" for name, path in sorted(choice.links.items())}
    name = f"mpi-{hashlib.sha256(repr(links).encode()).hexdigest()[:8]}"
    _write_links(links, generation / name)
    files = choice.links if choice.own_system else host.files
    unique = {path: name for name, path in sorted(files.items(), reverse=True)}
    return MpiRecord(
        kind=HOST,
        srun=choice.srun,
        abi=host.abi.name,
        version=host.version,
        library=str(host.library),
        directory=name,
        variables=choice.variables,
        beside=choice.beside,
        libraries=tuple(
            HostLibrary(name=name, path=str(path), sha256=digest_of(path))
            for path, name in sorted(unique.items(), key=lambda item: item[1])
        ),
    )


def _write_links(links: Mapping[str, str], directory: Path) -> None:
    if directory.is_dir():
        return
    draft = directory.with_name(f".{directory.name}.new")
    remove_tree(draft)  # of one that was killed: the installation is locked
    draft.mkdir()
    for name, target in links.items():
        (draft / name).symlink_to(target)
    draft.chmod(directory.parent.stat().st_mode & 0o777)
    os.rename(draft, directory)  # noqa: PTH104


# -- an MPI inside an image that programs would load before any other, whatever is put in ---------
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
