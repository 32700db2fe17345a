"""MPI and RCCL of an installation: which libraries its programs would load, told by files alone."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from wrapper import layout
from wrapper.console import Console
from wrapper.doctor.finding import Finding, failed, ok, warning
from wrapper.images.sif.record import RECORD
from wrapper.images.tree import ImageTree, read_tree
from wrapper.manifest import Manifest, MpiRecord
from wrapper.mpi.abis import HOST, OPEN_MPI, abi_of, abis
from wrapper.mpi.files import Below, Files, InImage, Joined, Links, Outside
from wrapper.mpi.host import digest_of
from wrapper.mpi.loader import Loaded, Loader
from wrapper.runtime.host_program import HOST_BIND, HOST_ROOT

_MODULE = re.compile(r".*/site-packages/mpi4py/MPI[^/]*\.so")
_RCCL = re.compile(r".*/lib(?:rccl|nccl)\.so(?:\.\d+)*")
_PLUGINS = ("librccl-net.so", "libnccl-net.so", "librccl-net-ofi.so", "libnccl-net-ofi.so")
_PROVIDERS = ("cxi", "verbs", "efa", "psm2", "psm3", "opx", "tcp")
_SLINGSHOT = Path("/sys/class/cxi")
_MOST_READ = 8
_LIBRARY_PATH = "/.containerize-mpi"  # stands for the generation's directory of links


def recorded(target: Path, data: Manifest) -> list[Finding]:
    """Whether the machine's libraries are those of the build. :param target: prefix or SIF."""
    what, mpi = "MPI of the machine", data.mpi
    if mpi is None or mpi.kind != HOST:
        return []
    gone = [item.path for item in mpi.libraries if not Path(item.path).is_file()]
    changed = [
        item.path for item in mpi.libraries if digest_of(Path(item.path)) not in ("", item.sha256)
    ]
    name = shlex.quote(str(target))
    command = f"build --update {name} --mpi host" if data.form else f"mend {name}"
    mend = f"its owner: containerize {command}"
    if gone and data.form:  # it may have been built elsewhere
        detail = f"not on this one: {', '.join(gone)}: programs get the image's own, if it has one"
        return [warning(what, detail, mend)]
    if gone:
        return [failed(what, f"has gone: {', '.join(gone)}", mend)]
    if changed:
        hint = f"nothing where programs work; to take what is there now, {mend}"
        return [warning(what, f"changed since the build: {', '.join(changed)}", hint)]
    return [ok(what, f"{mpi.abi} {mpi.version}, {mpi.library}, as at the build")]


def walk(
    target: Path, data: Manifest, *, unsquashfs: Path, scratch: Path, console: Console
) -> list[Finding]:
    """Which MPI, libfabric, RCCL and plugin of that for the network programs would load.

    :param target: a prefix, or a SIF of ours. :param unsquashfs: the program. :param scratch: for
        files that are looked at.
    """

    def listed(image: Path) -> ImageTree:
        return read_tree(image, unsquashfs=unsquashfs, scratch=scratch, console=console)

    if data.form:
        whole = listed(target)
        world = _World(data=data, base=whole, links=_links_in(whole, data.mpi))
    else:
        generation = target.resolve() / layout.CURRENT
        base = listed(generation / data.base.path) if data.base.kind == "image" else None
        image = generation / layout.IMAGE
        own = listed(image) if image.is_file() and not data.image_root else None
        world = _World(data=data, base=base, own=own, links=_links(generation, data.mpi))
    return [*_mpi(world), *_start(target, data), *_rccl(world)]


def _links(generation: Path, mpi: MpiRecord | None) -> dict[str, str]:
    """The links to the host's libraries."""
    folder = generation / mpi.directory if mpi and mpi.directory else None
    if not (folder and folder.is_dir()):
        return {}
    return {path.name: str(path.readlink()) for path in folder.iterdir() if path.is_symlink()}


def _links_in(tree: ImageTree, mpi: MpiRecord | None) -> dict[str, str]:
    """The same in a SIF."""
    folder = f"/{RECORD}/{mpi.directory}/" if mpi and mpi.directory else None
    links = tree.links.items() if folder else ()
    return {p.removeprefix(folder): to for p, to in links if folder and p.startswith(folder)}


