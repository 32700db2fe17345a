"""The pip packages of a build: planned, installed and locked, in environments of every kind."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from packaging.utils import canonicalize_name

from wrapper.build.context import BuildContext
from wrapper.build.incremental import IncrementalTree
from wrapper.packages import LockedPackage
from wrapper.pip.installer import PipInstaller
from wrapper.pip.interpreter import OuterPackages
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
        told = self.context.previous is None or self.tree.again
        with self.tree.whole(container) as whole:
            replaced = {} if told else self.tree.packed_of(self._touched(whole, locked, sizes))
            if self.context.previous is None:
                self._look_for_mpi(whole)
            if not replaced:
                self._install(whole, locked)
                return
        self.tree.unpack_replaced(replaced)
        with self.tree.whole(container) as whole:
            self._install(whole, locked)

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

    def _look_for_mpi(self, container: BuildContainer) -> None:
        """Of what requirements bring, where it matters. Raises as :meth:`BuildMpi.settle`."""
        requirements = self.context.inputs.requirements
        if not (requirements and self.context.mpi.may_yield()):
            return
        with self.context.console.step("Resolving pip packages"):
            found, _ = self.installer(container).resolved(requirements)
        self.context.mpi.settle([*found.values()])

    def _touched(
        self, container: BuildContainer, locked: Sequence[LockedPackage], sizes: Mapping[str, int]
    ) -> set[str]:
        """Say what is changed; returns the canonical names of what uv will install or remove.

        :raises Unchanged: nothing is, nor anything else.
        """
        before = self.tree.packages_before() or []
        with self.context.console.step("Resolving pip packages"):
            added, touched = self._plan(container, locked)
        self.context.mpi.settle(added)
        self.tree.tell_changes(before, _merged(before, added, touched), sizes)
        self.tree.end_if_unchanged()
        return touched

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
        return _merged(before, *self._plan(container, locked))

    def _plan(
        self, container: BuildContainer, locked: Sequence[LockedPackage]
    ) -> tuple[list[LockedPackage], set[str]]:
        """What will be installed, and the canonical names of that and of what is removed."""
        added, removed = [*self._missing(locked)], set[str]()
        if self.context.inputs.requirements:
            planned, removed = self.installer(container).plan(self.context.inputs.requirements)
            added += planned
        return added, {*map(canonicalize_name, removed), *(one.canonical for one in added)}


def _merged(
    before: Sequence[LockedPackage], added: Sequence[LockedPackage], touched: Collection[str]
) -> list[LockedPackage]:
    return [*(package for package in before if package.canonical not in touched), *added]
