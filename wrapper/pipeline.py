"""The commands' work: each names its steps in order and hands one's result to the next.

Only this module imports the steps; steps do not import each other.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from wrapper import __version__, prefix, shims, spec, workspace
from wrapper.activate import record_activation
from wrapper.bases import write_skeleton
from wrapper.console import Console, human_size
from wrapper.container import BuildContainer
from wrapper.deploy import Staging, file_sha256
from wrapper.errors import InputError
from wrapper.models import Activation, EnvironmentSpec, Guarded, LockedPackage, Resolution, TreeSize
from wrapper.runtime import Runtime, find_runtime
from wrapper.spec.lockfile import write_lock
from wrapper.squash import Squasher, find_squasher, processors
from wrapper.tree import check_wrapper_paths, programs, settle, wrapped
from wrapper.workspace import Workspace

# Unpacked packages against their archives: measured 3.2 on numpy + scipy; and their .pyc.
_UNPACKED_RATIO = 4.0
_IMAGE_RATIO = 1.2
# A user's own ~/.local must not change what an installation imports, unless they say so.
_NO_USER_SITE = Guarded(guards=("PYTHONNOUSERSITE",), assign={"PYTHONNOUSERSITE": "1"})


@dataclass(frozen=True, kw_only=True)
class NewRequest:
    """A ``conda-containerize new``, as the command line says it; paths are outside the container.

    ``environ`` is an ``--environ`` file of ``NAME=VALUE`` lines, set for programs at run time.
    """

    prefix: Path
    environment: Path
    requirements: tuple[Path, ...] = ()
    pre_install: tuple[Path, ...] = ()
    post_install: tuple[Path, ...] = ()
    environ: Path | None = None
    wrapper_paths: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    use_cache: bool = True
    tmpdir: Path | None = None
    compression: str = "default"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a build would install, for ``--dry-run``. Sizes are bytes, estimated where noted."""

    packages: tuple[LockedPackage, ...]
    sizes: Mapping[str, int]
    pip_lines: tuple[str, ...]
    download_size: int
    installed_size: int  # estimated


@dataclass(frozen=True, kw_only=True)
class Result:
    """A finished installation: its manifest and the seconds it took."""

    prefix: Path
    manifest: Mapping[str, Any]
    seconds: float


