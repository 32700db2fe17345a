"""Who else can change a file, or put another one in its place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wrapper.owner import only_ours


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """``a/b/file`` that only we can change (pytest's directories are closed to others)."""
    folder = tmp_path / "a/b"
    folder.mkdir(parents=True)
    for path in (tmp_path, tmp_path / "a", folder):
        path.chmod(0o755)
    file = folder / "file"
    file.touch(mode=0o644)
    return file


def test_what_nobody_else_can_write_to(place: Path) -> None:
    assert only_ours(place)
    assert only_ours(place.parent / "not/there/yet")
    assert only_ours(Path("/")), "root's own"


@pytest.mark.parametrize("part", ["a/b/file", "a/b", "a"])
@pytest.mark.parametrize("mode", [0o775, 0o2775, 0o757])
def test_one_directory_on_the_way_is_enough(
    part: str, mode: int, place: Path, tmp_path: Path
) -> None:
    (tmp_path / part).chmod(mode)
    assert not only_ours(place)


def test_in_a_sticky_directory_what_is_ours_stays(place: Path, tmp_path: Path) -> None:
    (tmp_path / "a").chmod(0o1777)
    assert only_ours(place)
    assert not only_ours(tmp_path / "a"), "others put things into it"
    assert not only_ours(tmp_path / "a/new"), "another may make it first"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("part", ["a/b/file", "a/b", "a"])
def test_the_owner_can_always_change_it(part: str, place: Path, tmp_path: Path) -> None:
    os.chown(tmp_path / part, 12345, -1)
    assert not only_ours(place)


def test_links_are_followed_with_all_that_is_on_their_way(place: Path, tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "open/through").symlink_to(place.parent)
    (tmp_path / "straight").symlink_to("a/b")
    (tmp_path / "around").symlink_to(tmp_path / "open/through")
    (tmp_path / "back").symlink_to("a/../open/..")
    assert only_ours(tmp_path / "straight/file")
    assert not only_ours(tmp_path / "open/through/file")
    assert not only_ours(tmp_path / "around/file"), "the second link can be exchanged"
    assert not only_ours(tmp_path / "back/a/b/file"), "so can a directory that is only passed"


def test_a_circle_is_nobodys(tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    assert not only_ours(tmp_path / "one/file")
