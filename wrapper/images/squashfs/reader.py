"""An image's files as values, and their contents."""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from io import FileIO
from pathlib import Path

from wrapper.images.squashfs import layout
from wrapper.images.squashfs.compressors import KNOWN, decompress
from wrapper.images.squashfs.layout import Directory, File, Link, Node, Superblock, Unsupported

_LEAST_BLOCK, _MOST_BLOCK = 4096, 1 << 20  # bytes
_MOST_TABLE = 1 << 28  # bytes: a million files have 100 MB
_KINDS = {layout.DIRECTORY, layout.FILE, layout.SYMLINK}


@dataclass(kw_only=True, eq=False)
class Image:
    """What the tables of an image say.

    :ivar root: its root directory. :ivar fragments: position and size of the shared blocks.
    :ivar options: the bytes that tell how the compressor was set.
    :ivar filled: up to where files have each of the shared blocks, uncompressed.
    :ivar offset: where in its file it begins, in bytes: positions count from there.
    """

    path: Path
    superblock: Superblock
    root: Directory
    fragments: list[tuple[int, int]]
    options: bytes
    filled: dict[int, int] = field(default_factory=dict)
    offset: int = 0

    def unpack(self, node: Node, target: Path) -> None:
        """Write one file, link or empty directory as ``target``, which is not there yet."""
        if isinstance(node, Directory):
            target.mkdir()
            target.chmod(node.mode | stat.S_IRWXU)  # more is to be written there
            return
        if isinstance(node, Link):
            target.symlink_to(node.target)
        else:
            with target.open("xb") as out:
                out.writelines(self.contents(node))
            target.chmod(node.mode)
        os.utime(target, (node.time, node.time), follow_symlinks=False)

    def contents(self, file: File) -> Iterator[bytes]:
        """The bytes of a file, block by block."""
        position, left = file.start, file.size
        for size in file.blocks:
            length = min(left, self.superblock.block_size)
            yield self.block(position, size) if size else bytes(length)
            position += size & ~layout.RAW
            left -= length
        if left:
            yield self.end(file.fragment, file.offset, left)

    def end(self, fragment: int, offset: int, length: int) -> bytes:
        """Bytes of a shared block."""
        return self._fragment(fragment)[offset : offset + length]

    def block(self, position: int, size: int) -> bytes:
        """The bytes of a block, decompressed; errors as below."""
        return next(self.blocks([(position, size)]))

    def blocks(self, some: Iterable[tuple[int, int]]) -> Iterator[bytes]:
        """The bytes of blocks, decompressed. :param some: their positions, and sizes as told here.

        :raises Unsupported: the image ends within one. :raises OSError: it cannot be read.
        """
        with self.path.open("rb", buffering=0) as file:
            for position, size in some:
                stored = size & ~layout.RAW
                data = os.pread(file.fileno(), stored, self.offset + position)
                if len(data) != stored:
                    raise Unsupported("a block that is cut off")
                if not size & layout.RAW:
                    data = decompress(self.superblock.compression, data, self.superblock.block_size)
                yield data

    @lru_cache(maxsize=32)  # noqa: B019 - an image lives as long as the build
    def _fragment(self, number: int) -> bytes:
        return self.block(*self.fragments[number])


def read_superblock(path: Path, offset: int = 0) -> Superblock:
    """:raises Unsupported: it is no image. :raises OSError: it cannot be read."""
    with path.open("rb", buffering=0) as file:
        file.seek(offset)
        return Superblock.parse(file.read(layout.SUPERBLOCK.size))


