"""The commands' work, from a request to a result: who holds what while it is built."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from wrapper import (
    changes,
    container_build,
    generations,
    installed,
    prefix,
    process,
    spec,
    tree,
    workspace,
)
from wrapper.build import Build
from wrapper.conda_build import UNPACKED_RATIO, CondaBuild
from wrapper.console import Console
from wrapper.copy_build import CopyBuild, check_source
from wrapper.deploy import NextGeneration, Staging
from wrapper.errors import InputError, PrefixError
from wrapper.generations import Generation
from wrapper.models import (
    EnvironmentSpec,
    LockedPackage,
    NewPipRequest,
    NewRequest,
    Plan,
    Request,
    Result,
    UpdatePipRequest,
    UpdateRequest,
    WrapContainerRequest,
    WrapInstallRequest,
)
from wrapper.past import remove_old
from wrapper.pip_build import Interpreter, PipBuild, find_interpreter
from wrapper.runtime import find_runtime
from wrapper.spec.requirements import parse_requirements_lock, project_lines
from wrapper.squash import find_squasher

_HOW_TO_CHANGE = {
    "conda": "use conda-containerize update",
    "pip": "use pip-containerize update",
    "install": "wrap the installation again, to another prefix",
    "container": "wrap the container again, to another prefix",
}


def plan_new(request: NewRequest, console: Console) -> Plan:
    """Solve and say what would be installed; leaves nothing on disk."""
    asked = _read_inputs(request, console)
    prefix.check_new(prefix.absolute_prefix(request.prefix))
    with workspace.workspace(console, tmpdir=request.tmpdir, use_cache=request.use_cache) as space:
        return _plan(request, asked, space, console, None)


def new(request: NewRequest, console: Console) -> Result:
    """Build a conda environment and let it appear at the prefix, whole or not at all.

    :raises ContainerizeError: of every kind in :mod:`wrapper.errors`.
    """
    asked = _read_inputs(request, console)
    return _new(
        request,
        console,
        CondaBuild,
        asked=asked,
        directory=asked.directory.absolute(),
        pip_lines=asked.pip_lines,
        variables=asked.variables,
    )


def new_pip(request: NewPipRequest, console: Console) -> Result:
    """Build a virtual environment for the Python on PATH, likewise."""
    asked = _read_pip_inputs(request, console)
    return _new(request, console, PipBuild, interpreter=find_interpreter(os.environ), **asked)


def wrap_install(request: WrapInstallRequest, console: Console) -> Result:
    """Put an installation that lies on disk into an image, likewise."""
    tree.check_wrapper_paths(request.wrapper_paths)
    return _new(
        request,
        console,
        CopyBuild,
        source=check_source(
            request.source, prefix=prefix.absolute_prefix(request.prefix), mask=request.mask
        ),
        mask=request.mask,
        directory=Path.cwd(),
        pip_lines=(),
        variables=_environ(request),
    )


def wrap_container(request: WrapContainerRequest, console: Console) -> Result:
    """Make shims for programs of an existing container."""
    start = time.monotonic()
    tree.check_wrapper_paths(request.wrapper_paths)
    for path in request.wrapper_paths:
        if not path.startswith("/"):
            raise InputError(
                f"'{path}' is not an absolute path",
                where="--wrapper-paths",
                hint="name paths inside the container: -w /opt/venv/bin",
            )
    target = prefix.absolute_prefix(request.prefix)
    prefix.check_new(target)
    runtime = find_runtime(os.environ)
    with (
        prefix.parents(target),
        prefix.locked(target),
        workspace.workspace(console, tmpdir=request.tmpdir) as space,
        Staging(target, generation=1, mode=prefix.directory_mode(target)) as staging,
        process.umask(0o022),
    ):
        image = container_build.find_image(
            request.image,
            runtime=runtime,
            staging=staging.directory,
            scratch=space.scratch,
            console=console,
        )
        with console.step("Looking into the image"):
            programs = container_build.programs(
                image.path,
                request.wrapper_paths,
                runtime=runtime,
                scratch=space.scratch,
                console=console,
            )
        variables = _environ(request)
        manifest = container_build.write(
            image,
            programs,
            variables,
            staging=staging,
            inside=install_path(target),
            runtime=runtime,
            log=space.log,
        )
        _publish(staging, console)
    return Result(prefix=target, manifest=manifest, seconds=time.monotonic() - start)


def _new(request: Request, console: Console, kind: type[Build], **specific: Any) -> Result:
    """The frame of every new installation; ``specific`` are the kind's own fields."""
    start = time.monotonic()
    target = prefix.absolute_prefix(request.prefix)
    prefix.check_new(target)
    runtime, squasher = find_runtime(os.environ), find_squasher(os.environ)
    mode = prefix.directory_mode(target)
    with (
        prefix.parents(target),
        prefix.locked(target),
        workspace.workspace(console, tmpdir=request.tmpdir, use_cache=request.use_cache) as space,
        Staging(target, generation=1, mode=mode) as staging,
        process.umask(0o022),  # for what programs write into the tree; deploy sets the modes
    ):
        prefix.check_new(target)  # again, now that nobody else builds there
        manifest = kind(
            request=request,
            wrapper_paths=request.wrapper_paths,
            compression=request.compression or "default",
            install_path=install_path(target),
            runtime=runtime,
            squasher=squasher,
            space=space,
            staging=staging,
            console=console,
            **specific,
        ).run()
        _publish(staging, console)
    return Result(prefix=target, manifest=manifest, seconds=time.monotonic() - start)


