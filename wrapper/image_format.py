"""What kind of file a container image is, and where its file systems lie in it.

Read from the first kilobytes, without a program. Layouts: the SIF specification (sylabs/sif,
``pkg/sif``: a header of 128 bytes, descriptors of 585 bytes each) and the SquashFS 4.0 superblock.
Checked against ``apptainer sif list`` 1.4.5.
"""

from __future__ import annotations

import os
import platform
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from wrapper.errors import InputError, PackageError

SIF, SQUASHFS, SANDBOX = "SIF", "SquashFS", "sandbox"

_SIF_MAGIC, _SQUASHFS_MAGIC = b"SIF_MAGIC\0", b"hsqs"
_HEADER = struct.Struct("<32s10s3s3s16s8q")
_DESCRIPTOR = struct.Struct("<i?3I5q2q128s384s")
_PARTITION, _SQUASHFS_TYPE = 0x4004, 1
_SYSTEM_TYPES, _OVERLAY = (1, 2), 4  # "system" and "primary system" partitions
_MOST_DESCRIPTORS = 4096
_ARCHITECTURES = {
    **{b"01": "i386", b"02": "x86_64", b"03": "arm", b"04": "aarch64", b"05": "ppc64"},
    **{b"06": "ppc64le", b"07": "mips", b"11": "s390x", b"12": "riscv64"},
}
_HINT = "name a SIF file, a SquashFS image, a sandbox directory or a URI such as docker://…"


@dataclass(frozen=True, kw_only=True)
class ImageFormat:
    """A container image as a file.

    :ivar kind: :data:`SIF`, :data:`SQUASHFS` or :data:`SANDBOX`.
    :ivar offsets: where its SquashFS file systems begin, in bytes, the lowest layer first; none for
        a sandbox. :ivar architecture: as ``uname -m`` says it, empty where the file does not tell.
    """

    kind: str
    offsets: tuple[int, ...] = ()
    architecture: str = ""


def read_format(path: Path) -> ImageFormat:
    """Recognise an image.

    :raises InputError: it is no image, cannot be read, or is for other machines.
    :raises PackageError: it is shorter than its header says.
    """
    try:
        if path.is_dir():
            return _sandbox(path)
        with path.open("rb") as file:
            found = _recognise(file, path)
    except OSError as error:
        raise InputError(
            f"the image cannot be read: {error.strerror}", where=path, hint="check its permissions"
        ) from None
    require_architecture(found.architecture, path)
    return found


def require_architecture(architecture: str, path: Path) -> None:
    """:raises InputError: the image is for other machines; an empty text is not known."""
    here = platform.machine()
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
    start = file.read(_HEADER.size)
    if start.startswith(_SQUASHFS_MAGIC):
        _check_squashfs(file, 0, size, path)
        return ImageFormat(kind=SQUASHFS, offsets=(0,))
    if start[32:42] != _SIF_MAGIC:
        what = f"{path.name} is empty" if not size else f"{path.name} is no container image"
        raise InputError(what, where=path, hint=_HINT)
    if len(start) < _HEADER.size:
        raise _truncated(path)
    header = _HEADER.unpack(start)
    total, at = min(header[8], _MOST_DESCRIPTORS), header[9]
    file.seek(at)
    table = file.read(total * _DESCRIPTOR.size)
    if len(table) < total * _DESCRIPTOR.size:
        raise _truncated(path)
    system, overlays = _partitions(table, path)
    for offset in (*system, *overlays):
        _check_squashfs(file, offset, size, path)
    architecture = _ARCHITECTURES.get(header[3].rstrip(b"\0"), "")
    return ImageFormat(kind=SIF, offsets=(*system, *overlays), architecture=architecture)


def _partitions(table: bytes, path: Path) -> tuple[list[int], list[int]]:
    """Offsets of the system partition and of the overlays, in their order."""
    system: list[int] = []
    overlays: list[int] = []
    for values in _DESCRIPTOR.iter_unpack(table):
        kind, used, offset, extra = values[0], values[1], values[5], values[13]
        if not used or kind != _PARTITION:
            continue
        file_system, role = struct.unpack_from("<2i", extra)
        if file_system != _SQUASHFS_TYPE:
            raise InputError(
                "the image has a file system other than SquashFS (ext3, or encrypted)",
                where=path,
                hint="rebuild it with the runtime: singularity build new.sif this.sif",
            )
        if role in _SYSTEM_TYPES:
            system.append(offset)
        elif role == _OVERLAY:
            overlays.append(offset)
    if not system:
        raise InputError("the SIF file holds no system to run", where=path, hint=_HINT)
    return system[:1], overlays


def _check_squashfs(file: BinaryIO, offset: int, size: int, path: Path) -> None:
    file.seek(offset)
    superblock = file.read(96)
    if len(superblock) < 96:
        raise _truncated(path)
    if not superblock.startswith(_SQUASHFS_MAGIC):
        raise PackageError(
            "the image is damaged: it has no file system where its header says",
            where=path,
            hint="get it anew from where it came",
        )
    (used,) = struct.unpack_from("<Q", superblock, 40)
    if offset + used > size:
        raise _truncated(path)


def _truncated(path: Path) -> PackageError:
    return PackageError(
        f"{path.name} is incomplete: the file ends before the image does",
        where=path,
        hint="get it anew from where it came; a copy may have been interrupted",
    )
