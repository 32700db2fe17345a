"""What a build would do, found out without leaving anything on disk: ``--dry-run``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from wrapper import changes, generations, inputs, installed, prefix, workspace
from wrapper.base.built import Tools
from wrapper.base.choose import find_base
from wrapper.build import Build
from wrapper.compression import EVERYWHERE
from wrapper.conda.build import UNPACKED_RATIO, CondaBuild, solve
from wrapper.console import Console
from wrapper.container import BuildContainer
from wrapper.deploy import Staging
from wrapper.errors import PrefixError
from wrapper.generations import Generation
from wrapper.inputs import Inputs
from wrapper.models import (
    Base,
    NewPipRequest,
    NewRequest,
    Plan,
    Request,
    UpdatePipRequest,
    UpdateRequest,
)
from wrapper.pip.build import PipBuild, choose_python, recorded
from wrapper.reuse.taken import Reuse, start_reuse
from wrapper.runtime import find_runtime, image_binds
from wrapper.squash import find_squasher

_HOW_TO_CHANGE = {
    "conda": "use conda-containerize update",
    "pip": "use pip-containerize update",
    "install": "wrap the installation again, to another prefix",
    "container": "wrap the container again, to another prefix",
}


def plan_new(request: NewRequest, console: Console) -> Plan:
    """Solve and say what would be installed; leaves nothing on disk."""
    request = request.on_site_base()
    asked = inputs.read(request, console)
    inputs.check_reuse(request, asked)
    prefix.check_new(prefix.absolute_prefix(request.prefix))
    with workspace.workspace(console, site=request.site, use_cache=request.use_cache) as space:
        return _plan(request, asked, space, console, None)


def plan_update(request: UpdateRequest, console: Console) -> Plan:
    """Solve and say what would change; leaves nothing on disk."""
    request = with_channels(request)
    inputs.require_something(request)
    asked = inputs.read(request, console)
    target = prefix.absolute_prefix(request.prefix)
    previous = generations.current_generation(target)
    require_kind(previous.manifest, CondaBuild, target)
    prefix.check_owner(target)
    with workspace.workspace(console, site=request.site, use_cache=request.use_cache) as space:
        return _plan(request, asked, space, console, previous)


def with_channels(request: UpdateRequest) -> UpdateRequest:
    """The request with the channels that ``--channel`` named before, unless it names others."""
    if request.channels:
        return request
    manifest = generations.current_generation(prefix.absolute_prefix(request.prefix)).manifest
    return replace(request, channels=tuple(manifest.get("options", {}).get("channels", ())))


def plan_pip(request: NewPipRequest | UpdatePipRequest, console: Console) -> Plan:
    """The same for a virtual environment; it is made in the build directory for that."""
    if not isinstance(request, UpdatePipRequest):
        request = request.on_site_base()
    asked = inputs.read(request, console)
    target = prefix.absolute_prefix(request.prefix)
    previous = None
    if isinstance(request, UpdatePipRequest):
        inputs.require_something(request)
        previous = generations.current_generation(target)
        require_kind(previous.manifest, PipBuild, target)
        prefix.check_owner(target)
        python = recorded(previous.manifest)
        inside = previous.manifest["install_path"]
    else:
        inputs.check_reuse(request, asked)
        prefix.check_new(target)
        python = choose_python(request)
        inside = prefix.install_path(target, request.site)
    site = request.site
    runtime, squasher = find_runtime(os.environ, site), find_squasher(os.environ, site)
    with workspace.workspace(console, site=site, use_cache=request.use_cache) as space:
        tools = Tools(site, runtime, squasher, space, console)
        return PipBuild(
            base=find_base(request, tools, space.scratch, previous, trial=True),
            request=request,
            wrapper_paths=(),
            compression=EVERYWHERE,
            install_path=inside,
            previous=previous,
            runtime=runtime,
            squasher=squasher,
            space=space,
            staging=Staging(target, generation=1, mode=0o700),  # not entered: nothing is written
            console=console,
            inputs=asked,
            variables=asked.variables,
            **python,
        ).plan()


def require_kind(manifest: Mapping[str, Any], kind: type[Build], target: Path) -> None:
    """:raises PrefixError: the installation ``target`` was made by another command."""
    if manifest["kind"] != kind.kind:
        raise PrefixError(
            f"{target.name} is not an installation of {kind.kind}-containerize",
            where=target,
            hint=_HOW_TO_CHANGE[manifest["kind"]],
        )


def _plan(
    request: Request,
    asked: Inputs,
    space: workspace.Workspace,
    console: Console,
    previous: Generation | None,
) -> Plan:
    from wrapper.conda import resolve

    # Solving for the host itself needs neither a runtime nor squashfs-tools.
    tools = None
    if previous or request.base_image or request.copy_base:
        runtime, squasher = (
            find_runtime(os.environ, request.site),
            find_squasher(os.environ, request.site),
        )
        tools = Tools(request.site, runtime, squasher, space, console)
    base = find_base(request, tools, space.scratch, previous, trial=True) if tools else Base()
    old = _old_records(previous, tools) if previous and tools else None
    before = installed.conda_packages(old) if old else []
    packages, sizes = before, {}
    if asked.environment:
        reuse = _reuse(request, base, tools, previous) if tools else None
        with console.step("Solving"):
            resolution = solve(
                asked.environment,
                request,
                base=base,
                reuse=reuse,
                cache=space.cache,
                preferred=installed.conda_records(old) if old else (),
                console=console,
            )
        if reuse:
            console.info(changes.describe_reused(list(reuse.taken.values())))
        packages = [*map(resolve.as_locked, resolution.records), *resolution.pip_locked]
        sizes = dict(resolve.sizes(resolution.records))
    differences = changes.compare(before, packages, sizes)
    download = sum(change.size for change in differences)
    return Plan(
        packages=tuple(sorted(packages, key=lambda p: (p.manager, p.name))),
        changes=tuple(differences) if previous else None,
        sizes=sizes,
        pip_lines=asked.pip_lines,
        download_size=download,
        installed_size=round(download * UNPACKED_RATIO),
    )


def _old_records(previous: Generation, tools: Tools) -> Path:
    """A directory like the environment of a generation, with its packages' records only."""
    inside = previous.within_image(previous.manifest["install_path"])
    place = tools.space.root / "before"
    records = str(inside / "conda-meta")
    tools.squasher.unsquash(previous.image, place, console=tools.console, paths=[records])
    return place / inside


def _reuse(request: Request, base: Base, tools: Tools, previous: Generation | None) -> Reuse | None:
    """What the base has, asked as a build does; the environment itself is not there."""
    if base.image is None:
        return None
    space = tools.space
    container = BuildContainer(
        runtime=tools.runtime,
        image=base.image,
        binds=image_binds([Path(__file__).parent, space.root]),
        own_system=True,
        has_bash=base.has_bash,
        tree=space.image,
        install_path="/",
        scratch=space.scratch,
        console=tools.console,
    )
    unsquashfs = tools.squasher.unsquashfs
    return start_reuse(container, base, request, previous, unsquashfs=unsquashfs, conda=True)
