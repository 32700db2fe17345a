"""What directories take on disk, counted once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wrapper.util import disk_usage
from wrapper.util.disk_usage import overlap, union


def test_files_with_two_names_count_for_the_first(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "below").mkdir(parents=True)
        (tmp_path / name / "own").write_bytes(os.urandom(1 << 16))
    (tmp_path / "one/below/image").write_bytes(os.urandom(1 << 20))
    (tmp_path / "two/below/image").hardlink_to(tmp_path / "one/below/image")
    (tmp_path / "two/link").symlink_to("nowhere")
    one, two = disk_usage.disk_usage([tmp_path / "one", tmp_path / "two"])
    assert one >= (1 << 20) + (1 << 16)
    assert 1 << 16 <= two < 1 << 17
    assert disk_usage.disk_usage([tmp_path / "none"]) == [0]


def test_blocks_that_are_shared_count_for_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "image").write_bytes(os.urandom(1 << 20))
    runs = {"one": [(0, 900 << 10)], "two": [(100 << 10, 1000 << 10)]}
    monkeypatch.setattr(disk_usage, "_shared_runs", lambda path: runs[path.parent.name])
    one, two = disk_usage.disk_usage([tmp_path / "one", tmp_path / "two"])
    assert one - two == 800 << 10


def test_runs_are_joined_and_compared() -> None:
    assert union([(5, 9), (1, 3), (3, 4), (6, 7)]) == [(1, 4), (5, 9)]
    assert overlap([(0, 2), (3, 6), (8, 20)], [(1, 4), (5, 9)]) == 1 + 1 + 1 + 1
    assert overlap([(2, 3)], []) == 0
