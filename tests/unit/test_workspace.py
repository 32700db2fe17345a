"""The build directory: where it is, what stays of it."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.conftest import dead_owner, left_behind, names, without_powers
from wrapper.console import Console
from wrapper.errors import ContainerizeError, InputError, Interrupted, SpaceError
from wrapper.models import Site
from wrapper.util import removal
from wrapper.util.disk import free_space, require_space
from wrapper.util.owner import identity
from wrapper.workspace import parent_directory, private_directory, workspace


# -- where ---------------------------------------------------------------------------------------
def test_a_relative_place_begins_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert parent_directory(Site(tmpdir=Path())) == tmp_path


@pytest.mark.parametrize("name", ["closed/missing", "file", "closed"])
def test_a_place_that_cannot_be_used(open_place: Path, name: str) -> None:
    (open_place / "file").touch()
    (open_place / "closed").mkdir()
    (open_place / "closed").chmod(0o555)
    with without_powers(), pytest.raises(InputError, match="temporary files") as caught:
        parent_directory(Site(tmpdir=open_place / name))
    assert caught.value.where == str(open_place / name)
    assert "--tmpdir" in caught.value.hint


def test_a_place_where_strangers_could_exchange_a_build(open_place: Path) -> None:
    place = open_place / "place"
    place.mkdir()
    place.chmod(0o777)
    with pytest.raises(InputError, match="temporary files is not safe: everybody can") as caught:
        parent_directory(Site(tmpdir=place))
    assert caught.value.where == str(place) and "--tmpdir" in caught.value.hint


@pytest.mark.parametrize("meanwhile", [0o777, 0o700])
def test_a_place_that_appears_meanwhile(
    open_place: Path, monkeypatch: pytest.MonkeyPatch, meanwhile: int
) -> None:
    """Between the look at /tmp/$USER and making it, somebody else may make it."""
    place, mkdir = open_place / "user", Path.mkdir

    def slow(self: Path, *args: Any, **options: Any) -> None:
        if self == place:
            mkdir(place)
            place.chmod(meanwhile)
        mkdir(self, *args, **options)

    monkeypatch.setattr(Path, "mkdir", slow)
    if meanwhile == 0o777:
        with pytest.raises(InputError, match="is not safe"):
            private_directory(Site(tmpdir=place))
    else:
        removal.remove_marked(private_directory(Site(tmpdir=place)))
    assert names(place) == set()


def test_a_place_where_nothing_can_be_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_flag=os.ST_NOEXEC))
    with pytest.raises(InputError, match="mounted noexec"):
        parent_directory(Site(tmpdir=tmp_path))


def test_a_missing_place_is_made_with_the_first_build(console: Console, tmp_path: Path) -> None:
    """Tykky's sites build in /tmp/$USER, which need not be there."""
    site = Site(tmpdir=tmp_path / "user/builds")
    assert parent_directory(site) == site.tmpdir and free_space(site.tmpdir) > 0
    assert not site.tmpdir.exists()
    with workspace(console, site=site) as space:
        assert space.root.parent == site.tmpdir
    assert site.tmpdir.stat().st_mode & 0o777 == 0o700


# -- life ----------------------------------------------------------------------------------------
def test_a_build_directory_is_private_and_goes(console: Console, tmp_path: Path) -> None:
    with workspace(console, site=Site(tmpdir=tmp_path)) as space:
        assert space.root.parent == tmp_path
        assert space.root.stat().st_mode & 0o777 == 0o700
        assert space.image.is_dir() and space.scratch.is_dir()
        assert space.cache.is_relative_to(space.root)
        console.log("a line")
        assert space.log.read_text() == "a line\n"
    assert console.log_path is None
    console.finish()
    assert names(tmp_path) == set()


