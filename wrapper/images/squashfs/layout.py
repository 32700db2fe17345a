"""What an image consists of: the names of the format, and its files as values."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

MAGIC = 0x73717368
SUPERBLOCK = struct.Struct("<5I6H8Q")
NO_XATTRS, COMPRESSOR_OPTIONS = 0x200, 0x400  # flags of the superblock
METADATA = 8192  # bytes of a metadata block before it is compressed
RAW_METADATA = 0x8000  # bit of its header: it is not compressed
RAW = 1 << 24  # bit of a data block's size: it is not compressed
NOTHING = 0xFFFFFFFFFFFFFFFF  # position of a table that is not there
NONE = 0xFFFFFFFF  # number of a fragment or of attributes that are not there

DIRECTORY, FILE, SYMLINK = 1, 2, 3  # kinds of inodes; the extended ones are EXTENDED higher
EXTENDED = 7
COMMON = struct.Struct("<4H2I")  # kind, mode, owner, group, time, number
BASIC_DIRECTORY = struct.Struct("<2I2HI")
EXTENDED_DIRECTORY = struct.Struct("<4I2HI")
BASIC_FILE = struct.Struct("<4I")
EXTENDED_FILE = struct.Struct("<3Q4I")
LINK = struct.Struct("<2I")
HEADER = struct.Struct("<3I")  # of a run of directory entries
ENTRY = struct.Struct("<HhHH")
INDEX = struct.Struct("<3I")
FRAGMENT = struct.Struct("<Q2I")


class Unsupported(Exception):
    """An image has what this package does not know: it has to be unpacked and packed."""


@dataclass(frozen=True, kw_only=True)
class Superblock:
    """The first 96 bytes: positions in bytes from the beginning, and what holds for all."""

    inodes: int
    time: int
    block_size: int
    fragments: int
    compression: int
    flags: int
    owners: int
    root: int
    used: int
    owner_table: int
    xattr_table: int
    inode_table: int
    directory_table: int
    fragment_table: int
    export_table: int

    @classmethod
    def parse(cls, data: bytes) -> Superblock:
        """:raises Unsupported: these are not the first bytes of a SquashFS 4.0."""
        if len(data) < SUPERBLOCK.size:
            raise Unsupported("too short")
        magic, inodes, time, block_size, fragments, *words = SUPERBLOCK.unpack_from(data)
        compression, _, flags, owners, major, minor, root, used, *tables = words
        if magic != MAGIC or (major, minor) != (4, 0):
            raise Unsupported("no SquashFS 4.0")
        names = ("owner", "xattr", "inode", "directory", "fragment", "export")
        return cls(
            inodes=inodes,
            time=time,
            block_size=block_size,
            fragments=fragments,
            compression=compression,
            flags=flags,
            owners=owners,
            root=root,
            used=used,
            **{f"{name}_table": position for name, position in zip(names, tables, strict=True)},
        )

    def pack(self) -> bytes:
        return SUPERBLOCK.pack(
            *(MAGIC, self.inodes, self.time, self.block_size, self.fragments),
            *(self.compression, self.block_size.bit_length() - 1, self.flags, self.owners, 4, 0),
            *(self.root, self.used, self.owner_table, self.xattr_table, self.inode_table),
            *(self.directory_table, self.fragment_table, self.export_table),
        )


@dataclass(kw_only=True, eq=False, slots=True)
class Directory:
    """:ivar mode: permissions. :ivar time: of change, seconds since 1970."""

    mode: int
    time: int
    entries: dict[str, Node] = field(default_factory=dict)

    def walk(self, path: str = "") -> Iterator[tuple[str, Node]]:
        """All below, parents first, with paths that have no first slash."""
        # Not recursive: each of 100,000 values would pass as many generators as it is deep.
        open_ones = [(path, iter(sorted(self.entries.items())))]
        while open_ones:
            path, entries = open_ones[-1]
            for name, node in entries:
                yield f"{path}{name}", node
                if isinstance(node, Directory):
                    open_ones.append((f"{path}{name}/", iter(sorted(node.entries.items()))))
                    break
            else:
                open_ones.pop()


@dataclass(kw_only=True, eq=False, slots=True)
class File:
    """A regular file; one with several names is one value.

    :ivar image: the image that has its contents. :ivar size: bytes; ``sparse`` of them are not
        stored. :ivar start: position of its blocks, which follow each other.
    :ivar blocks: their compressed sizes, 0 for one of zeros only, with :data:`RAW`.
    :ivar fragment: number of the block with its end, among those of many files, or :data:`NONE`.
    :ivar offset: where in that, uncompressed.
    """

    image: Path
    mode: int
    time: int
    size: int
    sparse: int
    start: int
    blocks: tuple[int, ...]
    fragment: int
    offset: int

    @property
    def stored(self) -> int:
        """Bytes of its own blocks in the image."""
        return sum(size & ~RAW for size in self.blocks)


@dataclass(kw_only=True, eq=False, slots=True)
class Link:
    """A symbolic link."""

    mode: int
    time: int
    target: str


Node = Directory | File | Link
