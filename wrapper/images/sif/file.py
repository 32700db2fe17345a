"""SIF files: what is in one, and writing one from objects of an old one and new objects.

The Singularity Image Format (specification of sylabs/sif, version 01; SingularityCE and Apptainer
write the same) is a header, a table of descriptors, and the objects: a definition file, JSON, the
squashfs of the root (*primary partition*), signatures. A squashfs that is added as an *overlay
partition* is mounted over the root by every start, later ones over earlier ones.

We read and write it ourselves. The runtimes' own ``sif`` command prints tables for people, differs
between versions, and can neither enlarge a full table nor let file systems share blocks.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import struct
import tempfile
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from io import FileIO
from pathlib import Path

from wrapper import platforms
from wrapper.console import Advance, piecewise
from wrapper.errors import InputError, PackageError
from wrapper.util import foreign
from wrapper.util.copying import copy_bytes

# Little-endian, without padding between the fields.
_HEADER = struct.Struct("<32s10s3s3s16s8q")
_DESCRIPTOR = struct.Struct("<i?3I7q128s384s")
_PARTITION = struct.Struct("<2i3s")  # file system, kind, architecture: begin of the last field
_MAGIC = b"SIF_MAGIC\0"
SIF_START = 42
"""Bytes of a file from its beginning that say whether it is a SIF."""
_VERSION = b"01\0"
_LAUNCH = b"#!/usr/bin/env run-singularity\n"
_TABLE_AT = 4096
_LEAST_ENTRIES = 48  # what the runtimes give a new file
_SPARE_ENTRIES = 12  # for new objects, and signatures of whoever gets the file
_MOST_ENTRIES = 1 << 16
_PAGE = 4096
_GROUP_MASK = 0xF0000000
_FICLONE = 0x40049409
# A fixed time and an identity that follows from the content: equal parts give equal files.
_TIME = 946684800  # 2000-01-01T00:00:00Z

_NOTHING: Mapping[int, Path] = {}

DEFINITION, PARTITION, SIGNATURE, JSON, GENERIC = 0x4001, 0x4004, 0x4005, 0x4006, 0x4007
KINDS = {DEFINITION: "a definition file", PARTITION: "a partition", SIGNATURE: "a signature"}
"""What some kinds of objects are called."""
SQUASHFS = 1
SYSTEM, PRIMARY, OVERLAY = 1, 2, 4
INSPECT_NAME = "inspect-metadata.json"
"""Of the object from which the runtimes' ``inspect`` reads labels and runscript (measured)."""

_MACHINE_NAMES = {
    **{b"01": "i386", b"02": "x86_64", b"03": "arm", b"04": "aarch64", b"05": "ppc64"},
    **{b"06": "ppc64le", b"07": "mips", b"11": "s390x", b"12": "riscv64"},
}
_CODES = {name: code for code, name in _MACHINE_NAMES.items()}


@dataclass(frozen=True, kw_only=True)
class SifObject:
    """An object of a file: its descriptor's fields as far as we change or ask for them.

    :ivar kind: :data:`PARTITION` and so on. :ivar group: objects that are signed together; a
        runtime mounts overlays of the primary partition's group only.
    :ivar link: number of another object (or of a group) that this one is about.
    :ivar offset: in the file, bytes. :ivar extra: what belongs to the kind.
    """

    kind: int
    number: int
    group: int
    link: int
    offset: int
    size: int
    created: int
    owner: tuple[int, int]
    name: str
    extra: bytes

    @property
    def partition(self) -> tuple[int, int, bytes]:
        """File system, kind and architecture of a partition."""
        if self.kind != PARTITION:
            return (0, 0, b"")
        system, role, architecture = _PARTITION.unpack(self.extra[: _PARTITION.size])
        return (system, role, architecture)


@dataclass(frozen=True, kw_only=True)
class NewObject:
    """An object to be written: from a file, or bytes; or the size of what is in its place already,
    see :meth:`SifWriter.next_partition`.
    """

    kind: int
    name: str
    content: Path | bytes | int
    extra: bytes = b""

    @property
    def size(self) -> int:
        if isinstance(self.content, int):
            return self.content
        if isinstance(self.content, bytes):
            return len(self.content)
        return self.content.stat().st_size


