"""Images of definitions: building one, and having one ready where a build wants it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from wrapper import layout
from wrapper.base import find as images
from wrapper.base.build import BaseBuild
from wrapper.base.catalogue import Entry
from wrapper.base.debian import MIRROR_VARIABLE
from wrapper.base.definition import Definition, read_definition
from wrapper.base.facts import ImageFacts, inspect_image
from wrapper.base.find import BaseImage
from wrapper.console import Console
from wrapper.images.compression import Compression, travelling
from wrapper.images.sif.output import drafted
from wrapper.images.squasher import Squasher
from wrapper.images.store import alone, file_digest
from wrapper.images.trial import Trials
from wrapper.models import Site
from wrapper.prefix import smoke
from wrapper.runtime.runtime import Runtime
from wrapper.util import foreign
from wrapper.util.cache import make_cache
from wrapper.workspace import Workspace


@dataclass(frozen=True)
class Tools:
    """What finding a base, building one and looking into it need."""

    site: Site
    runtime: Runtime
    squasher: Squasher
    space: Workspace
    console: Console

    @property
    def trials(self) -> Trials:
        """What the runtime starts here."""
        return Trials(
            runtime=self.runtime,
            squasher=self.squasher,
            scratch=self.space.scratch,
            console=self.console,
        )


def find_image(name: str, catalogue: Mapping[str, Entry], tools: Tools, staging: Path) -> BaseImage:
    """The image of a name; see :func:`wrapper.base.find.find_base`.

    :param staging: for an image that is pulled, where there is no cache.
    """
    return images.find_base(
        name,
        runtime=tools.runtime,
        console=tools.console,
        catalogue=catalogue,
        cache=tools.space.lasting_cache,
        staging=staging,
        scratch=tools.space.scratch,
    )


def look_into(image: BaseImage, tools: Tools) -> ImageFacts:
    """What is in an image; raises as :func:`wrapper.base.facts.inspect_image`."""
    return inspect_image(
        image,
        unsquashfs=tools.squasher.unsquashfs,
        scratch=tools.space.scratch,
        cache=tools.space.lasting_cache,
        console=tools.console,
    )


def build_image(
    definition: Definition,
    target: Path,
    tools: Tools,
    *,
    entry: Entry | None = None,
    mirror: str = "",
    compression: Compression,
) -> BaseImage:
    """Build the image ``target``; it appears whole and checked, or not at all.

    The caller holds the lock of ``target``.

    :param entry: the catalogue's, whose digest it must have.
    :raises PackageError: it has another one. :raises ContainerizeError: see :class:`BaseBuild`.
    """
    step = BaseBuild(
        definition=definition,
        runtime=tools.runtime,
        squasher=tools.squasher,
        console=tools.console,
        root=tools.space.root / "base-system",
        debs=tools.space.cache / "debs",
        scratch=tools.space.scratch,
        mirror=mirror,
        compression=compression,
    )
    with drafted(target) as draft:
        step.run(draft)
        name = entry.name if entry else str(definition.path)
        image = images.describe_file(draft, name=name, console=tools.console, cache=None)
        if entry:
            images.require_digest(entry, image.digest, target)
        with tools.console.step("Starting it once"):
            smoke.start_image(
                draft,
                "/",
                name=target,
                runtime=tools.runtime,
                scratch=tools.space.scratch,
                console=tools.console,
            )
        draft.replace(target)
    image = replace(image, path=target.resolve())
    record = images.built_digests(tools.space.lasting_cache)
    record.remember(str(image.path), {"digest": image.digest})
    return image


def ready_image(entry: Entry, tools: Tools, staging: Path) -> Path:
    """The image of a catalogue's definition, built where it is not there.

    It lies in the cache, for all builds; without a cache it becomes a file of ``staging``.

    :raises ContainerizeError: see :func:`build_image`.
    """
    cache, console = tools.space.lasting_cache, tools.console
    target = images.built_image(entry, cache) if cache else staging / layout.BASE
    if _is_there(target, tools):
        return target
    if target.exists():
        console.warning(f"{target} is not as it was built")
    elif cache and images.earlier_images(entry, cache):
        console.info(f"the definition of {entry.name} has changed since it was built")
    console.info(f"the base image {entry.name} is built now: {target}")
    make_cache(target.parent)
    with alone(target, f"the base image {entry.name}", console):
        if not _is_there(target, tools):  # another build may have made it just now
            mirror = os.environ.get(MIRROR_VARIABLE, "")
            definition = read_definition(Path(entry.source))
            build_image(
                definition,
                target,
                tools,
                entry=entry,
                mirror=mirror,
                compression=travelling(None, tools.site.compression),
            )
    return target


def _is_there(target: Path, tools: Tools) -> bool:
    """Whether the image is there, and the one that was built: nothing shall stand on another."""
    try:
        if not foreign.is_kept_from_others(target.lstat()):
            return False
    except OSError:
        return False
    cache = tools.space.lasting_cache
    known = images.built_digests(cache).recall(str(target.resolve()))
    return not known or known["digest"] == file_digest(target, console=tools.console, cache=cache)
