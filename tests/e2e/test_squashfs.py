"""Images read, and put together of others: compared with what squashfs-tools say of them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.account import Account
from tests.e2e.conftest import seen
from tests.images import write_files
from wrapper import process
from wrapper.build.left_packed import take
from wrapper.console import Console
from wrapper.images.compression import Compression
from wrapper.images.squasher import IMAGE_TIME, Squasher, find_squasher
from wrapper.images.squashfs import compressors, layout
from wrapper.images.squashfs.layout import Directory, File, Link, Unsupported
from wrapper.images.squashfs.reader import read_image
from wrapper.images.squashfs.writer import transcode, write_image
from wrapper.models import Site
from wrapper.runtime.binds import host_binds, write_skeleton

BLOCK = 128 * 1024


@pytest.fixture(scope="module")
def squasher(runtime: Path) -> Squasher:
    """mksquashfs comes with the runtime."""
    return find_squasher(os.environ, Site())


def pack(squasher: Squasher, root: Path, image: Path, name: str = "zstd") -> Path:
    squasher.squash(
        root,
        image,
        compression=Compression(name=name),
        console=Console(-1),
        advance=lambda _d, _t: None,
    )
    return image


def unpack(squasher: Squasher, image: Path, target: Path) -> Path:
    squasher.unsquash(image, target, console=Console(-1))
    return target


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A tree with all that the format treats in a way of its own."""
    root = tmp_path / "odd"
    root.mkdir()
    (root / "empty").write_bytes(b"")
    (root / "small").write_text("a fragment\n")
    (root / "one-block").write_bytes(os.urandom(BLOCK))
    (root / "blocks-and-tail").write_bytes(b"abc" * BLOCK + b"tail")
    (root / "noise").write_bytes(os.urandom(3 * BLOCK + 17))  # stored as it is
    with (root / "sparse").open("wb") as file:
        file.truncate(5 * BLOCK)
        file.seek(2 * BLOCK + 5)
        file.write(b"middle")
    shutil.copyfile(root / "noise", root / "same-as-noise")
    (root / "hard").hardlink_to(root / "blocks-and-tail")
    (root / "program").write_text("#!/bin/sh\n")
    (root / "program").chmod(0o755)
    (root / "link").symlink_to("no/where")
    (root / "an empty directory").mkdir()
    (root / "näme with\nline").write_text("x")
    (root / os.fsdecode(b"not-utf8-\xff")).write_text("x")
    deep = root / "/".join(["d"] * 40)
    deep.mkdir(parents=True)
    (deep / "bottom").write_text("deep\n")
    return root


def rewritten(image: Path, target: Path) -> Path:
    source = read_image(image)
    write_image(target, source.root, [source])
    return target


@pytest.mark.parametrize("name", compressors.NAMES.values())
def test_what_is_written_anew_is_what_was_read(
    name: str, odd: Path, squasher: Squasher, tmp_path: Path
) -> None:
    image = pack(squasher, odd, tmp_path / "odd.sqfs", name)
    again = rewritten(image, tmp_path / "again.sqfs")
    assert seen(unpack(squasher, again, tmp_path / "out")) == seen(odd)
    assert (tmp_path / "out/hard").samefile(tmp_path / "out/blocks-and-tail")
    assert again.stat().st_size <= image.stat().st_size + layout.METADATA
    assert int((tmp_path / "out/small").stat().st_mtime) == int(IMAGE_TIME)


def test_contents_are_read_without_tools(odd: Path, squasher: Squasher, tmp_path: Path) -> None:
    image = read_image(pack(squasher, odd, tmp_path / "odd.sqfs"))
    (tmp_path / "out").mkdir()
    for path, node in image.root.walk():
        image.unpack(node, tmp_path / "out" / path)
    assert seen(tmp_path / "out") == seen(odd)


def test_the_same_values_give_the_same_bytes(odd: Path, squasher: Squasher, tmp_path: Path) -> None:
    image = pack(squasher, odd, tmp_path / "odd.sqfs")
    first, second = (rewritten(image, tmp_path / name) for name in ("1", "2"))
    assert first.read_bytes() == second.read_bytes()
    assert rewritten(first, tmp_path / "3").read_bytes() == first.read_bytes()


