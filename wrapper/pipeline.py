"""The commands' work: each names its steps in order and hands one's result to the next.

Only this module imports the steps; steps do not import each other. Those that need rattler or
conda-lock are imported where they are used: an error in an input file is told without them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wrapper import prefix, shims, spec, tree, workspace
from wrapper.bases import write_skeleton
from wrapper.console import Console
from wrapper.container import BuildContainer
from wrapper.deploy import Staging
from wrapper.models import (
    Activation,
    EnvironmentSpec,
    LockedPackage,
    NewRequest,
    Plan,
    Resolution,
    Result,
)
from wrapper.runtime import Runtime, find_runtime
from wrapper.squash import Squasher, find_squasher
from wrapper.workspace import Workspace

# Unpacked packages against their archives: measured 3.2 on numpy + scipy; and their .pyc.
_UNPACKED_RATIO = 4.0
_IMAGE_RATIO = 1.2


def plan_new(request: NewRequest, console: Console) -> Plan:
    """Solve and say what would be installed; leaves nothing on disk."""
    from wrapper import resolve

    asked = _read_inputs(request, console)
    prefix.check_new(prefix.absolute_prefix(request.prefix))
    with workspace.workspace(console, tmpdir=request.tmpdir, use_cache=request.use_cache) as space:
        resolution = _solve(asked, request, space, console)
    packages = _locked(resolution)
    return Plan(
        packages=tuple(sorted(packages, key=lambda p: (p.manager, p.name))),
        sizes=resolve.sizes(resolution.records),
        pip_lines=asked.pip_lines,
        download_size=resolution.download_size,
        installed_size=round(resolution.download_size * _UNPACKED_RATIO),
    )


def new(request: NewRequest, console: Console) -> Result:
    """Build an environment and let it appear at the prefix, whole or not at all.

    :raises ContainerizeError: of every kind in :mod:`wrapper.errors`.
    """
    start = time.monotonic()
    asked = _read_inputs(request, console)
    target = prefix.absolute_prefix(request.prefix)
    prefix.check_new(target)
    runtime, squasher = find_runtime(os.environ), find_squasher(os.environ)
    mode = prefix.directory_mode(target)
    with (
        prefix.parents(target),
        prefix.locked(target),
        workspace.workspace(console, tmpdir=request.tmpdir, use_cache=request.use_cache) as space,
        Staging(target, generation=1, mode=mode) as staging,
        _umask(0o022),  # for what programs write into the tree; the prefix's modes are set apart
    ):
        prefix.check_new(target)  # again, now that nobody else builds there
        build = Build(
            request=request,
            asked=asked,
            install_path=install_path(target),
            runtime=runtime,
            squasher=squasher,
            space=space,
            staging=staging,
            console=console,
        )
        manifest = build.run()
        staging.publish()
    return Result(prefix=target, manifest=manifest, seconds=time.monotonic() - start)


def install_path(target: Path) -> str:
    """Where an installation's environment is inside the container.

    A directory of the root that exists on no host, because binds of the host's directories would
    hide it anywhere else. Derived from the prefix: the same over updates, so that paths stored by
    VS Code, Jupyter or a virtual environment stay true; different for two installations that are
    used together.
    """
    return f"/containerize-{hashlib.sha256(os.fsencode(target)).hexdigest()[:10]}"


@dataclass(frozen=True, kw_only=True)
class Build:
    """The steps of one build and what they share."""

    request: NewRequest
    asked: EnvironmentSpec
    install_path: str
    runtime: Runtime
    squasher: Squasher
    space: Workspace
    staging: Staging
    console: Console

    @property
    def tree(self) -> Path:
        """The environment while it is built, outside the container."""
        return self.space.image / self.install_path.lstrip("/")

    def run(self) -> dict[str, Any]:
        """All steps up to a complete staging directory; returns the manifest."""
        resolution = _solve(self.asked, self.request, self.space, self.console)
        self._check_room(resolution)
        links = write_skeleton(self.space.image)
        self.tree.mkdir()
        container = self._container()
        self._user_scripts(container, self.request.pre_install, "pre-install")
        self._install(container, resolution)
        pip = self._pip(container, resolution)
        self._user_scripts(container, self.request.post_install, "post-install")
        packages = [*_locked(replace(resolution, pip_locked=())), *pip]
        self._compile_and_lock(container, packages, resolution.channels)
        activation = self._activation(container)
        names = self._programs()
        size = tree.settle(self.space.image)
        self._squash(self.staging.image, "Writing the image")
        self._write_shims(names, links, activation)

        from wrapper.record import write_record

        return write_record(
            self.staging.directory,
            facts=self._facts(resolution, len(names)),
            packages=packages,
            inputs=self.request.files,
            size=size,
            log=self.space.log,
        )

    def _check_room(self, resolution: Resolution) -> None:
        download = resolution.download_size
        workspace.require_space(
            self.space.root,
            round(download * (1 + _UNPACKED_RATIO)),
            "the build",
            f"name a larger file system with --tmpdir or {workspace.TMPDIR_VARIABLE}",
        )
        workspace.require_space(
            self.staging.root,
            round(download * _IMAGE_RATIO),
            "the image",
            "free some space there, or choose another --prefix",
        )

    def _container(self) -> BuildContainer:
        skeleton = self.space.root / "skeleton.sqfs"
        self._squash(skeleton, "Preparing the container")
        return BuildContainer(
            runtime=self.runtime,
            skeleton=skeleton,
            tree=self.tree,
            install_path=self.install_path,
            scratch=self.space.scratch,
            console=self.console,
        )

    def _install(self, container: BuildContainer, resolution: Resolution) -> None:
        from wrapper.fetch import fetch
        from wrapper.install import link_packages
        from wrapper.scripts import run_post_link

        records = resolution.records
        with self.console.step(f"Fetching and checking {len(records)} packages") as advance:
            archives = fetch(records, cache=self.space.cache, advance=advance)
        with self.console.step("Linking") as advance:
            link_packages(
                archives,
                urls={record.name.normalized: record.url for record in records},
                tree=self.tree,
                install_path=self.install_path,
                cache=self.space.cache,
                advance=advance,
            )
        messages = run_post_link(container, records)
        if messages:
            self.console.info(messages)

    def _pip(self, container: BuildContainer, resolution: Resolution) -> list[LockedPackage]:
        if not (self.asked.pip_lines or resolution.pip_locked):
            return []
        from wrapper.pip import PipInstaller

        pip = PipInstaller(
            container,
            cache=self.space.cache if self.request.use_cache else None,
            directory=self.asked.directory.absolute(),
        )
        packages = [*resolution.pip_locked]
        with self.console.step("Installing pip packages"):
            if packages:
                pip.install_locked(packages)
            if self.asked.pip_lines:
                packages += pip.install(self.asked.pip_lines)
        return packages

    def _user_scripts(self, container: BuildContainer, scripts: Sequence[Path], kind: str) -> None:
        from wrapper.scripts import run_user_script

        for script in scripts:
            with self.console.step(f"Running the {kind} script {script.name}"):
                run_user_script(container, script, kind=kind, variables=self.asked.variables)

    def _compile_and_lock(
        self,
        container: BuildContainer,
        packages: Sequence[LockedPackage],
        channels: Sequence[str],
    ) -> None:
        """At once: conda-lock's library takes a second to import, compiling is other processes."""
        from wrapper.bytecode import compile_modules
        from wrapper.spec.lockfile import write_lock

        with ThreadPoolExecutor(1) as pool, self.console.step("Byte-compiling") as advance:
            lock = self.staging.directory / "conda-lock.yml"
            writing = pool.submit(write_lock, packages, channels, lock)
            compile_modules(container, advance)
            writing.result()

    def _activation(self, container: BuildContainer) -> Activation:
        from wrapper.activate import record_activation

        with self.console.step("Recording the activated environment"):
            activation = record_activation(container, self.asked.variables)
        for script in activation.scripts:
            self.console.warning(
                f"{script} depends on the moment it runs: it is sourced at every start, "
                "which costs some milliseconds"
            )
        return activation

    def _programs(self) -> dict[str, str]:
        found, skipped = tree.programs(self.tree)
        if skipped:
            names = ", ".join(repr(name) for name in skipped)
            self.console.warning(f"no shims for programs with such names: {names}")
        return {**found, **tree.wrapped(self.tree, self.install_path, self.request.wrapper_paths)}

    def _squash(self, image: Path, title: str) -> None:
        with self.console.step(title) as advance:
            self.squasher.squash(
                self.space.image,
                image,
                compression=self.request.compression,
                console=self.console,
                advance=advance,
            )

    def _write_shims(
        self, names: dict[str, str], links: Sequence[str], activation: Activation
    ) -> None:
        text = shims.shim(self.staging.prefix, self.runtime.path)
        self.staging.write_programs(names, self.install_path, text)
        self.staging.write_links(self.install_path)
        env = shims.environment_file(
            generation=self.staging.generation,
            install_path=self.install_path,
            links=links,
            activation=activation,
        )
        path = self.staging.directory / "env"
        path.write_text(env, encoding="utf-8", errors="surrogateescape")  # any byte a script sets

    def _facts(self, resolution: Resolution, programs: int) -> dict[str, Any]:
        from wrapper.resolve import describe_virtual_packages

        runtime = self.runtime
        return {
            "kind": "conda",
            "generation": self.staging.generation,
            "prefix": str(self.staging.prefix),
            "install_path": self.install_path,
            "base": {"kind": "host", "virtual_packages": describe_virtual_packages()},
            "runtime": {
                "name": runtime.name,
                "version": runtime.version,
                "path": str(runtime.path),
            },
            "mksquashfs": ".".join(map(str, self.squasher.version)),
            "options": {
                "compression": self.request.compression,
                "wrapper_paths": list(self.request.wrapper_paths),
            },
            "channels": list(resolution.channels),
            "programs": programs,
        }


# -- helpers -----------------------------------------------------------------------------------
def _read_inputs(request: NewRequest, console: Console) -> EnvironmentSpec:
    """Read and check every input file before anything is made.

    :returns: the environment file's content, with what other files and options add to it.
    """
    tree.check_wrapper_paths(request.wrapper_paths)
    asked = spec.read_spec(request.environment)
    for path in request.files:
        spec.read_text(path)
    for note in asked.notes:
        console.info(note)
    for warning in asked.warnings:
        console.warning(warning)
    variables = spec.read_variables(request.environ) if request.environ else {}
    return replace(
        asked,
        pip_lines=(*asked.pip_lines, *(f"-r {path.absolute()}" for path in request.requirements)),
        variables={**asked.variables, **variables},
    )


def _solve(
    asked: EnvironmentSpec, request: NewRequest, space: Workspace, console: Console
) -> Resolution:
    with console.step("Solving"):
        from wrapper.resolve import resolve

        return resolve(asked, cache=space.cache, channels=request.channels)


def _locked(resolution: Resolution) -> list[LockedPackage]:
    from wrapper.resolve import as_locked

    return [*map(as_locked, resolution.records), *resolution.pip_locked]


@contextlib.contextmanager
def _umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)
