"""``containerize build``: from a request to one portable SIF, whole or not at all."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from wrapper import process, workspace
from wrapper.base import os_packages
from wrapper.base import resolve as base_image
from wrapper.base.built import Tools
from wrapper.build import inputs
from wrapper.build.context import BuildContext
from wrapper.build.recipe import build_update
from wrapper.build.source import Source
from wrapper.build.targets.sif import Bottom, SifOutput, SifTarget
from wrapper.commands.prepare import find_programs, finish_sif
from wrapper.console import Console
from wrapper.errors import InputError, ToolError
from wrapper.images import compression as compressions
from wrapper.images import format as image_format
from wrapper.images.compression import EVERYWHERE, Compression
from wrapper.images.sif import content as sif_content
from wrapper.images.sif import file as sif
from wrapper.images.sif import output as sif_output
from wrapper.images.sif.record import INSTALL_PATH, RECORD, manifest_of
from wrapper.prefix.generations import Generation
from wrapper.requests import Result, SifRequest
from wrapper.util import disk
from wrapper.util.lock import locked


def build_sif(request: SifRequest, console: Console) -> Result:
    """Build the image, or change the one that is there.

    :raises ContainerizeError: of every kind in :mod:`wrapper.errors`; nothing has changed then.
    """
    target = sif_output.output_path(request.prefix)
    sif_output.check_output(target, update=request.update, force=request.force)
    request = replace(request, prefix=target)
    os_packages.check_names(request.os_packages)
    if request.update:
        request = _with_channels(request)
    asked = inputs.read(request, console)
    if not request.update:
        inputs.check_reuse(request, asked)
    programs = find_programs(request.site)
    if request.os_packages:
        os_packages.require_builder(programs[0], os.environ, request.site.modules)
    ownership = sif_output.Ownership.of(target)
    with (
        locked(target),
        workspace.workspace(console, site=request.site, use_cache=request.use_cache) as space,
        sif_output.drafted(target) as draft,
        process.umask(0o022),
    ):
        tools = Tools(request.site, *programs, space, console)
        bottom = _updated_bottom(target, tools) if request.update else _new_bottom(request, tools)
        flatten = _flatten(request, bottom)
        compression = _compression(request, bottom)
        if flatten:
            tools.trials.choose([compression])
        else:
            _require_overlays(tools, compression)
        if not sif.shares_blocks(bottom.image.path, target.parent):
            disk.require_space(
                target.parent,
                bottom.image.size,
                "the copy of the base image",
                "free some space there, or choose another directory",
            )
        place = SifOutput(prefix=target, draft=draft, space=space)
        context = _context(
            request, asked, bottom=bottom, place=place, tools=tools, compression=compression
        )
        source = _source(context, request)
        result = SifTarget(
            context=context, source=source, place=place, bottom=bottom, flatten=flatten
        )
        manifest = build_update(context, source, result)
        if manifest:
            finish_sif(draft, target, inside=f"/{RECORD}", ownership=ownership, tools=tools)
    changed, manifest = manifest is not None, manifest or bottom.manifest
    assert manifest
    return Result(prefix=target, manifest=manifest, seconds=console.seconds, changed=changed)


def _with_channels(request: SifRequest) -> SifRequest:
    """With the channels that --channel named before, where it names none now."""
    before = manifest_of(sif.read_sif(request.prefix))
    return replace(
        request, channels=request.channels or (before.options.channels if before else ())
    )


# -- the image below ------------------------------------------------------------------------------
def _new_bottom(request: SifRequest, tools: Tools) -> Bottom:
    assert request.base_image is not None, "the command line asks for one"
    folder = tools.space.root / "base"
    folder.mkdir()
    base, facts = base_image.named_base(request.base_image, tools, folder)
    facts.tell_run(base.name, tools.console)
    assert base.image is not None
    path = base.image
    if image_format.read_format(path).kind != image_format.SIF or not facts.runtime_files:
        path = _converted(path, folder / "converted.sif", tools)
    if request.os_packages:
        bigger = folder / "packages.sif"
        os_packages.add_packages(
            path,
            bigger,
            manager=facts.package_manager,
            names=request.os_packages,
            runtime=tools.runtime,
            scratch=tools.space.scratch,
            console=tools.console,
        )
        path = bigger
    return Bottom(
        base=replace(base, image=path, owned=False),
        image=sif.read_sif(path),
        foreign=_foreign(facts.environment),
        labels=dict(facts.labels),
        os_packages=request.os_packages,
    )


def _foreign(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: environment[name] for name in sif_content.FOREIGN if environment.get(name)}


def _converted(path: Path, target: Path, tools: Tools) -> Path:
    """A SIF of a sandbox, a plain SquashFS image or a SIF without ``/.singularity.d``, made by the
    runtime: with ours alone in there it would set no variable, not even PATH.

    :raises SpaceError: there is no room for it.
    """
    if path.is_file():
        size = path.stat().st_size
        disk.require_space(target.parent, size, f"a SIF of {path.name}", disk.MORE_ROOM)
    with tools.console.step(f"Making a SIF of {path.name}"):
        process.run(
            [tools.runtime.path, "-s", "build", target, path],
            console=tools.console,
            env=tools.runtime.environment(tools.space.scratch),
        )
    return target


def _updated_bottom(target: Path, tools: Tools) -> Bottom:
    """The image itself, without the environment that it has."""
    image = sif.read_sif(target)
    manifest = manifest_of(image)
    if manifest is None:
        base, facts = base_image.named_base(str(target), tools, tools.space.root)
        foreign, labels = _foreign(facts.environment), dict(facts.labels)
        if not facts.runtime_files:
            _refuse_more_than_system(image)
            image = sif.read_sif(_converted(target, tools.space.root / "converted.sif", tools))
        return Bottom(base=base, image=image, foreign=foreign, labels=labels)
    tools.trials.require(target)
    base = replace(manifest.base.on(target), mark="", owned=False)
    return Bottom(
        base=base,
        image=image,
        foreign=manifest.foreign,
        labels=manifest.labels,
        os_packages=manifest.os_packages,
        manifest=manifest,
    )


def _refuse_more_than_system(image: sif.Sif) -> None:
    """:raises InputError: what the runtime makes of it would lack something that its owner has."""
    if lost := [sif.KINDS.get(o.kind, "data") for o in image.objects if o != image.primary]:
        raise InputError(
            f"{image.path.name} has no /.singularity.d, and to make one would lose what it has "
            f"besides its system: {', '.join(lost)}",
            where=image.path,
            hint="build another image, on its system alone: containerize build OUT.sif "
            f"--base-image {shlex.quote(str(image.path))}",
        )


def _flatten(request: SifRequest, bottom: Bottom) -> bool:
    """The form of the result. What is flattened stays so: a layer over it could remove nothing."""
    made = bottom.manifest or manifest_of(bottom.image)
    if made and made.flatten:
        return True
    return bool(request.flatten)


def _compression(request: SifRequest, bottom: Bottom) -> Compression:
    before = bottom.manifest.options.compression if bottom.manifest else None
    return compressions.travelling(request.compression or before, request.site.compression)


def _require_overlays(tools: Tools, compression: Compression) -> None:
    """:raises ToolError: images with an environment's layer cannot be used with this runtime."""
    if not (why := tools.trials.overlay_refusal(compression)):
        return
    who = f"{tools.runtime.name} {tools.runtime.version}"
    what, hint = f"{who} mounts no overlay partitions here", "use --flatten: base and environment "
    hint += "in one file system, which takes longer"
    if compression.name != EVERYWHERE.name and not tools.trials.overlay_refusal(EVERYWHERE):
        what += f" that are compressed with {compression.name}"
        hint = "leave --compression out"
    raise ToolError(what, where=tools.runtime.path, hint=hint, detail=why)