def plan_update(request: UpdateRequest, console: Console) -> Plan:
    """Solve and say what would change; leaves nothing on disk."""
    asked = _read_inputs(request, console)
    target = prefix.absolute_prefix(request.prefix)
    previous = generations.current_generation(target)
    _require_kind(previous.manifest, CondaBuild, target)
    with workspace.workspace(console, tmpdir=request.tmpdir, use_cache=request.use_cache) as space:
        return _plan(request, asked, space, console, previous)


def update(request: UpdateRequest, console: Console) -> Result:
    """Build a further generation from the one in use and switch to it, or change nothing.

    :raises ContainerizeError: of every kind in :mod:`wrapper.errors`.
    """
    asked = _read_inputs(request, console)
    conda = {"asked": asked if request.environment else None}
    return _update(
        request,
        console,
        CondaBuild,
        directory=asked.directory.absolute(),
        pip_lines=asked.pip_lines,
        variables=asked.variables,
        **conda,
    )


def update_pip(request: UpdatePipRequest, console: Console) -> Result:
    """The same for a virtual environment."""
    asked = _read_pip_inputs(request, console)
    return _update(request, console, PipBuild, **asked)


def _update(
    request: UpdateRequest | UpdatePipRequest,
    console: Console,
    kind: type[Build],
    **specific: Any,
) -> Result:
    """The frame of every update; what it does not name stays as it was."""
    start = time.monotonic()
    target = prefix.absolute_prefix(request.prefix)
    _require_kind(generations.current_generation(target).manifest, kind, target)
    prefix.check_update(target)
    runtime, squasher = find_runtime(os.environ), find_squasher(os.environ)
    with contextlib.ExitStack() as stack:
        stack.enter_context(prefix.locked(target))
        space = stack.enter_context(
            workspace.workspace(console, tmpdir=request.tmpdir, use_cache=request.use_cache)
        )
        generations.repair(target)
        every = generations.generations(target)
        staging = stack.enter_context(
            NextGeneration(target, every[-1].number + 1, prefix.directory_mode(target))
        )
        stack.enter_context(process.umask(0o022))
        previous = generations.current_generation(target)
        old = previous.manifest
        if kind is PipBuild:
            specific["interpreter"] = Interpreter(
                path=Path(old["interpreter"]["path"]), version=old["interpreter"]["version"]
            )
            specific["system_site"] = old["system_site_packages"]
        # A new environment file says its variables anew; those of --environ files stay.
        stay = "environ" if request.replaces_variables else "variables"
        specific["variables"] = {
            **(specific["variables"] if request.replaces_variables else {}),
            **old.get(stay, {}),
            **(_environ(request) if request.replaces_variables else specific["variables"]),
        }
        paths = [*old["options"]["wrapper_paths"], *request.wrapper_paths]
        manifest = kind(
            request=request,
            wrapper_paths=tuple(dict.fromkeys(paths)),
            compression=request.compression or old["options"]["compression"],
            install_path=old["install_path"],
            previous=previous,
            runtime=runtime,
            squasher=squasher,
            space=space,
            staging=staging,
            console=console,
            **specific,
        ).run()
        _publish(staging, console)
        if request.keep is not None:
            remove_old(target, request.keep, console)
    return Result(prefix=target, manifest=manifest, seconds=time.monotonic() - start)


