"""An image of files whose contents lie in other images, as they are compressed there."""

from __future__ import annotations

import os
import struct
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path

from wrapper.console import unseen
from wrapper.images.squashfs import ends, layout
from wrapper.images.squashfs.compressors import Compressor, of_number
from wrapper.images.squashfs.ends import End, end_of
from wrapper.images.squashfs.layout import Directory, File, Node, Superblock, Unsupported
from wrapper.images.squashfs.reader import Image
from wrapper.util.copying import copy_bytes

_ALIGNED = 4096  # what block devices want of a file's size
_MOST_ENTRIES = 256  # of a run in a directory
_MOST_BASIC = 0xFFFF  # bytes of a directory of the basic kind
_AHEAD = 64  # blocks that wait for a processor, or to be written
_AT_ONCE = 8  # of these that a thread takes together: handing over one costs time too
_SHARED = 1 << 20  # bytes of a run of blocks that is put where a file system can share its blocks


def write_image(
    target: Path,
    root: Directory,
    sources: Sequence[Image],
    *,
    order: Iterable[str] = (),
    most_unused: float = ends.MOST_UNUSED,
    compressor: Compressor | None = None,
    processors: int = 1,
    at: int = 0,
    advance: Callable[[int, int], None] = unseen,
) -> int:
    """Write the new file ``target``: the tree below ``root``, whose files are in ``sources``.

    The same values give the same bytes; owners are root, as in the sources.

    :param order: paths of files that are to come first, one after the other. Others keep the order
        of the sources, and of their blocks.
    :param most_unused: share of the image that may be of files that have gone, or come before, and
        share blocks with others.
    :param compressor: of the new image, ``None``: that of the first source. Blocks of sources with
        another one, or with none, are compressed anew. :param processors: to do that with.
    :param at: where in ``target``, which is there then, the image begins and all else ends; a
        multiple of a page.
    :param advance: is told the bytes that are copied, and how many there will be.
    :returns: bytes of such files which would have come along, where that was more, and what shares
        blocks with them was put together anew; else 0.
    :raises Unsupported: the sources do not fit each other. :raises OSError: no room, and the like.
    """
    first = sources[0].superblock
    chosen = compressor or of_number(first.compression)
    if any(image.superblock.block_size != first.block_size for image in sources):
        raise Unsupported("blocks of different sizes")
    with _Out(target, at) as out:
        options = chosen.options if compressor else sources[0].options
        out.seek(layout.SUPERBLOCK.size)
        out.write(options)
        files = {path: node for path, node in root.walk() if isinstance(node, File)}
        recompressed = [*sources] if compressor else _others(sources, chosen)
        with ThreadPoolExecutor(processors) as pool:
            data = _Data(out, _Packer(chosen, pool), sources, recompressed, advance)
            early = [files[path] for path in order if path in files]
            left_out = data.add([*files.values()], early, most_unused)
        tables = _Tables(data, _Metadata(chosen), _Metadata(chosen))
        tables.add_all(root)
        starts = [tables.inodes.write(out), tables.directories.write(out)]
        # The kernel wants these in this order, the owners' as the last.
        fragments = [layout.FRAGMENT.pack(*it, 0) for it in data.fragments]
        fragment_table = _write_list(out, fragments, chosen)
        owner_table = _write_list(out, [struct.pack("<I", 0)], chosen)
        used = out.tell()
        out.truncate(-(-used // _ALIGNED) * _ALIGNED)
        superblock = Superblock(
            inodes=tables.count,
            time=first.time,
            block_size=first.block_size,
            fragments=len(data.fragments),
            compression=chosen.number,
            flags=layout.NO_XATTRS | (layout.COMPRESSOR_OPTIONS if options else 0),
            owners=1,
            root=tables.references[id(root)],
            used=used,
            owner_table=owner_table,
            xattr_table=layout.NOTHING,
            inode_table=starts[0],
            directory_table=starts[1],
            fragment_table=fragment_table,
            export_table=layout.NOTHING,
        )
        out.seek(0)
        out.write(superblock.pack())
    return left_out


def transcode(
    image: Image,
    target: Path,
    compressor: Compressor,
    *,
    order: Iterable[str] = (),
    processors: int = 1,
    advance: Callable[[int, int], None] = unseen,
) -> None:
    """Write the same files as ``target``, compressed by ``compressor``; all else as above."""
    write_image(
        target,
        image.root,
        [image],
        order=order,
        compressor=compressor,
        processors=processors,
        advance=advance,
    )


def _others(sources: Sequence[Image], chosen: Compressor) -> list[Image]:
    return [image for image in sources if image.superblock.compression != chosen.number]


class _Out(FileIO):
    """A new file, or the end of one from ``at`` on: there positions begin."""

    def __init__(self, path: Path, at: int) -> None:
        super().__init__(path, "r+b" if at else "xb")
        self._at = at

    def tell(self) -> int:
        return super().tell() - self._at

    def seek(self, position: int, whence: int = os.SEEK_SET, /) -> int:
        begin = self._at if whence == os.SEEK_SET else 0
        return super().seek(begin + position, whence) - self._at

    def truncate(self, size: int | None = None, /) -> int:
        return super().truncate(None if size is None else self._at + size)


@dataclass(frozen=True)
class _Packer:
    """Compresses blocks: to the size that tells how one is stored, and its bytes."""

    compressor: Compressor
    pool: ThreadPoolExecutor

    def pack(self, data: bytes) -> tuple[int, bytes]:
        small = self.compressor.compress(data)
        return (len(small), small) if len(small) < len(data) else (len(data) | layout.RAW, data)

    def pack_anew(
        self, image: Image, blocks: Sequence[tuple[int, int]]
    ) -> Iterator[list[tuple[int, bytes]]]:
        """Blocks of an image in order, some at a time. :param blocks: their positions and sizes."""

        def pack(some: Sequence[tuple[int, int]]) -> list[tuple[int, bytes]]:
            return [self.pack(data) for data in image.blocks(some)]

        waiting: deque[Future[list[tuple[int, bytes]]]] = deque()
        for at in range(0, len(blocks), _AT_ONCE):
            waiting.append(self.pool.submit(pack, blocks[at : at + _AT_ONCE]))
            if len(waiting) >= _AHEAD // _AT_ONCE:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


class _Data:
    """The files' blocks, copied or compressed anew; where they are now.

    :ivar fragments: position and size of each shared block.
    """

    def __init__(
        self,
        out: FileIO,
        packer: _Packer,
        sources: Sequence[Image],
        recompressed: Sequence[Image],
        advance: Callable[[int, int], None],
    ) -> None:
        self._out, self._packer, self._advance = out, packer, advance
        self._images = {image.path: image for image in sources}
        self._recompressed = recompressed
        self._block_size = sources[0].superblock.block_size
        self._done = self._total = 0
        self.fragments: list[tuple[int, int]] = []
        self._starts: dict[tuple[Path, int], int] = {}
        self._sizes: dict[tuple[Path, int], int] = {}
        self._ends: dict[End, tuple[int, int]] = {}  # -> number of a fragment, place in it

    def add(self, files: Sequence[File], early: Sequence[File], most_unused: float) -> int:
        """Write what ``files`` need, first what those of them that are ``early`` need, in order.

        Returns the bytes that are left out; see :func:`write_image`.
        """
        first = self._ends_of(early)
        staying = [end for end in self._ends_of(files) if end not in first]
        left_out = ends.hollow(self._images, files, staying, most_unused)
        again = sorted(end for end in staying if end[:2] in left_out)
        staying = [end for end in staying if end[:2] not in left_out]
        own: dict[Path, list[File]] = {path: [] for path in self._images}
        for file in files:
            own[file.image].append(file)
        kept: dict[Path, list[End]] = {path: [] for path in self._images}
        for end in staying:
            kept[end[0]].append(end)
        pieces = {
            path: self._pieces(image, own[path], kept[path]) for path, image in self._images.items()
        }
        self._total = sum(size for found in pieces.values() for size in found.values())
        self._total += sum(end[3] for end in (*first, *again))
        self._add_first(early, first)
        for group in ends.together(again, self._block_size):
            self._pack(group)
        for path, image in self._images.items():
            self._add_rest(image, own[path], pieces[path], kept[path])
        return sum(left_out.values())

    def _ends_of(self, files: Iterable[File]) -> Iterable[End]:
        """In order, each once."""
        found = (end_of(file, self._block_size) for file in files)
        return {end: None for end in found if end}

    def _add_first(self, files: Sequence[File], first: Iterable[End]) -> None:
        """Files in this order: a shared block comes where the first of its files does."""
        groups = {group[0]: group for group in ends.together(first, self._block_size)}
        for file in files:
            end = end_of(file, self._block_size)
            if end in groups:
                self._pack(groups.pop(end))
            if file.stored and (file.image, file.start) not in self._starts:
                self._copy(self._images[file.image], [file], {file.start: file.stored}, [])

    def _add_rest(
        self, image: Image, files: Sequence[File], pieces: Mapping[int, int], staying: Sequence[End]
    ) -> None:
        own = [file for file in files if (file.image, file.start) not in self._starts]
        numbers = sorted({end[1] for end in staying})
        left = {at: size for at, size in pieces.items() if (image.path, at) not in self._starts}
        self._copy(image, own, left, numbers)
        new = {}
        for number in numbers:
            position, size = image.fragments[number]
            new[number] = len(self.fragments)
            new_size = self._sizes.get((image.path, position), size)
            self.fragments.append((self._starts[image.path, position], new_size))
        for end in staying:
            self._ends[end] = new[end[1]], end[2]

    def _pack(self, group: Sequence[End]) -> None:
        """Put ends of files together in a new shared block."""
        data = bytearray()
        for end in group:
            path, *where = end
            self._ends[end] = len(self.fragments), len(data)
            data += self._images[path].end(*where)
        size, block = self._packer.pack(bytes(data))
        self.fragments.append((self._out.tell(), size))
        self._write(block)
        self._count(len(data))

    def _copy(
        self, image: Image, own: Sequence[File], pieces: Mapping[int, int], numbers: Iterable[int]
    ) -> None:
        """Write files' own blocks and the shared ones with these ``numbers``."""
        if image in self._recompressed:
            self._recompress(image, _blocks(image, own, numbers))
            return
        with image.path.open("rb", buffering=0) as source:
            for old, new in _copy(source, image.offset, self._out, pieces, self._count):
                self._starts[image.path, old] = new

    def _pieces(
        self, image: Image, files: Sequence[File], staying: Iterable[End]
    ) -> dict[int, int]:
        """What of an image's blocks is used: position -> bytes. Equal files share theirs."""
        found = {file.start: file.stored for file in files if file.stored}
        for number in {end[1] for end in staying}:
            position, size = image.fragments[number]
            found[position] = size & ~layout.RAW
        return found

    def _count(self, count: int) -> None:
        self._done += count
        self._advance(self._done, self._total)

    def _recompress(self, image: Image, blocks: Sequence[tuple[int, int]]) -> None:
        old = iter(blocks)
        for packed in self._packer.pack_anew(image, blocks):
            at, done = self._out.tell(), 0
            for size, data in packed:
                position, old_size = next(old)
                self._starts[image.path, position] = at
                self._sizes[image.path, position] = size
                at += len(data)
                done += old_size & ~layout.RAW
            self._write(b"".join(data for _, data in packed))
            self._count(done)

    def _write(self, data: bytes) -> None:
        """All of it: on a disk that fills, one write(2) may be short without an error."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._out.write(rest) or 0 :]

    def start(self, file: File) -> int:
        return self._starts[file.image, file.start] if file.stored else 0

    def blocks(self, file: File) -> list[int]:
        """Sizes of a file's own blocks as they are now."""
        found, position = [], file.start
        for size in file.blocks:
            found.append(self._sizes.get((file.image, position), size) if size else 0)
            position += size & ~layout.RAW
        return found

    def end(self, file: File) -> tuple[int, int]:
        """Number of the shared block with a file's end as it is now, and the place in that."""
        end = end_of(file, self._block_size)
        return self._ends[end] if end else (layout.NONE, 0)


def _blocks(image: Image, own: Sequence[File], numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Position and size of each block that files of an image need, in its order."""
    found: dict[int, int] = {}
    for file in own:
        position = file.start
        for size in file.blocks:
            if size:
                found[position] = size
            position += size & ~layout.RAW
    for number in numbers:
        position, size = image.fragments[number]
        found[position] = size
    return sorted(found.items())


def _copy(
    source: FileIO,
    offset: int,
    out: FileIO,
    pieces: Mapping[int, int],
    copied: Callable[[int], None],
) -> Iterator[tuple[int, int]]:
    """Copy pieces of the image at ``offset``, neighbours at once; yields old and new positions."""
    run: list[int] = []
    end = -1
    for position in [*sorted(pieces), None]:
        if run and position != end:
            if end - run[0] >= _SHARED:  # where it is in the source, but for whole pages
                out.seek((offset + run[0] - out.tell()) % _ALIGNED, os.SEEK_CUR)
            start = out.tell()
            source.seek(offset + run[0])
            copy_bytes(source, out, end - run[0], copied)
            yield from ((old, start + old - run[0]) for old in run)
            run = []
        if position is not None:
            run.append(position)
            end = position + pieces[position]


class _Metadata:
    """A table in the making: bytes in compressed blocks."""

    def __init__(self, compressor: Compressor) -> None:
        self._compressor = compressor
        self._blocks: list[bytes] = []
        self._written = 0
        self._open = bytearray()
        self.length = 0  # uncompressed

    def position(self) -> tuple[int, int]:
        """Where the next byte will be: its block's position, and its place in that."""
        return self._written, len(self._open)

    def add(self, data: bytes) -> None:
        self._open += data
        self.length += len(data)
        while len(self._open) >= layout.METADATA:
            self._close(bytes(self._open[: layout.METADATA]))
            del self._open[: layout.METADATA]

    def write(self, out: FileIO) -> int:
        """Write it all; returns where it begins."""
        if self._open:
            self._close(bytes(self._open))
            self._open.clear()
        start = out.tell()
        out.write(b"".join(self._blocks))
        return start

    def _close(self, data: bytes) -> None:
        small = self._compressor.compress(data)
        head = len(small)
        if len(small) >= len(data):
            small, head = data, len(data) | layout.RAW_METADATA
        self._blocks.append(struct.pack("<H", head) + small)
        self._written += 2 + len(small)


def _write_list(out: FileIO, records: Sequence[bytes], compressor: Compressor) -> int:
    """A table that is found by the positions of its blocks; returns where these are listed."""
    positions = []
    data = b"".join(records)
    for at in range(0, len(data), layout.METADATA):
        block = _Metadata(compressor)
        block.add(data[at : at + layout.METADATA])
        positions.append(block.write(out))
    start = out.tell()
    out.write(struct.pack(f"<{len(positions)}Q", *positions))
    return start


@dataclass
class _Tables:
    """Inodes and directories, which point at each other.

    :ivar count: of inodes. :ivar references: where each value's inode is.
    """

    data: _Data
    inodes: _Metadata
    directories: _Metadata
    references: dict[int, int] = field(default_factory=dict, init=False)
    _numbers: dict[int, int] = field(default_factory=dict, init=False)
    _names: Counter[int] = field(default_factory=Counter, init=False)

    @property
    def count(self) -> int:
        return len(self._numbers)

    def add_all(self, root: Directory) -> None:
        for node in (root, *(node for _, node in root.walk())):
            self._numbers.setdefault(id(node), len(self._numbers) + 1)
            self._names[id(node)] += 1
        self._add(root, parent=self.count + 1)  # no inode has this number

    def _add(self, node: Node, parent: int) -> None:
        if id(node) in self.references:
            return
        if isinstance(node, Directory):
            for child in node.entries.values():
                self._add(child, self._numbers[id(node)])
            kind, body = self._directory(node, parent)
        elif isinstance(node, File):
            kind, body = self._file(node)
        else:
            target = os.fsencode(node.target)
            kind, body = layout.SYMLINK, layout.LINK.pack(1, len(target)) + target
        block, offset = self.inodes.position()
        self.references[id(node)] = block << 16 | offset
        number = self._numbers[id(node)]
        self.inodes.add(layout.COMMON.pack(kind, node.mode, 0, 0, node.time, number) + body)

    def _file(self, node: File) -> tuple[int, bytes]:
        start, (fragment, offset) = self.data.start(node), self.data.end(node)
        names = self._names[id(node)]
        blocks = struct.pack(f"<{len(node.blocks)}I", *self.data.blocks(node))
        if names > 1 or node.sparse or max(start, node.size) > layout.NONE:
            place = (names, fragment, offset, layout.NONE)
            head = layout.EXTENDED_FILE.pack(start, node.size, node.sparse, *place)
            return layout.FILE + layout.EXTENDED, head + blocks
        return layout.FILE, layout.BASIC_FILE.pack(start, fragment, offset, node.size) + blocks

    def _directory(self, node: Directory, parent: int) -> tuple[int, bytes]:
        block, offset = self.directories.position()
        begin = self.directories.length
        index = [
            layout.INDEX.pack(at - begin, place, len(name) - 1) + name
            for at, place, name in self._entries(node)
        ]
        size = self.directories.length - begin + 3  # "." and "..", which are not stored
        names = 2 + sum(isinstance(child, Directory) for child in node.entries.values())
        if not index and size <= _MOST_BASIC:
            basic = layout.BASIC_DIRECTORY.pack(block, names, size, offset, parent)
            return layout.DIRECTORY, basic
        place = (len(index), offset, layout.NONE)
        head = layout.EXTENDED_DIRECTORY.pack(names, size, block, parent, *place)
        return layout.DIRECTORY + layout.EXTENDED, head + b"".join(index)

    def _entries(self, node: Directory) -> Iterator[tuple[int, int, bytes]]:
        """Write a directory's entries; yields what finds a name in a long one: where a run begins
        (uncompressed), the block it is in, and its first name.
        """
        indexed = self.directories.length
        for run in self._runs(node):
            first = self._numbers[id(run[0][1])]
            parts = [layout.HEADER.pack(len(run) - 1, self.references[id(run[0][1])] >> 16, first)]
            for name, child in run:
                offset = self.references[id(child)] & 0xFFFF
                delta = self._numbers[id(child)] - first
                parts.append(layout.ENTRY.pack(offset, delta, _kind(child), len(name) - 1) + name)
            data = b"".join(parts)
            if self.directories.length + len(data) - indexed > layout.METADATA:
                indexed = self.directories.length
                yield indexed, self.directories.position()[0], run[0][0]
            self.directories.add(data)

    def _runs(self, node: Directory) -> Iterator[list[tuple[bytes, Node]]]:
        """Entries in order of their names, as many as can have one header."""
        run: list[tuple[bytes, Node]] = []
        for name, child in sorted((os.fsencode(n), child) for n, child in node.entries.items()):
            if run and not self._fits(run, child):
                yield run
                run = []
            run.append((name, child))
        if run:
            yield run

    def _fits(self, run: Sequence[tuple[bytes, Node]], child: Node) -> bool:
        head = run[0][1]
        delta = self._numbers[id(child)] - self._numbers[id(head)]
        same_block = self.references[id(child)] >> 16 == self.references[id(head)] >> 16
        return same_block and len(run) < _MOST_ENTRIES and -0x8000 <= delta < 0x8000


def _kind(node: Node) -> int:
    if isinstance(node, Directory):
        return layout.DIRECTORY
    return layout.FILE if isinstance(node, File) else layout.SYMLINK
