"""``--dry-run``: what a build would do, found out without leaving anything on disk; and ``--lock``,
which leaves a lock of it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from wrapper import inputs as spec
from wrapper import installed, workspace
from wrapper.base.built import Tools
from wrapper.base.resolve import find_base
from wrapper.base_python.session import Reuse, start_reuse
from wrapper.build import mpi
from wrapper.build.context import BuildContext
from wrapper.build.gpu_builds import require_amd
from wrapper.build.incremental import IncrementalTree
from wrapper.commands.prepare import (
    Prepared,
    find_programs,
    prepared_new,
    prepared_update,
)
from wrapper.console import Console
from wrapper.credentials import public_url
from wrapper.errors import InputError
from wrapper.images.compression import EVERYWHERE
from wrapper.models import Base
from wrapper.packages import Change, LockedPackage, changes_between, describe_reused
from wrapper.prefix import checks as prefix
from wrapper.prefix.generations import Generation
from wrapper.prefix.staging import Staging
from wrapper.requests import (
    NewPipRequest,
    NewRequest,
    Plan,
    R,
    Request,
    UpdatePipRequest,
    UpdateRequest,
)
from wrapper.runtime.binds import image_binds
from wrapper.runtime.container import BuildContainer

if TYPE_CHECKING:
    from wrapper.build.sources.pip import Python


def plan_new(request: NewRequest, console: Console) -> Plan:
    """Solve and say what would be installed; write a lock of it where one is asked for."""
    prepared = prepared_new(request, console)
    if request.lock:
        _check_lock(request.lock, prepared)
    plan = _plan_conda(prepared, console)
    if request.lock:
        _write_lock(request.lock, plan, prepared)
    return plan


def plan_update(request: UpdateRequest, console: Console) -> Plan:
    """Solve and say what would change."""
    return _plan_conda(prepared_update(request, "conda", console, trial=True), console)


def plan_pip(request: NewPipRequest | UpdatePipRequest, console: Console) -> Plan:
    """The same for a virtual environment; it is made in the build directory for that."""
    from wrapper.build.sources.pip import choose_python, recorded_python

    if isinstance(request, UpdatePipRequest):
        updated = prepared_update(request, "pip", console, trial=True)
        assert updated.previous
        chosen = recorded_python(updated.previous.manifest)
        return _plan_pip(updated, chosen, updated.previous.manifest.install_path, console)
    prepared = prepared_new(request, console)
    chosen = choose_python(prepared.request)
    inside = prefix.install_path(prepared.target, request.site)
    return _plan_pip(prepared, chosen, inside, console)


# -- locks ---------------------------------------------------------------------------------------
def _check_lock(path: Path, prepared: Prepared[NewRequest]) -> None:
    """:raises InputError: it would lack packages, or take the place of a file that is no lock."""
    from wrapper.inputs.lockfile import is_lock

    if prepared.inputs.pip_lines or prepared.inputs.requirements:
        raise InputError(
            "the lock would lack the pip packages, which are found only in a build",
            where=f"--lock {path}",
            hint="take DIR/current/conda-lock.yml of a build; or leave them out, and name them "
            "with -r when you build from the lock",
        )
    if os.path.lexists(path) and not (path.is_file() and is_lock(spec.read_text(path))):
        raise InputError("there is something that is no lock", where=path, hint="name another file")


def _write_lock(path: Path, plan: Plan, prepared: Prepared[NewRequest]) -> None:
    """:raises InputError: it cannot be written."""
    from wrapper.inputs.lockfile import write_lock

    known = [package for package in plan.packages if package.sha256 or package.md5]
    left = [package for package in plan.packages if package not in known]
    channels = [public_url(url) for url in plan.channels]
    variables, platform = prepared.inputs.variables, prepared.request.platform
    own = {name: it for name, it in variables.items() if name not in prepared.inputs.environ}
    try:
        write_lock(known, channels, path, own, left, platform=platform)
    except OSError as error:
        raise InputError(
            f"the lock cannot be written: {error.strerror}", where=path, hint="name another file"
        ) from None


# -- conda ---------------------------------------------------------------------------------------
def _plan_conda(prepared: Prepared[R], console: Console) -> Plan:
    from wrapper.conda import resolve
    from wrapper.conda.solve import UNPACKED_RATIO, solve

    request, previous, asked = prepared.request, prepared.previous, prepared.inputs
    with workspace.workspace(console, site=request.site, use_cache=request.use_cache) as space:
        tools, base, reuse = None, Base(), None
        # Solving for the host itself needs neither a runtime nor squashfs-tools.
        if previous or request.base_image or request.copy_base:
            tools = Tools(request.site, *find_programs(request.site), space, console)
            base = find_base(request, tools, space.scratch, previous, trial=True)
        if not request.elsewhere:  # the site's GPUs are those of its own nodes
            require_amd(asked, base, request.site)
        old = _old_records(previous, tools) if previous and tools else None
        packages: Sequence[LockedPackage] = installed.conda_packages(old) if old else ()
        before, sizes, channels = packages, dict[str, int](), tuple[str, ...]()
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
                console.info(describe_reused(list(reuse.taken.values())))
            packages = [*map(resolve.as_locked, resolution.records), *resolution.pip_locked]
            if not request.elsewhere:
                made = previous.manifest if previous else None
                mpi.judge_plan(packages, request, made, console)
            sizes, channels = dict(resolve.sizes(resolution.records)), resolution.channels
    return _plan(
        prepared,
        sorted(packages, key=lambda package: (package.manager, package.name)),
        changes_between(before, packages, sizes),
        ratio=UNPACKED_RATIO,
        sizes=sizes,
        pip_lines=asked.pip_lines,
        channels=channels,
    )


def _old_records(previous: Generation, tools: Tools) -> Path:
    """A directory like the environment of a generation, with its packages' records only."""
    inside = previous.within_image(previous.manifest.install_path)
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
        binds=image_binds([Path(__file__).parents[1], space.root]),
        own_system=True,
        has_bash=base.has_bash,
        tree=space.image,
        install_path="/",
        scratch=space.scratch,
        console=tools.console,
    )
    unsquashfs = tools.squasher.unsquashfs
    return start_reuse(container, base, request, previous, unsquashfs=unsquashfs, conda=True)