# -- the environment ------------------------------------------------------------------------------
def _context(
    request: SifRequest,
    asked: inputs.Inputs,
    *,
    bottom: Bottom,
    place: SifOutput,
    tools: Tools,
    compression: Compression,
) -> BuildContext:
    """:raises InputError: what is updated is no environment of that kind."""
    old = bottom.manifest
    if old is not None and old.kind == Source.kind:
        old = None  # there is no environment yet
    if old and request.environment and old.kind != "conda":
        raise InputError(
            "the image's environment is one of pip packages, not of conda",
            where=request.environment,
            hint="leave --update out to build it anew",
        )
    previous = None
    if old:
        previous = Generation(number=1, directory=place.root, manifest=old, current=True)
    return BuildContext(
        request=request,
        inputs=asked,
        tools=tools,
        base=bottom.base,
        place=place,
        install_path=INSTALL_PATH,
        compression=compression,
        variables=inputs.merged_variables(request, asked, old, tools.console),
        previous=previous,
    )


def _source(context: BuildContext, request: SifRequest) -> Source:
    """What is put into it: as before, or as was asked for; nothing but packages of the system."""
    from wrapper.build.sources.conda import CondaSource
    from wrapper.build.sources.pip import PipSource, Python, recorded_python

    old = context.old
    if old.kind == "conda" if old else request.environment:
        return CondaSource(context=context)
    if old:
        return PipSource(context=context, chosen=recorded_python(old))
    if request.requirements:
        return PipSource(context=context, chosen=Python(sees_outer=request.system_site))
    return Source(context=context)
