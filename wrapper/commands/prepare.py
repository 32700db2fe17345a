"""What commands share before and after a build: checks, the lock, the workspace, the switch.

A dry run takes the same way as far as it goes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic

from wrapper import platforms, process, workspace
from wrapper.base.built import Tools
from wrapper.build import inputs
from wrapper.build.inputs import Inputs
from wrapper.console import Console
from wrapper.errors import InputError, PrefixError
from wrapper.images.compression import Compression, wanted
from wrapper.images.format import read_format
from wrapper.images.sif import output as sif_output
from wrapper.images.sif.output import Ownership
from wrapper.images.squasher import Squasher, find_squasher
from wrapper.manifest import Manifest
from wrapper.models import Site
from wrapper.prefix import checks as prefix
from wrapper.prefix import generations, other_installations, smoke
from wrapper.prefix.generations import Generation
from wrapper.prefix.other_installations import Other
from wrapper.prefix.staging import NextGeneration, Staging
from wrapper.requests import R, Request, UpdatePipRequest, UpdateRequest
from wrapper.runtime.runtime import Runtime, find_runtime
from wrapper.util.lock import locked
from wrapper.workspace import Workspace

_HOW_TO_CHANGE = {
    "conda": "use conda-containerize update",
    "pip": "use pip-containerize update",
    "install": "wrap the installation again, to another prefix",
    "container": "wrap the container again, to another prefix",
}


@dataclass(frozen=True, kw_only=True)
class Prepared(Generic[R]):
    """A request that was checked, with what its files say.

    :ivar target: the prefix, absolute. :ivar previous: the generation that is updated.
    :ivar others: further installations to be there too.
    """

    request: R
    inputs: Inputs
    target: Path
    previous: Generation | None = None
    others: tuple[Other, ...] = ()


def prepared_new(request: R, console: Console) -> Prepared[R]:
    """:raises InputError: a file is wrong. :raises PrefixError: there can be no new prefix."""
    request = request.on_site_base()
    if request.elsewhere and request.base_image:
        raise InputError(
            f"a base image of {platforms.here()} tells nothing about {request.platform}",
            where=f"--base-image {request.base_image}",
            hint="leave one of the two out; CONDA_OVERRIDE_GLIBC=X.Y says the image's C library",
        )
    asked = inputs.read(request, console)
    inputs.check_reuse(request, asked)
    target = prefix.absolute_prefix(request.prefix)
    prefix.check_new(target)
    return Prepared(
        request=request, inputs=asked, target=target, others=_others(request, (), target, console)
    )


def prepared_update(request: R, kind: str, console: Console, *, trial: bool = False) -> Prepared[R]:
    """:param kind: of the manifest. :param trial: nothing is to be written.

    :raises InputError: a file is wrong, or nothing is asked for. :raises PrefixError: the prefix
        is none, of another command, or not ours to write to.
    """
    assert isinstance(request, UpdateRequest | UpdatePipRequest)
    target = prefix.absolute_prefix(request.prefix)
    previous = generations.current_generation(target)
    if not request.channels:  # those that --channel named before
        request = replace(request, channels=previous.manifest.options.channels)
    asked = inputs.read(request, console)
    _require_kind(previous.manifest, kind, target)
    if trial:
        prefix.check_owner(target)
    else:
        prefix.check_update(target)
    inputs.require_something(request)
    return Prepared(
        request=request,
        inputs=asked,
        target=target,
        previous=previous,
        others=_others(request, previous.manifest.others, target, console),
    )


def _others(
    request: Request, before: Sequence[str], target: Path, console: Console
) -> tuple[Other, ...]:
    """Further installations for the one at ``target``. :param before: what it has of them now.

    :raises InputError: one that the command line names cannot be had.
    """
    of_site = request.site.installations
    return other_installations.find(request.others, before, of_site, own=target, console=console)


def _require_kind(manifest: Manifest, kind: str, target: Path) -> None:
    """:raises PrefixError: the installation ``target`` was made by another command."""
    if manifest.kind != kind:
        raise PrefixError(
            f"{target.name} is not an installation of {kind}-containerize",
            where=target,
            hint=_HOW_TO_CHANGE.get(manifest.kind, "build it anew"),
        )


def require_this_platform(request: Request) -> None:
    """:raises InputError: what is built runs programs, and these would be of another platform."""
    if request.elsewhere:
        raise InputError(
            f"an environment for {request.platform} cannot be built on {platforms.here()}",
            where=f"--platform {request.platform}",
            hint="add --dry-run, which shows its packages, or --lock FILE, and build from that "
            "lock on a node of its kind",
        )


# -- the frame -----------------------------------------------------------------------------------
@contextmanager
def first_generation(
    target: Path, site: Site, console: Console, *, use_cache: bool = True
) -> Iterator[tuple[Workspace, Staging]]:
    """A workspace, and the place of a new installation, which nobody else builds meanwhile."""
    mode = prefix.directory_mode(target)
    with (
        prefix.parents(target),
        locked(target),
        workspace.workspace(console, site=site, use_cache=use_cache) as space,
        Staging(target, generation=1, mode=mode) as staging,
        process.umask(0o022),  # for what programs write into the tree; deploy sets the modes
    ):
        prefix.check_new(target)  # again, now that nobody else builds there
        yield space, staging


@contextmanager
def next_generation(
    target: Path, site: Site, console: Console, *, use_cache: bool = True
) -> Iterator[tuple[Workspace, NextGeneration, Generation]]:
    """A workspace, the place of a further generation, and the one in use."""
    with (
        locked(target),
        workspace.workspace(console, site=site, use_cache=use_cache) as space,
    ):
        generations.repair(target)
        number = generations.next_number(target)
        with (
            NextGeneration(target, number, prefix.directory_mode(target)) as staging,
            process.umask(0o022),
        ):
            yield space, staging, generations.current_generation(target)


def find_programs(site: Site) -> tuple[Runtime, Squasher]:
    """Before anything is locked or made. :raises ToolError: one of them is not there."""
    return find_runtime(os.environ, site), find_squasher(os.environ, site)


def choose_compression(
    request: Request, tools: Tools, previous: Generation | None = None
) -> Compression:
    """How to compress: what was asked for, now or before, as far as it starts here.

    :raises ToolError: nothing of it does.
    """
    site = request.site
    before = previous.manifest.options.compression if previous else None
    word = request.compression or before or site.compression
    # A compressor that an option names counts, also where a site's options name another.
    candidates = wanted(word, () if request.compression else site.squashfs_options)
    adopted = previous and previous.manifest.image_root  # it is packed anew anyway
    if previous and not (request.compression or adopted):
        kept = read_format(previous.image).compressors
        candidates = tuple(sorted(candidates, key=lambda item: item.name not in kept))
    return tools.trials.choose(candidates)


def finish(
    place: Staging | NextGeneration,
    manifest: Manifest,
    *,
    runtime: Runtime,
    space: Workspace,
    console: Console,
) -> None:
    """Let a complete generation be the one in use, by one rename, after it was started once.

    :raises ToolError: it does not start.
    """
    with console.step("Starting it once"):
        smoke.start_installation(
            place.directory,
            place.generation,
            prefix=place.prefix,
            own_system=manifest.base.kind == "image",
            runtime=runtime,
            scratch=space.scratch,
            console=console,
        )
    with console.step("Switching to it"):
        process.pass_point_of_no_return(console)
        place.publish()


def finish_sif(
    draft: Path, target: Path, *, inside: str, ownership: Ownership, tools: Tools
) -> None:
    """The same of a complete SIF. :param inside: a directory in it, to see that it starts."""
    console = tools.console
    with console.step("Starting it once"):
        smoke.start_image(
            draft,
            inside,
            name=target,
            runtime=tools.runtime,
            scratch=tools.space.scratch,
            console=console,
        )
    with console.step("Switching to it"):
        process.pass_point_of_no_return(console)
        sif_output.publish(draft, target, ownership)
