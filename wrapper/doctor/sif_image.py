"""An image of ``containerize build``: is it whole, whose is it, what lies beside it?"""

from __future__ import annotations

import contextlib
import os
import shlex
import stat
from pathlib import Path

from wrapper.console import human_size
from wrapper.doctor import needs
from wrapper.doctor.finding import Finding, failed, ok, warning
from wrapper.errors import InputError, PackageError
from wrapper.images.format import SIF, read_format
from wrapper.images.sif import file as sif
from wrapper.images.sif.record import environment_layer, manifest_of
from wrapper.manifest import Manifest
from wrapper.util.lock import holder

# Apptainer 1.4.5 unpacks the base's file system only, and says nothing.
_LOST = ", which 'exec --unsquash' and 'build --sandbox' leave out (for them: --flatten)"


def image(path: Path) -> list[Finding]:
    """The file: a whole image for this machine."""
    found = read_format(path)
    layers = f"{len(found.offsets)} file systems" if found.offsets else "a directory"
    return [ok("image", f"{path}, {found.kind}, {layers}, {human_size(path.stat().st_size)}")]


def read_manifest(path: Path) -> Manifest | None:
    """The manifest in it, ``None`` where it is an image that another program made."""
    return manifest_of(sif.read_sif(path)) if read_format(path).kind == SIF else None


def manifest(path: Path) -> list[Finding]:
    """The record in it."""
    try:
        data = read_manifest(path)
    except (InputError, PackageError):
        return []  # told by the check of the image
    if data is None:
        hint = "nothing; 'wrap-container' and --base-image take such images"
        return [warning("manifest", "none, another program made this image", hint)]
    form = "flattened" if data.flatten else f"a layer over its base{_LOST}"
    return [ok("manifest", f"{data.kind}, {form}, made {data.created} by {data.tool}")]


def layer_offset(path: Path) -> int:
    """Where the environment's file system begins, in bytes."""
    return environment_layer(sif.read_sif(path)).offset


def content(path: Path, data: Manifest) -> list[Finding]:
    """Whether the environment's layer has the recorded SHA-256. Reads all of it."""
    layer = environment_layer(sif.read_sif(path))
    return needs.content(path, data, layer.offset, data.image.size)


def permissions(path: Path) -> list[Finding]:
    """Nobody but its owner may write to it."""
    mode = path.stat().st_mode
    if mode & stat.S_IWOTH:
        hint = f"its owner: chmod o-w {shlex.quote(str(path))}"
        return [failed("permissions", "everybody can write to it, and so run code as others", hint)]
    return [ok("permissions", stat.filemode(mode))]


def leftovers(path: Path) -> list[Finding]:
    """What builds left beside it, and who builds."""
    held = holder(path)
    if held and not held.dead:
        return [warning("lock", f"a build is at work: {held.text}", "wait for it to end")]
    names = list[str]()
    with contextlib.suppress(PermissionError):  # whoever may not list the directory
        stem = f".{path.name}.new-"
        names = [entry.path for entry in os.scandir(path.parent) if entry.name.startswith(stem)]
    if names:
        hint = f"its owner: rm {shlex.join(sorted(names))}"
        return [warning("left-overs", "of a build that was killed", hint)]
    return [ok("left-overs", "none")]
