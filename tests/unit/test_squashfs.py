"""Images of files whose contents lie in others: written and read; what mounts them is for e2e."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import pytest

from wrapper.images.squashfs import layout
from wrapper.images.squashfs.compressors import (
    KNOWN,
    NAMES,
    Damaged,
    compressor,
    decompress,
    of_number,
)
from wrapper.images.squashfs.layout import Directory, File, Link, Superblock, Unsupported
from wrapper.images.squashfs.reader import Image, read_image
from wrapper.images.squashfs.writer import transcode, write_image

BLOCK = 4096
GZIP = 1
LONG = bytes(range(256)) * 40  # two blocks and an end


def superblock(**changes: int) -> Superblock:
    words = dict.fromkeys((field.name for field in fields(Superblock)), 0)
    words |= {"time": 7, "block_size": BLOCK, "compression": GZIP, "flags": layout.NO_XATTRS}
    return Superblock(**{**words, **changes})


def source(path: Path, contents: Mapping[str, bytes]) -> tuple[Image, dict[str, File]]:
    """An image in which files of these ``contents`` lie, in blocks that are not compressed."""
    files = {}
    data = b""
    for name, content in contents.items():
        lengths = [len(content[at : at + BLOCK]) for at in range(0, len(content), BLOCK)]
        files[name] = File(
            image=path,
            mode=0o644,
            time=5,
            size=len(content),
            sparse=0,
            start=len(data),
            blocks=tuple(length | layout.RAW for length in lengths),
            fragment=layout.NONE,
            offset=0,
        )
        data += content
    path.write_bytes(data)
    root = Directory(mode=0o755, time=5)
    return Image(path=path, superblock=superblock(), root=root, fragments=[], options=b""), files


def contents(image: Image) -> dict[str, bytes | str | None]:
    """Everything below its root: bytes of files, targets of links, ``None`` of directories."""
    return {
        path: b"".join(image.contents(node))
        if isinstance(node, File)
        else getattr(node, "target", None)
        for path, node in image.root.walk()
    }


@pytest.fixture
def written(tmp_path: Path) -> Image:
    """An image of files of two others."""
    one, of_one = source(tmp_path / "one", {"long": LONG, "short": b"short", "empty": b""})
    two, of_two = source(tmp_path / "two", {"other": os.urandom(BLOCK + 1)})
    below = Directory(
        mode=0o700, time=6, entries={"other": of_two["other"], "same": of_one["long"]}
    )
    link = Link(mode=0o777, time=5, target="below/other")
    root = Directory(mode=0o755, time=5, entries={**of_one, "link": link, "below": below})
    told: list[tuple[int, int]] = []
    write_image(tmp_path / "both", root, [one, two], advance=lambda *now: told.append(now))
    assert told[-1] == (len(LONG) + len("short") + BLOCK + 1,) * 2
    return read_image(tmp_path / "both")


def test_what_is_written_is_read(written: Image, tmp_path: Path) -> None:
    found = contents(written)
    assert found["long"] == found["below/same"] == LONG
    assert (found["short"], found["empty"], found["link"]) == (b"short", b"", "below/other")
    assert found["below/other"] == (tmp_path / "two").read_bytes()
    below = written.root.entries["below"]
    assert (below.mode, below.time, written.superblock.time) == (0o700, 6, 7)
    assert written.path.stat().st_size % BLOCK == 0, "what block devices want"


def test_a_file_with_two_names_stays_one(written: Image) -> None:
    below = written.root.entries["below"]
    assert isinstance(below, Directory)
    assert below.entries["same"] is written.root.entries["long"]


def test_the_same_values_give_the_same_bytes(written: Image, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_image(tmp_path / name, written.root, [written])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_an_image_may_be_the_end_of_a_file(written: Image, tmp_path: Path) -> None:
    alone, file = tmp_path / "alone", tmp_path / "file"
    write_image(alone, written.root, [written])
    before = os.urandom(2 * BLOCK)
    file.write_bytes(before + bytes(100_000))  # of one that was begun
    write_image(file, written.root, [written], at=len(before))
    assert file.read_bytes() == before + alone.read_bytes()
    assert contents(read_image(file, len(before))) == contents(written)


@pytest.mark.parametrize("name", sorted(NAMES.values()))
def test_another_compression_holds_the_same_files(
    written: Image, name: str, tmp_path: Path
) -> None:
    chosen = compressor(name)
    assert chosen
    transcode(written, tmp_path / "new", chosen)
    found = read_image(tmp_path / "new")
    assert NAMES[found.superblock.compression] == name
    assert contents(found) == contents(written)
    assert (tmp_path / "new").stat().st_size < written.path.stat().st_size


def test_a_directory_of_many_files_is_found_in_parts(tmp_path: Path) -> None:
    image, files = source(tmp_path / "one", {"file": b"x"})
    names = {f"{number:04}-{'n' * 60}": files["file"] for number in range(1500)}
    write_image(tmp_path / "new", Directory(mode=0o755, time=5, entries=names), [image])
    assert set(read_image(tmp_path / "new").root.entries) == set(names)


def test_files_are_unpacked_with_modes_and_times(written: Image, tmp_path: Path) -> None:
    for name in ("long", "link", "below"):
        written.unpack(written.root.entries[name], tmp_path / f"new-{name}")
    assert (tmp_path / "new-long").read_bytes() == LONG
    assert (tmp_path / "new-long").stat().st_mtime == 5
    assert (tmp_path / "new-link").readlink() == Path("below/other")
    assert (tmp_path / "new-below").stat().st_mode & 0o777 == 0o700


def test_sources_have_blocks_of_one_size(written: Image, tmp_path: Path) -> None:
    other, _ = source(tmp_path / "other", {"a": b"a"})
    other.superblock = superblock(block_size=2 * BLOCK)
    with pytest.raises(Unsupported, match="different sizes"):
        write_image(tmp_path / "new", written.root, [written, other])


def test_what_is_cut_off_is_unsupported(written: Image, tmp_path: Path) -> None:
    whole = written.path.read_bytes()
    for size in (0, 50, 96, written.superblock.used - 1):
        (tmp_path / "cut").write_bytes(whole[:size])
        with pytest.raises(Unsupported):
            read_image(tmp_path / "cut")


# -- shared blocks and order ---------------------------------------------------------------------
def of_small_files(path: Path, names: str) -> Image:
    """An image of a file of 1000 bytes for each letter, four of which share a block."""
    lone, files = source(path.with_suffix(".lone"), {n: n.encode() * 1000 for n in names})
    groups = [names[at : at + 4] for at in range(0, len(names), 4)]
    lone.fragments = [
        (at * 4000, len(group) * 1000 | layout.RAW) for at, group in enumerate(groups)
    ]
    for at, name in enumerate(names):
        files[name].blocks, files[name].start = (), 0
        files[name].fragment, files[name].offset = at // 4, at % 4 * 1000
    write_image(path, Directory(mode=0o755, time=5, entries={**files}), [lone])
    return read_image(path)


def without(image: Image, *names: str) -> Directory:
    left = {name: node for name, node in image.root.entries.items() if name not in names}
    return Directory(mode=0o755, time=5, entries=left)


def fragment_of(image: Image, name: str) -> int:
    node = image.root.entries[name]
    assert isinstance(node, File)
    return node.fragment


def test_blocks_with_little_of_files_that_have_gone_stay(tmp_path: Path) -> None:
    image = of_small_files(tmp_path / "old", "abcdefghijklmnopqrst")
    assert write_image(tmp_path / "new", without(image, "a"), [image]) == 0
    new = read_image(tmp_path / "new")
    assert len(new.fragments) == len(image.fragments) == 5
    assert new.filled == dict.fromkeys(range(5), 4000), "what is in them is not moved"


def test_blocks_with_much_of_files_that_have_gone_are_put_together_anew(tmp_path: Path) -> None:
    image = of_small_files(tmp_path / "old", "abcdefghijklmnopqrst")
    left = without(image, "a", "b", "e", "f", "g")
    gone = write_image(tmp_path / "new", left, [image])
    assert gone > 0
    new = read_image(tmp_path / "new")
    assert len(new.fragments) == 4, "three files of two blocks are in one"
    assert {fragment_of(new, name) for name in "cdh"} == {0}
    assert contents(new) == {name: name.encode() * 1000 for name in left.entries}
    assert write_image(tmp_path / "again", new.root, [new]) == 0


def test_files_in_reading_order_come_first_and_share_blocks(tmp_path: Path) -> None:
    old = of_small_files(tmp_path / "old", "abcdefghijklmnop")
    large, files = source(tmp_path / "large", {"y": LONG, "z": os.urandom(BLOCK)})
    root = Directory(mode=0o755, time=5, entries={**old.root.entries, **files})
    order = ["p", "z", "gone", "a", "g", "b"]
    write_image(tmp_path / "new", root, [old, large], order=order)
    new = read_image(tmp_path / "new")
    assert {fragment_of(new, name) for name in "pagb"} == {0}
    begins = sorted(
        [
            new.fragments[0][0],
            *(
                node.start
                for node in new.root.entries.values()
                if isinstance(node, File) and node.stored
            ),
        ]
    )
    z, y = new.root.entries["z"], new.root.entries["y"]
    assert isinstance(z, File) and isinstance(y, File)
    assert begins == [new.fragments[0][0], z.start, y.start], "the first block, then z's"
    assert contents(new) == {
        **{name: name.encode() * 1000 for name in "abcdefghijklmnop"},
        **{name: (tmp_path / "large").read_bytes()[: len(LONG)] for name in "y"},
        "z": (tmp_path / "large").read_bytes()[len(LONG) :],
    }
    write_image(tmp_path / "once-more", new.root, [new], order=order)
    assert (tmp_path / "once-more").read_bytes() == new.path.read_bytes(), "order is kept"


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_another_compression_keeps_the_order(name: str, tmp_path: Path) -> None:
    old = of_small_files(tmp_path / "old", "abcdefgh")
    chosen = compressor(name)
    assert chosen
    transcode(old, tmp_path / "new", chosen, order=["h", "a"])
    new = read_image(tmp_path / "new")
    assert (fragment_of(new, "h"), fragment_of(new, "a")) == (0, 0)
    assert contents(new) == contents(old)


def test_long_runs_lie_where_file_systems_can_share_their_pages(tmp_path: Path) -> None:
    old, files = source(tmp_path / "old", {"a": b"a" * 10, "b": os.urandom(1 << 21)})
    write_image(tmp_path / "new", Directory(mode=0o755, time=5, entries={"b": files["b"]}), [old])
    new = read_image(tmp_path / "new").root.entries["b"]
    assert isinstance(new, File)
    assert (new.start - files["b"].start) % 4096 == 0
    assert contents(read_image(tmp_path / "new"))["b"] == (tmp_path / "old").read_bytes()[10:]


# -- compressors ---------------------------------------------------------------------------------
@pytest.mark.parametrize("number", sorted(KNOWN))
def test_a_block_comes_back_and_holds_no_more_than_it_may(number: int) -> None:
    packed = of_number(number).compress(LONG)
    assert decompress(number, packed, len(LONG)) == LONG
    for damaged, most in ((packed, len(LONG) - 1), (packed[: len(packed) // 2], len(LONG))):
        with pytest.raises(Damaged):
            decompress(number, damaged, most)


def test_a_block_that_the_file_ends_in_is_unsupported(tmp_path: Path) -> None:
    image, files = source(tmp_path / "image", {"a": b"a" * BLOCK})
    (size,) = files["a"].blocks
    image.path.write_bytes(b"a" * (BLOCK - 1))
    with pytest.raises(Unsupported, match="cut off"):
        image.block(files["a"].start, size)


def test_what_we_do_not_know_has_no_compressor() -> None:
    assert compressor("lzo") is None