@pytest.mark.parametrize("count", [300, 3000])
def test_directories_too_long_for_one_block(count: int, squasher: Squasher, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "many").mkdir(parents=True)
    for number in range(count):
        (root / "many" / f"{number:05}-{'long-name-' * 6}").write_text(str(number))
    again = rewritten(pack(squasher, root, tmp_path / "a"), tmp_path / "b")
    assert seen(unpack(squasher, again, tmp_path / "out")) == seen(root)
    # What finds a name in a long directory: one entry for each block of it.
    long = squasher.unsquashfs
    name = f"many/{count - 1:05}-{'long-name-' * 6}"
    argv = [long, "-no-progress", "-d", tmp_path / "one", again, name]
    process.run(argv, console=Console(-1), env=dict(os.environ))
    assert (tmp_path / "one" / name).read_text() == str(count - 1)


def test_files_of_two_images_in_one(squasher: Squasher, tmp_path: Path) -> None:
    for name in ("old", "new"):
        folder = tmp_path / name / "lib"
        folder.mkdir(parents=True)
        (folder / f"{name}-big").write_bytes(os.urandom(2 * BLOCK + 9))
        (folder / f"{name}-small").write_text(name)
    old, new = (
        read_image(pack(squasher, tmp_path / name, tmp_path / f"{name}.sqfs"))
        for name in ("old", "new")
    )
    there, here = old.root.entries["lib"], new.root.entries["lib"]
    assert isinstance(there, Directory)
    assert isinstance(here, Directory)
    here.entries |= there.entries
    told: list[tuple[int, int]] = []
    write_image(
        tmp_path / "both", new.root, [new, old], advance=lambda *numbers: told.append(numbers)
    )
    shutil.copytree(tmp_path / "old", tmp_path / "new", dirs_exist_ok=True)
    assert seen(unpack(squasher, tmp_path / "both", tmp_path / "out")) == seen(tmp_path / "new")
    assert told[-1][0] == told[-1][1] > 4 * BLOCK


