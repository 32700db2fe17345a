"""What becomes of a finished tree in an installation: its image, shims and record."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, cast

from wrapper import home, removal, shims, tree
from wrapper.activation.model import Activation
from wrapper.build import Build, Place
from wrapper.container import BuildContainer
from wrapper.facts import facts
from wrapper.image.format import rarest_compression
from wrapper.models import Environment, LockedPackage
from wrapper.pip import managed
from wrapper.pip.interpreter import Interpreter, look_into_library


class Staging(Place, Protocol):
    """The place of an installation, which has shims: see :mod:`wrapper.deploy`."""

    def write_programs(
        self, programs: Mapping[str, str], root: str, shim: str, environment: Environment
    ) -> None: ...
    def write_links(self, environment: Environment, *, own_image: bool = True) -> None: ...


@dataclass(kw_only=True)
class Installation(Build):
    """A build whose result is a prefix; what is particular to a kind are hooks here too.

    :cvar answers_for_pip: whether it has a program ``pip`` in any case.
    """

    answers_for_pip: ClassVar[bool] = True

    def deliver(
        self, packages: Sequence[LockedPackage], activation: Activation, links: Sequence[str]
    ) -> dict[str, Any]:
        managed.put_notice(self.tree, self.advice())
        if self.answers_for_pip:
            managed.put_pip(self.tree, self.install_path, self.advice())
        names = self.programs()
        environment = self.environment(names)
        venv = (self.tree / "pyvenv.cfg").is_file()
        if venv:  # the prefix is one too: bin/python3 finds its packages by this file
            shutil.copyfile(self.tree / "pyvenv.cfg", self.staging.directory / "pyvenv.cfg")
        size = tree.settle(self.space.image, fix=not self.keeps_modes)
        if self.packed:
            size += self.packed.size_beside(self.tree)
        self._write_image()
        # Removed now, before the installation is synced: a file system that keeps order (ext4)
        # would write all of it out with the image.
        if not self.request.site.keep_files:
            removal.remove_tree(self.space.image)
        self._write_shims(names, environment, links, activation, venv=venv)

        from wrapper.record import write_record

        return write_record(
            self.staging.directory,
            facts=facts(self, packages, activation, len(names)),
            packages=packages,
            inputs=self.inputs.files,
            size=size,
            log=self.space.log,
        )

    def make_home(self, container: BuildContainer) -> None:
        home.put_line(self.tree, self.program_root(), self.install_path)
        if below := self.python_below():
            inside = container if below.managed or self.base.image else None
            library = look_into_library(below, os.environ, inside)
            home.link_library(self.tree, below.library, library.names, library.include)

    def python_below(self) -> Interpreter | None:
        """The Python of which the environment is a virtual one, if it is."""
        return None

    def environment(self, programs: Mapping[str, str]) -> Environment:
        """What is inside, for the prefix to look like it. :param programs: see ``programs()``."""
        packed = self.packed.kept if self.packed else ()
        names = {path.partition("/")[0] for path in packed}
        names |= {path.name for path in self.tree.iterdir()}
        python = Path(self.program_root(), "bin/python3")
        pythons = home.pythons(self.tree, programs)
        if below := self.python_below():
            python = below.path
            pythons = dict.fromkeys(pythons, python.name)
        elif self.mask_path() or not home.has_library(self.tree):
            pythons = {}
        return Environment(
            root=self.install_path,
            entries=home.entries(names),
            python=str(python.parent) if pythons else "",
            pythons=pythons,
        )

    def _write_image(self) -> None:
        if self.packed:
            fresh = self.space.root / "fresh.sqfs"
            self.squash(self.space.image, fresh, "Packing what is new")
            with self.console.step("Writing the image") as advance:
                if self.packed.join(fresh, self.staging.image, advance):
                    return
            self.unpack_rest()
        self.squash(self.space.image, self.staging.image, "Writing the image")

    def program_root(self) -> str:
        """Where the tree's programs are, inside the container."""
        return self.install_path

    def mask_path(self) -> str:
        """A path of the host over which the tree is to lie inside the container, if any."""
        return ""

    def required_program(self) -> str:
        """A program of the host that the installation cannot do without, if any."""
        return ""

    def required_library(self) -> str:
        """A directory of the host that is there as long as that program has its version."""
        return ""

    def sees_user_site(self) -> bool:
        """Whether packages in a user's ``~/.local`` count."""
        return False

    def advice(self) -> str:
        """What a user is told who would install with pip into the finished installation."""
        prefix = self.staging.prefix
        return (
            f"The image of {prefix} is read-only.\n\n"
            "To add or change packages of the installation itself:\n"
            f"{self.kind}-containerize update {prefix} -r requirements.txt"
        )

    def _write_shims(
        self,
        names: dict[str, str],
        environment: Environment,
        links: Sequence[str],
        activation: Activation,
        *,
        venv: bool,
    ) -> None:
        staging = cast(Staging, self.staging)
        text = shims.shim(staging.prefix, self.runtime.path)
        staging.write_programs(names, self.program_root(), text, environment)
        staging.write_links(environment)
        images = {"img.sqfs": self.staging.image}
        if self.base.image:
            images[self.base.reference] = self.base.image
        env = shims.environment_file(
            generation=self.staging.generation,
            install_path=self.install_path,
            links=links,
            activation=activation,
            variables=self.user_variables(),
            site=self.request.site,
            required_program=self.required_program(),
            required_library=self.required_library(),
            mask=self.mask_path(),
            image=self.base.reference,
            mark=self.base.mark,
            layer=bool(self.base.image),
            venv=venv,
            user_site=self.sees_user_site(),
            no_bash=not self.base.has_bash,
            compressed=rarest_compression(images),
            runtime=self.runtime.path,
        )
        path = self.staging.directory / "env"
        path.write_text(env, encoding="utf-8", errors="surrogateescape")  # any byte a script sets