def plan_new(request: NewRequest, console: Console) -> Plan:
    """Solve and say what would be installed; leaves nothing on disk."""
    from wrapper import resolve

    asked = _read_inputs(request, console)
    prefix.check_new(prefix.absolute_prefix(request.prefix))
    with workspace.workspace(
        console, tmpdir=request.tmpdir, use_cache=request.use_cache
    ) as space:
        resolution = _solve(asked, request, space, console)
    packages = (*map(resolve.as_locked, resolution.records), *resolution.pip_locked)
    return Plan(
        packages=tuple(sorted(packages, key=lambda p: (p.manager, p.name))),
        sizes=resolve.sizes(resolution.records),
        pip_lines=_pip_lines(asked, request),
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
        _parents(target),
        prefix.locked(target),
        workspace.workspace(console, tmpdir=request.tmpdir, use_cache=request.use_cache) as space,
        Staging(target, generation=1, mode=mode) as staging,
    ):
        prefix.check_new(target)  # again, now that nobody else builds there
        os.umask(0o022)  # for what programs write into the tree; the prefix's modes are set apart
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

    A directory of the root that exists on no host, because an image's mount point would hide it.
    Derived from the prefix: the same over updates, so that paths stored by VS Code, Jupyter or a
    virtual environment stay true; different for two installations that are used together.
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
        return self.space.image / self.install_path.lstrip("/")

    def run(self) -> dict[str, Any]:
        """All steps up to a complete staging directory; returns the manifest."""
        resolution = _solve(self.asked, self.request, self.space, self.console)
        self._check_room(resolution)
        links = write_skeleton(self.space.image)
        self.tree.mkdir()
        container = self._container()
        self._run_scripts(container, self.request.pre_install, "pre-install")
        self._install(resolution)
        self._post_link(container, resolution)
        pip = self._pip(container, resolution)
        self._run_scripts(container, self.request.post_install, "post-install")
        packages = [*_locked(resolution), *pip]
        activation = self._finish_tree(container, resolution, packages)
        shims_wanted = self._programs()
        size = settle(self.space.image)
        self._squash()
        self.staging.write_programs(
            shims_wanted, self.install_path, shims.shim(self.staging.prefix, self.runtime.path)
        )
        self.staging.write_links(self.install_path)
        env = shims.environment_file(
            generation=self.staging.generation,
            install_path=self.install_path,
            links=links,
            activation=activation,
        )
        (self.staging.directory / "env").write_text(env)
        return self._record(resolution, packages, size, len(shims_wanted))

    # -- steps ---------------------------------------------------------------------------------
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
        self.squasher.squash(
            self.space.image,
            skeleton,
            compression=self.request.compression,
            console=self.console,
            advance=lambda done, total: None,
        )
        return BuildContainer(
            runtime=self.runtime,
            skeleton=skeleton,
            tree=self.tree,
            install_path=self.install_path,
            scratch=self.space.scratch,
            console=self.console,
        )

    def _install(self, resolution: Resolution) -> None:
        from wrapper.fetch import fetch
        from wrapper.install import link_packages

        title = f"Fetching and checking {len(resolution.records)} packages"
        with self.console.step(title) as advance:
            archives = fetch(resolution.records, cache=self.space.cache, advance=advance)
        with self.console.step("Linking") as advance:
            link_packages(
                resolution.records,
                archives,
                tree=self.tree,
                install_path=self.install_path,
                cache=self.space.cache,
                advance=advance,
            )

    def _post_link(self, container: BuildContainer, resolution: Resolution) -> None:
        from wrapper.install import link_scripts, take_messages

        for script, variables in link_scripts(resolution.records, self.tree):
            name = variables["PKG_NAME"]
            with self.console.step(f"Post-link script of {name}"):
                container.run(
                    ["/bin/bash", f"{self.install_path}/{script}"],
                    what=f"the post-link script of {name}",
                    env={"PREFIX": self.install_path, **variables},
                )
        if messages := take_messages(self.tree):
            self.console.info(messages)

    def _pip(self, container: BuildContainer, resolution: Resolution) -> list[LockedPackage]:
        lines = _pip_lines(self.asked, self.request)
        if not (lines or resolution.pip_locked):
            return []
        from wrapper.pip import PipInstaller

        pip = PipInstaller(
            container,
            cache=self.space.cache if self.request.use_cache else None,
            directory=self.asked.directory.absolute(),
        )
        new: list[LockedPackage] = []
        with self.console.step("Installing pip packages"):
            if resolution.pip_locked:
                pip.install_locked(resolution.pip_locked)
            if lines:
                new = pip.install(lines)
        return [*resolution.pip_locked, *new]

    def _run_scripts(
        self, container: BuildContainer, scripts: Sequence[Path], kind: str
    ) -> None:
        runner = str(files("wrapper") / "templates" / "run-active.sh")
        for script in scripts:
            with self.console.step(f"Running the {kind} script {script.name}"):
                container.run(
                    ["/bin/bash", runner, self.install_path, str(script.absolute())],
                    what=f"the {kind} script {script}",
                    # Names and meanings as Tykky documents them.
                    env={
                        "env_root": self.install_path,
                        "install_root": self.install_path,
                        "CW_INSTALLATION_PATH": self.install_path,
                        "CW_WORKDIR": str(self.space.scratch),
                        "CONDA_PREFIX": self.install_path,
                        "CONDA_DEFAULT_ENV": self.install_path.strip("/"),
                        **self.asked.variables,
                    },
                    cwd=Path.cwd(),
                )

    def _finish_tree(
        self, container: BuildContainer, resolution: Resolution, packages: list[LockedPackage]
    ) -> Activation:
        """Byte-compile; meanwhile write the lock, whose library takes a second to import."""
        lock = self.staging.directory / "conda-lock.yml"
        variables = {**self.asked.variables, **_environ_file(self.request.environ)}
        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(write_lock, packages, resolution.channels, lock)
            self._compile(container)
            writing.result()
        with self.console.step("Recording the activated environment"):
            activation = record_activation(container, variables)
        for script in activation.scripts:
            self.console.warning(
                f"{script} depends on the moment it runs: it is sourced at every start, "
                "which costs some milliseconds"
            )
        return Activation(
            assign=activation.assign,
            default=(*activation.default, _NO_USER_SITE),
            prepend=activation.prepend,
            unset=activation.unset,
            scripts=activation.scripts,
        )

    def _compile(self, container: BuildContainer) -> None:
        script = str(files("wrapper") / "templates" / "compile.py")
        for library in sorted((self.tree / "lib").glob("python3*")):
            if library.is_symlink() or not (self.tree / "bin" / library.name).exists():
                continue
            inside = f"{self.install_path}/lib/{library.name}"
            python = f"{self.install_path}/bin/{library.name}"
            with self.console.step("Byte-compiling") as advance:

                def on_line(line: str, advance: Any = advance) -> bool:
                    if not line.startswith("compiled "):
                        return False
                    done, total = line.split()[1].split("/")
                    advance(float(done), float(total))
                    return True

                container.run(
                    [python, "-s", "-B", script, inside, str(processors())],
                    what="byte-compiling",
                    env={"PYTHONHASHSEED": "0"},  # or sets of strings are marshalled in any order
                    on_line=on_line,
                )

    def _programs(self) -> dict[str, str]:
        found, skipped = programs(self.tree)
        if skipped:
            names = ", ".join(repr(name) for name in skipped)
            self.console.warning(f"no shims for programs with such names: {names}")
        return {**found, **wrapped(self.tree, self.install_path, self.request.wrapper_paths)}

    def _squash(self) -> None:
        with self.console.step("Writing the image") as advance:
            self.squasher.squash(
                self.space.image,
                self.staging.image,
                compression=self.request.compression,
                console=self.console,
                advance=advance,
            )

    def _record(
        self,
        resolution: Resolution,
        packages: Sequence[LockedPackage],
        size: TreeSize,
        shim_count: int,
    ) -> dict[str, Any]:
        from wrapper.manifest import FILE_NAME, write_manifest
        from wrapper.resolve import describe_virtual_packages

        directory = self.staging.directory
        (directory / "packages.txt").write_text(_package_table(packages))
        inputs = _copy_inputs(self.request, directory / "inputs")
        manifest: dict[str, Any] = {
            "tool": __version__,
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "kind": "conda",
            "generation": self.staging.generation,
            "prefix": str(self.staging.prefix),
            "install_path": self.install_path,
            "base": {"kind": "host", "virtual_packages": describe_virtual_packages()},
            "runtime": {
                "name": self.runtime.name,
                "version": self.runtime.version,
                "path": str(self.runtime.path),
            },
            "mksquashfs": ".".join(map(str, self.squasher.version)),
            "options": {
                "compression": self.request.compression,
                "wrapper_paths": list(self.request.wrapper_paths),
            },
            "inputs": inputs,
            "channels": list(resolution.channels),
            "image": {
                "sha256": file_sha256(self.staging.image),
                "size": self.staging.image.stat().st_size,
            },
            "tree": {"files": size.files, "size": size.size},
            "programs": shim_count,
        }
        write_manifest(directory / FILE_NAME, manifest)
        shutil.copy(self.space.log, directory / "build.log")
        return manifest


