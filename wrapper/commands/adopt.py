"""Adopting an installation of Tykky: generation 1 of ours around the image that is there.

The image is neither copied nor written again, and stays mounted where Tykky mounted it: virtual
environments and paths that VS Code stored stay true. A later update writes a new image at the same
path inside.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from wrapper import __version__, installed, layout, platforms, process, workspace
from wrapper.activation.model import Activation
from wrapper.activation.record import as_record, conda_variables, record_activation, tell
from wrapper.base.built import Tools
from wrapper.commands.prepare import find_programs
from wrapper.console import Console
from wrapper.errors import PrefixError, ToolError
from wrapper.gpu import Use, settings_for
from wrapper.images.compression import EVERYWHERE
from wrapper.images.format import mark, rarest_compression
from wrapper.inputs.files import InputFiles
from wrapper.manifest import BaseRecord, Manifest, Options
from wrapper.models import Base, Environment, Interpreter, Site, TreeSize
from wrapper.packages import LockedPackage
from wrapper.pip.origin import direct_entry
from wrapper.prefix import checks as prefix
from wrapper.prefix import generations, shims
from wrapper.prefix.image_programs import Looker
from wrapper.prefix.record import identity, now, write_inputs, write_record
from wrapper.prefix.staging import Adoption, finish_adoption
from wrapper.prefix.tykky_prefix import OWN_NAMES, TykkyPrefix, read_tykky_prefix
from wrapper.requests import Result
from wrapper.runtime.binds import host_binds, write_skeleton
from wrapper.runtime.container import BuildContainer
from wrapper.util.lock import locked

# Bytes unpacked against bytes of the image, to see whether there is room for an update.
_UNPACKED_RATIO = 3


def adopt(target: Path, site: Site, console: Console) -> Result:
    """Make the installation of Tykky at ``target`` one of ours, whole or not at all.

    :raises PrefixError: it is none, is broken, ours already, or not ours to write to.
    :raises BusyError: a build holds it.
    """
    target = prefix.absolute_prefix(target)
    if (target / layout.CURRENT).is_symlink():
        return _finish(target, console)
    tykky = read_tykky_prefix(target)
    prefix.check_update(target)
    programs = find_programs(site)
    with (
        locked(target),
        workspace.workspace(console, site=site) as space,
        Adoption(target, prefix.directory_mode(target)) as staging,
        process.umask(0o022),
    ):
        work = _Work(tykky=tykky, tools=Tools(site, *programs, space, console))
        if work.masked:
            work.tools.trials.require_cover(Path(tykky.image_root))
        manifest = work.write(staging)
        with console.step("Switching to it"):
            process.pass_point_of_no_return(console)
            staging.publish_with(work.linked(), [n for n in OWN_NAMES if (target / n).exists()])
    console.info(f"Tykky's own files are in {target}/.tykky, which is as it was")
    return Result(prefix=target, manifest=manifest, seconds=console.seconds)


def _finish(target: Path, console: Console) -> Result:
    generation = generations.current_generation(target)
    prefix.check_update(target)
    with locked(target):
        if not finish_adoption(target):
            raise PrefixError(
                f"{target} is an installation of containerize already",
                where=target,
                hint=f"see what it is: containerize list {target}",
            )
    console.info("finished an adoption that was interrupted")
    manifest = generation.manifest
    return Result(prefix=target, manifest=manifest, seconds=console.seconds)


@dataclass(frozen=True, kw_only=True)
class _Work:
    """What is found out about an installation of Tykky, and written down of it."""

    tykky: TykkyPrefix
    tools: Tools

    @property
    def tree(self) -> Path:
        """The environment's records, unpacked."""
        inside = Path(self.tykky.environment).relative_to(self.tykky.image_root)
        return self.tools.space.root / "records" / inside

    def linked(self) -> dict[str, Path]:
        """Files of Tykky's that the generation keeps."""
        files = {layout.IMAGE: self.tykky.image} if self.tykky.image else {}
        if self.tykky.isolated and self.tykky.container.parent == self.tykky.prefix.resolve():
            files[layout.BASE] = self.tykky.container
        return files

    @property
    def masked(self) -> bool:
        """Whether the image lies over a path that is there outside too: ``wrap-install --mask``."""
        return os.path.isdir(self.tykky.image_root)  # noqa: PTH112 - never raises

    @property
    def root(self) -> str:
        """Where the image is mounted inside."""
        if self.masked or not self.tykky.image:
            return prefix.install_path(self.tykky.prefix, self.tools.site)
        return self.tykky.image_root

    def write(self, staging: Adoption) -> Manifest:
        """Complete the staging directory but for what is linked; returns the manifest."""
        for name in self.tykky.computed:
            self.tools.console.warning(
                f"the value of {name} in common.sh is computed and was not taken over: "
                "set it with --environ at the next update"
            )
        if self.tykky.image:
            self._unpack_records(self.tykky.image)
        kind = self._kind()
        interpreter, outer = self._interpreter() if kind == "pip" else (None, False)
        packages = self._packages(kind)
        skeleton, links = self._skeleton()
        if not self.tykky.isolated:
            shutil.copyfile(skeleton, staging.directory / layout.SKELETON)
        activation = self._activation(kind, skeleton)
        files = InputFiles()
        for path in sorted((self.tykky.prefix / "share").glob("*.y*ml")):
            if path.is_file():
                files.take(path, path.name)
        unpacked = self.tykky.image.stat().st_size * _UNPACKED_RATIO if self.tykky.image else 0
        copied = kind == "install"
        manifest = replace(
            self._manifest(kind, packages),
            interpreter=interpreter,
            system_site_packages=outer,
            source=self.tykky.image_root if copied else "",
            mask=copied and self.masked,
            activation=as_record(activation),
            inputs=write_inputs(staging.directory, packages, files.all),
            tree=TreeSize(files=0, size=unpacked),
        )
        self._write_shims(staging, manifest, activation, links)
        if kind == "conda":
            from wrapper.inputs.lockfile import write_lock

            locked = [package for package in packages if package.sha256 or package.md5]
            write_lock(locked, manifest.channels, staging.directory / layout.CONDA_LOCK)
        write_record(staging.directory, manifest, self.tools.space.log)
        return manifest

    def _unpack_records(self, image: Path) -> None:
        inside = str(Path(self.tykky.environment).relative_to(self.tykky.image_root))
        names = ("conda-meta", "etc/conda", "pyvenv.cfg", "lib/python3*/site-packages/*-info")
        try:
            self.tools.squasher.unsquash(
                image,
                self.tools.space.root / "records",
                console=self.tools.console,
                paths=[f"{inside}/{name}".removeprefix("./") for name in names],
            )
        except ToolError as error:
            raise PrefixError(
                "the image of the installation cannot be read",
                where=image,
                hint="is it a whole SquashFS file?",
                detail=error.detail,
            ) from None

    def _kind(self) -> str:
        """The kind of build that an update of it would be."""
        if self.tykky.image is None:
            return "container"
        if self.masked:
            return "install"
        if any((self.tree / "conda-meta").glob("*.json")):
            return "conda"
        return "pip" if (self.tree / "pyvenv.cfg").is_file() else "install"

    def _interpreter(self) -> tuple[Interpreter, bool]:
        """The Python of a virtual environment, and whether its packages are seen."""
        lines = (self.tree / "pyvenv.cfg").read_text().splitlines()
        pairs = (line.partition("=") for line in lines)
        config = {name.strip().lower(): value.strip() for name, _, value in pairs}
        python = Interpreter(
            path=Path(config.get("home", "/usr/bin"), "python3"),
            version=config.get("version", config.get("version_info", "")),
        )
        return python, config.get("include-system-site-packages") == "true"

    def _packages(self, kind: str) -> list[LockedPackage]:
        if kind not in ("conda", "pip"):
            return []
        pip = [
            direct_entry(d) or installed.of_no_index(d)
            for d in installed.pip_distributions(self.tree).values()
        ]
        return [*installed.conda_packages(self.tree), *pip]

    # -- writing ---------------------------------------------------------------------------------
    def _skeleton(self) -> tuple[Path, list[str]]:
        """An image of mount points, and its links."""
        skeleton = self.tools.space.root / "skeleton"
        skeleton.mkdir()
        links = write_skeleton(skeleton, places=[self.root])
        image = skeleton.with_suffix(".sqfs")
        self.tools.squasher.squash(
            skeleton, image, compression=EVERYWHERE, console=self.tools.console
        )
        return image, links

    def _activation(self, kind: str, skeleton: Path) -> Activation:
        """What activating the environment changes; Tykky did that at every start."""
        inside = self.tykky.environment
        if kind == "pip":
            return Activation(assign={"VIRTUAL_ENV": inside, **self.tykky.variables})
        if kind != "conda":
            return Activation(assign=self.tykky.variables)
        container = BuildContainer(
            runtime=self.tools.runtime,
            image=skeleton,
            binds=host_binds(),
            tree=self.tree,
            install_path=inside,
            scratch=self.tools.space.scratch,
            console=self.tools.console,
            environment_bind=f"{self.tykky.image}:{self.root}:image-src=/",
        )
        with self.tools.console.step("Recording the activated environment"):
            fixed = {**conda_variables(inside), **self.tykky.variables}
            activation = record_activation(container, fixed)
        tell(activation, self.tools.console)
        return activation

    def _site(self) -> Site:
        """The site's settings, with the binds that a container of its own needs."""
        container = self.tykky.container
        return self.tools.site.on_image([container.name] if self.tykky.isolated else [])

    def _write_shims(
        self, staging: Adoption, manifest: Manifest, activation: Activation, links: list[str]
    ) -> None:
        programs = {name: path.lstrip("/") for name, path in self.tykky.programs.items()}
        environment = Environment(root=self.tykky.environment)
        text = shims.shim(staging.prefix, self.tools.runtime.path)
        staging.write_programs(programs, "", text, environment)
        staging.write_links(environment, own_image=self.tykky.image is not None)
        python = str(manifest.interpreter.path) if manifest.interpreter else ""
        images = {layout.IMAGE: self.tykky.image} if self.tykky.image else {}
        if self.tykky.isolated:
            images[self._container_reference()] = self.tykky.container
        env = shims.environment_file(
            generation=staging.generation,
            install_path=manifest.install_path,
            links=links,
            activation=activation,
            variables=self.tykky.variables,
            site=self._site(),
            required_program="" if self.tykky.isolated else python,
            mask=self.tykky.image_root if self.masked else "",
            image=self._container_reference() if self.tykky.isolated else "",
            mark=mark(self.tykky.container) if self.tykky.isolated else "",
            image_root=self.root if self.tykky.image else "",
            venv=manifest.kind == "pip",
            user_site=manifest.system_site_packages,
            no_bash=not self.has_bash,
            compressed=rarest_compression(images),
            runtime=self.tools.runtime.path,
            gpu=settings_for(Use.of(Base(), manifest.packages, self.tools.site.name)),
        )
        shims.write_environment(staging.directory, env)
        if (self.tree / "pyvenv.cfg").is_file():
            shutil.copyfile(self.tree / "pyvenv.cfg", staging.directory / layout.VENV)

    @cached_property
    def has_bash(self) -> bool:
        """Whether the container has a bash, which the host's system has."""
        if not self.tykky.isolated:
            return True
        look = Looker(
            image=self.tykky.container,
            runtime=self.tools.runtime,
            scratch=self.tools.space.scratch,
            console=self.tools.console,
        )
        return look.has_bash()

    def _container_reference(self) -> str:
        return layout.BASE if layout.BASE in self.linked() else str(self.tykky.container)

    def _manifest(self, kind: str, packages: Sequence[LockedPackage]) -> Manifest:
        """What is known of every kind."""
        tykky = self.tykky
        named = self.masked or not tykky.image
        usual = f"{tykky.environment}/bin/"
        others = [path for path in tykky.programs.values() if not path.startswith(usual)]
        return Manifest(
            tool=__version__,
            created=now(),
            machine=platforms.machine(),
            kind=kind,
            adopted="tykky",
            prefix=str(tykky.prefix),
            # By this path a shim tells that it is inside: it must not be there outside.
            install_path=self.root if named else tykky.environment,
            image_root=self.root,
            base=self._base() if tykky.isolated else BaseRecord(),
            runtime=self.tools.runtime.as_record(),
            options=Options(
                wrapper_paths=tuple(os.path.relpath(path, tykky.environment) for path in others)
            ),
            variables=tykky.variables,
            environ=tykky.variables,
            channels=_channels(packages),
            packages=tuple(packages),
            programs=len(tykky.programs),
            image=identity(tykky.image or tykky.container),
        )

    def _base(self) -> BaseRecord:
        path = self._container_reference()
        return BaseRecord(
            kind="image",
            name=self.tykky.container.name,
            path=path,
            owned=path == layout.BASE,
            mark=mark(self.tykky.container),
            has_bash=self.has_bash,
        )


def _channels(packages: Sequence[LockedPackage]) -> tuple[str, ...]:
    """Channels of installed conda packages, the most used first."""
    found = [p.url.rsplit("/", 2)[0] for p in packages if p.manager == "conda" and p.url]
    return tuple(sorted(set(found), key=lambda url: (-found.count(url), url)))
