"""What becomes of a finished tree: the hooks of :mod:`wrapper.build.recipe`, and what a manifest
says of a build.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from wrapper import __version__, platforms, shimmed_programs
from wrapper.activation.model import Activation
from wrapper.activation.record import as_record
from wrapper.build.context import BuildContext
from wrapper.build.incremental import IncrementalTree, OldImage
from wrapper.build.source import Source
from wrapper.conda.resolve import describe_virtual_packages
from wrapper.credentials import public_url
from wrapper.manifest import BaseRecord, ImageRecord, Manifest, MpiRecord, Options
from wrapper.models import TreeSize
from wrapper.mpi.abis import HOST, is_launcher
from wrapper.packages import LockedPackage
from wrapper.prefix.record import now
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
    found, warnings = shimmed_programs.wrapped(
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


# -- the record ----------------------------------------------------------------------------------
def described(
    context: BuildContext,
    source: Source,
    finished: Finished,
    *,
    programs: int,
    image: ImageRecord,
    inputs: Sequence[str],
    size: TreeSize,
    mpi: MpiRecord | None = None,
) -> Manifest:
    """The manifest: what was built, of what, with what. :param size: before squashing."""
    manifest = Manifest(
        tool=__version__,
        created=now(),
        machine=platforms.machine(),
        kind=source.kind,
        reused=context.reuse.as_record() if context.reuse else None,
        mpi=mpi,
        generation=context.place.generation,
        prefix=str(context.place.prefix),
        install_path=context.install_path,
        base=BaseRecord.of(context.base, describe_virtual_packages(context.base)),
        runtime=context.tools.runtime.as_record(),
        mksquashfs=".".join(map(str, context.tools.squasher.version)),
        site=context.site.shaping(mpi=context.mpi.choice.kind == HOST),
        others=tuple(str(other.prefix) for other in context.others),
        options=Options(
            compression=context.compression.asked,
            wrapper_paths=context.wrapper_paths,
            channels=tuple(map(public_url, context.request.channels)),
        ),
        variables=dict(context.variables),
        environ=context.environ(),
        channels=tuple(map(public_url, source.channels())),
        packages=tuple(finished.packages),
        activation=as_record(finished.activation),
        programs=programs,
        inputs=tuple(inputs),
        image=image,
        tree=size,
    )
    return source.recorded(manifest)
