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
from typing import Any

from wrapper import site_profile
from wrapper.images import compression
from wrapper.inputs.tykky import MKSQUASHFS_OPTIONS
from wrapper.inputs.variables import why_not
from wrapper.models import Site
from wrapper.runtime.binds import UNLISTABLE
from wrapper.site_profile import number as _number
from wrapper.site_profile import text as _text
from wrapper.site_profile import texts as _texts


@dataclass(frozen=True)
class Key:
    """One thing that can be set.

    :ivar read: a value of YAML, or a variable's text, into what the site's field of the key's name
        is (``tests/unit/test_site.py`` reads one of each), ``None`` for nothing; raises
        ``ValueError`` with the reason. :ivar help: what it means, for ``containerize info -v``.
    :ivar variable: an environment variable. :ivar flag: whether it counts by being set at all, as
        Tykky's do. :ivar option: of the command line. :ivar beside: paths, of which relative ones
        start at the directory of the file that has them.
    """

    read: Callable[[object], object]
    help: str
    variable: str = ""
    flag: bool = False
    option: str = ""
    beside: bool = False


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
        _first_directory,
        "where to build; of a list the first directory that can be written to",
        variable="CW_BUILD_TMPDIR",
        option="--tmpdir",
    ),
    "cache": Key(
        _path, "where downloads are kept for later builds", variable="CONTAINERIZE_CACHE_DIR"
    ),
    "runtime": Key(
        _expanded, "name or path of the container runtime", variable="CONTAINERIZE_RUNTIME"
    ),
    "prefix": Key(_path, "where to install without --prefix", option="--prefix"),
    "install_path": Key(_install_path, "stem of the directory that has the environment inside"),
    "channels": Key(_texts, "conda channels where an env.yml names none"),
    "mirrors": Key(_mirrors, "URLs to use for channels, by name or URL; '*' for all other names"),
    "condarc": Key(
        _yes, "whether the user's .condarc is read", variable="CW_ENABLE_CONDARC", flag=True
    ),
    "compression": Key(
        compression.check_word,
        "of images: fast, default, small, or zstd, lz4, gzip, which may have a level",
        option="--compression",
    ),
    "squashfs_options": Key(
        _squashfs, "options of mksquashfs; a -comp among them counts unless an option names another"
    ),
    "processors": Key(_positive, "how many processors mksquashfs may use at most"),
    "base_image": Key(
        _expanded,
        "base image of new installations without --base-image; the host where none is named",
        option="--base-image",
    ),
    "base_images": Key(_paths, "catalogues and directories of base images", beside=True),
    "binds": Key(_bind_list, "more binds, SOURCE[:DESTINATION[:OPTIONS]]"),
    "image_binds": Key(
        site_profile.by_name(_bind_list),
        "by a pattern of base images' names: binds that they need besides; the first counts",
    ),
    "exclude_binds": Key(_bind_list, "top-level directories of the host to leave out"),
    "host_programs": Key(
        _programs, "programs of the host that those in an image can call: srun, sbatch…"
    ),
    "installations": Key(
        _paths,
        "other installations whose programs those of new ones can call",
        option="--with",
        beside=True,
    ),
    "variables": Key(_variables, "variables to set for programs at run time"),
    "fix_permissions": Key(
        _yes,
        "whether all in the image is made readable, and root's",
        variable="CW_NO_FIX_PERM",
        flag=True,
    ),
    "keep_files": Key(
        _yes, "whether the build directory is kept", variable="CW_DEBUG_KEEP_FILES", flag=True
    ),
    "log_level": Key(
        _number,
        "0 errors, 1 and warnings, 2 and steps, 3 everything",
        variable="CW_LOG_LEVEL",
        option="-v/-q",
    ),
    "message": Key(_text, "a text that every build begins with"),
    "mounts": Key(
        site_profile.mounts, "top-level directories of the site, for which images have mount points"
    ),
    "modules": Key(
        site_profile.by_name(_text),
        "modules that hold what is missing: name of the thing -> what 'module load' is given",
    ),
    "partitions": Key(
        site_profile.partitions,
        "Slurm's partitions: nodes and time of a job at most, cores, memory, GPUs of a node",
    ),
    "gpus": Key(
        site_profile.gpus, "GPUs of a node, and which processors are next to that of each task"
    ),
    "detect": Key(site_profile.detect, "by what this site is found"),
    "mpi": Key(
        site_profile.mpi, "whose MPI programs get, where the machine's is, and srun's word for it"
    ),
    "sources": Key(
        site_profile.by_name(site_profile.source),
        "where the value of a key comes from, and the day on which that was read",
    ),
}


def put(site: Site, name: str, value: Any) -> Site:
    """The site with what was read of a key."""
    return replace(site, **{name: value})
