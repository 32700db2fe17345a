"""What kind of file a container image is, and where its file systems lie in it.

Read from the first kilobytes, without a program: see :mod:`wrapper.images.sif.file`, and the
SquashFS 4.0 superblock.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from wrapper import platforms
from wrapper.errors import InputError, PackageError
from wrapper.images.compression import NAMES
from wrapper.images.sif import file as sif
from wrapper.util import foreign

SIF, SQUASHFS, SANDBOX = "SIF", "SquashFS", "sandbox"

_SQUASHFS_MAGIC = b"hsqs"
_ENOUGH = 96  # bytes to tell what a file is
_HINT = "name a SIF file, a SquashFS image, a sandbox directory or a URI such as docker://…"


@dataclass(frozen=True, kw_only=True)
class ImageFormat:
    """A container image as a file.

    :ivar kind: :data:`SIF`, :data:`SQUASHFS` or :data:`SANDBOX`.
    :ivar offsets: where its SquashFS file systems begin, in bytes, the lowest layer first; none for
        a sandbox. :ivar compressors: how each of these is compressed, by name.
    :ivar architecture: as ``uname -m`` says it, empty where the file does not tell.
    """

    kind: str
    offsets: tuple[int, ...] = ()
    compressors: tuple[str, ...] = ()
    architecture: str = ""


def read_format(path: Path) -> ImageFormat:
    """Recognise an image.

    :raises InputError: it is no image, cannot be read, or is for other machines.
    :raises PackageError: it is shorter than its header says.
    """
    try:
        if path.is_dir():
            return _sandbox(path)
        if path.exists() and not path.is_file():
            raise InputError(
                f"{path.name} is neither a file nor a directory", where=path, hint=_HINT
            )
        with foreign.open_regular(path) as file:
            found = _recognise(file, path)
    except OSError as error:
        raise InputError(
            f"the image cannot be read: {error.strerror}", where=path, hint="check its permissions"
        ) from None
    require_architecture(found.architecture, path)
    return found


def require_architecture(architecture: str, path: Path) -> None:
    """:raises InputError: the image is for other machines; an empty text is not known."""
    here = platforms.machine()
    if architecture and architecture != here:
        raise InputError(
            f"the image is for {architecture}, this machine is {here}",
            where=path,
            hint=f"choose an image for {here}",
        )


def _sandbox(path: Path) -> ImageFormat:
    names = {entry.name for entry in path.iterdir()}
    if not names & {"usr", "bin", ".singularity.d"}:
        raise InputError("the directory is no container image", where=path, hint=_HINT)
    return ImageFormat(kind=SANDBOX)


def _recognise(file: BinaryIO, path: Path) -> ImageFormat:
    size = os.fstat(file.fileno()).st_size
    start = file.read(_ENOUGH)
    if start.startswith(_SQUASHFS_MAGIC):
        compressor = _check_squashfs(file, 0, size, path)
        return ImageFormat(kind=SQUASHFS, offsets=(0,), compressors=(compressor,))
    if not sif.begins_sif(start):
        what = f"{path.name} is empty" if not size else f"{path.name} is no container image"
        raise InputError(what, where=path, hint=_HINT)
    found = sif.read_sif(path)
    offsets = _layers(found)
    return ImageFormat(
        kind=SIF,
        offsets=offsets,
        compressors=tuple(_check_squashfs(file, offset, size, path) for offset in offsets),
        architecture=found.architecture,
    )


def _layers(found: sif.Sif) -> tuple[int, ...]:
    """Offsets of the system partition and of the overlays, in their order."""
    system: list[int] = []
    overlays: list[int] = []
    for item in found.objects:
        if item.kind != sif.PARTITION:
            continue
        file_system, role, _ = item.partition
        if file_system != sif.SQUASHFS:
            raise InputError(
                "the image has a file system other than SquashFS (ext3, or encrypted)",
                where=found.path,
                hint="rebuild it with the runtime: singularity build new.sif this.sif",
            )
        if role in (sif.SYSTEM, sif.PRIMARY):
            system.append(item.offset)
        elif role == sif.OVERLAY:
            overlays.append(item.offset)
    if not system:
        raise InputError("the SIF file holds no system to run", where=found.path, hint=_HINT)
    return (*system[:1], *overlays)


def _check_squashfs(file: BinaryIO, offset: int, size: int, path: Path) -> str:
    """Whether a file system is whole; returns how it is compressed."""
    file.seek(offset)
    superblock = file.read(96)
    if len(superblock) < 96:
        raise sif.incomplete(path)
    if not superblock.startswith(_SQUASHFS_MAGIC):
        raise PackageError(
            "the image is damaged: it has no file system where its header says",
            where=path,
            hint="get it anew from where it came",
        )
    (used,) = struct.unpack_from("<Q", superblock, 40)
    if offset + used > size:
        raise sif.incomplete(path)
    (number,) = struct.unpack_from("<H", superblock, 20)
    return NAMES.get(number, f"number {number}")


def rarest_compression(images: Mapping[str, Path]) -> tuple[str, str]:
    """Of the images, by what the shim calls them, the one that the fewest runtimes start.

    :returns: its compression and its name; empty of sandboxes.
    """
    found = [
        (kind, name) for name, path in images.items() for kind in read_format(path).compressors
    ]
    found.sort(key=lambda pair: pair[0] != "zstd")
    return found[0] if found else ("", "")


def mark(image: Path) -> str:
    """Bytes that tell an image from others, read at each start: its UUID or its superblock.

    A SIF has a UUID of 16 bytes after a launch script of 32, a magic of 10 and two fields of 3
    (SIF specification); a SquashFS file begins with a superblock of 96 bytes that holds the time
    and the number of inodes. A directory has none.
    """
    if image.is_dir():
        return ""
    with foreign.open_regular(image) as file:
        head = file.read(96)
    return (head[48:64] if b"SIF_MAGIC" in head else head).hex()