def _publish(staging: Staging | NextGeneration, console: Console) -> None:
    with console.step("Switching to it"):
        process.ignore_signals()  # "interrupted" shall mean that nothing was changed
        staging.publish()


def _require_kind(manifest: Mapping[str, Any], kind: type[Build], target: Path) -> None:
    if manifest["kind"] != kind.kind:
        raise PrefixError(
            f"{target.name} is not an installation of {kind.kind}-containerize",
            where=target,
            hint=_HOW_TO_CHANGE[manifest["kind"]],
        )


def install_path(target: Path) -> str:
    """Where an installation's environment is inside the container.

    A directory of the root that exists on no host, because binds of the host's directories would
    hide it anywhere else. Derived from the prefix: the same over updates, so that paths stored by
    VS Code, Jupyter or a virtual environment stay true; different for two installations that are
    used together.
    """
    return f"/containerize-{hashlib.sha256(os.fsencode(target)).hexdigest()[:10]}"


# -- helpers -----------------------------------------------------------------------------------
def _read_inputs(request: Request, console: Console) -> EnvironmentSpec:
    """Read and check every input file before anything is made.

    :returns: the environment file's content, with what other files and options add to it.
    """
    tree.check_wrapper_paths(request.wrapper_paths)
    asked = EnvironmentSpec(source=Path.cwd() / "-")
    if request.environment:
        asked = spec.read_spec(request.environment)
    for path in request.files:
        spec.read_text(path)
    for note in asked.notes:
        console.info(note)
    for warning in asked.warnings:
        console.warning(warning)
    variables = _environ(request)
    return replace(
        asked,
        pip_lines=(*asked.pip_lines, *(f"-r {path.absolute()}" for path in request.requirements)),
        variables={**asked.variables, **variables},
    )


def _environ(request: Request | WrapContainerRequest) -> dict[str, str]:
    return spec.read_variables(request.environ) if request.environ else {}


def _read_pip_inputs(request: NewPipRequest | UpdatePipRequest, console: Console) -> dict[str, Any]:
    """Read and check the inputs of a pip build; fields of a :class:`PipBuild`."""
    tree.check_wrapper_paths(request.wrapper_paths)
    for path in request.files:
        spec.read_text(path)
    locked: list[LockedPackage] = []
    lines: list[str] = []
    for path in request.requirements:
        lock = parse_requirements_lock(spec.read_text(path), path)
        if lock is not None:
            locked += lock
        elif path.name == "pyproject.toml":
            lines += project_lines(path, request.extras, request.groups)
        else:
            lines.append(f"-r {path.absolute()}")
    return {
        "directory": Path.cwd(),
        "pip_lines": tuple(lines),
        "locked": tuple(locked),
        "variables": _environ(request),
        "system_site": request.system_site,
    }


def _plan(
    request: Request,
    asked: EnvironmentSpec,
    space: workspace.Workspace,
    console: Console,
    previous: Generation | None,
) -> Plan:
    from wrapper import resolve

    before: list[LockedPackage] = []
    if previous:
        inside = previous.manifest["install_path"].lstrip("/")
        unpacked = space.root / "before"
        find_squasher(os.environ).unsquash(
            previous.image, unpacked, console=console, paths=[f"{inside}/conda-meta"]
        )
        before = installed.conda_packages(unpacked / inside)
    packages, sizes = before, {}
    if request.environment:
        with console.step("Solving"):
            resolution = resolve.resolve(
                asked,
                cache=space.cache,
                channels=request.channels,
                preferred=installed.conda_records(unpacked / inside) if previous else (),
            )
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
