"""The commands' work, from a request to a result: who holds what while it is built."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from typing import Any

from wrapper import generations, inputs, plans, prefix, process, smoke, workspace
from wrapper.base.built import Tools
from wrapper.base.catalogue import read_catalogues
from wrapper.base.choose import find_base
from wrapper.build import Build
from wrapper.compression import Compression, wanted
from wrapper.conda.build import CondaBuild
from wrapper.console import Console
from wrapper.deploy import NextGeneration, Staging
from wrapper.generations import Generation
from wrapper.image import find as images
from wrapper.image.format import read_format
from wrapper.lock import locked
from wrapper.models import (
    NewPipRequest,
    NewRequest,
    Request,
    Result,
    UpdatePipRequest,
    UpdateRequest,
    WrapContainerRequest,
    WrapInstallRequest,
)
from wrapper.past import remove_old
from wrapper.pip.build import PipBuild, choose_python, recorded
from wrapper.prefix import install_path
from wrapper.runtime import Runtime, find_runtime
from wrapper.squash import Squasher, find_squasher
from wrapper.wrap import container as container_build
from wrapper.wrap.install import CopyBuild, check_source

_NOTHING: Mapping[str, Any] = {}


def new(request: NewRequest, console: Console) -> Result:
    """Build a conda environment and let it appear at the prefix, whole or not at all.

    :raises ContainerizeError: of every kind in :mod:`wrapper.errors`.
    """
    request = request.on_site_base()
    return _new(request, inputs.read(request, console), console, CondaBuild)


def new_pip(request: NewPipRequest, console: Console) -> Result:
    """Build a virtual environment for the Python on PATH, likewise."""
    request = request.on_site_base()
    asked = inputs.read(request, console)
    return _new(request, asked, console, PipBuild, choose_python(request))


def wrap_install(request: WrapInstallRequest, console: Console) -> Result:
    """Put an installation that lies on disk into an image, likewise."""
    asked = inputs.read(request, console)
    target = prefix.absolute_prefix(request.prefix)
    source = check_source(request.source, prefix=target, mask=request.mask)
    return _new(request, asked, console, CopyBuild, {"source": source, "mask": request.mask})


def wrap_container(request: WrapContainerRequest, console: Console) -> Result:
    """Make shims for programs of an existing container."""
    start = time.monotonic()
    container_build.check_paths(request.wrapper_paths)
    variables = inputs.read(request, console).variables
    target = prefix.absolute_prefix(request.prefix)
    prefix.check_new(target)
    runtime = find_runtime(os.environ, request.site)
    catalogue = read_catalogues(os.environ, request.site.base_images)
    with (
        prefix.parents(target),
        locked(target),
        workspace.workspace(console, site=request.site) as space,
        Staging(target, generation=1, mode=prefix.directory_mode(target)) as staging,
        process.umask(0o022),
    ):
        prefix.check_new(target)  # again, now that nobody else builds there
        image = images.find_base(
            request.image,
            runtime=runtime,
            console=console,
            catalogue=catalogue,
            cache=space.lasting_cache,
            staging=staging.directory,
            scratch=space.scratch,
        )
        if image.uri:  # caches are emptied, an installation stays
            image = images.own_image(image, staging.directory, console=console)
        look = container_build.Looker(
            image=image.path, runtime=runtime, scratch=space.scratch, console=console
        )
        with console.step("Looking into the image"):
            programs = look.programs(request.wrapper_paths)
            venv = look.virtual_environment(programs)
            has_bash = look.has_bash()
            environment = look.environment(programs)
        manifest = container_build.write(
            image,
            programs,
            variables,
            venv=venv,
            has_bash=has_bash,
            environment=environment,
            staging=staging,
            inside=install_path(target, request.site),
            runtime=runtime,
            site=request.site,
            log=space.log,
        )
        start_once(staging, manifest, runtime, space, console)
        publish(staging, console)
    return Result(prefix=target, manifest=manifest, seconds=time.monotonic() - start)


def _new(
    request: Request,
    asked: inputs.Inputs,
    console: Console,
    kind: type[Build],
    specific: Mapping[str, Any] = _NOTHING,
) -> Result:
    """The frame of every new installation; ``specific`` are the kind's own fields."""
    start = time.monotonic()
    inputs.check_reuse(request, asked)
    target = prefix.absolute_prefix(request.prefix)
    prefix.check_new(target)
    runtime, squasher = _tools(request)
    mode = prefix.directory_mode(target)
    with (
        prefix.parents(target),
        locked(target),
        workspace.workspace(console, site=request.site, use_cache=request.use_cache) as space,
        Staging(target, generation=1, mode=mode) as staging,
        process.umask(0o022),  # for what programs write into the tree; deploy sets the modes
    ):
        prefix.check_new(target)  # again, now that nobody else builds there
        tools = Tools(request.site, runtime, squasher, space, console)
        if isinstance(request, WrapInstallRequest) and request.mask:
            tools.trials.require_cover(request.source.resolve())
        manifest = _run(
            kind,
            request,
            tools,
            staging,
            wrapper_paths=request.wrapper_paths,
            compression=_compression(request, tools),
            install_path=install_path(target, request.site),
            inputs=asked,
            variables=asked.variables,
            **specific,
        )
        start_once(staging, manifest, runtime, space, console)
        publish(staging, console)
    return Result(prefix=target, manifest=manifest, seconds=time.monotonic() - start)


