"""Trials, with a runtime that starts what it is told to, and what becomes of their answers."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.images import PRIMARY, SQUASHFS, sif_bytes, squashfs_bytes
from tests.unit.conftest import Program, names
from wrapper.console import Console
from wrapper.doctor import starts
from wrapper.doctor.finding import FAILED, OK
from wrapper.errors import ToolError
from wrapper.images.compression import EVERYWHERE, Compression, wanted
from wrapper.images.squasher import Squasher
from wrapper.images.trial import Trials
from wrapper.process import ToolFailed
from wrapper.runtime.runtime import Runtime

# An "image" is the word that says how it is compressed.
_SQUASH = """
for word; do [ "$last" != -comp ] || comp=$word; last=$word; done
case " {unable} " in
    *" $comp "*) echo "FATAL ERROR: Compressor $comp is not supported"; exit 1;;
esac
echo "$comp" >"$2"
"""
_START = """
while [ $# -gt 3 ]; do shift; done
image=$(echo "$OLD" | tr ' ' '\\n' | grep -E '\\.(sqfs|sif)$')
comp=$(tr -d '\\0' <"$image" | grep -aoE 'gzip|lz4|zstd' | tail -1)
case " {refused} " in *" $comp "*) echo "FATAL: unknown compression $comp"; exit 255;; esac
case " {dropped} " in *" $comp "*) exit 77;; esac
"""

Z, L, G = (Compression(name=name) for name in ("zstd", "lz4", "gzip"))


Make = Callable[..., Trials]


@pytest.fixture
def trials(program: Program, console: Console, tmp_path: Path) -> Make:
    def make(refused: str = "", unable: str = "", dropped: str = "") -> Trials:
        start = "OLD=$*\n" + _START.format(refused=refused, dropped=dropped)
        (tmp_path / "scratch").mkdir(exist_ok=True)
        return Trials(
            runtime=Runtime(
                path=program("singularity", start), name="singularity", version="4.1.3"
            ),
            squasher=Squasher(
                path=program("mksquashfs", _SQUASH.format(unable=unable)), version=(4, 6)
            ),
            scratch=tmp_path / "scratch",
            console=console,
            environ={"PATH": "/usr/bin:/bin", "SINGULARITY_BIND": "/no/such"},
        )

    return make


def test_what_starts_has_no_refusal_and_leaves_nothing(trials: Make, tmp_path: Path) -> None:
    tried = trials(refused="zstd")
    assert tried.refusal(L) == ""
    assert tried.refusal(Z) == "FATAL: unknown compression zstd"
    assert names(tmp_path / "scratch") == set()


def test_the_first_that_starts_is_chosen(trials: Make, screen: io.StringIO) -> None:
    assert str(trials().choose(wanted("default"))) == "zstd:3"
    assert screen.getvalue() == ""
    assert str(trials(refused="zstd").choose(wanted("default"))) == "lz4"
    said = "images are compressed with lz4: singularity 4.1.3 does not start zstd here"
    assert said in screen.getvalue()
    assert str(trials(refused="zstd lz4").choose(wanted("default"))) == "gzip:1"
    assert str(trials(refused="zstd", unable="lz4").choose(wanted("fast"))) == "gzip:1"


def test_the_one_that_was_asked_for_and_does_not_start_is_told(trials: Make) -> None:
    with pytest.raises(ToolError, match="starts no image here that is compressed with zstd") as it:
        trials(refused="zstd").choose(wanted("zstd"))
    assert "FATAL: unknown compression zstd" in it.value.detail and "--compression" in it.value.hint


def test_what_mksquashfs_cannot_write_is_told_as_its_fault(trials: Make) -> None:
    with pytest.raises(ToolError, match="no image here that is compressed with lz4") as caught:
        trials(unable="lz4").choose(wanted("lz4"))
    assert "mksquashfs: FATAL ERROR: Compressor lz4 is not supported" in caught.value.detail
    with pytest.raises(ToolFailed):
        trials(unable="lz4").refusal(L)


def test_a_runtime_that_starts_nothing_is_told_as_that(trials: Make) -> None:
    with pytest.raises(ToolError, match=r"singularity 4.1.3 starts no image here$") as caught:
        trials(refused="zstd lz4 gzip").choose(wanted("default"))
    assert caught.value.detail == "FATAL: unknown compression gzip"


def test_overlays_that_are_dropped_without_a_word(trials: Make) -> None:
    assert trials().overlay_refusal(G) == ""
    assert "nothing is said" in trials(dropped="gzip").overlay_refusal(EVERYWHERE)
    assert "FATAL" in trials(refused="gzip").overlay_refusal(EVERYWHERE)


def test_an_image_over_a_directory_of_the_host(trials: Make, tmp_path: Path) -> None:
    """SingularityCE before 4.0 mounts the directory over it: the programs on disk would run."""
    trials().require_cover(tmp_path)
    with pytest.raises(ToolError, match=r"singularity 4\.1\.3 lays no image over") as caught:
        trials(dropped="gzip").require_cover(tmp_path)
    assert "--mask" in caught.value.hint and caught.value.where == str(tmp_path)


def test_a_node_without_a_loop_device_says_nothing_of_an_image(
    trials: Make, program: Program
) -> None:
    """It may have one in a moment: nothing else is tried, and no compression is to blame."""
    tried = trials()
    program("singularity", "echo 'FATAL: no loop devices available'; exit 255")
    with pytest.raises(ToolError, match="no loop device of this node is free") as caught:
        tried.choose(wanted("default"))
    assert "shared loop devices" in caught.value.hint
    assert "no loop devices" in tried.start().refusal


def test_a_start_says_why_there_is_none(trials: Make) -> None:
    assert trials(refused="gzip").start().refusal == "FATAL: unknown compression gzip"
    assert trials().start().refusal == ""


@pytest.mark.parametrize(("number", "fine"), [(1, True), (5, True), (6, False), (9, True)])
def test_images_that_exist(trials: Make, tmp_path: Path, number: int, fine: bool) -> None:
    """What mksquashfs cannot write cannot be tried: its start will tell."""
    image = tmp_path / "x y.sif"
    image.write_bytes(sif_bytes([(PRIMARY, SQUASHFS, squashfs_bytes(compression=number))]))
    tried = trials(refused="zstd", unable="number 9")
    if fine:
        tried.require(image)
        return
    with pytest.raises(ToolError, match=r"compressed with zstd, as x y.sif is") as caught:
        tried.require(image)
    assert caught.value.hint.endswith(f"containerize repack '{image}'")
    assert caught.value.where == str(image)


@pytest.mark.parametrize(
    ("number", "state", "told"),
    [(1, OK, "starts it here"), (5, OK, "starts it here"), (6, FAILED, "is compressed with zstd")],
)
def test_what_doctor_says_of_an_image(
    trials: Make, tmp_path: Path, number: int, state: str, told: str
) -> None:
    image = tmp_path / "img.sqfs"
    image.write_bytes(squashfs_bytes(compression=number))
    (found,) = starts.compression(image, tmp_path / "my env", trials(refused="zstd"))
    assert found.state == state and told in found.detail
    assert found.hint in ("", f"its owner: containerize repack '{tmp_path}/my env'")
    assert starts.compression(tmp_path / "gone", tmp_path, trials()) == []
