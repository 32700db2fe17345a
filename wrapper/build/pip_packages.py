"""The pip packages of a build: planned, installed and locked, in environments of every kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from wrapper.build.context import BuildContext
from wrapper.build.incremental import IncrementalTree
from wrapper.packages import LockedPackage
from wrapper.pip.installer import PipInstaller
from wrapper.pip.outer import OuterPackages
from wrapper.runtime.container import BuildContainer


@dataclass(kw_only=True)
class PipPackages:
    """:ivar outer: packages that the environment's Python sees besides its own."""

    context: BuildContext
    tree: IncrementalTree
    outer: OuterPackages = field(default_factory=OuterPackages)

    def installer(self, container: BuildContainer) -> PipInstaller:
        """uv at work in the container."""
        return PipInstaller(
            container=container,
            directory=self.context.inputs.directory,
            reuse=self.context.reuse,
            outer=self.outer,
        )

    def install(
        self, container: BuildContainer, locked: Sequence[LockedPackage], sizes: Mapping[str, int]
    ) -> None:
        """Install ``locked`` ones exactly, and those that requirements ask for.

        An update says before what that changes.

        :param sizes: bytes of conda packages' archives. :raises PackedError: something that is
            packed would be changed. :raises Unchanged: all of it is there, as all else is.
        """
        if not self.asked(locked):
            return
        locked = self._missing(locked)
        with self.tree.whole(container) as whole:
            told = self.context.previous is None or self.tree.again
            replaces = not told and self._replaces(whole, locked, sizes)
            if not (replaces and self.tree.packed):
                self._install(whole, locked)
                return
        self.tree.unpack_rest()
        self._install(container, locked)

    def asked(self, locked: Sequence[LockedPackage]) -> bool:
        """Whether there is anything to install."""
        return bool(self.context.inputs.requirements or self._missing(locked))

    def _install(self, container: BuildContainer, locked: Sequence[LockedPackage]) -> None:
        pip, requirements = self.installer(container), self.context.inputs.requirements
        with self.context.console.step("Installing pip packages"):
            if locked:
                pip.install_locked(locked)
            if requirements:
                pip.install(requirements)

    def _replaces(
        self, container: BuildContainer, locked: Sequence[LockedPackage], sizes: Mapping[str, int]
    ) -> bool:
        """Say what is changed; true where packages are replaced."""
        before = self.tree.packages_before() or []
        with self.context.console.step("Resolving pip packages"):
            after = self.planned(container, before, locked)
        changes = self.tree.tell_changes(before, after, sizes)
        self.tree.end_if_unchanged()
        return any(change.old for change in changes)

    def _missing(self, locked: Sequence[LockedPackage]) -> Sequence[LockedPackage]:
        """Those that the base does not have."""
        return self.context.reuse.missing(locked) if self.context.reuse else locked

    def planned(
        self,
        container: BuildContainer,
        before: Sequence[LockedPackage],
        locked: Sequence[LockedPackage],
    ) -> list[LockedPackage]:
        """The packages ``before``, as they will be when pip packages are installed."""
        added, removed = [*self._missing(locked)], set[str]()
        if self.context.inputs.requirements:
            planned, removed = self.installer(container).plan(self.context.inputs.requirements)
            added += planned
        gone = removed | {package.canonical for package in added}
        return [*(p for p in before if p.canonical not in gone), *added]
