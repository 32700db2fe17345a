"""``containerize build``: from a request to one portable SIF, whole or not at all."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wrapper import compression as compressions
from wrapper import inputs, process, smoke, workspace
from wrapper.base import choose as base_image
from wrapper.base.built import Tools
from wrapper.compression import EVERYWHERE, Compression
from wrapper.console import Console
from wrapper.errors import InputError, ToolError
from wrapper.generations import Generation
from wrapper.image import format as image_format
from wrapper.lock import locked
from wrapper.models import Base, Result, SifRequest
from wrapper.pip.interpreter import Interpreter
from wrapper.runtime import find_runtime
from wrapper.sif import content as sif_content
from wrapper.sif import file as sif
from wrapper.sif import os_packages
from wrapper.sif import output as sif_output
from wrapper.sif.build import (
    INSTALL_PATH,
    RECORD,
    CondaSif,
    PipSif,
    SifBuild,
    SifOutput,
    manifest_of,
)
from wrapper.squash import find_squasher

_KINDS: Mapping[str, type[SifBuild]] = {kind.kind: kind for kind in (SifBuild, CondaSif, PipSif)}


@dataclass(frozen=True, kw_only=True)
class _Ground:
    """What the environment is put on: an image with its manifest, where we made it before."""

    base: Base
    bottom: sif.Sif
    foreign: dict[str, str]
    labels: dict[str, str]
    os_packages: tuple[str, ...] = ()
    manifest: dict[str, Any] | None = None


def build_sif(request: SifRequest, console: Console) -> Result:
    """Build the image, or change the one that is there.

    :raises ContainerizeError: of every kind in :mod:`wrapper.errors`; nothing has changed then.
    """
    start = time.monotonic()
    target = sif_output.output_path(request.prefix)
    sif_output.check_output(target, update=request.update, force=request.force)
    request = replace(request, prefix=target)
    os_packages.check_names(request.os_packages)
    asked = inputs.read(request, console)
    if not request.update:
        inputs.check_reuse(request, asked)
    runtime, squasher = (
        find_runtime(os.environ, request.site),
        find_squasher(os.environ, request.site),
    )
    if request.os_packages:
        os_packages.require_builder(runtime, os.environ)
    ownership = sif_output.Ownership.of(target)
    with (
        locked(target),
        workspace.workspace(console, site=request.site, use_cache=request.use_cache) as space,
        sif_output.drafted(target) as draft,
        process.umask(0o022),
    ):
        tools = Tools(request.site, runtime, squasher, space, console)
        ground = _updated_ground(target, tools) if request.update else _new_ground(request, tools)
        flatten = _flatten(request, ground)
        compression = _compression(request, ground)
        if flatten:
            tools.trials.choose([compression])
        else:
            _require_overlays(tools, compression)
        if not sif.shares_blocks(ground.bottom.path, target.parent):
            workspace.require_space(
                target.parent,
                ground.bottom.size,
                "the copy of the base image",
                "free some space there, or choose another directory",
            )
        output = SifOutput(prefix=target, draft=draft, space=space)
        build = _build(request, asked, ground, output, tools, compression=compression)
        build.flatten = flatten
        manifest = build.run()
        with console.step("Starting it once"):
            smoke.start_image(
                draft,
                f"/{RECORD}",
                name=target,
                runtime=runtime,
                scratch=space.scratch,
                console=console,
            )
        with console.step("Switching to it"):
            process.pass_point_of_no_return(console)
            sif_output.publish(draft, target, ownership)
    return Result(prefix=target, manifest=manifest, seconds=time.monotonic() - start)


# -- the image below ------------------------------------------------------------------------------
def _new_ground(request: SifRequest, tools: Tools) -> _Ground:
    assert request.base_image is not None, "the command line asks for one"
    folder = tools.space.root / "base"
    folder.mkdir()
    base, facts = base_image.named_base(request.base_image, tools, folder)
    assert base.image is not None
    path = base.image
    if image_format.read_format(path).kind != image_format.SIF:
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
    return _Ground(
        base=replace(base, image=path, owned=False),
        bottom=sif.read_sif(path),
        foreign=_foreign(facts.environment),
        labels=dict(facts.labels),
        os_packages=request.os_packages,
    )


def _foreign(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: environment[name] for name in sif_content.FOREIGN if environment.get(name)}


def _converted(path: Path, target: Path, tools: Tools) -> Path:
    """A SIF of a sandbox or a plain SquashFS image, made by the runtime."""
    with tools.console.step(f"Making a SIF of {path.name}"):
        process.run(
            [tools.runtime.path, "-s", "build", target, path],
            console=tools.console,
            env=tools.runtime.environment(tools.space.scratch),
        )
    return target


def _updated_ground(target: Path, tools: Tools) -> _Ground:
    """The image itself, without the environment that it has."""
    bottom = sif.read_sif(target)
    manifest = manifest_of(bottom)
    if manifest is None:
        base, facts = base_image.named_base(str(target), tools, tools.space.root)
        foreign, labels = _foreign(facts.environment), dict(facts.labels)
        return _Ground(base=base, bottom=bottom, foreign=foreign, labels=labels)
    tools.trials.require(target)
    known = manifest["base"]
    base = Base(
        image=target,
        name=known["name"],
        digest=known["digest"],
        has_bash=known["has_bash"],
        virtual_packages=known["offers"],
        rocm=known.get("rocm", ""),  # not in early manifests
    )
    return _Ground(
        base=base,
        bottom=bottom,
        foreign=manifest["foreign"],
        labels=manifest["labels"],
        os_packages=tuple(manifest["os_packages"]),
        manifest=manifest,
    )


def _flatten(request: SifRequest, ground: _Ground) -> bool:
    """The form of the result. What is flattened stays so: a layer over it could remove nothing."""
    made = ground.manifest or manifest_of(ground.bottom)
    if made and made["flatten"]:
        return True
    return bool(request.flatten)


def _compression(request: SifRequest, ground: _Ground) -> Compression:
    before = ground.manifest["options"]["compression"] if ground.manifest else None
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
def _build(
    request: SifRequest,
    asked: inputs.Inputs,
    ground: _Ground,
    output: SifOutput,
    tools: Tools,
    *,
    compression: Compression,
) -> SifBuild:
    old = ground.manifest
    if old is not None and old["kind"] == SifBuild.kind:
        old = None  # there is no environment yet
    kind = _KINDS[old["kind"]] if old else _kind(request)
    if old and request.environment and kind is not CondaSif:
        raise InputError(
            "the image's environment is one of pip packages, not of conda",
            where=request.environment,
            hint="leave --update out to build it anew",
        )
    previous = None
    if old:
        previous = Generation(number=1, directory=output.root, manifest=old, current=True)
    return kind(
        request=request,
        wrapper_paths=(),
        compression=compression,
        install_path=INSTALL_PATH,
        base=ground.base,
        bottom=ground.bottom,
        foreign=ground.foreign,
        labels=ground.labels,
        os_packages=ground.os_packages,
        runtime=tools.runtime,
        squasher=tools.squasher,
        space=tools.space,
        staging=output,
        console=tools.console,
        previous=previous,
        inputs=asked,
        variables=inputs.merged_variables(request, asked, old or {}, tools.console),
        **_python(request, kind, old),
    )


def _kind(request: SifRequest) -> type[SifBuild]:
    if request.environment:
        return CondaSif
    return PipSif if request.requirements else SifBuild


def _python(
    request: SifRequest, kind: type[SifBuild], old: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The fields of a :class:`PipSif` that say which Python it is for."""
    if kind is not PipSif:
        return {}
    if not old:
        return {"system_site": request.system_site}
    known = Interpreter.from_record(old["interpreter"])
    return {"interpreter": known, "system_site": old["system_site_packages"]}
