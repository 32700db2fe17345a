"""``update`` of conda-containerize and pip-containerize: a further generation, or no change."""

from __future__ import annotations

import os
from collections.abc import Callable

from wrapper.base.built import Tools
from wrapper.base.resolve import find_base
from wrapper.build import inputs
from wrapper.build.context import BuildContext
from wrapper.build.source import Source
from wrapper.commands import sources
from wrapper.commands.history import remove_old
from wrapper.commands.prepare import (
    Prepared,
    choose_compression,
    find_programs,
    finish,
    next_generation,
    prepared_update,
)
from wrapper.console import Console
from wrapper.manifest import Manifest
from wrapper.requests import Result, UpdatePipRequest, UpdateRequest


def update(request: UpdateRequest, console: Console) -> Result:
    """A conda environment.

    :raises ContainerizeError: of every kind in :mod:`wrapper.errors`.
    """
    prepared = prepared_update(request, "conda", console)
    from wrapper.build.sources.conda import CondaSource  # not for a mistake in an input file

    return _update(prepared, console, lambda context, _: CondaSource(context=context))


def update_pip(request: UpdatePipRequest, console: Console) -> Result:
    """A virtual environment, likewise."""
    prepared = prepared_update(request, "pip", console)
    from wrapper.build.sources.pip import PipSource, recorded_python

    return _update(
        prepared,
        console,
        lambda context, old: PipSource(context=context, chosen=recorded_python(old)),
    )


def _update(
    prepared: Prepared[UpdateRequest] | Prepared[UpdatePipRequest],
    console: Console,
    source_of: Callable[[BuildContext, Manifest], Source],
) -> Result:
    """The frame of every update; what it does not name stays as it was."""
    from wrapper.build.recipe import build_update
    from wrapper.build.targets.prefix import PrefixTarget

    request, target = prepared.request, prepared.target
    programs = find_programs(request.site)
    frame = next_generation(target, request.site, console, use_cache=request.use_cache)
    with frame as (space, staging, previous):
        old = previous.manifest
        tools = Tools(request.site, *programs, space, console)
        paths = [*old.options.wrapper_paths, *request.wrapper_paths]
        context = BuildContext(
            request=request,
            inputs=prepared.inputs,
            tools=tools,
            base=find_base(request, tools, staging.directory, previous),
            place=staging,
            others=prepared.others,
            install_path=old.install_path,
            compression=choose_compression(request, tools, previous),
            wrapper_paths=tuple(dict.fromkeys(paths)),
            variables=inputs.merged_variables(request, prepared.inputs, old, console),
            previous=previous,
        )
        source = source_of(context, old)
        result = PrefixTarget(context=context, source=source, place=staging)
        manifest = build_update(context, source, result)
        if manifest:
            finish(staging, manifest, runtime=tools.runtime, space=space, console=console)
            sources.follow(target, previous, os.environ, console)
        if request.keep is not None:
            remove_old(target, request.keep, console)
    changed = manifest is not None
    return Result(prefix=target, manifest=manifest or old, seconds=console.seconds, changed=changed)
