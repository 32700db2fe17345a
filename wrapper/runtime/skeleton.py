"""Bases: what an environment stands on, the host or an image with a system of its own.

The *host* base needs no image of an operating system: every top-level directory of the host is
bound. What the container needs is a skeleton, a tree of empty mount points and the host's
top-level symlinks. Its virtual packages (what conda calls ``__glibc`` and so on) are the host's.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from wrapper import runscripts, sites
from wrapper.runtime.binds import NEVER_BOUND

MARKER = "/.containerize"
"""Directory by which a shim of another installation sees that it runs inside one of ours."""

# Mount points that an image should have even where the building host lacks them: the kernel's
# file systems, and those of the sites we know (wrapper.sites.mounts). A missing one is no error:
# the runtime adds it with an overlay or underlay, which costs start-up time.
_ALWAYS = (
    *("dev", "proc", "sys", "run", "tmp", "var", "etc", "usr", "home", "root", "opt", "mnt"),
    runscripts.DIRECTORY,
)


def write_skeleton(
    target: Path, host_root: Path = Path("/"), *, places: Iterable[str] = ()
) -> list[str]:
    """Create the host base's mount points and top-level symlinks in the directory ``target``.

    :param places: more mount points, absolute paths inside the container.
    :returns: the symlinks, as absolute paths inside the container (``/bin``, ``/lib64``…).
    """
    target.chmod(0o755)  # the root directory of the container, whatever the umask says
    links: list[str] = []
    names = {*_ALWAYS, *sites.mounts()}
    for entry in sorted(host_root.iterdir()):
        is_directory = os.path.isdir(entry)  # noqa: PTH112 - false, not raised, where it is stale
        if entry.is_symlink():
            if is_directory:
                (target / entry.name).symlink_to(entry.readlink())
                links.append(f"/{entry.name}")
                names.discard(entry.name)
        elif is_directory and f"/{entry.name}" not in (*NEVER_BOUND, MARKER):
            names.add(entry.name)
    for name in sorted(names):
        (target / name).mkdir()
    # No /.singularity.d: where an image has an incomplete one, Apptainer 1.4 sets none of the
    # variables it was told to (measured). Where there is none it works from its built-in scripts.
    for place in (MARKER, *places):
        (target / place.lstrip("/")).mkdir(parents=True)
    return links