def test_nobody_waits_for_the_last_word_until_litter_is_away(
    console: Console, screen: io.StringIO, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wrapper.workspace.TOLD_SECONDS", 0.0)
    with workspace(console, site=Site(tmpdir=tmp_path)) as space:
        pass
    console.info("installed")
    assert space.root.exists()
    console.finish()
    last = screen.getvalue().splitlines()[-2:]
    assert last[0] == "[ INFO ] installed" and "Removing the build directory: " in last[1]
    assert names(tmp_path) == set()


def test_what_cannot_be_removed_is_told_and_no_failure(
    console: Console, screen: io.StringIO, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with workspace(console, site=Site(tmpdir=tmp_path)) as space:
        pass

    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EBUSY, "busy")

    monkeypatch.setattr(removal, "remove_marked", refused)
    console.finish()
    assert f"cannot be removed: {space.root}: busy" in screen.getvalue()


def test_of_a_failure_the_log_stays(console: Console, tmp_path: Path) -> None:
    with (
        pytest.raises(ContainerizeError),
        workspace(console, site=Site(tmpdir=tmp_path)) as space,
    ):
        (space.image / "big").touch()
        console.log("a line")
        raise InputError("x")
    console.finish()
    assert names(space.root) == {"build.log"}
    assert console.log_path == space.log


@pytest.mark.parametrize(
    ("days", "entries", "stays"),
    [(15, ["build.log"], False), (13, ["build.log"], True), (15, ["build.log", "image"], True)],
)
def test_logs_of_failures_go_after_two_weeks(
    console: Console, tmp_path: Path, days: int, entries: list[str], stays: bool
) -> None:
    root = tmp_path / "containerize-failed"
    root.mkdir(mode=0o700)
    then = time.time() - days * 86_400
    for name in entries:
        (root / name).touch()
        os.utime(root / name, (then, then))
    build_in(console, tmp_path)
    assert root.exists() is stays


def test_an_empty_log_is_nothing_to_read(console: Console, tmp_path: Path) -> None:
    with pytest.raises(InputError), workspace(console, site=Site(tmpdir=tmp_path)):
        raise InputError("x")
    console.finish()
    assert names(tmp_path) == set()
    assert console.log_path is None


def test_of_a_bug_the_log_stays(console: Console, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="x"), workspace(console, site=Site(tmpdir=tmp_path)):
        console.log("a line")
        raise ValueError("x")
    assert console.log_path and console.log_path.exists()


def test_of_an_interruption_nothing_stays(console: Console, tmp_path: Path) -> None:
    with pytest.raises(Interrupted), workspace(console, site=Site(tmpdir=tmp_path)):
        raise Interrupted(15)
    console.finish()
    assert names(tmp_path) == set()
    assert console.log_path is None


@pytest.mark.parametrize("error", [None, InputError("x"), ValueError("x")])
def test_all_can_be_kept(console: Console, tmp_path: Path, error: Exception | None) -> None:
    site = Site(tmpdir=tmp_path, keep_files=True)
    with (
        contextlib.suppress(InputError, ValueError),
        workspace(console, site=site) as space,
    ):
        (space.image / "file").touch()
        if error:
            raise error
    (root,) = tmp_path.iterdir()
    assert (root / "image/file").exists()


def test_a_named_cache_is_used_and_stays(console: Console, tmp_path: Path) -> None:
    site = Site(tmpdir=tmp_path, cache=tmp_path / "cache")
    (tmp_path / "cache").mkdir()
    with workspace(console, site=site) as space:
        assert space.cache == tmp_path / "cache"
    with workspace(console, site=site, use_cache=False) as space:
        assert space.cache.is_relative_to(space.root)
    console.finish()
    assert names(tmp_path) == {"cache"}


def test_a_place_that_is_full(
    console: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(**_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "mkdtemp", full)
    with (
        pytest.raises(SpaceError, match="build directory: No space left on device"),
        workspace(console, site=Site(tmpdir=tmp_path)),
    ):
        pass


# -- builds that were killed -----------------------------------------------------------------------
def build_in(console: Console, parent: Path) -> None:
    with workspace(console, site=Site(tmpdir=parent)):
        pass
    console.finish()


@pytest.mark.parametrize("later", [{}, {"pid": os.getpid()}], ids=["gone", "another's number"])
def test_a_killed_builders_directory_goes(
    console: Console, tmp_path: Path, later: dict[str, object]
) -> None:
    left_behind(tmp_path / "containerize-old", dead_owner(**later))
    build_in(console, tmp_path)
    assert names(tmp_path) == set()


@pytest.mark.parametrize(
    ("left", "name"),
    [
        (None, "containerize-log"),
        ({"host": "elsewhere"}, "containerize-old"),
        ({"pid_namespace": "pid:[1]"}, "containerize-old"),  # it lives, in a container of its own
        (identity(), "containerize-old"),
        ({}, "something-else"),
        ([], "containerize-old"),
        ({"host": None}, "containerize-old"),
        ({"pid": "text"}, "containerize-old"),
    ],
)
def test_what_may_be_anothers_stays(console: Console, tmp_path: Path, left: Any, name: str) -> None:
    root = left_behind(tmp_path / name, dead_owner(**left) if isinstance(left, dict) else left)
    if left is None:
        (root / "owner.json").unlink()
    build_in(console, tmp_path)
    assert (root / "sub/file").exists()


@pytest.mark.parametrize(("age", "stays"), [(0, True), (3600, False)])
def test_a_directory_without_anything_goes_later(
    console: Console, tmp_path: Path, age: int, stays: bool
) -> None:
    """Its builder was killed before it was marked, or marks it this moment."""
    root = tmp_path / "containerize-new"
    root.mkdir(mode=0o700)
    os.utime(root, (time.time() - age, time.time() - age))
    build_in(console, tmp_path)
    assert root.exists() is stays


def test_the_mark_goes_last(
    console: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is killed while it removes its directory leaves the rest to the next."""
    whole = removal.remove_tree

    def killed(path: Path, **where: Any) -> None:
        if path.name == "tmp":
            raise KeyboardInterrupt
        whole(path, **where)

    monkeypatch.setattr(removal, "remove_tree", killed)
    with workspace(console, site=Site(tmpdir=tmp_path)) as space:
        pass
    with pytest.raises(KeyboardInterrupt):
        console.finish()
    assert (space.root / "owner.json").exists()


def test_what_was_kept_stays_kept(console: Console, tmp_path: Path) -> None:
    site = Site(tmpdir=tmp_path, keep_files=True)
    with workspace(console, site=site) as space:
        pass
    assert not (space.root / "owner.json").exists()


# -- room ----------------------------------------------------------------------------------------
def test_room_is_required_where_it_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wrapper.util.disk.free_space", lambda _path: 1_500_000)
    require_space(tmp_path, 1_500_000, "the build", "make some")
    with pytest.raises(SpaceError) as caught:
        require_space(tmp_path, 1_600_000, "the build", "make some")
    assert caught.value.what == "no room for the build: about 1.6 MB needed, 1.5 MB free"
    assert (caught.value.where, caught.value.hint) == (str(tmp_path), "make some")


def test_a_log_that_says_no_more_than_the_screen_is_not_kept(
    tmp_path: Path, console: Console
) -> None:
    with pytest.raises(ValueError), workspace(console, site=Site(tmpdir=tmp_path)):
        with console.step("Solving"):
            console.warning("seen")
        raise ValueError
    console.finish()
    assert list(tmp_path.iterdir()) == [] and console.log_path is None