def test_what_is_dropped_takes_no_room(squasher: Squasher, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    for name in ("a", "b", "c"):
        (root / name).write_bytes(os.urandom(4 * BLOCK))
    image = read_image(pack(squasher, root, tmp_path / "image"))
    del image.root.entries["b"]
    write_image(tmp_path / "less", image.root, [image])
    (root / "b").unlink()
    assert seen(unpack(squasher, tmp_path / "less", tmp_path / "out")) == seen(root)
    assert (tmp_path / "less").stat().st_size < 9 * BLOCK


def test_blocks_of_different_sizes_do_not_fit(squasher: Squasher, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    images = []
    for size in ("128K", "1M"):
        options = Squasher(path=squasher.path, version=squasher.version, options=("-b", size))
        images.append(read_image(pack(options, tmp_path / "root", tmp_path / size)))
    with pytest.raises(Unsupported, match="different sizes"):
        write_image(tmp_path / "both", images[0].root, images)


@pytest.mark.parametrize("name", ["lzo", "lzma"])
def test_other_compressors(name: str, squasher: Squasher, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    with pytest.raises(Unsupported, match="another compressor"):
        read_image(pack(squasher, tmp_path / "root", tmp_path / "image", name))


@pytest.mark.parametrize("name", compressors.NAMES.values())
@pytest.mark.parametrize("old", ["zstd", "gzip"])
def test_blocks_are_compressed_anew(
    old: str, name: str, odd: Path, squasher: Squasher, tmp_path: Path
) -> None:
    image = read_image(pack(squasher, odd, tmp_path / "old", old))
    chosen = compressors.compressor(name)
    assert chosen
    for processors, target in ((1, "new"), (3, "again")):
        transcode(image, tmp_path / target, chosen, processors=processors)
    assert (tmp_path / "new").read_bytes() == (tmp_path / "again").read_bytes()
    new = read_image(tmp_path / "new")
    assert compressors.NAMES[new.superblock.compression] == name
    assert seen(unpack(squasher, tmp_path / "new", tmp_path / "out")) == seen(odd)


def test_images_of_two_compressors_in_one(odd: Path, squasher: Squasher, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more/more").write_bytes(b"more" * BLOCK)
    old = read_image(pack(squasher, odd, tmp_path / "old", "zstd"))
    new = read_image(pack(squasher, tmp_path / "more", tmp_path / "new", "lz4"))
    new.root.entries |= old.root.entries
    write_image(tmp_path / "both", new.root, [new, old])
    assert read_image(tmp_path / "both").superblock.compression == compressors.LZ4
    shutil.copy(tmp_path / "more/more", odd)
    assert seen(unpack(squasher, tmp_path / "both", tmp_path / "out")) == seen(odd)


def test_damage_is_no_crash(odd: Path, squasher: Squasher, tmp_path: Path) -> None:
    data = pack(squasher, odd, tmp_path / "odd.sqfs").read_bytes()
    tables = layout.Superblock.parse(data)
    hurt = 0
    for at in (40, 70, tables.inode_table + 1, tables.inode_table + 40, tables.directory_table + 9):
        path = tmp_path / f"hurt-{at}"
        path.write_bytes(data[:at] + bytes(b ^ 0x5A for b in data[at : at + 4]) + data[at + 4 :])
        try:
            read_image(path)
        except Unsupported:
            hurt += 1
    assert hurt >= 3, "most of these positions are of use"
    for size in (0, 50, 96, len(data) // 2):
        (tmp_path / "short").write_bytes(data[:size])
        with pytest.raises(Unsupported):
            read_image(tmp_path / "short")


def test_kinds(odd: Path, squasher: Squasher, tmp_path: Path) -> None:
    image = read_image(pack(squasher, odd, tmp_path / "odd.sqfs"))
    kinds = {path: type(node) for path, node in image.root.walk()}
    assert (kinds["link"], kinds["hard"], kinds["d"]) == (Link, File, Directory)
    assert image.root.entries["hard"] is image.root.entries["blocks-and-tail"]


@pytest.mark.parametrize(
    ("wrapped", "taken"),
    [
        ((), {"bin", "bin/run", "lib", "lib/run"}),
        (("tools",), {"bin", "bin/run", "lib", "lib/run", "tools", "tools/one", "opt", "opt/one"}),
        (("data/file",), {"bin", "bin/run", "lib", "lib/run", "data", "data/file"}),
        (("other",), None),
        (("missing",), None),
    ],
    ids=["programs", "directory", "file", "link", "missing"],
)
def test_what_an_update_looks_at_is_taken(
    wrapped: tuple[str, ...], taken: set[str] | None, squasher: Squasher, tmp_path: Path
) -> None:
    files = ("lib/run", "lib/other", "opt/one", "data/file", "data/more")
    write_files(tmp_path / "root/env", {name: name for name in files})
    links = {"bin/run": "-> ../lib/run", "tools/one": "-> ../opt/one", "other": "-> tools"}
    write_files(tmp_path / "root/env", links)
    image = pack(squasher, tmp_path / "root", tmp_path / "img.sqfs")
    packed = take(read_image(image), "env", (), tmp_path / "tree", wrapped)
    if taken is None:
        assert packed is None and not (tmp_path / "tree").exists()
        return
    assert packed is not None
    tree = tmp_path / "tree"
    assert {str(path.relative_to(tree)) for path in tree.rglob("*")} == taken
    assert not taken & {path for path in packed.kept if "/" in path}


@pytest.mark.parametrize("name", compressors.NAMES.values())
def test_a_runtime_starts_what_is_written(
    name: str, me: Account, runtime: Path, squasher: Squasher, tmp_path: Path
) -> None:
    (tmp_path / "root").mkdir()
    write_skeleton(tmp_path / "root")
    lines = "".join(f"{number}\n" for number in range(100_000))
    (tmp_path / "root/lines").write_text(lines)
    (tmp_path / "root/end").write_text("a fragment\n")
    image = rewritten(pack(squasher, tmp_path / "root", tmp_path / "image", name), tmp_path / "1")
    chosen = compressors.compressor(name)
    assert chosen
    transcode(read_image(image), tmp_path / "2", chosen, processors=2)
    for again in (image, tmp_path / "2"):
        words = (runtime, "-s", "exec", "-B", ",".join(host_binds()), again)
        done = me.run(*words, "/bin/cat", "/lines", "/end")
        if name == "zstd" and me.family == "SINGULARITY":
            assert "unknown compression" in done.stderr  # SingularityCE's word on zstd
        else:
            assert done.stdout == f"{lines}a fragment\n", done.stderr