@dataclass(frozen=True, kw_only=True)
class Sif:
    """A SIF file that was read, and is whole.

    :ivar objects: in the order of the table, which is that in which overlays are mounted.
    :ivar architecture: as ``uname -m`` says it, empty where the file does not tell.
    """

    path: Path
    objects: tuple[SifObject, ...]
    architecture: str = ""

    @property
    def primary(self) -> SifObject:
        """The partition of the system. :raises InputError: there is none."""
        for item in self.objects:
            if item.partition[1] == PRIMARY:
                return item
        raise InputError(
            "the SIF file holds no system to run: it has no primary partition",
            where=self.path,
            hint="name another image, or build this one anew with the runtime",
        )

    @property
    def overlays(self) -> tuple[SifObject, ...]:
        return tuple(o for o in self.objects if o.partition[1] == OVERLAY)

    @property
    def size(self) -> int:
        """Bytes of all objects."""
        return sum(o.size for o in self.objects)

    def named(self, name: str) -> SifObject | None:
        """The object of this name, the last where there are several."""
        return next((o for o in reversed(self.objects) if o.name == name), None)

    def read(self, item: SifObject) -> bytes:
        """Content of a small object. :raises PackageError: it is larger than any such object."""
        if item.size > foreign.MOST:
            raise PackageError(
                f"{self.path.name} has a record of {item.size} bytes, which cannot be one",
                where=self.path,
                hint="get it anew from where it came, or do without it",
            )
        with foreign.open_regular(self.path) as file:
            file.seek(item.offset)
            return file.read(item.size)


def begins_sif(data: bytes) -> bool:
    """Whether these are the first bytes of a SIF file."""
    return data[32:42] == _MAGIC


def read_sif(path: Path) -> Sif:
    """Read a file's descriptors; the objects themselves stay on disk.

    :raises InputError: it is no SIF file. :raises PackageError: it is not whole.
    """
    with foreign.open_regular(path) as file:
        end = os.fstat(file.fileno()).st_size
        data = file.read(_HEADER.size)
        if not begins_sif(data):
            raise InputError(f"{path.name} is no SIF file", where=path, hint="name a SIF image")
        if len(data) < _HEADER.size:
            raise incomplete(path)
        fields = _HEADER.unpack(data)
        version, total, table_at = fields[2], fields[8], fields[9]
        if version != _VERSION or not 0 <= total <= _MOST_ENTRIES or table_at < 0:
            raise InputError(
                "a SIF file of a version that is not known", where=path, hint="build it anew"
            )
        if table_at > end:
            raise incomplete(path)
        file.seek(table_at)
        table = file.read(total * _DESCRIPTOR.size)
    if len(table) < total * _DESCRIPTOR.size:
        raise incomplete(path)
    step = _DESCRIPTOR.size
    entries = (table[at : at + step] for at in range(0, len(table), step))
    found = [one for entry in entries if (one := _object(entry))]
    if any(o.offset < 0 or o.size < 0 or o.offset + o.size > end for o in found):
        raise incomplete(path)
    architecture = _MACHINE_NAMES.get(fields[3].rstrip(b"\0"), "")
    return Sif(path=path, objects=tuple(found), architecture=architecture)


def _object(entry: bytes) -> SifObject | None:
    """An entry of the table; ``None`` of one that is not in use."""
    kind, used, number, group, link, offset, size, _padded, created, _, uid, gid, name, extra = (
        _DESCRIPTOR.unpack(entry)
    )
    if not used:
        return None
    return SifObject(
        kind=kind,
        number=number,
        group=group,
        link=link,
        offset=offset,
        size=size,
        created=created,
        owner=(uid, gid),
        name=name.split(b"\0")[0].decode("utf-8", "surrogateescape"),
        extra=extra,
    )


def incomplete(path: Path) -> PackageError:
    """The error for an image that is cut off."""
    return PackageError(
        f"{path.name} is incomplete: the file ends before the image does",
        where=path,
        hint="get it anew from where it came; a copy may have been interrupted",
    )


# -- writing -------------------------------------------------------------------------------------
def partition(kind: int, machine: str = platforms.machine()) -> bytes:
    """``extra`` of a squashfs partition: :data:`PRIMARY` or :data:`OVERLAY`."""
    return _PARTITION.pack(SQUASHFS, kind, _CODES[machine])