@dataclass(frozen=True, kw_only=True)
class _World:
    """What programs see: the base's files, the environment's, and the links to the host's.

    :ivar own: ``None`` where ``base`` has them.
    """

    data: Manifest
    base: ImageTree | None
    own: ImageTree | None = None
    links: Mapping[str, str]

    @cached_property
    def files(self) -> Files:
        host = Outside()
        places: dict[str, Files] = {"": InImage(tree=self.base) if self.base else host}
        if self.base:
            places[HOST_ROOT] = Below(at=HOST_ROOT, files=host)
        if self.own:
            places[self.data.install_path] = InImage(tree=self.own)
        within = Joined(places=places)
        links = Links(targets=self.links, files=within)
        return Joined(places={**places, _LIBRARY_PATH: links})

    @cached_property
    def loader(self) -> Loader:
        return Loader(self.files, [_LIBRARY_PATH])

    def matching(self, pattern: re.Pattern[str]) -> list[str]:
        """Paths of the environment and of an image below it."""
        trees = [tree for tree in (self.own, self.base) if tree]
        found = [path for tree in trees for path in tree.modes if pattern.fullmatch(path)]
        return sorted(found)[:_MOST_READ]

    def python_of(self, module: str) -> Loaded | None:
        """The Python whose site-packages have a module."""
        return self.loader.start(f"{module.partition('/lib/python3')[0]}/bin/python3")


def _mpi(world: _World) -> Iterator[Finding]:
    libraries = {item.path: item for item in _libraries(world)}
    if not libraries:
        hint = "nothing where no program needs one; else build it anew with --mpi host"
        yield (
            ok("MPI", "programs find none")
            if not world.matching(_MODULE)
            else failed("MPI", "mpi4py is there, and finds no library of MPI", hint)
        )
        return
    for path, item in libraries.items():
        yield _of_library(item, world)
        fabric = world.loader.closure([path]).loaded.get("libfabric.so.1")
        if fabric:
            yield _fabric(fabric, world)


def _libraries(world: _World) -> Iterator[Loaded]:
    """What modules of mpi4py load; without any what a program gets that names MPICH's."""
    for path in world.matching(_MODULE):
        module = world.loader.start(path)
        for name in module.elf.needed if module else ():
            if module and abi_of(name):
                by = replace(module, by=world.python_of(path))
                if found := world.loader.find(name, by=by):
                    yield found
    if not world.matching(_MODULE):
        for name in abis()[0].names:
            python = world.loader.start(f"{_LIBRARY_PATH}/{name}")
            if python:
                yield python
                return


def _of_library(item: Loaded, world: _World) -> Finding:
    mpi, path = world.data.mpi, item.path.removeprefix(HOST_ROOT)
    abi = abi_of(item.name)
    if mpi is None or mpi.kind != HOST:
        return ok("MPI", f"{path}, the container's own")
    if abi and abi.name == OPEN_MPI:
        hint = "use packages that are built for MPICH: see 'Open MPI' in docs/mpi.md"
        return warning("MPI", f"{path}, the container's own Open MPI, not this machine's", hint)
    if path == mpi.library:
        return ok("MPI", f"{path}, this machine's")
    hint = "do without the package that has it: see 'What comes before it' in docs/mpi.md"
    return failed("MPI", f"{path} comes before this machine's ({mpi.library})", hint)


def _fabric(item: Loaded, world: _World) -> Finding:
    what, path = "libfabric", item.path.removeprefix(HOST_ROOT)
    content = world.files.content(item.path)
    there = [name for name in _PROVIDERS if b"\0" + name.encode() + b"\0" in content]
    detail = f"{path}, with {', '.join(there) or 'no provider that is known'}"
    if _SLINGSHOT.is_dir() and "cxi" not in there:
        hint = "take the machine's (--mpi host): without 'cxi' ranks talk by TCP, many times slower"
        return warning(what, f"{detail}; this node's network is Slingshot", hint)
    return ok(what, detail)


def _start(target: Path, data: Manifest) -> Iterator[Finding]:
    mpi = data.mpi
    words = [f"srun --mpi={mpi.srun}"] if mpi and mpi.srun else []
    if mpi and mpi.directory and data.form:
        words.append(f"singularity exec -B {HOST_BIND} {shlex.quote(str(target))}")
    if words:
        yield ok("start", " ".join(words))


def _rccl(world: _World) -> Iterator[Finding]:
    """A plugin is loaded by name: where none is found, RCCL and NCCL use sockets."""
    for path in world.matching(_RCCL):
        library = world.loader.start(path)
        if library is None or library.path != path:
            continue
        found = (world.loader.find(name, by=library) for name in _PLUGINS)
        plugin = next(filter(None, found), None)
        what = "NCCL" if "nccl" in Path(path).name else "RCCL"
        if plugin:
            yield ok(what, f"{path}, with the plugin {plugin.path.removeprefix(HOST_ROOT)}")
            continue
        wheel = re.search(r"/site-packages/([^/]+)/", path)
        whose = f", which the wheel of {wheel[1]} brings" if wheel else ""
        hint = "nothing on one node; on several put the directory of the plugin (aws-ofi-rccl) on "
        hint += "LD_LIBRARY_PATH, or use an image whose RCCL has it"
        yield warning(what, f"{path}{whose}: no plugin for the network, so sockets", hint)
