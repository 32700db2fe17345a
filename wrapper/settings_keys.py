"""What a site can set: each key with its meaning and how its value is read.

A new setting is a line in :data:`KEYS` and a field of :class:`~wrapper.models.Site`. Tables are
read by :func:`wrapper.site_profile.record` and :func:`wrapper.site_profile.by_name`.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from wrapper import site_profile
from wrapper.images import compression
from wrapper.inputs.tykky import MKSQUASHFS_OPTIONS
from wrapper.inputs.variables import why_not
from wrapper.models import Site
from wrapper.runtime.binds import UNLISTABLE
from wrapper.site_profile import number as _number
from wrapper.site_profile import text as _text
from wrapper.site_profile import texts as _texts

T = TypeVar("T")


@dataclass(frozen=True)
class Field:
    """A field of :class:`Site`.

    :ivar read: a value of YAML, or a variable's text, into what it means, ``None`` for nothing;
        raises ``ValueError`` with the reason. :ivar put: the site with what was read.
    """

    read: Callable[[object], object]
    put: Callable[[Site, Any], Site]


@dataclass(frozen=True, kw_only=True)
class Key:
    """One thing that can be set.

    :ivar help: what it means, for ``containerize info -v``.
    :ivar variable: an environment variable. :ivar flag: whether it counts by being set at all, as
        Tykky's do. :ivar option: of the command line. :ivar beside: paths, of which relative ones
        start at the directory of the file that has them.
    """

    help: str
    field: Field
    variable: str = ""
    flag: bool = False
    option: str = ""
    beside: bool = False


def _field(read: Callable[[object], T | None], put: Callable[[Site, T], Site]) -> Field:
    """Here it is checked that what is read is what the site's field is."""
    return Field(read, put)


def _expanded(value: object) -> str:
    """A path with ``$NAME`` and ``~`` in it; empty where one of the variables is not set."""
    text = os.path.expandvars(_text(value))
    return "" if re.search(r"\$[A-Za-z_{]", text) else os.path.expanduser(text)  # noqa: PTH111


def _path(value: object) -> Path | None:
    text = _expanded(value)
    return Path(text).absolute() if text else None


def _paths(value: object) -> tuple[Path, ...]:
    texts = map(_expanded, value if isinstance(value, list) else [value])
    return tuple(Path(text) for text in texts if text)


def _first_directory(value: object) -> Path | None:
    """Of a list the first directory that we can write to, else the last; a single one as it is."""
    places = [p for p in map(_path, value if isinstance(value, list) else [value]) if p]
    usable = [p for p in places if os.access(f"{p}/", os.W_OK | os.X_OK)]
    return next(iter(usable or places[-1:]), None)


def _yes(value: object) -> bool:
    if isinstance(value, str) and value.lower() in ("yes", "true", "1", "no", "false", "0"):
        return value.lower() in ("yes", "true", "1")
    if not isinstance(value, bool):
        raise ValueError(f"must be yes or no, found {value!r}")
    return value


def _positive(value: object) -> int:
    return max(1, _number(value))


def _mirrors(value: object) -> Mapping[str, tuple[str, ...]]:
    if not isinstance(value, dict):
        raise ValueError("must have lines 'CHANNEL: URL'")
    return {_text(name): _texts(urls) for name, urls in value.items()}


def _variables(value: object) -> Mapping[str, str]:
    if not isinstance(value, dict):
        raise ValueError("must have lines 'NAME: value'")
    for name in value:
        if reason := why_not(str(name)):
            raise ValueError(f"has a name that cannot be a variable's, {name!r}: {reason}")
    return {str(name): _text(text) for name, text in value.items()}


def _install_path(value: object) -> str:
    text = _text(value)
    if not re.fullmatch(r"/[A-Za-z0-9_-]+", text):
        raise ValueError(f"must be a directory of the root, such as /SITE, found {text!r}")
    return text


def _bind_list(value: object) -> tuple[str, ...]:
    binds = _texts(value)
    if bad := [b for b in binds if not b.startswith("/") or set(b) & set(UNLISTABLE)]:
        raise ValueError(f"must be a list of absolute paths, one an entry, found {bad[0]!r}")
    return binds