# -- helpers -----------------------------------------------------------------------------------
def _read_inputs(request: NewRequest, console: Console) -> EnvironmentSpec:
    """Read and check every input file before anything is made."""
    check_wrapper_paths(request.wrapper_paths)
    asked = spec.read_spec(request.environment)
    for path in (*request.requirements, *request.pre_install, *request.post_install):
        spec.read_text(path)
    _environ_file(request.environ)
    for note in asked.notes:
        console.info(note)
    for warning in asked.warnings:
        console.warning(warning)
    return asked


def _solve(
    asked: EnvironmentSpec, request: NewRequest, space: Workspace, console: Console
) -> Resolution:
    with console.step("Solving"):
        from wrapper.resolve import resolve

        return resolve(asked, cache=space.cache, channels=request.channels)


def _locked(resolution: Resolution) -> list[LockedPackage]:
    from wrapper.resolve import as_locked

    return [as_locked(record) for record in resolution.records]


def _pip_lines(asked: EnvironmentSpec, request: NewRequest) -> tuple[str, ...]:
    return (*asked.pip_lines, *(f"-r {path.absolute()}" for path in request.requirements))


def _environ_file(path: Path | None) -> dict[str, str]:
    """``NAME=VALUE`` lines; blank lines and ``#`` comments are skipped, nothing is expanded."""
    variables: dict[str, str] = {}
    if path is None:
        return variables
    for number, raw in enumerate(spec.read_text(path).splitlines(), 1):
        line = raw.strip().removeprefix("export ")
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals or not (name.isidentifier() and name.isascii()):
            raise InputError(
                f"'{raw}' is not a NAME=VALUE line",
                where=f"{path}, line {number}",
                hint="use letters, digits and underscores in the name",
            )
        variables[name] = value
    return variables


