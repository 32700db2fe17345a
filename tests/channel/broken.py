"""Copies of a channel with something wrong in them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from enum import Enum, auto
from pathlib import Path
from typing import Any

from .serve import with_flipped_byte


class Damage(Enum):
    """What is wrong with a package."""

    #: The file has its size, and a byte in its middle is another one.
    CORRUPT = auto()
    #: Only the first half of the file is there.
    TRUNCATED = auto()
    #: The file is sound, and repodata.json has another sha256 for it.
    WRONG_SHA256 = auto()
    #: repodata.json names a file that is not there.
    MISSING = auto()
    #: The file is no archive, and repodata.json has the right size and digests for it.
    NO_ARCHIVE = auto()


def copy_with(channel: Path, destination: Path, damage: Mapping[str, Damage]) -> list[Path]:
    """Copy a channel to `destination`, which must not exist, and damage packages of the copy.

    `damage` names packages as `numpy`, for all its versions and builds, or as the file name
    `numpy-2.2.1-py311h_whl_0.conda`. Returns the paths of the damaged packages. The sound ones are
    links to those of `channel`; each repodata.json is the copy's own, free to be changed further.
    """
    destination.mkdir(parents=True)
    damaged: dict[str, list[Path]] = {name: [] for name in damage}
    for repodata in sorted(channel.glob("*/repodata.json")):
        subdir = destination / repodata.parent.name
        subdir.mkdir()
        content = json.loads(repodata.read_text())
        for file_name, record in content["packages.conda"].items():
            original, copy = repodata.with_name(file_name), subdir / file_name
            name = next((name for name in (file_name, record["name"]) if name in damage), None)
            if name is None:
                _link(original, copy)
            else:
                _write_damaged(damage[name], original, copy, record)
                damaged[name].append(copy)
        (subdir / repodata.name).write_text(json.dumps(content, indent=1, sort_keys=True))
    if unknown := [name for name, paths in damaged.items() if not paths]:
        raise ValueError(f"{channel} has no package {', '.join(unknown)}")
    return [path for paths in damaged.values() for path in paths]


def _link(original: Path, copy: Path) -> None:
    try:
        os.link(original, copy)
    except OSError:  # another file system, or one without hard links
        copy.symlink_to(original.absolute())


def _write_damaged(kind: Damage, original: Path, copy: Path, record: dict[str, Any]) -> None:
    content = original.read_bytes()
    if kind is Damage.CORRUPT:
        copy.write_bytes(with_flipped_byte(content))
    elif kind is Damage.TRUNCATED:
        copy.write_bytes(content[: len(content) // 2])
    elif kind is Damage.WRONG_SHA256:
        copy.write_bytes(content)
        record["sha256"] = hashlib.sha256(content + b"another file").hexdigest()
    elif kind is Damage.NO_ARCHIVE:
        content = b"not an archive\n"
        copy.write_bytes(content)
        record["size"] = len(content)
        record["md5"] = hashlib.md5(content, usedforsecurity=False).hexdigest()
        record["sha256"] = hashlib.sha256(content).hexdigest()
