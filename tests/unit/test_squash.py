"""The line that makes an image, its progress, its failures."""

from __future__ import annotations

import contextlib
import errno
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest

from tests.unit.conftest import Program
from wrapper.console import Console
from wrapper.errors import SpaceError, ToolError
from wrapper.images import squasher
from wrapper.images.compression import Compression, wanted
from wrapper.images.squasher import Squasher

LZ4 = Compression(name="lz4")


def squash(
    path: Path,
    console: Console,
    version: tuple[int, int] = (4, 6),
    compression: Compression = LZ4,
    options: tuple[str, ...] = (),
    *,
    order: tuple[str, ...] = (),
) -> list[tuple[float, float]]:
    """Run a fake mksquashfs in its directory; returns the progress."""
    progress: list[tuple[float, float]] = []
    Squasher(path=path, version=version, options=options).squash(
        path.parent / "t ree",
        path.parent / "img.sqfs",
        compression=compression,
        console=console,
        advance=lambda done, total: progress.append((done, total)),
        environ={"PATH": "/usr/bin:/bin"},
        order=order,
    )
    return progress


@pytest.fixture
def recorder(program: Program) -> Path:
    return program("mksquashfs", 'printf "%s\\n" "$@" >"${0%/*}/words"')


def words(recorder: Path) -> list[str]:
    return (recorder.parent / "words").read_text().splitlines()


@pytest.mark.parametrize("word", ["lz4", "zstd:15"])
def test_the_compression_is_the_chosen_one(recorder: Path, console: Console, word: str) -> None:
    squash(recorder, console, compression=wanted(word)[0])
    line = words(recorder)
    assert line[:2] == [f"{recorder.parent}/t ree", f"{recorder.parent}/img.sqfs"]
    name, _, level = word.partition(":")
    level = f" -Xcompression-level {level}" if level else ""
    assert f"-comp {name}{level} " in " ".join(line)


def test_other_options_count_once(recorder: Path, console: Console) -> None:
    squash(recorder, console, options=("-b", "1M", "-mem", "1G"))
    line = words(recorder)
    assert line[line.index("-b") + 1] == "1M" and line.count("-mem") == 1
    assert line[line.index("-mem") + 1] == "1G"


def test_blocks_of_gzip_are_small_unless_a_site_says_otherwise(
    recorder: Path, console: Console
) -> None:
    for compression, options, expected in [
        (wanted("gzip:9")[0], (), ["32768"]),
        (wanted("gzip:9")[0], ("-b", "1M"), ["1M"]),
        (wanted("zstd")[0], (), []),
    ]:
        with contextlib.suppress(FileNotFoundError):  # what is compressed by us is not there
            squash(recorder, console, compression=compression, options=options)
        line = words(recorder)
        assert [line[at + 1] for at, word in enumerate(line) if word == "-b"] == expected


def test_blocks_that_have_to_fit_others_do_whatever_a_site_says(
    recorder: Path, console: Console
) -> None:
    fitting = replace(wanted("gzip:9")[0], block=131072)
    with contextlib.suppress(FileNotFoundError):
        squash(recorder, console, compression=fitting, options=("-b", "1M"))
    line = words(recorder)
    assert line[line.index("-b") + 1] == "131072" and line.count("-b") == 1


def test_images_depend_on_nothing_but_the_tree(recorder: Path, console: Console) -> None:
    squash(recorder, console)
    line = " ".join(words(recorder))
    for option in ("-noappend", "-no-xattrs", "-all-root", "-mkfs-time 946684800"):
        assert option in line
    assert "-all-time 946684800" in line


@pytest.mark.parametrize("owners", [False, True])
def test_all_is_roots_unless_owners_are_kept(
    recorder: Path, console: Console, tmp_path: Path, owners: bool
) -> None:
    squasher = Squasher(path=recorder, version=(4, 6))
    image = tmp_path / "img.sqfs"
    squasher.squash(
        tmp_path,
        image,
        compression=LZ4,
        console=console,
        advance=lambda *_: None,
        owners=owners,
        times=owners,
    )
    assert ("-all-root" in words(recorder)) is not owners
    assert ("-all-time" in words(recorder)) is not owners


@pytest.mark.parametrize(
    ("version", "option"),
    [((4, 4), "-no-progress"), ((4, 6), "-percentage"), ((5, 0), "-percentage")],
)
def test_progress_is_asked_for_where_there_is_any(
    recorder: Path, console: Console, version: tuple[int, int], option: str
) -> None:
    squash(recorder, console, version=version)
    assert words(recorder)[-1] == option


def test_percentages_are_progress_and_all_else_is_log(
    program: Program, console: Console, tmp_path: Path
) -> None:
    path = program("mksquashfs", "printf '0\\n50\\nhello\\n100\\n'")
    console.open_log(tmp_path / "log")
    assert squash(path, console) == [(0, 100), (50, 100), (100, 100)]
    console.close_log()
    assert (tmp_path / "log").read_text().splitlines()[1:] == ["hello"]


@pytest.mark.parametrize(
    "text", ["Write failed because No space left on device", "Disk quota exceeded"]
)
def test_a_full_file_system_is_told_as_that(program: Program, console: Console, text: str) -> None:
    path = program("mksquashfs", f"echo half >\"$2\"; echo '{text}' >&2; exit 1")
    with pytest.raises(SpaceError, match="no room left for the image") as caught:
        squash(path, console)
    assert text in caught.value.detail
    assert not (path.parent / "img.sqfs").exists()


def test_another_failure_is_the_tools(program: Program, console: Console) -> None:
    path = program("mksquashfs", 'echo half >"$2"; echo broken; exit 1')
    with pytest.raises(ToolError, match="mksquashfs ended with status 1") as caught:
        squash(path, console)
    assert caught.value.detail == "broken"
    assert not (path.parent / "img.sqfs").exists()


def test_an_image_that_cannot_be_put_in_order_for_want_of_room_leaves_nothing(
    program: Program, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(target: Path, *_: object, **__: object) -> None:
        target.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(squasher, "read_image", lambda _: Mock())
    monkeypatch.setattr(squasher, "write_image", full)
    path = program("mksquashfs", 'echo whole >"$2"')
    with pytest.raises(SpaceError, match="no room left for the image"):
        squash(path, console, order=("a",))
    assert not [*path.parent.glob("img.sqfs*")]