def update(request: UpdateRequest, console: Console) -> Result:
    """Build a further generation from the one in use and switch to it, or change nothing.

    :raises ContainerizeError: of every kind in :mod:`wrapper.errors`.
    """
    request = plans.with_channels(request)
    return _update(request, console, CondaBuild)


def update_pip(request: UpdatePipRequest, console: Console) -> Result:
    """The same for a virtual environment."""
    return _update(request, console, PipBuild)


def _update(
    request: UpdateRequest | UpdatePipRequest,
    console: Console,
    kind: type[Build],
) -> Result:
    """The frame of every update; what it does not name stays as it was."""
    start = time.monotonic()
    asked = inputs.read(request, console)
    target = prefix.absolute_prefix(request.prefix)
    plans.require_kind(generations.current_generation(target).manifest, kind, target)
    prefix.check_update(target)
    inputs.require_something(request)
    runtime, squasher = _tools(request)
    with contextlib.ExitStack() as stack:
        stack.enter_context(locked(target))
        space = stack.enter_context(
            workspace.workspace(console, site=request.site, use_cache=request.use_cache)
        )
        generations.repair(target)
        number = generations.next_number(target)
        staging = stack.enter_context(NextGeneration(target, number, prefix.directory_mode(target)))
        stack.enter_context(process.umask(0o022))
        previous = generations.current_generation(target)
        old = previous.manifest
        specific = recorded(old) if kind is PipBuild else {}
        tools = Tools(request.site, runtime, squasher, space, console)
        paths = [*old["options"]["wrapper_paths"], *request.wrapper_paths]
        manifest = _run(
            kind,
            request,
            tools,
            staging,
            previous,
            wrapper_paths=tuple(dict.fromkeys(paths)),
            compression=_compression(request, tools, previous),
            install_path=old["install_path"],
            inputs=asked,
            variables=inputs.merged_variables(request, asked, old, console),
            **specific,
        )
        start_once(staging, manifest, tools.runtime, space, console)
        publish(staging, console)
        if request.keep is not None:
            remove_old(target, request.keep, console)
    return Result(prefix=target, manifest=manifest, seconds=time.monotonic() - start)


def _run(
    kind: type[Build],
    request: Request,
    tools: Tools,
    staging: Staging | NextGeneration,
    previous: Generation | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """Find the base and do the steps of a build, whose other ``fields`` are given; its manifest."""
    return kind(
        request=request,
        base=find_base(request, tools, staging.directory, previous),
        runtime=tools.runtime,
        squasher=tools.squasher,
        space=tools.space,
        staging=staging,
        console=tools.console,
        previous=previous,
        **fields,
    ).run()


def _compression(request: Request, tools: Tools, previous: Generation | None = None) -> Compression:
    """How to compress: what was asked for, now or before, as far as it starts here.

    :raises ToolError: nothing of it does.
    """
    site = request.site
    before = previous.manifest["options"]["compression"] if previous else None
    word = request.compression or before or site.compression
    # A compressor that an option names counts, also where a site's options name another.
    candidates = wanted(word, () if request.compression else site.squashfs_options)
    adopted = previous and previous.manifest.get("image_root")  # it is packed anew anyway
    if previous and not (request.compression or adopted):
        kept = read_format(previous.image).compressors
        candidates = tuple(sorted(candidates, key=lambda item: item.name not in kept))
    return tools.trials.choose(candidates)


def start_once(
    staging: Staging | NextGeneration,
    manifest: Mapping[str, Any],
    runtime: Runtime,
    space: workspace.Workspace,
    console: Console,
) -> None:
    """Start a complete generation before it is used. :raises ToolError: it does not start."""
    with console.step("Starting it once"):
        smoke.start_installation(
            staging.directory,
            staging.generation,
            prefix=staging.prefix,
            own_system=manifest["base"]["kind"] == "image",
            runtime=runtime,
            scratch=space.scratch,
            console=console,
        )


def publish(staging: Staging | NextGeneration, console: Console) -> None:
    """Let a complete generation be the one in use, by one rename."""
    with console.step("Switching to it"):
        process.pass_point_of_no_return(console)
        staging.publish()


def _tools(request: Request) -> tuple[Runtime, Squasher]:
    return find_runtime(os.environ, request.site), find_squasher(os.environ, request.site)
