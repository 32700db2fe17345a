"""What is opened in directories, and in which order."""

from __future__ import annotations

import ctypes
import errno
import os
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from wrapper import process
from wrapper.commands import profile
from wrapper.errors import ToolError
from wrapper.prefix.reading_order import read_order, write_order
from wrapper.process import Conversation
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


def test_that_nothing_more_can_be_watched_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Libc:
        def __init__(self, *_: object, **__: object) -> None: ...

        def inotify_init1(self, _flags: int) -> int:
            ctypes.set_errno(errno.EMFILE)
            return -1

    monkeypatch.setattr(ctypes, "CDLL", Libc)
    with pytest.raises(ToolError, match="Too many open files") as caught:
        profile._opened_files()
    assert "max_user_instances" in str(caught.value.where) and caught.value.hint


def conversation(script: str) -> AbstractContextManager[Conversation]:
    return process.conversation(["/bin/sh", "-c", script], env=os.environ)


def test_what_the_activation_prints_comes_before_the_shells_number() -> None:
    with conversation(f"echo 12; printf hello; {profile._WAITING}") as program:
        number = profile._number(program, Path("/p"))
        assert Path(f"/proc/{number}/root").exists() and number != 12


def test_a_container_that_does_not_start_shows_all_it_said() -> None:
    told = pytest.raises(ToolError, match="does not start")
    with conversation("echo 12; echo sorry") as program, told as caught:
        profile._number(program, Path("/p"))
    assert caught.value.detail.split() == ["12", "sorry"]


def test_an_order_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_order(tmp_path) == read_order(None) == []
    write_order(tmp_path, [])
    assert not [*tmp_path.iterdir()]
    write_order(tmp_path, ["lib/b", "lib/two words", "a\nb", "lib/\udcff"])
    assert read_order(tmp_path) == ["lib/b", "lib/two words", "lib/\udcff"]
