"""What a site can set: each key with its meaning and how its value is read.

A new setting is a line in :data:`KEYS` and a field of :class:`~wrapper.models.Site`. Tables are
read by :func:`wrapper.profile.record` and :func:`wrapper.profile.by_name`.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wrapper import profile
from wrapper.images import compression
from wrapper.inputs.names import why_not
from wrapper.inputs.tykky import MKSQUASHFS_OPTIONS
from wrapper.profile import number as _number
from wrapper.profile import text as _text
from wrapper.profile import texts as _texts
from wrapper.runtime.binds import UNLISTABLE


@dataclass(frozen=True, kw_only=True)
class Key:
    """One thing that can be set.

    :ivar help: what it means, for ``containerize info -v``. :ivar read: a value of YAML, or
        a variable's text, into a field of :class:`Site`; raises ``ValueError`` with the reason.
    :ivar variable: an environment variable. :ivar flag: whether it counts by being set at all, as
        Tykky's do. :ivar option: of the command line. :ivar beside: paths, of which relative ones
        start at the directory of the file that has them.
    """

    help: str
    read: Callable[[Any], Any]
    variable: str = ""
    flag: bool = False
    option: str = ""
    beside: bool = False


def _expanded(value: Any) -> str:
    """A path with ``$NAME`` and ``~`` in it; empty where one of the variables is not set."""
    text = os.path.expandvars(_text(value))
    return "" if re.search(r"\$[A-Za-z_{]", text) else os.path.expanduser(text)  # noqa: PTH111


def _path(value: Any) -> Path | None:
    text = _expanded(value)
    return Path(text).absolute() if text else None


def _catalogues(value: Any) -> tuple[Path, ...]:
    texts = map(_expanded, value if isinstance(value, list) else [value])
    return tuple(Path(text) for text in texts if text)


def _first_directory(value: Any) -> Path | None:
    """Of a list the first directory that we can write to, else the last; a single one as it is."""
    places = [p for p in map(_path, value if isinstance(value, list) else [value]) if p]
    usable = [p for p in places if os.access(f"{p}/", os.W_OK | os.X_OK)]
    return next(iter(usable or places[-1:]), None)


def _yes(value: Any) -> bool:
    if isinstance(value, str) and value.lower() in ("yes", "true", "1", "no", "false", "0"):
        return value.lower() in ("yes", "true", "1")
    if not isinstance(value, bool):
        raise ValueError(f"must be yes or no, found {value!r}")
    return value


def _positive(value: Any) -> int:
    return max(1, _number(value))


def _mirrors(value: Any) -> Mapping[str, tuple[str, ...]]:
    if not isinstance(value, dict):
        raise ValueError("must have lines 'CHANNEL: URL'")
    return {_text(name): _texts(urls) for name, urls in value.items()}


def _variables(value: Any) -> Mapping[str, str]:
    if not isinstance(value, dict):
        raise ValueError("must have lines 'NAME: value'")
    for name in value:
        if reason := why_not(str(name)):
            raise ValueError(f"has a name that cannot be a variable's, {name!r}: {reason}")
    return {str(name): _text(text) for name, text in value.items()}


def _install_path(value: Any) -> str:
    text = _text(value)
    if not re.fullmatch(r"/[A-Za-z0-9_-]+", text):
        raise ValueError(f"must be a directory of the root, such as /SITE, found {text!r}")
    return text


def _bind_list(value: Any) -> tuple[str, ...]:
    binds = _texts(value)
    if bad := [b for b in binds if not b.startswith("/") or set(b) & set(UNLISTABLE)]:
        raise ValueError(f"must be a list of absolute paths, one an entry, found {bad[0]!r}")
    return binds


def _squashfs(value: Any) -> tuple[str, ...]:
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
        read=_first_directory,
        variable="CW_BUILD_TMPDIR",
        option="--tmpdir",
    ),
    "cache": Key(
        help="where downloads are kept for later builds",
        read=_path,
        variable="CONTAINERIZE_CACHE_DIR",
    ),
    "runtime": Key(
        help="name or path of the container runtime",
        read=_expanded,
        variable="CONTAINERIZE_RUNTIME",
    ),
    "prefix": Key(help="where to install without --prefix", read=_path, option="--prefix"),
    "install_path": Key(
        help="stem of the directory that has the environment inside", read=_install_path
    ),
    "channels": Key(help="conda channels where an env.yml names none", read=_texts),
    "mirrors": Key(
        help="URLs to use for channels, by name or URL; '*' for all other names", read=_mirrors
    ),
    "condarc": Key(
        help="whether the user's .condarc is read",
        read=_yes,
        variable="CW_ENABLE_CONDARC",
        flag=True,
    ),
    "compression": Key(
        help="of images: fast, default, small, or zstd, lz4, gzip, which may have a level",
        read=compression.check_word,
        option="--compression",
    ),
    "squashfs_options": Key(
        help="options of mksquashfs; a -comp among them counts unless an option names another",
        read=_squashfs,
    ),
    "processors": Key(help="how many processors mksquashfs may use at most", read=_positive),
    "base_image": Key(
        help="base image of new installations without --base-image; the host where none is named",
        read=_expanded,
        option="--base-image",
    ),
    "base_images": Key(
        help="catalogues and directories of base images", read=_catalogues, beside=True
    ),
    "binds": Key(help="more binds, SOURCE[:DESTINATION[:OPTIONS]]", read=_bind_list),
    "image_binds": Key(
        help="by a pattern of base images' names: binds that they need besides; the first counts",
        read=profile.by_name(_bind_list),
    ),
    "exclude_binds": Key(help="top-level directories of the host to leave out", read=_bind_list),
    "variables": Key(help="variables to set for programs at run time", read=_variables),
    "fix_permissions": Key(
        help="whether all in the image is made readable, and root's",
        read=_yes,
        variable="CW_NO_FIX_PERM",
        flag=True,
    ),
    "keep_files": Key(
        help="whether the build directory is kept",
        read=_yes,
        variable="CW_DEBUG_KEEP_FILES",
        flag=True,
    ),
    "log_level": Key(
        help="0 errors, 1 and warnings, 2 and steps, 3 everything",
        read=_number,
        variable="CW_LOG_LEVEL",
        option="-v/-q",
    ),
    "message": Key(help="a text that every build begins with", read=_text),
    "mounts": Key(
        help="top-level directories of the site, for which images have mount points",
        read=profile.mounts,
    ),
    "modules": Key(
        help="modules that hold what is missing: name of the thing -> what 'module load' is given",
        read=profile.by_name(_text),
    ),
    "partitions": Key(
        help="Slurm's partitions: nodes and time of a job at most, cores, memory, GPUs of a node",
        read=profile.partitions,
    ),
    "gpus": Key(
        help="GPUs of a node, and which processors are next to that of each task",
        read=profile.gpus,
    ),
    "detect": Key(help="by what this site is found", read=profile.detect),
    "sources": Key(
        help="where the value of a key comes from, and the day on which that was read",
        read=profile.by_name(profile.source),
    ),
}
