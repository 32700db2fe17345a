"""Removing: all of what a build made, and nothing that somebody put in its place."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.conftest import NOBODY, dead_owner, left_behind, names, without_powers
from wrapper.errors import PrefixError
from wrapper.images.sif.output import Ownership, drafted, publish
from wrapper.prefix.generations import repair
from wrapper.prefix.staging import Staging, finish_adoption
from wrapper.util import foreign, removal
from wrapper.util.removal import (
    empty_marked,
    is_abandoned,
    make_marked,
    marked_directory,
    remove_abandoned,
    remove_marked,
    remove_tree,
)

STEM = "containerize-"


# -- trees ---------------------------------------------------------------------------------------
def test_read_only_trees_are_removed(open_place: Path) -> None:
    with without_powers():
        inner = open_place / "tree/a/b"
        inner.mkdir(parents=True)
        (inner / "file").touch()
        (open_place / "tree/link").symlink_to(open_place)
        for path, mode in ((inner, 0), (inner.parent, 0o500), (open_place / "tree", 0o400)):
            path.chmod(mode)
        remove_tree(open_place / "tree")
    assert names(open_place) == set()


def test_files_and_links_are_removed_and_not_what_they_lead_to(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir(mode=0o755)
    (tmp_path / "kept/file").touch()
    (tmp_path / "link").symlink_to("kept")
    (tmp_path / "dangling").symlink_to("nothing")
    (tmp_path / "file").touch()
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/link").symlink_to("../kept")
    os.mkfifo(tmp_path / "tree/pipe")
    for name in ("link", "dangling", "file", "tree", "missing", "file/below"):
        remove_tree(tmp_path / name)
    assert names(tmp_path) == {"kept"} and names(tmp_path / "kept") == {"file"}
    assert (tmp_path / "kept").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("mode", [0o755, 0o500])
def test_a_tree_that_is_deeper_than_any_path(open_place: Path, mode: int) -> None:
    """As a script of a package can make one; the next build, and every later one, met it again."""
    with without_powers():
        top = open_place / "tree"
        top.mkdir()
        handle = os.open(top, os.O_RDONLY)
        for number in range(2500):
            os.mkdir("deep", dir_fd=handle)
            if number % 300 == 0:
                os.close(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=handle))
            below = os.open("deep", os.O_RDONLY, dir_fd=handle)
            os.fchmod(handle, mode)
            os.close(handle)
            handle = below
        os.close(handle)
        remove_tree(top)
    assert names(open_place) == set()


def test_what_cannot_be_removed_is_tried_again_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    remove, tries = removal._remove, []

    def busy(path: Path, inside: int | None) -> None:
        tries.append(path)
        if len(tries) < 3:
            raise OSError(16, "Device or resource busy")
        remove(path, inside)

    monkeypatch.setattr(removal, "_remove", busy)
    remove_tree(tmp_path / "file")
    assert len(tries) == 3 and names(tmp_path) == set()


def test_what_can_never_be_removed_is_told_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_path: Path, _inside: int | None) -> None:
        raise PermissionError(13, "Permission denied", "file")

    monkeypatch.setattr(removal, "_SECONDS", 0.1)
    monkeypatch.setattr(removal, "_remove", refuse)
    (tmp_path / "tree").mkdir()
    with pytest.raises(PermissionError) as caught:
        remove_tree(tmp_path / "tree")
    assert caught.value.filename == str(tmp_path / "tree")


# -- our own -------------------------------------------------------------------------------------
def test_a_marked_directory_is_private_and_goes(tmp_path: Path) -> None:
    root = marked_directory(tmp_path, STEM)
    assert root.name.startswith(STEM) and root.stat().st_mode & 0o777 == 0o700
    assert json.loads((root / "owner.json").read_text())["pid"] == os.getpid()
    (root / "a/b").mkdir(parents=True)
    empty_marked(root)
    assert names(root) == {"owner.json"}
    remove_marked(root)
    remove_marked(root)
    assert names(tmp_path) == set()


def test_one_thing_may_stay(tmp_path: Path) -> None:
    root = marked_directory(tmp_path, STEM)
    for name in ("a", "b"):
        (root / name).touch()
    remove_marked(root, but="a")
    assert names(root) == {"a"}


@pytest.mark.parametrize("kind", ["link", "directory", "file"])
def test_what_took_its_place_stays(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "marked"
    make_marked(root)
    root.rename(tmp_path / "aside")
    victim = left_behind(tmp_path / "victim")
    if kind == "link":
        root.symlink_to(victim)
    elif kind == "directory":
        victim.rename(root)
    else:
        root.touch()
    for remove in (empty_marked, remove_marked, lambda path: remove_marked(path, but="x")):
        remove(root)
        assert kind == "file" or (root / "sub/file").exists()
    assert root.exists()


# -- abandoned ones ------------------------------------------------------------------------------
def linked(parent: Path) -> Path:
    """A link to somebody's directory that has a mark, as a neighbour can write one elsewhere."""
    (parent / f"{STEM}old").symlink_to(left_behind(parent / "victim"))
    return parent / "victim"


