"""``new`` of conda-containerize and pip-containerize: an installation, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from wrapper.base.built import Tools
from wrapper.base.resolve import find_base
from wrapper.build.context import BuildContext
from wrapper.build.source import Source
from wrapper.commands.prepare import (
    Prepared,
    choose_compression,
    find_programs,
    finish,
    first_generation,
    prepared_new,
    require_this_platform,
)
from wrapper.console import Console
from wrapper.prefix.checks import install_path
from wrapper.requests import NewPipRequest, NewRequest, R, Result


def new(request: NewRequest, console: Console) -> Result:
    """A conda environment.

    :raises ContainerizeError: of every kind in :mod:`wrapper.errors`.
    """
    require_this_platform(request)
    prepared = prepared_new(request, console)
    from wrapper.build.sources.conda import CondaSource  # not for a mistake in an input file

    return build_new(prepared, console, lambda context: CondaSource(context=context))


def new_pip(request: NewPipRequest, console: Console) -> Result:
    """A virtual environment for the Python on PATH, likewise."""
    prepared = prepared_new(request, console)
    from wrapper.build.sources.pip import PipSource, choose_python

    chosen = choose_python(prepared.request)
    return build_new(prepared, console, lambda context: PipSource(context=context, chosen=chosen))


def build_new(
    prepared: Prepared[R],
    console: Console,
    source_of: Callable[[BuildContext], Source],
) -> Result:
    """The frame of every new installation. :param source_of: what is put into it.

    :raises ContainerizeError: of every kind in :mod:`wrapper.errors`.
    """
    from wrapper.build.recipe import build
    from wrapper.build.targets.prefix import PrefixTarget

    request, target = prepared.request, prepared.target
    programs = find_programs(request.site)
    frame = first_generation(target, request.site, console, use_cache=request.use_cache)
    with frame as (space, staging):
        tools = Tools(request.site, *programs, space, console)
        context = BuildContext(
            request=request,
            inputs=prepared.inputs,
            tools=tools,
            base=find_base(request, tools, staging.directory),
            place=staging,
            others=prepared.others,
            install_path=install_path(target, request.site),
            compression=choose_compression(request, tools),
            wrapper_paths=request.wrapper_paths,
            variables=prepared.inputs.variables,
        )
        source = source_of(context)
        if mask := source.mask_path():
            tools.trials.require_cover(Path(mask))
        result = PrefixTarget(context=context, source=source, place=staging)
        manifest = build(context, source, result)
        finish(staging, manifest, runtime=tools.runtime, space=space, console=console)
    return Result(prefix=target, manifest=manifest, seconds=console.seconds)
