"""When an update would make again what is there: it ends then, and makes no generation."""

from __future__ import annotations

from wrapper import __version__
from wrapper.build.context import BuildContext
from wrapper.credentials import public_url
from wrapper.mpi.abis import HOST, NONE
from wrapper.prefix import host_programs
from wrapper.requests import SifRequest


class Unchanged(Exception):
    """What an update asks for is there already; nothing was changed."""


def only_packages(context: BuildContext) -> bool:
    """Whether an update differs from what it updates in its packages, if in anything.

    Scripts may do anything. What another version of this program or another site's settings make
    of the same packages differs too.
    """
    request, old = context.request, context.old
    if old is None or request.pre_install or request.post_install:
        return False
    channels = tuple(map(public_url, request.channels)) or old.options.channels
    sif = request if isinstance(request, SifRequest) else None  # its base is a part of it
    return (
        not (request.base_image or request.copy_base or old.image_root or context.reuse)
        and (sif is not None or context.base.mark == old.base.mark)
        # Of a SIF it is asked for again where libraries of the machine have changed.
        and request.mpi in (None, *([] if sif else [old.mpi.kind if old.mpi else NONE]))
        and (sif is None or sif.flatten in (None, old.flatten))
        and context.compression.asked == old.options.compression
        and context.compression.name == old.image.compression
        and channels == old.options.channels
        and context.wrapper_paths in ((), old.options.wrapper_paths)
        and dict(context.variables) == dict(old.variables)
        and dict(context.environ()) == dict(old.environ)
        and (sif is not None or not _other_host_programs(context))
        and old.tool == __version__
        and old.site == context.site.shaping(mpi=context.mpi.choice.kind == HOST)
        and old.others == tuple(str(other.prefix) for other in context.others)
    )


def _other_host_programs(context: BuildContext) -> bool:
    """Whether the site's or the machine's differ now from those that the installation has."""
    base = context.base
    wanted = context.site.host_programs if base.image and base.has_bash else ()
    return bool(context.previous and host_programs.changed(context.previous.directory, wanted))
