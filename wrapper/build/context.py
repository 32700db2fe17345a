"""What a build is given, and what its steps share."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from wrapper import gpu
from wrapper.base.built import Tools
from wrapper.base_python.session import Reuse, start_reuse
from wrapper.build.inputs import Inputs
from wrapper.build.left_packed import LENT
from wrapper.build.mpi import BuildMpi
from wrapper.console import Console
from wrapper.images.compression import EVERYWHERE, Compression
from wrapper.manifest import Manifest, Values
from wrapper.models import Base, Site
from wrapper.packages import LockedPackage
from wrapper.prefix.generations import Generation
from wrapper.prefix.other_installations import Other
from wrapper.requests import Request
from wrapper.runtime.binds import host_binds, image_binds, with_more, write_skeleton
from wrapper.runtime.container import OWN_CACHE, BuildContainer
from wrapper.runtime.runtime import home_of
from wrapper.util import removal
from wrapper.workspace import TOLD_SECONDS, Workspace


class Place(Protocol):
    """Where the parts of a build are written before it appears."""

    prefix: Path
    generation: int

    @property
    def root(self) -> Path: ...
    @property
    def directory(self) -> Path: ...
    @property
    def image(self) -> Path: ...


@dataclass(kw_only=True)
class BuildContext:
    """A build from a request's files to a complete place.

    :ivar inputs: what the user's files say. :ivar base: what the environment stands on.
    :ivar place: where the result is written. :ivar install_path: of the environment, inside.
    :ivar wrapper_paths: of ``-w``, now and before. :ivar variables: to be set at run time.
    :ivar others: further installations whose programs are there too.
    :ivar previous: the generation that is updated, ``None`` for a new one.
    :ivar reuse: what of the base's packages is in use: see :meth:`ask_base`.
    :ivar mpi: whose MPI programs get.
    """

    request: Request
    inputs: Inputs
    tools: Tools
    base: Base
    place: Place
    install_path: str
    compression: Compression
    wrapper_paths: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    others: tuple[Other, ...] = ()
    previous: Generation | None = None
    reuse: Reuse | None = field(default=None, init=False)
    mpi: BuildMpi = field(init=False)

    def __post_init__(self) -> None:
        self.mpi = BuildMpi(request=self.request, old=self.old, base=self.base, tools=self.tools)

    @property
    def console(self) -> Console:
        return self.tools.console

    @property
    def space(self) -> Workspace:
        return self.tools.space

    @property
    def tree(self) -> Path:
        """The environment while it is built, outside the container."""
        return self.space.image / self.install_path.lstrip("/")

    @property
    def old(self) -> Manifest | None:
        """What is recorded of the previous generation."""
        return self.previous.manifest if self.previous else None

    @property
    def keeps_modes(self) -> bool:
        """Whether modes in the image stay as they are, and with them the owners they are for: the
        kernel, which mounts the image of a set-uid runtime, enforces them.
        """
        return not self.request.site.fix_permissions

    @property
    def site(self) -> Site:
        """The site's settings, with the binds that its base needs."""
        return self.request.site.on_image(self.base.names)

    @property
    def bound(self) -> Site:
        """The same with what other installations need to be there."""
        binds = [bind for other in self.others for bind in other.binds]
        return replace(self.site, binds=(*self.site.binds, *binds))

    def user_variables(self) -> dict[str, str]:
        """What is set in any case: the site's variables and, over them, the user's."""
        return {**self.request.site.variables, **self.variables}

    def runscripts(self, packages: Iterable[LockedPackage]) -> bool:
        """Whether programs for jobs on many GPUs come with an environment of these packages."""
        reused = self.reuse.taken.values() if self.reuse else ()
        found = gpu.for_many_gpus(package.canonical for package in (*packages, *reused))
        return found and self.base.has_bash

    def environ(self) -> Values:
        """The variables that came from ``--environ`` files, of earlier builds too."""
        return {**(self.old.environ if self.old else {}), **self.inputs.environ}

    def container(self, places: list[Path]) -> BuildContainer:
        """The container that the steps run programs in: the base, the tree writable at its path.

        :param places: what else the steps use of the host (paths outside, the same inside).
        """
        needed = [*self._needed(), *places]
        binds = image_binds(needed) if self.base.image else host_binds()
        return BuildContainer(
            runtime=self.tools.runtime,
            image=self.base.image or self._skeleton(),
            binds=with_more(binds, self.bound, os.environ, needed),
            own_system=bool(self.base.image),
            has_bash=self.base.has_bash,
            tree=self.tree,
            install_path=self.install_path,
            scratch=self.space.scratch,
            console=self.console,
            cache=self.space.cache,
        )

    def ask_base(self, container: BuildContainer, *, conda: bool) -> None:
        """Find out what of the base's packages is in use: its Python is asked where that is to be
        reused.
        """
        self.reuse = start_reuse(
            container,
            self.base,
            self.request,
            self.previous,
            unsquashfs=self.tools.squasher.unsquashfs,
            conda=conda,
        )

    def _skeleton(self) -> Path:
        """An image of mount points."""
        skeleton = self.space.root / "skeleton"
        skeleton.mkdir()
        write_skeleton(skeleton, places=(self.install_path, LENT, OWN_CACHE))
        image = skeleton.with_suffix(".sqfs")
        self.squash(skeleton, image, "Preparing the container", compression=EVERYWHERE)
        return image

    def _needed(self) -> list[Path]:
        from wrapper.pip.installer import local_places

        own = [Path(__file__).parents[1], self.space.root, self.space.cache]
        files = [path.absolute().parent for path in self.request.files]
        directory = self.inputs.directory
        places = local_places(os.environ, self.inputs.requirements, directory)
        users = [directory, Path.cwd(), Path(home_of(os.environ))]
        there = [path for path in users if path != Path("/") and os.path.exists(path)]  # noqa: PTH110
        return [*own, *files, *places, *there]

    def discard(self, tree: Path) -> None:
        """Remove a tree that was packed, before the result is synced: a file system that keeps
        order (ext4) would write all of it out with that. On another one it goes at the end, when
        nobody waits for it.
        """
        together = tree.stat().st_dev == self.place.root.stat().st_dev
        if together and not self.request.site.keep_files:
            with self.console.step("Removing what was packed", least=TOLD_SECONDS):
                removal.remove_tree(tree)

    def squash(
        self,
        root: Path,
        image: Path,
        title: str,
        *,
        compression: Compression | None = None,
        owners: bool = False,
        order: Sequence[str] = (),
    ) -> None:
        """A tree into an image, told as the step ``title``.

        :param compression: another than that of the result. :param owners: they stay.
        :param order: paths of files that come first in the image.
        """
        with self.console.step(title) as advance:
            self.tools.squasher.squash(
                root,
                image,
                compression=compression or self.compression,
                console=self.console,
                advance=advance,
                owners=owners,
                order=order,
            )