def _package_table(packages: Sequence[LockedPackage]) -> str:
    rows = [("# name", "version", "build", "from")]
    for package in sorted(packages, key=lambda p: p.name):
        channel = package.url.rsplit("/", 2)[0] if package.manager == "conda" else "pypi"
        rows.append((package.name, package.version, package.build, channel))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        "  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[3]])
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def _copy_inputs(request: NewRequest, directory: Path) -> list[str]:
    directory.mkdir()
    given = [request.environment, *request.requirements, *request.pre_install]
    given += [*request.post_install, *([request.environ] if request.environ else [])]
    names: list[str] = []
    for path in given:
        name = path.name if path.name not in names else f"{len(names)}-{path.name}"
        shutil.copyfile(path, directory / name)
        names.append(name)
    return names


class _parents:  # noqa: N801 - used like a function
    """Create the prefix's parent directories; those that stay empty go again on failure."""

    def __init__(self, target: Path) -> None:
        self._missing = [p for p in reversed(target.parents) if not p.exists()]

    def __enter__(self) -> None:
        for directory in self._missing:
            directory.mkdir(exist_ok=True)

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            for directory in reversed(self._missing):
                try:
                    directory.rmdir()
                except OSError:
                    return


def summary(result: Result) -> dict[str, Any]:
    """The result for ``--json``."""
    return {"prefix": str(result.prefix), "seconds": round(result.seconds, 1), **result.manifest}


def describe(result: Result) -> str:
    """The result in one line for a person."""
    tree, image = result.manifest["tree"], result.manifest["image"]
    return (
        f"{tree['files']} files, {human_size(tree['size'])} -> one image of "
        f"{human_size(image['size'])}, {result.manifest['programs']} programs in "
        f"{result.prefix / 'bin'}, in {result.seconds:.1f} s"
    )


def plan_json(plan: Plan) -> str:
    """The plan for ``--dry-run --json``."""
    packages = [
        {
            "manager": p.manager,
            "name": p.name,
            "version": p.version,
            "build": p.build,
            "url": p.url,
            "sha256": p.sha256,
            "size": plan.sizes.get(p.name, 0) if p.manager == "conda" else None,
        }
        for p in plan.packages
    ]
    sizes = {"download_size": plan.download_size, "installed_size_estimate": plan.installed_size}
    return json.dumps({"packages": packages, "pip": list(plan.pip_lines), **sizes}, indent=1)
