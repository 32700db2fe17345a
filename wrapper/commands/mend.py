"""``containerize mend``: what an installation takes of the machine, computed anew."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from wrapper import layout, workspace
from wrapper.base.facts import read_facts
from wrapper.console import Console
from wrapper.errors import PrefixError
from wrapper.images.squasher import find_squasher
from wrapper.images.tree import read_tree
from wrapper.manifest import Manifest, MpiRecord, manifest_text
from wrapper.models import Site
from wrapper.mpi.abis import HOST
from wrapper.mpi.choice import BaseSystem, choose, write
from wrapper.mpi.files import InImage
from wrapper.prefix import checks as prefix
from wrapper.prefix import generations, shims
from wrapper.prefix.generations import Generation
from wrapper.util.lock import locked
from wrapper.util.sync import replace_text, sync_directory


def mend(target: Path, site: Site, console: Console) -> MpiRecord:
    """The machine's MPI as it is today, for the generation in use.

    Programs that run keep the links with which they started.

    :raises PrefixError: it takes nothing of the machine, or may not be changed. :raises ToolError:
        there is no such MPI any more.
    """
    target = prefix.absolute_prefix(target)
    prefix.check_update(target)
    with locked(target), workspace.workspace(console, site=site) as space:
        generation = generations.current_generation(target)
        manifest = generation.manifest
        if manifest.mpi is None or manifest.mpi.kind != HOST:
            raise PrefixError(
                f"{target.name} takes no MPI of this machine",
                where=target,
                hint="there is nothing to mend; an update with --mpi host would make it so",
            )
        base = _base(generation, site, space.scratch, console)
        choice = choose(HOST, site.mpi, os.environ, base)
        found = write(choice, generation.directory)
        assert found
        old = manifest.mpi
        record = replace(found, srun=found.srun or old.srun, beside=old.beside)
        _switch(generation.directory, manifest, record)
    return record


def _base(generation: Generation, site: Site, scratch: Path, console: Console) -> BaseSystem | None:
    known = generation.manifest.base
    if known.kind != "image":
        return None
    image = generation.directory / known.path
    unsquashfs = find_squasher(os.environ, site).unsquashfs
    tree = read_tree(image, unsquashfs=unsquashfs, scratch=scratch, console=console)
    return BaseSystem(files=InImage(tree=tree), name=str(image), glibc=read_facts(tree).glibc)


def _switch(directory: Path, manifest: Manifest, record: MpiRecord) -> None:
    """The shims' facts first, by one rename: with them it is the one in use. Links are on disk
    before that.
    """
    sync_directory(directory / record.directory)
    sync_directory(directory)
    env = directory / layout.ENV
    text = env.read_text(encoding="utf-8", errors="surrogateescape")
    replace_text(env, shims.with_mpi(text, record))
    replace_text(directory / layout.MANIFEST, manifest_text(replace(manifest, mpi=record)))