def read_image(path: Path, offset: int = 0) -> Image:
    """Read an image's tables.

    :param offset: where in the file it begins, in bytes.
    :raises Unsupported: it has something that this package does not know, or is damaged.
    :raises OSError: it cannot be read.
    """
    try:
        superblock = read_superblock(path, offset)
        with path.open("rb", buffering=0) as file:
            if superblock.compression not in KNOWN or not superblock.flags & layout.NO_XATTRS:
                raise Unsupported("another compressor, or extended attributes")
            if not _MOST_BLOCK >= superblock.block_size >= _LEAST_BLOCK:
                raise Unsupported("blocks of a size that no image has")
            tables = _Tables(file, superblock, offset)
            fragments = tables.fragments()
            tree = _Tree(path, superblock, tables, len(fragments))
            return Image(
                path=path,
                superblock=superblock,
                root=tree.root(),
                fragments=fragments,
                options=tables.options(),
                filled=tree.filled,
                offset=offset,
            )
    except (struct.error, IndexError, KeyError, ValueError, RecursionError) as error:
        raise Unsupported(f"damaged: {error}") from None


@dataclass
class _Tables:
    """The tables of an image, decompressed."""

    file: FileIO
    superblock: Superblock
    offset: int
    inodes: bytes = field(init=False)
    inode_at: dict[int, int] = field(init=False)
    directories: bytes = field(init=False)
    directory_at: dict[int, int] = field(init=False)

    def __post_init__(self) -> None:
        block = self.superblock
        if self._list(block.owner_table, block.owners, "<I") != [(0,)]:
            raise Unsupported("files of other owners than root")
        # Behind the directories is the table that comes next, of which only the end has a position.
        ends = [self._positions(block.owner_table, 1)[0]]
        if block.fragments:
            ends.append(self._positions(block.fragment_table, 1)[0])
        if block.export_table != layout.NOTHING:
            ends.append(self._positions(block.export_table, 1)[0])
        self.inodes, self.inode_at = self._region(block.inode_table, block.directory_table)
        self.directories, self.directory_at = self._region(block.directory_table, min(ends))

    def fragments(self) -> list[tuple[int, int]]:
        found = self._list(
            self.superblock.fragment_table, self.superblock.fragments, layout.FRAGMENT.format
        )
        return [(position, size) for position, size, _ in found]

    def options(self) -> bytes:
        if not self.superblock.flags & layout.COMPRESSOR_OPTIONS:
            return b""
        head = self._read(layout.SUPERBLOCK.size, 2)
        size = struct.unpack("<H", head)[0] & ~layout.RAW_METADATA
        return head + self._read(layout.SUPERBLOCK.size + 2, size)

    def _read(self, position: int, size: int) -> bytes:
        position += self.offset
        end = os.fstat(self.file.fileno()).st_size
        data = os.pread(self.file.fileno(), size, position) if position + size <= end else b""
        if len(data) < size:
            raise ValueError("it ends too early")
        return data

    def _metadata(self, position: int) -> tuple[bytes, int]:
        """A metadata block, and where the next one is."""
        (head,) = struct.unpack("<H", self._read(position, 2))
        size = head & ~layout.RAW_METADATA
        data = self._read(position + 2, size)
        raw = head & layout.RAW_METADATA
        if not raw:
            data = decompress(self.superblock.compression, data, layout.METADATA)
        return data, position + 2 + size

    def _region(self, start: int, end: int) -> tuple[bytes, dict[int, int]]:
        """Metadata blocks in a row, and where in them the block at a relative position begins."""
        parts: list[bytes] = []
        where: dict[int, int] = {}
        position, length = start, 0
        while position < end and length <= _MOST_TABLE:
            where[position - start] = length
            data, position = self._metadata(position)
            parts.append(data)
            length += len(data)
        if length > _MOST_TABLE:
            raise ValueError("a table is larger than that of any image")
        return b"".join(parts), where

    def _positions(self, table: int, count: int) -> tuple[int, ...]:
        return struct.unpack(f"<{count}Q", self._read(table, 8 * count))

    def _list(self, table: int, count: int, form: str) -> list[tuple[int, ...]]:
        """A table of ``count`` records that is found by the positions of its metadata blocks."""
        blocks = -(-count * struct.calcsize(form) // layout.METADATA)
        data = b"".join(self._metadata(at)[0] for at in self._positions(table, blocks))
        return list(struct.iter_unpack(form, data[: count * struct.calcsize(form)]))


@dataclass
class _Tree:
    """Inodes to values."""

    path: Path
    superblock: Superblock
    tables: _Tables
    fragments: int
    filled: dict[int, int] = field(default_factory=dict, init=False)
    _files: dict[int, File] = field(default_factory=dict, init=False)
    _directories: set[int] = field(default_factory=set, init=False)

    def root(self) -> Directory:
        node = self._node(self.superblock.root)
        if not isinstance(node, Directory):
            raise Unsupported("the root is no directory")
        return node

    def _node(self, reference: int) -> Node:
        """:param reference: position of the metadata block, and in it: 48 and 16 bits."""
        at = self.tables.inode_at[reference >> 16] + (reference & 0xFFFF)
        kind, mode, _, _, time, _ = layout.COMMON.unpack_from(self.tables.inodes, at)
        at += layout.COMMON.size
        extended = kind > layout.EXTENDED
        basic = kind - layout.EXTENDED if extended else kind
        if basic not in _KINDS:
            raise Unsupported("devices, sockets or pipes")
        if basic == layout.DIRECTORY:
            if reference in self._directories:
                raise Unsupported("a directory that is in two places, or in itself")
            self._directories.add(reference)
            return self._directory(mode, time, at, extended=extended)
        if basic == layout.SYMLINK:
            _, size = layout.LINK.unpack_from(self.tables.inodes, at)
            at += layout.LINK.size
            return Link(mode=mode, time=time, target=_text(self.tables.inodes[at : at + size]))
        if reference not in self._files:
            self._files[reference] = self._file(mode, time, at, extended=extended)
        return self._files[reference]

    def _file(self, mode: int, time: int, at: int, *, extended: bool) -> File:
        form = layout.EXTENDED_FILE if extended else layout.BASIC_FILE
        words = form.unpack_from(self.tables.inodes, at)
        if extended:
            start, size, sparse, _, fragment, offset, _ = words
        else:
            start, fragment, offset, size = words
            sparse = 0
        count, rest = divmod(size, self.superblock.block_size)
        if fragment == layout.NONE:
            count += bool(rest)
        elif fragment >= self.fragments or offset + rest > self.superblock.block_size:
            raise ValueError("a file that ends in no block")
        else:
            self.filled[fragment] = max(self.filled.get(fragment, 0), offset + rest)
        blocks = struct.unpack_from(f"<{count}I", self.tables.inodes, at + form.size)
        return File(
            image=self.path,
            mode=mode,
            time=time,
            size=size,
            sparse=sparse,
            start=start,
            blocks=blocks,
            fragment=fragment,
            offset=offset,
        )

    def _directory(self, mode: int, time: int, at: int, *, extended: bool) -> Directory:
        if extended:
            words = layout.EXTENDED_DIRECTORY.unpack_from(self.tables.inodes, at)
            _, size, block, _, _, offset, _ = words
        else:
            block, _, size, offset, _ = layout.BASIC_DIRECTORY.unpack_from(self.tables.inodes, at)
        directory = Directory(mode=mode, time=time)
        if size > 3:  # "." and "..", which are not stored, count for 3
            begin = self.tables.directory_at[block] + offset
            for name, reference in self._entries(begin, begin + size - 3):
                directory.entries[name] = self._node(reference)
        return directory

    def _entries(self, at: int, end: int) -> Iterator[tuple[str, int]]:
        data = self.tables.directories
        while at < end:
            count, block, _ = layout.HEADER.unpack_from(data, at)
            at += layout.HEADER.size
            for _ in range(count + 1):
                offset, _, _, size = layout.ENTRY.unpack_from(data, at)
                at += layout.ENTRY.size
                name = data[at : at + size + 1]
                if name in (b"", b".", b"..") or b"/" in name or b"\0" in name:
                    raise ValueError("a name that no file can have")
                yield _text(name), block << 16 | offset
                at += size + 1


def _text(name: bytes) -> str:
    return os.fsdecode(name)
