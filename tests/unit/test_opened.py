"""What is opened in directories, and in which order."""

from __future__ import annotations

from pathlib import Path

import pytest

from wrapper.prefix.reading import read_order, write_order
from wrapper.runtime.opened import OpenedFiles


def test_files_are_noted_in_the_order_in_which_they_are_opened(tmp_path: Path) -> None:
    for name in ("lib/b", "lib/deep/a", "other/c", "unseen/d", "lib/\udcff"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "unseen/link").symlink_to("../lib/b")
    with OpenedFiles() as opened:
        opened.watch(tmp_path, ["lib", "lib/deep", "other"])
        for name in ("other/c", "unseen/d", "unseen/link", "lib/deep/a", "other/c", "lib/\udcff"):
            (tmp_path / name).read_bytes()
        assert [*(tmp_path / "other").iterdir()]
        opened.follow(lambda: True)
    assert [*opened.paths] == ["other/c", "lib/b", "lib/deep/a", "lib/\udcff"]
    assert not opened.lost


def test_what_cannot_be_watched_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name, error in (("gone", FileNotFoundError), ("file", NotADirectoryError)):
        with OpenedFiles() as opened, pytest.raises(error, match=name):
            opened.watch(tmp_path, [name])


def test_an_order_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_order(tmp_path) == read_order(None) == []
    write_order(tmp_path, [])
    assert not [*tmp_path.iterdir()]
    write_order(tmp_path, ["lib/b", "lib/two words", "a\nb", "lib/\udcff"])
    assert read_order(tmp_path) == ["lib/b", "lib/two words", "lib/\udcff"]