# -- pip -----------------------------------------------------------------------------------------
def _plan_pip(prepared: Prepared[R], chosen: Python, inside: str, console: Console) -> Plan:
    from wrapper.build.sources.pip import UNPACKED_RATIO, PipSource
    from wrapper.build.targets.prefix import PrefixTarget

    request = prepared.request
    programs = find_programs(request.site)
    with workspace.workspace(console, site=request.site, use_cache=request.use_cache) as space:
        tools = Tools(request.site, *programs, space, console)
        # Not entered: nothing is written.
        place = Staging(prepared.target, generation=1, mode=0o700)
        context = BuildContext(
            request=request,
            inputs=prepared.inputs,
            tools=tools,
            base=find_base(request, tools, space.scratch, prepared.previous, trial=True),
            place=place,
            install_path=inside,
            compression=EVERYWHERE,
            previous=prepared.previous,
        )
        require_amd(prepared.inputs, context.base, context.site)
        source = PipSource(context=context, chosen=chosen)
        image = PrefixTarget(context=context, source=source, place=place)
        tree = IncrementalTree(context=context, image=image)
        container = context.container(source.places())
        tree.unpack()
        before = tree.packages_before() or []
        context.ask_base(container, conda=False)
        source.make_environment(container)
        after = source.pip(tree).planned(container, before, prepared.inputs.locked)
        mpi.judge_plan(after, request, context.old, console)
    return _plan(
        prepared,
        sorted(after, key=lambda package: package.name),
        changes_between(before, after),
        ratio=UNPACKED_RATIO,
    )


def _plan(
    prepared: Prepared[R],
    packages: Sequence[LockedPackage],
    changes: Sequence[Change],
    *,
    ratio: float,
    sizes: Mapping[str, int] = MappingProxyType({}),
    pip_lines: tuple[str, ...] = (),
    channels: tuple[str, ...] = (),
) -> Plan:
    """:param ratio: of what archives become to their own size."""
    download = sum(change.size for change in changes)
    return Plan(
        packages=tuple(packages),
        changes=tuple(changes) if prepared.previous else None,
        sizes=sizes,
        pip_lines=pip_lines,
        channels=channels,
        download_size=download,
        installed_size=round(download * ratio),
    )
