"""Whose MPI the programs of an installation get, as a build decides it and a generation keeps it.

A generation has a directory of links to the host's libraries, by all names that programs look for.
Its shims put that first on LD_LIBRARY_PATH. In a container with a system of its own the links lead
to where the host's root is bound.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from wrapper.errors import ToolError
from wrapper.manifest import HostLibrary, MpiRecord
from wrapper.mpi.abis import CONTAINER, HOST, NONE, variables
from wrapper.mpi.files import Files
from wrapper.mpi.host import HostMpi, digest_of, find_host_mpi
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