def open_to_all(parent: Path) -> Path:
    """A directory of ours into which a neighbour could write the mark."""
    root = left_behind(parent / f"{STEM}old")
    root.chmod(0o770)
    return root


def linked_mark(parent: Path) -> Path:
    root = left_behind(parent / f"{STEM}old")
    (root / "owner.json").rename(parent / "mark")
    (root / "owner.json").symlink_to(parent / "mark")
    return root


def pipe_as_mark(parent: Path) -> Path:
    root = left_behind(parent / f"{STEM}old")
    (root / "owner.json").unlink()
    os.mkfifo(root / "owner.json")
    return root


def other_name(parent: Path) -> Path:
    return left_behind(parent / "other")


def living(parent: Path) -> Path:
    return left_behind(parent / f"{STEM}old", dead_owner(pid=os.getppid(), started=None))


Case = Callable[[Path], Path]


@pytest.mark.parametrize(
    "case", [linked, open_to_all, linked_mark, pipe_as_mark, other_name], ids=lambda c: c.__name__
)
@pytest.mark.parametrize("held", [False, True])
def test_what_is_not_surely_ours_stays(tmp_path: Path, case: Case, held: bool) -> None:
    root = case(tmp_path)
    begin = time.monotonic()
    remove_abandoned(tmp_path, STEM, held=held)
    assert (root / "sub/file").exists()
    assert time.monotonic() - begin < 2


@pytest.mark.root("only root can give a file away")
@pytest.mark.parametrize("what", [".", "owner.json"])
def test_a_strangers_stays_also_where_we_are_root(tmp_path: Path, what: str) -> None:
    root = left_behind(tmp_path / f"{STEM}old")
    os.chown(root / what, NOBODY, NOBODY)
    remove_abandoned(tmp_path, STEM)
    assert (root / "sub/file").exists() and not is_abandoned(root)


def test_of_another_host_only_what_a_lock_tells_is_removed(tmp_path: Path) -> None:
    root = left_behind(tmp_path / f"{STEM}old", dead_owner(host=f"not-{socket.gethostname()}"))
    remove_abandoned(tmp_path, STEM)
    assert root.exists()
    remove_abandoned(tmp_path, STEM, held=True)
    assert names(tmp_path) == set()


def test_a_living_builders_stays_whoever_holds_the_lock(tmp_path: Path) -> None:
    make_marked(tmp_path / f"{STEM}mine")
    remove_abandoned(tmp_path, STEM, held=True)
    assert names(tmp_path) == {f"{STEM}mine"}


def test_stems_of_other_names_are_others(tmp_path: Path) -> None:
    """The prefix 'env' and the prefix 'env.new-1' in one directory."""
    left_behind(tmp_path / ".env.new-1.new-0123abcd")
    remove_abandoned(tmp_path, ".env.new-", held=True)
    assert len(names(tmp_path)) == 1
    remove_abandoned(tmp_path, ".env.new-1.new-", held=True)
    assert names(tmp_path) == set()