class SifWriter:
    """A new file: objects of ``base`` as they are, then new ones; :meth:`finish` completes it.

    Old ones keep their numbers, so that links and signatures stay true. New ones belong to the
    primary partition's group. Nothing is read into memory; where the file system can, old and new
    file share blocks. Use as a context manager. Its methods raise :class:`OSError` as writing does.

    :param target: a new file. :param keep: objects of ``base``, in their order.
    :param instead: files with the content that some of them, by their numbers, are to have.
    """

    def __init__(
        self,
        target: Path,
        *,
        base: Sif | None,
        keep: Sequence[SifObject],
        instead: Mapping[int, Path] = _NOTHING,
    ) -> None:
        self._base, self._instead = base, instead
        self._keep = [
            replace(item, size=instead[item.number].stat().st_size)
            if item.number in instead
            else item
            for item in keep
        ]
        self._group = base.primary.group if base else _GROUP_MASK | 1
        self._number = max((o.number for o in keep), default=0)
        self._entries = max(_LEAST_ENTRIES, len(keep) + _SPARE_ENTRIES)
        self._begin = self._end = _TABLE_AT + self._entries * _DESCRIPTOR.size
        self._table: list[bytes] = []
        self._seed = hashlib.sha256()
        # For the owner alone, until it is complete and its permissions are set.
        self._file = FileIO(target, "xb", opener=lambda name, flags: os.open(name, flags, 0o600))

    def __enter__(self) -> SifWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def copy_base(self, advance: Advance = lambda *_: None) -> None:
        """Copy what is kept; ``advance`` hears of bytes done and bytes in all, and may raise."""
        copied = piecewise(advance, sum(o.size for o in self._keep))
        for item in self._keep:
            assert self._base is not None
            other = self._instead.get(item.number)
            with (other or self._base.path).open("rb", buffering=0) as source:
                source.seek(0 if other else item.offset)
                self._place(item, partial(copy_bytes, source, self._file, item.size, copied))

    def add(self, new: NewObject) -> None:
        """Write a new object after all others."""
        self._number += 1
        item = SifObject(
            kind=new.kind,
            number=self._number,
            group=self._group,
            link=0,
            offset=0,
            size=new.size,
            created=_TIME,
            owner=(0, 0),
            name=new.name,
            extra=new.extra,
        )
        content = new.content
        if isinstance(content, bytes):
            self._seed.update(content)
            self._place(item, lambda: self._write(content))
        elif isinstance(content, int):
            self._place(item, lambda: None)
        else:
            with content.open("rb", buffering=0) as source:
                self._place(item, lambda: copy_bytes(source, self._file, item.size, lambda _: None))

    def next_partition(self) -> int:
        """Where the next partition begins: at a page, so that the kernel can mount it in place."""
        return -(-self._end // _PAGE) * _PAGE

    def _place(self, item: SifObject, write: Callable[[], object]) -> None:
        """Give an object its place and its line in the table."""
        start = self.next_partition() if item.kind == PARTITION else self._end
        self._file.seek(start)
        write()
        padded = start + item.size - self._end
        place = (item.kind, True, item.number, item.group, item.link, start, item.size, padded)
        name = item.name.encode("utf-8", "surrogateescape")
        self._table.append(
            _DESCRIPTOR.pack(*place, item.created, _TIME, *item.owner, name, item.extra)
        )
        self._end = start + item.size

    def finish(self) -> None:
        """Write the table and the header."""
        self._seed.update(b"".join(self._table))
        identity = uuid.UUID(bytes=self._seed.digest()[:16], version=4)
        names = (_LAUNCH, _MAGIC, _VERSION, _CODES[platforms.machine()], identity.bytes)
        free, size = self._entries - len(self._table), self._entries * _DESCRIPTOR.size
        places = (free, self._entries, _TABLE_AT, size, self._begin, self._end - self._begin)
        self._file.truncate(self._end)
        self._file.seek(0)
        self._write(_HEADER.pack(*names, _TIME, _TIME, *places))
        self._file.seek(_TABLE_AT)
        self._write(b"".join(self._table))

    def _write(self, data: bytes) -> None:
        """All of it: on a disk that fills, one write(2) may be short without an error."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) or 0 :]


def write_sif(target: Path, add: Sequence[NewObject]) -> None:
    """Write a new file of new objects."""
    with SifWriter(target, base=None, keep=()) as out:
        for new in add:
            out.add(new)
        out.finish()


def shares_blocks(source: Path, directory: Path) -> bool:
    """Whether a copy of ``source`` in ``directory`` needs no room: ioctl_ficlone(2) works."""
    try:
        with source.open("rb") as old, tempfile.TemporaryFile(dir=directory) as new:
            fcntl.ioctl(new.fileno(), _FICLONE, old.fileno())
    except OSError:
        return False
    return True
