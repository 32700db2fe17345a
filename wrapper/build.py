"""The steps of building one generation of a conda environment, in order.

Only this module and :mod:`wrapper.pipeline` import the steps; steps do not import each other.
Those that need rattler or conda-lock are imported where they are used: an error in an input file
is told without them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from wrapper import changes, installed, shims, tree, workspace
from wrapper.bases import write_skeleton
from wrapper.console import Console
from wrapper.container import BuildContainer
from wrapper.generations import Generation
from wrapper.models import Activation, EnvironmentSpec, LockedPackage, Request, Resolution
from wrapper.runtime import Runtime
from wrapper.squash import Squasher
from wrapper.workspace import Workspace

# Unpacked packages against their archives: measured 3.2 on numpy + scipy; and their .pyc.
UNPACKED_RATIO = 4.0
_IMAGE_RATIO = 1.2


class Staging(Protocol):
    """Where a generation is written before it appears: see :mod:`wrapper.deploy`."""

    prefix: Path
    generation: int
    root: Path

    @property
    def directory(self) -> Path: ...
    @property
    def image(self) -> Path: ...
    def write_programs(self, programs: Mapping[str, str], install_path: str, shim: str) -> None: ...
    def write_links(self, install_path: str) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Build:
    """The steps of one build and what they share.

    :ivar asked: the environment, ``None`` in an update without one. :ivar variables: to be set at
        run time. :ivar previous: the generation that is updated, ``None`` for a new one.
    """

    request: Request
    asked: EnvironmentSpec | None
    pip_lines: tuple[str, ...]
    variables: Mapping[str, str]
    wrapper_paths: tuple[str, ...]
    compression: str
    install_path: str
    runtime: Runtime
    squasher: Squasher
    space: Workspace
    staging: Staging
    console: Console
    previous: Generation | None = None

    @property
    def tree(self) -> Path:
        """The environment while it is built, outside the container."""
        return self.space.image / self.install_path.lstrip("/")

    def run(self) -> dict[str, Any]:
        """All steps up to a complete staging directory; returns the manifest."""
        container = self._container()
        with ThreadPoolExecutor(1) as pool:
            # An update unpacks the old image while its packages are solved from a copy of their
            # records.
            unpacking = pool.submit(self._unpack)
            resolution = self._solve()
            if resolution:
                self._check_room(resolution)
            unpacking.result()
        before = self._packages_before()
        links = write_skeleton(self.space.image)
        self._user_scripts(container, self.request.pre_install, "pre-install")
        if resolution:
            self._install(container, resolution)
        self._pip(container, resolution)
        self._user_scripts(container, self.request.post_install, "post-install")
        packages = self._packages(container, resolution)
        if before is not None:
            self.console.info(changes.describe(changes.compare(before, packages)))
        channels = resolution.channels if resolution else self._old("channels", ())
        self._compile_and_lock(container, packages, channels)
        activation = self._activation(container)
        names = self._programs()
        size = tree.settle(self.space.image)
        self._squash(self.space.image, self.staging.image, "Writing the image")
        # Removed now, before the installation is synced: a file system that keeps order (ext4)
        # would write all of it out with the image.
        workspace.remove_tree(self.space.image)
        self._write_shims(names, links, activation)

        from wrapper.record import write_record

        return write_record(
            self.staging.directory,
            facts=self._facts(packages, channels, len(names)),
            packages=packages,
            inputs=self.request.files,
            size=size,
            log=self.space.log,
        )

    # -- the base --------------------------------------------------------------------------------
    def _container(self) -> BuildContainer:
        skeleton = self.space.root / "skeleton"
        skeleton.mkdir()
        write_skeleton(skeleton)
        (skeleton / self.install_path.lstrip("/")).mkdir()
        image = skeleton.with_suffix(".sqfs")
        self._squash(skeleton, image, "Preparing the container")
        return BuildContainer(
            runtime=self.runtime,
            skeleton=image,
            tree=self.tree,
            install_path=self.install_path,
            scratch=self.space.scratch,
            console=self.console,
        )

    def _unpack(self) -> None:
        """The environment as it was, or an empty directory for a new one."""
        if self.previous is None:
            self.tree.mkdir()
            return
        self.space.image.rmdir()  # unsquashfs makes it
        with self.console.step("Unpacking the image"):
            self.squasher.unsquash(self.previous.image, self.space.image, console=self.console)
        for entry in self.space.image.iterdir():  # this host's mount points may be others
            if entry.name != self.tree.name:
                workspace.remove_tree(entry)

    def _packages_before(self) -> list[LockedPackage] | None:
        if self.previous is None:
            return None
        present = installed.pip_distributions(self.tree)
        return [
            *installed.conda_packages(self.tree),
            *installed.still_installed(self._old_pip(), present),
        ]

    def _old_pip(self) -> list[LockedPackage]:
        packages = [LockedPackage(**entry) for entry in self._old("packages", ())]
        return [package for package in packages if package.manager == "pip"]

    def _old(self, key: str, default: Any) -> Any:
        return self.previous.manifest.get(key, default) if self.previous else default

    # -- packages --------------------------------------------------------------------------------
    def _solve(self) -> Resolution | None:
        if self.asked is None:
            return None
        from wrapper.resolve import resolve

        records = self.space.root / "records"
        if self.previous:
            inside = self.tree.name
            self.squasher.unsquash(
                self.previous.image, records, console=self.console, paths=[f"{inside}/conda-meta"]
            )
        with self.console.step("Solving"):
            return resolve(
                self.asked,
                cache=self.space.cache,
                channels=self.request.channels,
                preferred=installed.conda_records(records / self.tree.name),
            )

    def _check_room(self, resolution: Resolution) -> None:
        download = resolution.download_size
        workspace.require_space(
            self.space.root,
            round(download * (1 + UNPACKED_RATIO)),
            "the build",
            f"name a larger file system with --tmpdir or {workspace.TMPDIR_VARIABLE}",
        )
        workspace.require_space(
            self.staging.root,
            round(download * _IMAGE_RATIO),
            "the image",
            "free some space there, or choose another --prefix",
        )

    def _install(self, container: BuildContainer, resolution: Resolution) -> None:
        from wrapper.fetch import fetch
        from wrapper.install import link_packages, split
        from wrapper.scripts import run_post_link

        present = installed.conda_records(self.tree)
        staying, fresh = split(resolution.records, present)
        with self.console.step(f"Fetching and checking {len(fresh)} packages") as advance:
            archives = fetch(fresh, cache=self.space.cache, advance=advance)
        with self.console.step("Linking") as advance:
            link_packages(
                [*staying, *archives],
                installed=present,
                urls={record.name.normalized: record.url for record in fresh},
                tree=self.tree,
                install_path=self.install_path,
                cache=self.space.cache,
                advance=advance,
            )
        messages = run_post_link(container, archives)
        if messages:
            self.console.info(messages)

    def _pip(self, container: BuildContainer, resolution: Resolution | None) -> None:
        locked = resolution.pip_locked if resolution else ()
        if not (self.pip_lines or locked):
            return
        pip = self._pip_installer(container)
        with self.console.step("Installing pip packages"):
            if locked:
                pip.install_locked(locked)
            if self.pip_lines:
                pip.install(self.pip_lines)

    def _pip_installer(self, container: BuildContainer) -> Any:
        from wrapper.pip import PipInstaller

        return PipInstaller(
            container,
            cache=self.space.cache if self.request.use_cache else None,
            directory=self.asked.directory.absolute() if self.asked else Path.cwd(),
        )

    def _user_scripts(self, container: BuildContainer, scripts: Sequence[Path], kind: str) -> None:
        from wrapper.scripts import run_user_script

        for script in scripts:
            with self.console.step(f"Running the {kind} script {script.name}"):
                run_user_script(
                    container,
                    script,
                    kind=kind,
                    variables=self.variables,
                    cache=self.space.cache,
                    channels=self.request.channels
                    or (self.asked.channels if self.asked else self._old("channels", ())),
                )

    def _packages(
        self, container: BuildContainer, resolution: Resolution | None
    ) -> list[LockedPackage]:
        """What is there in the end, whoever installed it; pip packages with hashes if possible."""
        present = installed.pip_distributions(self.tree)
        known = [*self._old_pip(), *(resolution.pip_locked if resolution else ())]
        pip = installed.still_installed(known, present)
        for package in pip:
            del present[package.canonical]
        if present:
            with self.console.step("Locking pip packages"):
                pip += self._pip_installer(container).lock(present, self.pip_lines)
        return [*installed.conda_packages(self.tree), *pip]

    # -- finishing -------------------------------------------------------------------------------
    def _compile_and_lock(
        self,
        container: BuildContainer,
        packages: Sequence[LockedPackage],
        channels: Sequence[str],
    ) -> None:
        """At once: conda-lock's library takes a second to import, compiling is other processes."""
        from wrapper.bytecode import compile_modules
        from wrapper.spec.lockfile import write_lock

        lock = self.staging.directory / "conda-lock.yml"
        locked = [package for package in packages if package.sha256 or package.md5]
        with ThreadPoolExecutor(1) as pool, self.console.step("Byte-compiling") as advance:
            writing = pool.submit(write_lock, locked, channels, lock)
            compile_modules(container, advance)
            writing.result()

    def _activation(self, container: BuildContainer) -> Activation:
        from wrapper.activate import record_activation

        with self.console.step("Recording the activated environment"):
            activation = record_activation(container, self.variables)
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
        return {**found, **tree.wrapped(self.tree, self.install_path, self.wrapper_paths)}

    def _squash(self, root: Path, image: Path, title: str) -> None:
        with self.console.step(title) as advance:
            self.squasher.squash(
                root, image, compression=self.compression, console=self.console, advance=advance
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

    def _facts(
        self, packages: Sequence[LockedPackage], channels: Sequence[str], programs: int
    ) -> dict[str, Any]:
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
                "compression": self.compression,
                "wrapper_paths": list(self.wrapper_paths),
            },
            "variables": dict(self.variables),
            "channels": list(channels),
            "packages": [package.as_dict() for package in packages],
            "programs": programs,
        }
