"""What a build starts from: nothing, or the environment of the generation before.

Of that as much is unpacked as the steps need, see :mod:`wrapper.packed`.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wrapper import home, installed, packed, process
from wrapper.compression import Compression
from wrapper.console import Console
from wrapper.container import BuildContainer
from wrapper.errors import ContainerizeError
from wrapper.generations import Generation
from wrapper.image.format import read_format
from wrapper.inputs import Inputs
from wrapper.models import LockedPackage, Request
from wrapper.packed import Packed
from wrapper.pip import managed
from wrapper.removal import remove_tree
from wrapper.reuse.taken import Reuse
from wrapper.skeleton import write_skeleton
from wrapper.squash import Squasher
from wrapper.workspace import MORE_ROOM, Workspace, require_space


@dataclass(kw_only=True)
class Start:
    """The first steps of a build, and the tree that it works on.

    :ivar inputs: what the user's files say.
    :ivar previous: the generation that is updated, ``None`` for a new one.
    :ivar packed: what of it stays packed, where not all is in the tree.
    """

    request: Request
    inputs: Inputs
    wrapper_paths: tuple[str, ...]
    compression: Compression
    install_path: str
    squasher: Squasher
    space: Workspace
    console: Console
    previous: Generation | None = None
    reuse: Reuse | None = field(default=None, init=False)
    packed: Packed | None = field(default=None, init=False)

    @property
    def tree(self) -> Path:
        """The environment while it is built, outside the container."""
        return self.space.image / self.install_path.lstrip("/")

    def get_ready(self) -> None:
        """Solve, and have of the old environment in the tree what the steps need."""
        if self.may_leave_packed():
            self.prepare()
            with self.console.step("Unpacking what changes"):
                self.packed = self.take_changing()
            if self.packed:
                managed.take_notice_away(self.tree)
            else:
                self.unpack()
            return
        with ThreadPoolExecutor(1) as pool:
            # Packages are solved from a copy of the old records meanwhile.
            unpacking = pool.submit(self.unpack)
            try:
                self.prepare()
            except ContainerizeError:
                process.end_all()  # it is told now, not when a large image is unpacked
                raise
            unpacking.result()

    def prepare(self) -> None:
        """Find out what is to be installed, before (or while) the tree is there."""

    def may_leave_packed(self) -> bool:
        """Whether the steps may do with a part of the old environment in the tree.

        Scripts may do anything with any of it, and so may what a package is built against.
        """
        request = self.request
        return bool(
            self.previous
            # Else it is to be packed anew.
            and self.compression.asked == self.old("options", {}).get("compression")
            and (self.compression.name,) == read_format(self.previous.image).compressors
            and not (request.pre_install or request.post_install or self.builds_inside())
            and not (self.reuse or self.old("image_root", ""))
        )

    def builds_inside(self) -> bool:
        """Whether pip packages are built against others of the environment."""
        return bool(self.inputs.requirements.late)

    def take_changing(self) -> Packed | None:
        """Unpack that part; ``None`` where all is needed after all."""
        return self.take(())

    def take(self, gone: Iterable[str]) -> Packed | None:
        """Unpack what the steps look at and leave out the files ``gone``."""
        assert self.previous
        root = self.install_path.lstrip("/")
        wrapped = [path.removeprefix(self.install_path).strip("/") for path in self.wrapper_paths]
        return packed.take(self.previous.image, root, gone, self.tree, wrapped)

    def unpack(self) -> None:
        """The environment as it was, or an empty directory for a new one."""
        if self.previous is None:
            self.tree.mkdir()
            return
        self._require_room(self.old("tree", {"size": 0})["size"])
        self.space.image.rmdir()  # unsquashfs makes it
        with self.console.step("Unpacking the image"):
            # Without its mount points: this host's may be others.
            own = self.old("image_root", "") or f"/{Path(self.install_path).parts[1]}"
            self.unpack_previous(self.space.image, own)
        managed.take_notice_away(self.tree)
        home.take_away(self.tree)

    def _require_room(self, size: int) -> None:
        require_space(self.space.root, size, "the environment as it was", MORE_ROOM)

    def unpack_previous(self, target: Path, path: str) -> None:
        """Unpack what the container before had at ``path``, to the same path below ``target``."""
        assert self.previous is not None
        root = self.old("image_root", "")  # an adopted image belongs there as a whole
        place = target / root.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        inside = str(self.previous.within_image(path))
        self.squasher.unsquash(
            self.previous.image,
            place,
            console=self.console,
            paths=[] if inside == "." else [inside],
        )

    def unpack_rest(self) -> None:
        """For a step that needs the old environment as a whole in the tree."""
        if self.packed:
            self._require_room(self.packed.size_beside(self.tree).size)
            with self.console.step("Unpacking the rest of the image"):
                self.packed.unpack_rest(self.tree)
            self.packed = None

    def whole(self, container: BuildContainer) -> AbstractContextManager[BuildContainer]:
        """A container in which the environment looks whole; see :meth:`Packed.lent`."""
        return self.packed.lent(container) if self.packed else nullcontext(container)

    def start_over(self) -> None:
        """With the old environment as a whole in the tree."""
        self.packed = None
        remove_tree(self.space.image)
        self.space.image.mkdir()
        self.unpack()
        self.mount_points()

    def mount_points(self) -> list[str]:
        """Put beside the tree what the image's root has; returns the links among it."""
        return write_skeleton(self.space.image)

    def packages_before(self) -> list[LockedPackage] | None:
        """Packages of the old environment; ``None`` in a new installation."""
        if self.previous is None:
            return None
        present = installed.pip_distributions(self.tree)
        packages = [
            *installed.conda_packages(self.tree),
            *installed.still_installed(self.old_pip(), present),
        ]
        return installed.without_replaced(packages, self.tree)

    def old_pip(self) -> list[LockedPackage]:
        """Lock entries of the old environment's pip packages."""
        packages = [LockedPackage.from_dict(entry) for entry in self.old("packages", ())]
        return [package for package in packages if package.manager == "pip"]

    def old(self, key: str, default: Any) -> Any:
        """A key of the previous generation's manifest."""
        return self.previous.manifest.get(key, default) if self.previous else default
