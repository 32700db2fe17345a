"""What becomes of a finished tree in an installation: its image, shims and record."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from wrapper import layout, microarch, runscripts, tree
from wrapper.activation.model import Activation
from wrapper.build.context import BuildContext
from wrapper.build.incremental import IncrementalTree, Place
from wrapper.build.mpi import image_files
from wrapper.build.source import Source
from wrapper.build.target import Finished, described, shim_programs
from wrapper.gpu import Use, settings_for
from wrapper.images.format import rarest_compression
from wrapper.manifest import Manifest, MpiRecord
from wrapper.models import Environment, HostPrograms
from wrapper.mpi import choice
from wrapper.pip import externally_managed as managed
from wrapper.pip.interpreter import look_into_library
from wrapper.prefix import home, host_programs, shims
from wrapper.prefix.reading_order import read_order, write_order
from wrapper.prefix.record import identity, write_inputs, write_record
from wrapper.prefix.staging import NextGeneration, Staging
from wrapper.runtime.binds import write_skeleton
from wrapper.runtime.container import BuildContainer


@dataclass(kw_only=True)
class PrefixTarget:
    """:ivar place: where the generation is until it appears."""

    context: BuildContext
    source: Source
    place: Staging | NextGeneration
    outside = True  # its shims are: see record_activation

    @property
    def keeps_modes(self) -> bool:
        return self.context.keeps_modes

    def opened(self) -> AbstractContextManager[object]:
        return nullcontext()

    def place_of_previous(self) -> Place | None:
        return Place(file=self.context.previous.image) if self.context.previous else None

    def unpack_previous(self, target: Path, path: str) -> None:
        previous = self.context.previous
        assert previous
        root = previous.manifest.image_root  # an adopted image belongs there as a whole
        place = target / root.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        inside = str(previous.within_image(path))
        self.context.tools.squasher.unsquash(
            previous.image,
            place,
            console=self.context.console,
            paths=[] if inside == "." else [inside],
        )

    def mount_points(self) -> list[str]:
        return write_skeleton(self.context.space.image)

    def make_home(self, container: BuildContainer) -> None:
        context, source = self.context, self.source
        home.put_line(context.tree, source.program_root(), context.install_path)
        if below := source.python_below():
            inside = container if below.managed or context.base.image else None
            library = look_into_library(below, os.environ, inside)
            include = Path(library.include) if library.include else None
            home.link_library(context.tree, below.library, library.names, include)

    def deliver(self, finished: Finished) -> Manifest:
        context, source, directory = self.context, self.source, self.place.directory
        managed.put_notice(context.tree, source.advice())
        if source.answers_for_pip:
            managed.put_pip(context.tree, context.install_path, source.advice())
        names = shim_programs(context, source)
        scripts = context.runscripts(finished.packages)
        if scripts:
            own = context.base.runscripts
            names = {**runscripts.programs(own), **names}
            if not own:
                runscripts.write(directory)
        environment = self._environment(names, finished.tree)
        venv = (context.tree / "pyvenv.cfg").is_file()
        if venv:  # the prefix is one too: bin/python3 finds its packages by this file
            shutil.copyfile(context.tree / "pyvenv.cfg", directory / layout.VENV)
        size = tree.settle(context.space.image, fix=not self.keeps_modes)
        if finished.tree.packed:
            size += finished.tree.packed.size_beside(context.tree)
        order = read_order(context.previous.directory if context.previous else None)
        write_order(directory, order)
        title = "Writing the image"
        finished.tree.write_image(self.place.image, title, owners=self.keeps_modes, order=order)
        with ThreadPoolExecutor(1) as pool:
            identified = pool.submit(identity, self.place.image)
            context.discard(context.space.image)
        mpi = choice.write(context.mpi.choice, directory)
        self._write_shims(
            names,
            environment,
            finished,
            venv=venv,
            mpi=mpi,
            scripts=scripts,
        )
        manifest = described(
            context,
            source,
            finished,
            programs=len(names),
            image=identified.result(),
            inputs=write_inputs(directory, finished.packages, context.inputs.files),
            size=size,
            mpi=mpi,
        )
        manifest = replace(manifest, read_first=len(order))
        write_record(directory, manifest, context.space.log)
        return manifest

    def _environment(self, programs: Mapping[str, str], old: IncrementalTree) -> Environment:
        """What is inside, for the prefix to look like it. :param programs: see ``programs()``."""
        context, source = self.context, self.source
        packed = old.packed.kept if old.packed else ()
        names = {path.partition("/")[0] for path in packed}
        names |= {path.name for path in context.tree.iterdir()}
        python = Path(source.program_root(), "bin/python3")
        pythons = home.pythons(context.tree, programs)
        if below := source.python_below():
            python = below.path
            pythons = dict.fromkeys(pythons, python.name)
        elif source.mask_path() or not home.has_library(context.tree):
            pythons = {}
        return Environment(
            root=context.install_path,
            entries=home.entries(names),
            python=str(python.parent) if pythons else "",
            pythons=pythons,
        )

    def _write_shims(
        self,
        names: dict[str, str],
        environment: Environment,
        finished: Finished,
        *,
        venv: bool,
        mpi: MpiRecord | None,
        scripts: bool,
    ) -> None:
        context, source, base = self.context, self.source, self.context.base
        runtime = context.tools.runtime.path
        text = shims.shim(self.place.prefix, runtime)
        self.place.write_programs(names, source.program_root(), text, environment)
        self.place.write_links(environment)
        images = {layout.IMAGE: self.place.image}
        if base.image:
            images[base.reference] = base.image
        env = shims.environment_file(
            generation=self.place.generation,
            install_path=context.install_path,
            links=finished.links,
            activation=_with_no_ops(finished.activation) if scripts else finished.activation,
            variables=context.user_variables(),
            site=context.bound,
            required_program=source.required_program(),
            required_library=source.required_library(),
            mask=source.mask_path(),
            image=base.reference,
            mark=base.mark,
            layer=bool(base.image),
            mpi=mpi,
            venv=venv,
            user_site=source.sees_user_site(),
            no_bash=not base.has_bash,
            compressed=rarest_compression(images),
            runtime=runtime,
            gpu=settings_for(Use.of(base, finished.packages, context.site.name), base.sets),
            scripts=scripts and not base.runscripts,
            entry_point=base.entry_point,
            level=max(base.level, microarch.needed(finished.packages)),
            host=self._host_programs(),
        )
        shims.write_environment(self.place.directory, env)

    def _host_programs(self) -> HostPrograms:
        """What of the host's programs those in the base image can call."""
        context, image, tools = self.context, self.context.base.image, self.context.tools
        wanted = context.site.host_programs
        if not (image and wanted and context.base.has_bash):
            return HostPrograms()

        def passwd() -> str:
            look, scratch = tools.squasher.unsquashfs, tools.space.scratch
            return image_files(image, look, scratch, tools.console).tree.text("/etc/passwd")

        return host_programs.put(self.place.directory, wanted, passwd, tools.console)


def _with_no_ops(activation: Activation) -> Activation:
    """For job scripts that activate an environment before a program."""
    return replace(activation, assign={**runscripts.NO_OPS, **activation.assign})
