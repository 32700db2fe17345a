"""What becomes of a finished tree: the hooks of :mod:`wrapper.build.recipe`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from wrapper import programs
from wrapper.activation.model import Activation
from wrapper.build.context import BuildContext
from wrapper.build.incremental import IncrementalTree, OldImage
from wrapper.build.source import Source
from wrapper.manifest import Manifest
from wrapper.mpi.abis import HOST, is_launcher
from wrapper.packages import LockedPackage
from wrapper.runtime.container import BuildContainer


@dataclass(frozen=True, kw_only=True)
class Finished:
    """What the steps of a build have made.

    :ivar packages: of the environment. :ivar links: what ``mount_points`` returned.
    """

    tree: IncrementalTree
    packages: Sequence[LockedPackage]
    activation: Activation
    links: Sequence[str]


def shim_programs(context: BuildContext, source: Source) -> dict[str, str]:
    """Programs to get shims: name -> path below the tree."""
    found, warnings = programs.wrapped(
        context.tree, context.install_path, context.wrapper_paths, own=source.offers_bin
    )
    for warning in warnings:
        context.console.warning(warning)
    if context.mpi.choice.kind == HOST:
        # They would hide the machine's, and start all ranks in one place.
        return {name: path for name, path in found.items() if not is_launcher(name)}
    return found


class Target(OldImage, Protocol):
    """An installation, or a SIF."""

    outside: bool
    """Whether activation is applied outside the container, by shims."""

    def opened(self) -> AbstractContextManager[object]:
        """What goes on beside the steps."""

    def make_home(self, container: BuildContainer) -> None:
        """Let the environment's Python know the place where it is used."""

    def deliver(self, finished: Finished) -> Manifest:
        """Make of the finished tree what is used in the end; returns the manifest."""
