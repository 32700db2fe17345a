"""What of the host is bound into a container, while it is built and when it runs.

The one place that decides it: :mod:`wrapper.prefix.shims` renders these lists into the shim, which
looks at the host anew at every start. Singularity and Apptainer take ``SOURCE:DESTINATION,…``. They
read the list as a line of comma-separated values, in which a bare double quote is a mistake
(SingularityCE: ``parse error … bare " in non-quoted-field``) and the line's end is the end.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from pathlib import Path

from wrapper import runscripts
from wrapper.models import Site

UNLISTABLE = ',"\n'
"""No entry of the list can have these."""
UNBINDABLE = f":\\{UNLISTABLE}"
"""No path can: it would be two, or the character after a backslash something else."""
UNBINDABLE_NAMES = "colons, commas, double quotes, backslashes and line breaks"
BIND_VARIABLES = (
    "SINGULARITY_BIND",
    "SINGULARITY_BINDPATH",
    "APPTAINER_BIND",
    "APPTAINER_BINDPATH",
)
"""The user's binds, for the runtime itself."""
USERS_BINDS = (*BIND_VARIABLES, "CW_EXTRA_BIND_MOUNTS")
NEVER_BOUND = ("/dev", "/proc", "/sys", "/lost+found")
"""Top-level directories that the runtime provides itself, or that nobody needs."""
OWN_SYSTEM = (
    *("/bin", "/boot", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/root", "/run"),
    *("/sbin", "/srv", "/usr", "/var"),
)
"""Top-level directories that a base image has of its own; it gets the others, and the home."""


def unbindable(path: Path | str) -> str:
    """The first character of ``path`` that a bind cannot express, empty where there is none."""
    return next((letter for letter in str(path) if letter in UNBINDABLE), "")


def host_binds(root: Path = Path("/")) -> list[str]:
    """The host's top-level directories, as they are bound into a container of the host base, whose
    image has the host's top-level links; and what of the host is seen through those only.
    """
    entries = _directories(root)
    links = [f"/{entry.name}" for entry in entries if entry.is_symlink()]
    binds = [f"/{entry.name}" for entry in entries if not entry.is_symlink()]
    return [*binds, *beyond(links, binds, root)]


def image_binds(needed: Sequence[Path], root: Path = Path("/")) -> list[str]:
    """What of the host is bound into a container whose image has a system of its own.

    The directories of users and projects, which no system has, and of the others only what is
    ``needed`` (paths outside). Links at the top become directories; what they and links on the way
    to what is needed lead to is there by its own name too.
    """
    own = [entry for entry in _directories(root) if f"/{entry.name}" not in OWN_SYSTEM]
    binds = [f"/{entry.name}" for entry in own]
    binds += beyond(replaced_links(root), binds, root)
    for path in dict.fromkeys(needed):
        if f"/{path.parts[1]}" not in binds and not unbindable(path):
            binds.append(str(path))
    return [*binds, *beyond([str(path) for path in needed], binds, root)]


def replaced_links(root: Path = Path("/")) -> list[str]:
    """The host's links at its top in whose place an image with a system of its own has directories:
    the same files, but another ``realpath``.
    """
    links = [f"/{entry.name}" for entry in _directories(root) if entry.is_symlink()]
    return [link for link in links if link not in OWN_SYSTEM]


def _directories(root: Path) -> list[Path]:
    """Those at the top, links to directories too, as the shim's pattern finds them."""
    return [
        entry
        for entry in sorted(root.iterdir())
        if os.path.isdir(entry)  # noqa: PTH112 - false, not raised, where a mount is stale
        and f"/{entry.name}" not in NEVER_BOUND
        and not (entry.name.startswith(".") or unbindable(entry.name))
    ]


def beyond_links(links: Sequence[str]) -> list[str]:
    """What of the host is seen only through ``links`` of an image's at its top."""
    entries = _directories(Path("/")) if links else []
    return beyond(links, [f"/{entry.name}" for entry in entries if not entry.is_symlink()])


def beyond(links: Sequence[str], binds: Sequence[str], root: Path = Path("/")) -> list[str]:
    """What ``links`` (paths that may be, or go through, some) lead to beside the ``binds``.

    Of a directory that systems have of their own it is the place alone, else all of that directory
    (``/.lustre``, which no pattern finds).
    """
    found: dict[str, None] = {}
    for link in links:
        physical = Path("/", os.path.relpath(os.path.realpath(f"{root}{link}"), root))
        if str(physical) == link or len(physical.parts) < 2 or physical.parts[1] == "..":
            continue
        top = f"/{physical.parts[1]}"
        place = str(physical) if top in OWN_SYSTEM and top not in binds else top
        if place not in (*binds, *NEVER_BOUND) and not unbindable(place):
            found[place] = None
    return [*found]


def split_binds(text: str) -> list[str]:
    """The binds in a list of the user's, separated by commas; Tykky's users also join whole ones,
    ``SOURCE:DESTINATION:OPTIONS``, by colons. Options of one are separated by commas too.
    """
    option = r"(?:r[ow]|id=[^,:]*|image-src=[^,:]*)(?![^,:])"
    found = re.findall(rf"([^,:]*(?::[^,:]*){{0,2}}(?:,{option})*)[,:]?", text)
    return [bind for bind in found if bind]


def leave_out_missing(environ: MutableMapping[str, str]) -> list[str]:
    """Take the user's binds whose source is not there for us out of ``environ``; returns them.

    No container starts with one. (Sites' modules bind Slurm's directory, which is not everywhere.)
    """
    gone = []
    for name in USERS_BINDS:
        binds = split_binds(environ.get(name, ""))
        there = [bind for bind in binds if os.path.exists(bind.partition(":")[0])]  # noqa: PTH110
        if len(there) < len(binds):
            gone += [bind for bind in binds if bind not in there]
            environ[name] = ",".join(there)
    return list(dict.fromkeys(gone))


def with_more(
    binds: Sequence[str], site: Site, environ: Mapping[str, str], needed: Sequence[Path]
) -> list[str]:
    """A build's own binds with the user's and the site's, without those that the site leaves out,
    as in a shim.

    Of two binds to one place the runtime drops the later. So a directory of the host gives way,
    unless something that the build needs is below it.

    :param needed: paths outside.
    """
    users = [bind for name in USERS_BINDS for bind in split_binds(environ.get(name, ""))]
    sites = [bind for bind in site.binds if os.path.exists(bind.partition(":")[0])]  # noqa: PTH110
    added = list(dict.fromkeys([*users, *sites]))
    taken = {(bind.split(":")[1:2] or [bind])[0].rstrip("/") for bind in added}
    taken |= {*site.exclude_binds}
    taken -= {str(above) for path in needed for above in (path, *path.parents)}
    return [*(bind for bind in binds if bind not in taken), *added]


# -- mount points --------------------------------------------------------------------------------
# The *host* base needs no image of an operating system: every top-level directory of the host is
# bound. What the container needs is a skeleton, a tree of empty mount points and the host's
# top-level symlinks.
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
    from wrapper import sites  # reads YAML, which what only asks for binds can do without

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
