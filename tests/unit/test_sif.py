"""Reading and writing SIF files; that runtimes agree is for the e2e tests."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Sequence
from pathlib import Path

import pytest

from wrapper.errors import InputError, PackageError
from wrapper.images.sif import file as sif
from wrapper.images.sif.file import NewObject, Sif, SifWriter, read_sif, write_sif

ROOT = os.urandom(5000)
TEXT = b"bootstrap: docker"
OVERLAY = sif.partition(sif.OVERLAY, "x86_64")


@pytest.fixture
def base(tmp_path: Path) -> Sif:
    """A small file: a definition, the root."""
    path = tmp_path / "base.sif"
    root = tmp_path / "root.sqfs"
    root.write_bytes(ROOT)
    add = [
        NewObject(kind=sif.DEFINITION, name="", content=TEXT),
        NewObject(
            kind=sif.PARTITION, name="", content=root, extra=sif.partition(sif.PRIMARY, "x86_64")
        ),
    ]
    write_sif(path, add)
    return read_sif(path)


def overlay(tmp_path: Path, name: str, content: bytes) -> NewObject:
    path = tmp_path / f"{name}.sqfs"
    path.write_bytes(content)
    return NewObject(kind=sif.PARTITION, name=name, content=path, extra=OVERLAY)


def rewritten(base: Sif, target: Path, add: Sequence[NewObject], without: str = "-") -> Sif:
    keep = [item for item in base.objects if item.name != without]
    with SifWriter(target, base=base, keep=keep) as out:
        out.copy_base()
        for new in add:
            out.add(new)
        out.finish()
    return read_sif(target)


def test_objects_come_through(base: Sif, tmp_path: Path) -> None:
    grown = rewritten(base, tmp_path / "new.sif", [overlay(tmp_path, "ours", b"x" * 100)])
    assert [grown.read(item) for item in grown.objects] == [TEXT, ROOT, b"x" * 100]
    assert [item.number for item in grown.objects] == [1, 2, 3]
    assert grown.overlays[0].group == grown.primary.group, "runtimes mount those of one group"
    assert all(item.offset % 4096 == 0 for item in (grown.primary, *grown.overlays))


def test_an_object_is_replaced(base: Sif, tmp_path: Path) -> None:
    one = rewritten(base, tmp_path / "1.sif", [overlay(tmp_path, "ours", b"x" * 9000)])
    two = rewritten(one, tmp_path / "2.sif", [overlay(tmp_path, "ours", b"y" * 10)], "ours")
    assert [two.read(item) for item in two.objects] == [TEXT, ROOT, b"y" * 10]
    assert two.path.stat().st_size < one.path.stat().st_size


def test_a_full_table_grows(base: Sif, tmp_path: Path) -> None:
    many = [NewObject(kind=sif.JSON, name=f"n{i}", content=b"%d" % i) for i in range(44)]
    full = rewritten(base, tmp_path / "full.sif", many)
    assert full.read(full.primary) == ROOT
    last = full.named("n43")
    assert last and full.read(last) == b"43"
    more = full
    for number in range(6):
        layer = overlay(tmp_path, f"layer {number}", b"z")
        more = rewritten(more, tmp_path / f"more-{number}.sif", [layer])
    assert len(more.objects) == 52 and more.read(more.primary) == ROOT


def test_equal_parts_give_equal_files(base: Sif, tmp_path: Path) -> None:
    files = []
    for name in ("a.sif", "b.sif"):
        rewritten(base, tmp_path / name, [overlay(tmp_path, "ours", b"x")])
        files.append((tmp_path / name).read_bytes())
    assert files[0] == files[1]


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EOPNOTSUPP, errno.ENOSYS])
def test_file_systems_that_cannot_share(
    base: Sif, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(number, "no")

    monkeypatch.setattr(os, "copy_file_range", refuse)
    grown = rewritten(base, tmp_path / "new.sif", [overlay(tmp_path, "ours", b"x")])
    assert grown.read(grown.primary) == ROOT


def test_kernels_that_copy_nothing_instead_of_refusing(
    base: Sif, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "copy_file_range", lambda *_: 0)
    grown = rewritten(base, tmp_path / "new.sif", [overlay(tmp_path, "ours", b"x")])
    assert grown.read(grown.primary) == ROOT


def test_a_partition_may_be_in_its_place_already(base: Sif, tmp_path: Path) -> None:
    target, content = tmp_path / "new.sif", os.urandom(5000)
    with SifWriter(target, base=base, keep=base.objects) as out:
        out.copy_base()
        with target.open("r+b") as file:
            file.seek(out.next_partition())
            file.write(content)
        size = len(content)
        out.add(NewObject(kind=sif.PARTITION, name="ours", content=size, extra=OVERLAY))
        out.add(NewObject(kind=sif.JSON, name="more", content=b"{}"))
        out.finish()
    written = read_sif(target)
    assert [written.read(item) for item in written.objects] == [TEXT, ROOT, content, b"{}"]
    assert written.overlays[0].offset % 4096 == 0


def test_nobody_else_reads_an_image_in_the_making(base: Sif, tmp_path: Path) -> None:
    with SifWriter(tmp_path / "new.sif", base=base, keep=base.objects):
        assert (tmp_path / "new.sif").stat().st_mode & 0o777 == 0o600


def test_other_failures_are_told(
    base: Sif, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "copy_file_range", refuse)
    with pytest.raises(OSError, match="full"):
        rewritten(base, tmp_path / "new.sif", ())


def test_progress_reaches_the_end(base: Sif, tmp_path: Path) -> None:
    seen: list[tuple[float, float]] = []
    with SifWriter(tmp_path / "new.sif", base=base, keep=base.objects) as out:
        out.copy_base(lambda done, total: seen.append((done, total)))
    size = len(TEXT) + len(ROOT)
    assert seen[-1] == (size, size)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_a_truncated_file_is_found(base: Sif) -> None:
    whole = base.path.read_bytes()
    for length in (len(whole) - 1, 20_000, 200, 100):
        base.path.write_bytes(whole[:length])
        with pytest.raises(PackageError, match="incomplete"):
            read_sif(base.path)


def test_what_is_no_sif(tmp_path: Path, base: Sif) -> None:
    path = tmp_path / "x"
    for content in (b"", b"hsqs", b"#!/bin/sh\n" * 100):
        path.write_bytes(content)
        with pytest.raises(InputError, match="no SIF file"):
            read_sif(path)
    changed = bytearray(base.path.read_bytes())
    changed[42:45] = b"99\0"
    path.write_bytes(changed)
    with pytest.raises(InputError, match="version"):
        read_sif(path)
    changed[42:45] = b"01\0"
    changed[88:96] = struct.pack("<q", 1 << 40)  # so many descriptors
    path.write_bytes(changed)
    with pytest.raises(InputError, match="version"):
        read_sif(path)


def test_sharing_blocks_is_asked_without_leaving_anything(base: Sif, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    assert sif.shares_blocks(base.path, folder) in (True, False)
    assert not list(folder.iterdir())
    assert not sif.shares_blocks(base.path, tmp_path / "nowhere")


def test_a_file_without_a_system(tmp_path: Path) -> None:
    path = tmp_path / "data.sif"
    write_sif(path, [NewObject(kind=sif.JSON, name="x.json", content=b"{}")])
    with pytest.raises(InputError, match="holds no system to run") as caught:
        print(read_sif(path).primary)
    assert caught.value.where == str(path)
