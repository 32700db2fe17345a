"""What directories take on disk, counted once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wrapper.util import disk
from wrapper.util.disk import add, overlap


def test_files_with_two_names_count_for_the_first(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "below").mkdir(parents=True)
        (tmp_path / name / "own").write_bytes(os.urandom(1 << 16))
    (tmp_path / "one/below/image").write_bytes(os.urandom(1 << 20))
    (tmp_path / "two/below/image").hardlink_to(tmp_path / "one/below/image")
    (tmp_path / "two/link").symlink_to("nowhere")
    one, two = disk.disk_usage([tmp_path / "one", tmp_path / "two"])
    assert one >= (1 << 20) + (1 << 16)
    assert 1 << 16 <= two < 1 << 17
    assert disk.disk_usage([tmp_path / "none"]) == [0]


def test_only_large_files_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe would wait for who writes."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "small").write_bytes(b"x")
    (tmp_path / "image").write_bytes(os.urandom(1 << 20))
    (tmp_path / "link").symlink_to("image")
    asked: list[str] = []
    monkeypatch.setattr(disk, "_shared_runs", lambda path: asked.append(path.name) or [])
    disk.disk_usage([tmp_path])
    assert asked == ["image"]


def test_what_became_a_pipe_or_a_link_meanwhile_has_no_runs(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    assert [disk._shared_runs(tmp_path / name) for name in ("pipe", "link")] == [[], []]


def test_blocks_that_are_shared_count_for_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "image").write_bytes(os.urandom(1 << 20))
    runs = {"one": [(0, 900 << 10)], "two": [(100 << 10, 1000 << 10)]}
    monkeypatch.setattr(disk, "_shared_runs", lambda path: runs[path.parent.name])
    one, two = disk.disk_usage([tmp_path / "one", tmp_path / "two"])
    assert one - two == 800 << 10


def test_runs_are_joined_and_compared() -> None:
    found: list[disk.Run] = []
    for runs, union in (
        ([(5, 9), (1, 3)], [(1, 3), (5, 9)]),
        ([(3, 4), (6, 7)], [(1, 4), (5, 9)]),
        ([(20, 30), (10, 12)], [(1, 4), (5, 9), (10, 12), (20, 30)]),
        ([(4, 5), (11, 21)], [(1, 9), (10, 30)]),
        ([(0, 40)], [(0, 40)]),
    ):
        add(runs, found)
        assert found == union
    assert overlap([(0, 2), (3, 6), (8, 20)], [(1, 4), (5, 9)]) == 1 + 1 + 1 + 1
    assert overlap([(2, 3)], []) == 0
