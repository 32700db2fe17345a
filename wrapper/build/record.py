"""What a manifest says of a build."""

from __future__ import annotations

from collections.abc import Sequence

from wrapper import __version__, platforms
from wrapper.activation.record import as_record
from wrapper.build.context import BuildContext
from wrapper.build.source import Source
from wrapper.build.target import Finished
from wrapper.conda.resolve import describe_virtual_packages
from wrapper.credentials import public_url
from wrapper.manifest import BaseRecord, ImageRecord, Manifest, MpiRecord, Options
from wrapper.models import TreeSize
from wrapper.mpi.abis import HOST
from wrapper.prefix.record import now


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
