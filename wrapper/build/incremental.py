"""The tree of a build: empty, or the environment of the generation before.

Of that as much is unpacked as the steps need, see :mod:`wrapper.build.left_packed`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from wrapper import installed
from wrapper.build import left_packed
from wrapper.build.context import BuildContext
from wrapper.build.left_packed import Packed, State
from wrapper.build.nothing_to_do import Unchanged, only_packages
from wrapper.build.scripts import more_than_pip
from wrapper.console import human_size
from wrapper.errors import ScriptError
from wrapper.images.squashfs.compressors import NAMES
from wrapper.images.squashfs.layout import File, Node, Unsupported
from wrapper.images.squashfs.reader import Image, read_image, read_superblock
from wrapper.packages import Change, LockedPackage, changes_between, describe_changes
from wrapper.pip import externally_managed as managed
from wrapper.prefix import home
from wrapper.runtime.container import BuildContainer
from wrapper.util.disk import MORE_ROOM, require_space
from wrapper.util.removal import remove_tree
from wrapper.workspace import TOLD_SECONDS


@dataclass(frozen=True, kw_only=True)
class Place:
    """:ivar file: it is a SquashFS image, or a SIF that has one. :ivar offset: where, in bytes.
    :ivar number: of that partition.
    """

    file: Path
    offset: int = 0
    number: int = 0

    def bind(self, path: str) -> str:
        """By which a container has the directory ``path`` of it at :data:`left_packed.LENT`."""
        which = f",id={self.number}" if self.number else ""
        return f"{self.file}:{left_packed.LENT}:image-src={path}{which}"

    def read(self) -> Image:
        """:raises Unsupported: it has what only unsquashfs knows."""
        return read_image(self.file, self.offset)


class OldImage(Protocol):
    """How the image before is unpacked, and what is beside the environment in the new one."""

    def place_of_previous(self) -> Place | None:
        """Where it is, ``None`` where the new one cannot have parts of it as they are packed."""

    def unpack_previous(self, target: Path, path: str) -> None:
        """Unpack what the container before had at ``path``, to the same path below ``target``."""

    def mount_points(self) -> list[str]:
        """Put beside the tree what the image's root has; returns the links among it."""


