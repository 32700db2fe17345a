"""What becomes of a finished tree in an installation: its image, shims and record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, cast

from wrapper import removal, shims, tree
from wrapper.build import Build, Place
from wrapper.facts import facts
from wrapper.image.format import rarest_compression
from wrapper.models import Activation, LockedPackage
from wrapper.pip import managed


class Staging(Place, Protocol):
    """The place of an installation, which has shims: see :mod:`wrapper.deploy`."""

    def write_programs(self, programs: Mapping[str, str], install_path: str, shim: str) -> None: ...
    def write_links(self, install_path: str, *, own_image: bool = True) -> None: ...


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
        venv = (self.tree / "pyvenv.cfg").is_file()
        size = tree.settle(self.space.image, fix=not self.keeps_modes)
        if self.packed:
            size += self.packed.size_beside(self.tree)
        self._write_image()
        # Removed now, before the installation is synced: a file system that keeps order (ext4)
        # would write all of it out with the image.
        if not self.request.site.keep_files:
            removal.remove_tree(self.space.image)
        self._write_shims(names, links, activation, venv=venv)

        from wrapper.record import write_record

        return write_record(
            self.staging.directory,
            facts=facts(self, packages, len(names)),
            packages=packages,
            inputs=self.inputs.files,
            size=size,
            log=self.space.log,
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
        links: Sequence[str],
        activation: Activation,
        *,
        venv: bool,
    ) -> None:
        staging = cast(Staging, self.staging)
        text = shims.shim(staging.prefix, self.runtime.path)
        staging.write_programs(names, self.program_root(), text)
        staging.write_links(self.install_path)
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
            no_bash=not self.base.has_bash,
            compressed=rarest_compression(images),
            runtime=self.runtime.path,
        )
        path = self.staging.directory / "env"
        path.write_text(env, encoding="utf-8", errors="surrogateescape")  # any byte a script sets