def _programs(value: object) -> tuple[str, ...]:
    """Names become files and binds: what is more than a name would lie elsewhere, or be two."""
    names = _texts(value)
    if bad := [name for name in names if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*", name)]:
        raise ValueError(f"must be a list of programs' names, such as srun, found {bad[0]!r}")
    return names


def _squashfs(value: object) -> tuple[str, ...]:
    words = shlex.split(_text(value)) if isinstance(value, str) else list(_texts(value))
    kept: list[str] = []
    rest = iter(words)
    for word in rest:
        if word in MKSQUASHFS_OPTIONS:
            given = next(rest, "-")
            if given.startswith("-"):
                raise ValueError(f"has {word} without a value")
            if word == "-comp" and given not in compression.NAMES.values():
                known = ", ".join(sorted(compression.NAMES.values()))
                raise ValueError(f"has -comp {given}; there are {known}")
            kept += [word, given]
        elif word != "-noappend":  # always given
            raise ValueError(
                f"has {word!r}: of mksquashfs's options {', '.join(MKSQUASHFS_OPTIONS)} count"
            )
    return tuple(kept)


KEYS: Mapping[str, Key] = {
    "tmpdir": Key(
        help="where to build; of a list the first directory that can be written to",
        field=_field(_first_directory, lambda site, value: replace(site, tmpdir=value)),
        variable="CW_BUILD_TMPDIR",
        option="--tmpdir",
    ),
    "cache": Key(
        help="where downloads are kept for later builds",
        field=_field(_path, lambda site, value: replace(site, cache=value)),
        variable="CONTAINERIZE_CACHE_DIR",
    ),
    "runtime": Key(
        help="name or path of the container runtime",
        field=_field(_expanded, lambda site, value: replace(site, runtime=value)),
        variable="CONTAINERIZE_RUNTIME",
    ),
    "prefix": Key(
        help="where to install without --prefix",
        field=_field(_path, lambda site, value: replace(site, prefix=value)),
        option="--prefix",
    ),
    "install_path": Key(
        help="stem of the directory that has the environment inside",
        field=_field(_install_path, lambda site, value: replace(site, install_path=value)),
    ),
    "channels": Key(
        help="conda channels where an env.yml names none",
        field=_field(_texts, lambda site, value: replace(site, channels=value)),
    ),
    "mirrors": Key(
        help="URLs to use for channels, by name or URL; '*' for all other names",
        field=_field(_mirrors, lambda site, value: replace(site, mirrors=value)),
    ),
    "condarc": Key(
        help="whether the user's .condarc is read",
        field=_field(_yes, lambda site, value: replace(site, condarc=value)),
        variable="CW_ENABLE_CONDARC",
        flag=True,
    ),
    "compression": Key(
        help="of images: fast, default, small, or zstd, lz4, gzip, which may have a level",
        field=_field(compression.check_word, lambda site, value: replace(site, compression=value)),
        option="--compression",
    ),
    "squashfs_options": Key(
        help="options of mksquashfs; a -comp among them counts unless an option names another",
        field=_field(_squashfs, lambda site, value: replace(site, squashfs_options=value)),
    ),
    "processors": Key(
        help="how many processors mksquashfs may use at most",
        field=_field(_positive, lambda site, value: replace(site, processors=value)),
    ),
    "base_image": Key(
        help="base image of new installations without --base-image; the host where none is named",
        field=_field(_expanded, lambda site, value: replace(site, base_image=value)),
        option="--base-image",
    ),
    "base_images": Key(
        help="catalogues and directories of base images",
        field=_field(_paths, lambda site, value: replace(site, base_images=value)),
        beside=True,
    ),
    "binds": Key(
        help="more binds, SOURCE[:DESTINATION[:OPTIONS]]",
        field=_field(_bind_list, lambda site, value: replace(site, binds=value)),
    ),
    "image_binds": Key(
        help="by a pattern of base images' names: binds that they need besides; the first counts",
        field=_field(
            site_profile.by_name(_bind_list), lambda site, value: replace(site, image_binds=value)
        ),
    ),
    "exclude_binds": Key(
        help="top-level directories of the host to leave out",
        field=_field(_bind_list, lambda site, value: replace(site, exclude_binds=value)),
    ),
    "host_programs": Key(
        help="programs of the host that those in an image can call: srun, sbatch…",
        field=_field(_programs, lambda site, value: replace(site, host_programs=value)),
    ),
    "installations": Key(
        help="other installations whose programs those of new ones can call",
        field=_field(_paths, lambda site, value: replace(site, installations=value)),
        option="--with",
        beside=True,
    ),
    "variables": Key(
        help="variables to set for programs at run time",
        field=_field(_variables, lambda site, value: replace(site, variables=value)),
    ),
    "fix_permissions": Key(
        help="whether all in the image is made readable, and root's",
        field=_field(_yes, lambda site, value: replace(site, fix_permissions=value)),
        variable="CW_NO_FIX_PERM",
        flag=True,
    ),
    "keep_files": Key(
        help="whether the build directory is kept",
        field=_field(_yes, lambda site, value: replace(site, keep_files=value)),
        variable="CW_DEBUG_KEEP_FILES",
        flag=True,
    ),
    "log_level": Key(
        help="0 errors, 1 and warnings, 2 and steps, 3 everything",
        field=_field(_number, lambda site, value: replace(site, log_level=value)),
        variable="CW_LOG_LEVEL",
        option="-v/-q",
    ),
    "message": Key(
        help="a text that every build begins with",
        field=_field(_text, lambda site, value: replace(site, message=value)),
    ),
    "mounts": Key(
        help="top-level directories of the site, for which images have mount points",
        field=_field(site_profile.mounts, lambda site, value: replace(site, mounts=value)),
    ),
    "modules": Key(
        help="modules that hold what is missing: name of the thing -> what 'module load' is given",
        field=_field(site_profile.by_name(_text), lambda site, value: replace(site, modules=value)),
    ),
    "partitions": Key(
        help="Slurm's partitions: nodes and time of a job at most, cores, memory, GPUs of a node",
        field=_field(site_profile.partitions, lambda site, value: replace(site, partitions=value)),
    ),
    "gpus": Key(
        help="GPUs of a node, and which processors are next to that of each task",
        field=_field(site_profile.gpus, lambda site, value: replace(site, gpus=value)),
    ),
    "detect": Key(
        help="by what this site is found",
        field=_field(site_profile.detect, lambda site, value: replace(site, detect=value)),
    ),
    "mpi": Key(
        help="whose MPI programs get, where the machine's is, and srun's word for it",
        field=_field(site_profile.mpi, lambda site, value: replace(site, mpi=value)),
    ),
    "sources": Key(
        help="where the value of a key comes from, and the day on which that was read",
        field=_field(
            site_profile.by_name(site_profile.source),
            lambda site, value: replace(site, sources=value),
        ),
    ),
}