@dataclass(kw_only=True)
class IncrementalTree:
    """The environment while it is built.

    :ivar packed: what of the old one stays packed, where not all is in the tree.
    :ivar again: whether the build started over: what it changes was told before.
    """

    context: BuildContext
    image: OldImage
    packed: Packed | None = field(default=None, init=False)
    again: bool = field(default=False, init=False)
    _changed: bool = field(default=False, init=False)
    _unpacked: Mapping[str, State] = field(default_factory=dict, init=False)
    _told: str = field(default="", init=False)
    _versions: dict[str, str] = field(default_factory=dict, init=False)

    def may_leave_packed(self, container: BuildContainer) -> bool:
        """Whether the steps may do with a part of the old environment in the tree.

        Scripts may do anything with any of it, but for those that only let pip install.
        """
        context, old = self.context, self.context.old
        may = bool(old and self._may_join() and not (context.inputs.pre_install or context.reuse))
        for script in context.inputs.post_install if may else ():
            if line := more_than_pip(script):
                context.console.info(
                    f"{script.name} does more than install with pip (line {line}): all of the "
                    "image is unpacked for it"
                )
                return False
        if may and not self._lends(container):
            context.console.info("the runtime binds no image here: all of the old one is unpacked")
            return False
        return may

    def _lends(self, container: BuildContainer) -> bool:
        """Whether programs can see what is packed: a set-uid runtime may refuse that to users."""
        place = self.image.place_of_previous()
        if os.geteuid() == 0 or not place:
            return True
        bind = place.bind(self.context.install_path)
        lending = replace(container, binds=[*container.binds, bind])
        try:
            lending.run([*container.bash, "-c", ":"], what="a start with the old image", bare=True)
        except ScriptError:
            return False
        return True

    def _may_join(self) -> bool:
        """Whether what is compressed in the old image can stay so."""
        context, old = self.context, self.context.old
        if not old or old.image_root or context.compression.asked != old.options.compression:
            return False
        place = self.image.place_of_previous()
        if not place:
            return False
        try:
            number = read_superblock(place.file, place.offset).compression
        except Unsupported:
            return False
        return NAMES.get(number) == context.compression.name

    def take(self, gone: Iterable[str]) -> Packed | None:
        """Unpack what the steps look at and leave out the files ``gone``; the rest stays packed.

        :returns: what stays, ``None`` where all is needed after all.
        """
        context = self.context
        inside = context.install_path
        wrapped = [path.removeprefix(inside).strip("/") for path in context.wrapper_paths]
        place = self.image.place_of_previous()
        assert place
        with contextlib.suppress(Unsupported):
            image, root = place.read(), inside.lstrip("/")
            self.packed = left_packed.take(image, root, gone, context.tree, wrapped)
        if self.packed:
            self.packed = replace(self.packed, bind=place.bind(inside))
            managed.take_notice_away(context.tree)
        return self.packed

    def unpack(self) -> None:
        """The environment as it was, or an empty directory for a new one."""
        context = self.context
        if context.old is None:
            context.tree.mkdir()
            return
        self._require_room(context.old.tree.size)
        context.space.image.rmdir()  # unsquashfs makes it
        with context.console.step("Unpacking the image"):
            # Without its mount points: this host's may be others.
            own = context.old.image_root or f"/{Path(context.install_path).parts[1]}"
            self.image.unpack_previous(context.space.image, own)
            if self._may_join():
                self._unpacked = left_packed.states(context.tree)
        managed.take_notice_away(context.tree)
        home.take_away(context.tree)

    def _require_room(self, size: int) -> None:
        require_space(self.context.space.root, size, "the environment as it was", MORE_ROOM)

    def packed_of(self, names: Collection[str]) -> Mapping[str, Node]:
        """What is packed of distributions with these canonical names, as far as they are there.

        All of it where one has no record of its files.
        """
        if not self.packed:
            return {}
        files = installed.files_of(names, self.context.tree)
        return {**self.packed.kept} if files is None else self.packed.with_compiled(files)

    def unpack_replaced(self, part: Mapping[str, Node]) -> None:
        """Unpack what pip is about to replace; the rest stays packed."""
        assert self.packed
        self._require_room(sum(node.size for node in part.values() if isinstance(node, File)))
        with self.context.console.step("Unpacking what is replaced"):
            self.packed.unpack(part, self.context.tree)

    def unpack_rest(self) -> None:
        """For a step that needs the old environment as a whole in the tree."""
        if self.packed:
            self._require_room(self.packed.size_beside(self.context.tree).size)
            with self.context.console.step("Unpacking the rest of the image"):
                self._unpacked = self.packed.unpack_rest(self.context.tree)
            self.packed = None

    def write_image(
        self,
        image: Path,
        title: str,
        *,
        owners: bool,
        order: Sequence[str] = (),
        within: Callable[[], Place] | None = None,
    ) -> Place:
        """Pack the tree, as the step ``title``; what nobody touched is copied as it is compressed.

        :param owners: files keep theirs. :param order: paths of files that come first.
        :param within: tells a place in a file, where the image goes instead if parts are copied:
            the whole is not written twice then. :returns: where it is.
        """
        context = self.context
        kept = self.packed or self._untouched()
        if kept:
            fresh = context.space.root / "fresh.sqfs"
            fitting = replace(context.compression, block=kept.image.superblock.block_size)
            context.squash(
                context.space.image,
                fresh,
                "Packing what is new",
                compression=fitting,
                owners=owners,
            )
            place = within() if within else Place(file=image)
            with context.console.step(title) as advance:
                left_out = kept.join(fresh, place.file, advance, order, place.offset)
            if left_out:
                context.console.info(
                    f"{human_size(left_out)} of the image would be of files that have gone: "
                    "the files that share blocks with them are packed anew"
                )
            if left_out is not None:
                return place
            kept.unpack_rest(context.tree)
        context.squash(context.space.image, image, title, owners=owners, order=order)
        return Place(file=image)

    def _untouched(self) -> Packed | None:
        """Of an environment that was unpacked what can be copied; it is not in the tree then."""
        context, place = self.context, self.image.place_of_previous()
        if not self._unpacked or not place:
            return None
        with context.console.step("Finding what changed"), contextlib.suppress(Unsupported):
            root = context.install_path.lstrip("/")
            return left_packed.untouched(place.read(), root, context.tree, self._unpacked)
        return None

    def whole(self, container: BuildContainer) -> AbstractContextManager[BuildContainer]:
        """A container in which the environment looks whole; see :meth:`Packed.lent`."""
        return self.packed.lent(container) if self.packed else nullcontext(container)

    def require_unseen(self) -> None:
        """:raises PackedError: scripts noticed that a part of the environment is links."""
        if self.packed:
            self.packed.require_unseen(self.context.tree)

    def start_over(self) -> None:
        """With the old environment as a whole in the tree."""
        self.context.console.info(
            "what is packed would be changed: once more, with all of the old image unpacked"
        )
        self.packed, self.again = None, True
        with self.context.console.step("Removing what was begun", least=TOLD_SECONDS):
            remove_tree(self.context.space.image)
        self.context.space.image.mkdir()
        self.unpack()
        self.image.mount_points()

    def packages_before(self) -> list[LockedPackage] | None:
        """Packages of the old environment; ``None`` in a new installation."""
        if self.context.previous is None:
            return None
        tree = self.context.tree
        present = installed.pip_distributions(tree)
        packages = [
            *installed.conda_packages(tree),
            *installed.still_installed(self.old_pip(), present),
        ]
        return installed.without_replaced(packages, tree)

    def old_pip(self) -> list[LockedPackage]:
        """Lock entries of the old environment's pip packages."""
        packages = self.context.old.packages if self.context.old else ()
        return [package for package in packages if package.manager == "pip"]

    def note_change(self) -> None:
        """Something else than packages is known to change."""
        self._changed = True

    def end_if_unchanged(self) -> None:
        """Once all changes are known. :raises Unchanged: there are none, of packages or else."""
        if not self._changed and only_packages(self.context):
            raise Unchanged

    def tell_changes(
        self, old: Sequence[LockedPackage], new: Sequence[LockedPackage], sizes: Mapping[str, int]
    ) -> Sequence[Change]:
        """Say what an update changes: as soon as it is known, and again where it came otherwise."""
        found = changes_between(old, new, sizes)
        text = describe_changes([self._as_told(change) for change in found])
        self._changed = self._changed or bool(found)
        if text != self._told and (found or not only_packages(self.context)):
            self.context.console.info(f"changes:\n{text}" if "\n" in text else text)
        self._told = text
        return found

    def _as_told(self, change: Change) -> Change:
        """A change by the word that stood for a version when it was told first: what is built has
        none before.
        """
        if not change.new:
            return change
        first = self._versions.setdefault(change.new.canonical, change.new.version)
        version = first if first.startswith(("@ ", "(")) else change.new.version
        return replace(change, new=replace(change.new, version=version))