# -- who removes what it finds by name -------------------------------------------------------------
@pytest.mark.parametrize("name", [".env.new-0123abcd", "env/.staging", "env/bin"])
def test_a_new_installation_removes_nobodys_directory(tmp_path: Path, name: str) -> None:
    """A neighbour can rename directories of mine where both of us may write."""
    prefix, results = tmp_path / "env", tmp_path / name
    (results / "sub").mkdir(parents=True)
    (tmp_path / "env").mkdir(exist_ok=True)
    try:
        with Staging(prefix, generation=1, mode=0o755):
            pass
    except PrefixError as error:
        assert name == "env/.staging" and "is in the way" in error.what
    assert (results / "sub").is_dir()


def test_a_change_removes_nothing_behind_a_link(tmp_path: Path) -> None:
    prefix, victim = tmp_path / "env", tmp_path / "victim"
    (victim / "1/_bin").mkdir(parents=True)
    (victim / "results").mkdir()
    (prefix / "bin").mkdir(parents=True)
    (prefix / ".generations").symlink_to(victim)
    (prefix / "current").symlink_to(".generations/1")
    with pytest.raises(OSError):
        repair(prefix)
    assert {"1", "results"} <= names(victim)


# -- permissions -----------------------------------------------------------------------------------
def private(path: Path) -> Path:
    """A directory that nobody else may look into."""
    (path / ".generations/1").mkdir(parents=True)
    (path / "key").touch()
    for closed, mode in ((path / "key", 0o600), (path, 0o700)):
        closed.chmod(mode)
    return path


@pytest.mark.parametrize("kind", ["link", "directory"])
def test_what_takes_the_place_of_a_staging_directory_keeps_its_permissions(
    tmp_path: Path, kind: str
) -> None:
    """A neighbour would have had all files of somebody's opened to the group, by a link."""
    victim, staging = private(tmp_path / "victim"), Staging(tmp_path / "env", 1, 0o2775)
    with (
        pytest.raises(PrefixError, match=r"something else is in its place|Not a directory"),
        staging,
    ):
        staging.root.rename(tmp_path / "aside")
        if kind == "link":
            staging.root.symlink_to(victim)
        else:
            victim = victim.rename(staging.root)
        staging.publish()
    assert victim.stat().st_mode & 0o7777 == 0o700
    assert (victim / "key").stat().st_mode & 0o7777 == 0o600


def test_what_takes_the_place_of_an_image_keeps_its_permissions(tmp_path: Path) -> None:
    victim, out = private(tmp_path / "victim"), tmp_path / "out.sif"
    ownership = Ownership(mode=0o755, group=os.getgid())
    with pytest.raises(PrefixError, match="is not there any more"), drafted(out) as draft:
        draft.symlink_to(victim / "key")
        publish(draft, out, ownership)
    assert (victim / "key").stat().st_mode & 0o7777 == 0o600
    assert not out.exists()


def test_what_takes_the_place_of_a_file_keeps_its_permissions(tmp_path: Path) -> None:
    victim = private(tmp_path / "victim")
    (tmp_path / "file").touch(mode=0o600)
    foreign.set_mode(tmp_path / "file", 0o644)
    assert (tmp_path / "file").stat().st_mode & 0o7777 == 0o644
    (tmp_path / "link").symlink_to(victim / "key")
    with pytest.raises(OSError):
        foreign.set_mode(tmp_path / "link", 0o644)
    assert (victim / "key").stat().st_mode & 0o7777 == 0o600


def test_a_draft_of_an_adoption_that_is_a_link_is_none(tmp_path: Path) -> None:
    prefix, victim = tmp_path / "env", private(tmp_path / "victim")
    (prefix / ".generations/1").mkdir(parents=True)
    (prefix / "current").symlink_to(".generations/1")
    (prefix / ".adopting").symlink_to(victim)
    assert not finish_adoption(prefix)
    assert "key" in names(victim)


def test_what_is_removed_lends_its_number_to_nobody(tmp_path: Path) -> None:
    """A file system gives the number of a directory that has gone to the next one."""
    root = tmp_path / "mine"
    make_marked(root)
    status = root.stat()
    remove_marked(root)
    assert (status.st_dev, status.st_ino) not in removal._made
