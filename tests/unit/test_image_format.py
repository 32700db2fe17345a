"""Recognising images by their first bytes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.images import ARM64, EXT3, OVERLAY, PRIMARY, SQUASHFS, sif_bytes, squashfs_bytes
from tests.unit.conftest import without_powers
from wrapper.errors import ContainerizeError, InputError, PackageError
from wrapper.images.format import ImageFormat, read_format, require_architecture

BODY = squashfs_bytes()
SIF = sif_bytes([(PRIMARY, SQUASHFS, BODY)])


def read(path: Path, content: bytes) -> ImageFormat:
    path.write_bytes(content)
    return read_format(path)


def test_a_squashfs_image(tmp_path: Path) -> None:
    found = read(tmp_path / "x", BODY)
    assert found == ImageFormat(kind="SquashFS", offsets=(0,), compressors=("gzip",))


def test_a_sif_file_and_its_overlays(tmp_path: Path) -> None:
    layers = [(OVERLAY, SQUASHFS, BODY), (PRIMARY, SQUASHFS, BODY), (OVERLAY, SQUASHFS, BODY)]
    found = read(tmp_path / "x.sif", sif_bytes(layers))
    first = 128 + 4 * 585
    assert found.offsets == (first + 4096, first, first + 8192), "the system is the lowest layer"
    assert (found.kind, found.architecture) == ("SIF", "x86_64")


def test_how_each_file_system_is_compressed(tmp_path: Path) -> None:
    layers = [
        (OVERLAY, SQUASHFS, squashfs_bytes(compression=6)),
        (PRIMARY, SQUASHFS, squashfs_bytes(compression=9)),
    ]
    assert read(tmp_path / "x.sif", sif_bytes(layers)).compressors == ("number 9", "zstd")
    assert read(tmp_path / "x", squashfs_bytes(compression=5)).compressors == ("lz4",)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="pipe is neither a file nor a directory"):
        read_format(tmp_path / "pipe")


def test_a_sandbox(tmp_path: Path) -> None:
    (tmp_path / "usr").mkdir()
    assert read_format(tmp_path).kind == "sandbox"


@pytest.mark.parametrize(
    ("content", "kind", "message"),
    [
        (b"", InputError, "x.sif is empty"),
        (b"hello\n", InputError, "x.sif is no container image"),
        (b"\x7fELF".ljust(5000, b"\0"), InputError, "is no container image"),
        (BODY[:-1], PackageError, "incomplete"),
        (BODY[:50], PackageError, "incomplete"),
        (SIF[:-1], PackageError, "incomplete"),
        (SIF[:1000], PackageError, "incomplete"),
        (SIF[:100], PackageError, "incomplete"),
        (SIF.replace(b"hsqs", b"----"), PackageError, "no file system where its header says"),
        (sif_bytes([(OVERLAY, SQUASHFS, BODY)]), InputError, "holds no system"),
        (sif_bytes([(PRIMARY, EXT3, BODY)]), InputError, "other than SquashFS"),
        (
            sif_bytes([(PRIMARY, SQUASHFS, BODY)], architecture=ARM64),
            InputError,
            "the image is for aarch64, this machine is",
        ),
    ],
)
def test_what_is_no_image_for_us(
    tmp_path: Path, content: bytes, kind: type[ContainerizeError], message: str
) -> None:
    with pytest.raises(kind, match=message) as caught:
        read(tmp_path / "x.sif", content)
    assert caught.value.hint and caught.value.where == str(tmp_path / "x.sif")


def test_a_directory_without_a_system(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no container image"):
        read_format(tmp_path)


def test_an_image_that_we_may_not_read(open_place: Path) -> None:
    path = open_place / "x.sif"
    path.write_bytes(SIF)
    path.chmod(0)
    with without_powers(), pytest.raises(InputError, match="cannot be read: Permission denied"):
        read_format(path)


def test_an_unknown_architecture_is_let_through(tmp_path: Path) -> None:
    require_architecture("", tmp_path)
