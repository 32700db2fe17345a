"""Images that not every runtime starts, and a shim that finds another one than its builder had."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.shell.conftest import Call, Prefix, write_environment, write_runtime

REFUSES = 'echo "FATAL: corrupted image: unknown compression algorithm value 6" >&2; exit 255'
Start = Callable[..., Call]


@pytest.fixture
def start(prefix: Prefix, tmp_path: Path) -> Start:
    """Call a shim with a runtime of another path, which says what it is and does ``then``."""

    def started(
        version: str, then: str, compression: str = "zstd", image: str = "img.sqfs"
    ) -> Call:
        write_environment(prefix.root, compressed=(compression, image), runtime=prefix.runtime)
        log = f'echo "${{@:1:3}}" >>{tmp_path}/calls\n'
        answer = f'[ "$1" != --version ] || {{ echo "{version}"; exit; }}\n'
        other = write_runtime(tmp_path / "other/run", prefix.out, then=log + answer + then)
        return prefix.call(prefix.program(), env={"CONTAINERIZE_RUNTIME": str(other)})

    return started


def calls(tmp_path: Path) -> int:
    return len((tmp_path / "calls").read_text().splitlines())


def test_what_it_does_not_start_is_told_with_the_way_out(start: Start, prefix: Prefix) -> None:
    call = start("singularity-ce version 4.1.3", REFUSES)
    assert call.status == 1
    assert "starts no image that is compressed with zstd" in call.stderr
    assert f"containerize repack {prefix.root}" in call.stderr
    assert f"use the runtime of the build ({prefix.runtime})" in call.stderr


def test_of_a_base_image_its_own_path_is_told(start: Start) -> None:
    call = start("singularity-ce version 4.1.3", REFUSES, image="/images/ba se.sif")
    assert "containerize repack /images/ba\\ se.sif" in call.stderr


@pytest.mark.parametrize(
    ("version", "compression", "then", "number"),
    [
        ("apptainer version 1.4.5", "zstd", "", 2),
        ("singularity-ce version 9.0", "zstd", "", 3),
        ("singularity-ce version 4.1.3", "zstd", "[ $4 != / ] || exit 255", 3),
        ("singularity-ce version 4.1.3", "lz4", "", 1),
    ],
    ids=["apptainer", "starts", "fails", "lz4"],
)
def test_what_starts_is_started(
    start: Start, tmp_path: Path, *, version: str, compression: str, then: str, number: int
) -> None:
    call = start(version, then, compression)
    assert call.status == 0 and call.image.endswith("/img.sqfs"), call.stderr
    assert calls(tmp_path) == number


def test_the_runtime_of_the_build_is_asked_nothing(prefix: Prefix, tmp_path: Path) -> None:
    log = f"echo >>{tmp_path}/calls"
    write_runtime(prefix.runtime, prefix.out, then=log)
    write_environment(prefix.root, compressed=("zstd", "img.sqfs"), runtime=prefix.runtime)
    assert prefix.run().status == 0
    assert calls(tmp_path) == 1
