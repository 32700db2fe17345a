"""Generations of an installation: the one switch, what a killed one leaves, what can go."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.manifests import manifest
from tests.unit.conftest import left_behind, names
from wrapper import process
from wrapper.commands.history import rollback
from wrapper.console import Console
from wrapper.errors import PrefixError
from wrapper.manifest import write_manifest
from wrapper.models import Environment
from wrapper.prefix import generations as module
from wrapper.prefix import shims
from wrapper.prefix.generations import (
    current_generation,
    generations,
    images_in_use,
    next_number,
    prunable,
    remove,
    repair,
    switch,
)
from wrapper.prefix.staging import NextGeneration, Staging
from wrapper.util.removal import remove_tree

INSIDE = "/containerize-1"
OLD, NEW = ({"python3", "old"}, {"python3", "new"})
SHIM = shims.shim(Path("/somewhere"), Path("/runtime"))
OURS = {*shims.DEBUG_NAMES, shims.LIST_PACKAGES, ".share"}


@pytest.fixture(autouse=True)
def no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disks are slow, and what they keep is not in question here."""
    monkeypatch.setattr(os, "fsync", lambda _handle: None)


def write(staging: Staging | NextGeneration, programs: set[str], shim: str) -> None:
    environment = Environment(root=INSIDE)
    staging.write_programs({name: f"bin/{name}" for name in programs}, INSIDE, shim, environment)
    staging.write_links(environment)
    staging.image.write_bytes(b"image")
    (staging.directory / "env").write_text(f"generation={staging.generation}\n")
    write_manifest(staging.directory / "manifest.json", manifest(generation=staging.generation))


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """An installation with one generation."""
    with Staging(tmp_path / "env", generation=1, mode=0o755) as staging:
        write(staging, OLD, SHIM)
        staging.publish()
    return tmp_path / "env"


def add(prefix: Path, number: int, programs: set[str] = NEW, shim: str = SHIM) -> None:
    """A further generation, put into use."""
    with NextGeneration(prefix, number, 0o755) as staging:
        write(staging, programs, shim)
        staging.publish()


def numbers(prefix: Path) -> list[int]:
    return [generation.number for generation in generations(prefix)]


# -- which there are -------------------------------------------------------------------------------
def test_generations_are_listed_oldest_first(prefix: Path) -> None:
    for number in (2, 10, 11):
        add(prefix, number)
    assert numbers(prefix) == [1, 2, 10, 11]
    assert current_generation(prefix).number == 11
    assert current_generation(prefix).programs == NEW
    assert [g.number for g in generations(prefix) if g.current] == [11]


@pytest.mark.parametrize("name", [".new-5", ".old-5", "5", "notes"])
def test_what_is_incomplete_is_none(prefix: Path, name: str) -> None:
    (prefix / ".generations" / name).mkdir()
    assert numbers(prefix) == [1]


@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_a_damaged_one_leaves_the_others_usable(prefix: Path, text: str) -> None:
    add(prefix, 2)
    add(prefix, 3)
    (prefix / ".generations/2/manifest.json").write_text(text)
    assert numbers(prefix) == [1, 3]
    (prefix / ".generations/3/manifest.json").write_text(text)
    assert next_number(prefix) == 4
    with pytest.raises(PrefixError) as caught:
        current_generation(prefix)
    assert f"containerize doctor {prefix}" in caught.value.hint


@pytest.mark.parametrize("what", ["manifest.json", "_bin", "."])
def test_one_goes_back_from_a_damaged_one(
    prefix: Path, what: str, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "ignore_signals", lambda: None)
    add(prefix, 2)
    remove_tree(prefix / ".generations/2" / what)
    with pytest.raises(PrefixError, match="no generation 5"):
        rollback(prefix, 5, console)
    assert rollback(prefix, None, console).number == 1
    assert names(prefix / "bin") == OLD | OURS


def test_a_link_to_a_generation_without_any_is_no_installation(tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to(".generations/1")
    with pytest.raises(PrefixError, match="is no installation"):
        generations(tmp_path)
    (tmp_path / ".generations").touch()
    with pytest.raises(PrefixError, match="is no installation"):
        current_generation(tmp_path)


@pytest.mark.parametrize("target", [None, "nowhere", ".generations/99"])
def test_a_prefix_without_a_generation_in_use_is_no_installation(
    prefix: Path, target: str | None
) -> None:
    (prefix / "current").unlink()
    if target:
        (prefix / "current").symlink_to(target)
    with pytest.raises(PrefixError, match="is no installation"):
        current_generation(prefix)


# -- switching -------------------------------------------------------------------------------------
def test_a_switch_changes_programs_and_keeps_the_other_generation(prefix: Path) -> None:
    add(prefix, 2)
    assert names(prefix / "bin") == {*NEW, *OURS}
    assert (prefix / "current/env").read_text() == "generation=2\n"
    switch(prefix, 1)
    assert names(prefix / "bin") == {*OLD, *OURS}
    assert (prefix / "current/env").read_text() == "generation=1\n"
    assert numbers(prefix) == [1, 2]


def test_shims_stay_the_same_files_where_their_text_does(prefix: Path) -> None:
    before = (prefix / "bin/python3").stat().st_ino
    add(prefix, 2)
    assert {(prefix / "bin" / name).stat().st_ino for name in NEW} == {before}


def test_a_new_text_is_the_text_of_all_shims(prefix: Path) -> None:
    add(prefix, 2, shim=SHIM + "# newer\n")
    every = names(prefix / "bin") - {shims.LIST_PACKAGES, ".share"}
    assert every == {*NEW, *shims.DEBUG_NAMES}
    assert {(prefix / "bin" / name).read_text() for name in every} == {SHIM + "# newer\n"}
    assert len({(prefix / "bin" / name).stat().st_ino for name in every}) == 1


def test_what_the_user_put_into_bin_stays(prefix: Path) -> None:
    mine = prefix / "bin/mine"
    mine.write_text("#!/bin/sh\n")
    add(prefix, 2)
    assert mine.exists()


def test_a_failed_generation_leaves_all_as_it_was(prefix: Path) -> None:
    before = {path: path.lstat().st_ino for path in prefix.rglob("*")}
    with pytest.raises(KeyboardInterrupt), NextGeneration(prefix, 2, 0o755) as staging:
        write(staging, NEW, SHIM + "# newer\n")
        raise KeyboardInterrupt
    assert {path: path.lstat().st_ino for path in prefix.rglob("*")} == before


# -- killed in the middle --------------------------------------------------------------------------
class Killed(BaseException):
    """Stands for SIGKILL: no code of ours runs after it."""


def _counted(
    name: str, real: Callable[..., object], changes: list[str], count: int
) -> Callable[..., object]:
    def change(self: Path, *arguments: object, **options: object) -> object:
        changes.append(f"{name} {self.name}")
        if len(changes) == count:
            raise Killed
        return real(self, *arguments, **options)

    return change


@pytest.mark.parametrize("text", [SHIM, SHIM + "# newer\n"], ids=["same shim", "new shim"])
def test_a_switch_may_be_killed_at_any_moment(prefix: Path, text: str) -> None:
    """It is the old generation or the new one, all programs of it start, and repair tidies up."""
    add(prefix, 2, shim=SHIM)
    switch(prefix, 1)
    moment = 1
    while _killed(prefix, moment, text):
        _check_usable(prefix)
        repair(prefix)
        _check_tidy(prefix)
        switch(prefix, 1, SHIM)
        _check_tidy(prefix)
        moment += 1
    assert moment > 4, "there were moments to be killed at"
    assert (prefix / "current").readlink() == Path(".generations/2")


def _killed(prefix: Path, moment: int, text: str) -> bool:
    """Switch to generation 2 and be killed at the change of this number; false if there is none."""
    with pytest.MonkeyPatch.context() as patch:
        changes: list[str] = []
        for name in ("rename", "symlink_to", "hardlink_to", "unlink", "touch", "write_text"):
            patch.setattr(Path, name, _counted(name, getattr(Path, name), changes, moment))
        try:
            switch(prefix, 2, text)
        except Killed:
            return True
    return False


def _check_usable(prefix: Path) -> None:
    generation = current_generation(prefix)
    assert generation.number in (1, 2)
    for name in generation.programs:
        assert shims.is_shim((prefix / "bin" / name).read_bytes())
        assert os.access(prefix / "bin" / name, os.X_OK)


def _check_tidy(prefix: Path) -> None:
    programs = current_generation(prefix).programs
    assert names(prefix / "bin") == {*programs, *OURS}
    assert numbers(prefix) == [1, 2]
    assert not [name for name in names(prefix) if name.startswith(".current")]


def test_what_a_killed_build_left_goes_and_used_generations_stay(prefix: Path) -> None:
    add(prefix, 2)
    for name in (".new-3", ".old-0", "3"):
        (prefix / ".generations" / name / "sub").mkdir(parents=True)
    repair(prefix)
    assert names(prefix / ".generations") == {"1", "2"}


# -- removing --------------------------------------------------------------------------------------
@pytest.fixture
def four(prefix: Path) -> Path:
    for number in (2, 3, 4):
        add(prefix, number)
    return prefix


@pytest.mark.parametrize(
    ("current", "keep", "gone"),
    [(4, 1, [1, 2, 3]), (4, 2, [1, 2]), (4, 4, []), (4, 9, []), (2, 1, [1, 3, 4]), (2, 2, [1, 3])],
)
def test_the_oldest_go_and_never_the_one_in_use(
    four: Path, current: int, keep: int, gone: list[int]
) -> None:
    switch(four, current)
    chosen, busy = prunable(four, keep)
    assert ([g.number for g in chosen], busy) == (gone, [])
    for generation in chosen:
        remove(generation)
    assert numbers(four) == [n for n in (1, 2, 3, 4) if n not in gone]
    assert current_generation(four).number == current


def test_an_image_that_is_open_keeps_its_generation(four: Path) -> None:
    with (four / ".generations/2/img.sqfs").open("rb"):
        assert str(four / ".generations/2/img.sqfs") in set(images_in_use())
        chosen, busy = prunable(four, 1)
    assert ([g.number for g in chosen], [g.number for g in busy]) == ([1, 3], [2])


def test_a_killed_removal_is_finished_later(four: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(_path: Path, **_: object) -> None:
        raise Killed

    monkeypatch.setattr(module, "remove_tree", killed)
    with pytest.raises(Killed):
        remove(generations(four)[0])
    monkeypatch.undo()
    assert numbers(four) == [2, 3, 4]
    left_behind(four / ".staging")  # of a 'new' that was killed after its switch
    (four / "owner.json").touch()
    repair(four)
    assert names(four / ".generations") == {"2", "3", "4"}
    assert not {".staging", "owner.json"} & names(four)


def a_process(
    proc: Path, pid: int, name: str, space: int, *, holds: str = "", zombie: bool = False
) -> None:
    for folder in ("ns", "fd"):
        (proc / str(pid) / folder).mkdir(parents=True)
    (proc / str(pid) / "comm").write_text(f"{name}\n")
    (proc / str(pid) / "ns/user").symlink_to(f"user:[{space}]")
    if not zombie:
        (proc / str(pid) / "ns/mnt").symlink_to("mnt:[1]")
    if holds:
        (proc / str(pid) / "fd/3").symlink_to(holds)


def test_a_helper_that_a_killed_runtime_left_is_no_program(tmp_path: Path) -> None:
    a_process(tmp_path, 1, "bash", 1)
    a_process(tmp_path, 2, "starter", 2, holds="/starts.sqfs")
    a_process(tmp_path, 3, "squashfuse_ll", 3, holds="/runs.sqfs")
    a_process(tmp_path, 4, "python3", 3)
    a_process(tmp_path, 5, "squashfuse_ll", 5, holds="/left.sqfs")
    a_process(tmp_path, 6, "python3", 5, zombie=True)
    a_process(tmp_path, 7, "squashfuse", 1, holds="/of-a-setuid-runtime.sqfs")
    found = {path for path in images_in_use(tmp_path) if path.endswith(".sqfs")}
    assert {"/starts.sqfs", "/runs.sqfs", "/of-a-setuid-runtime.sqfs"} <= found
    assert "/left.sqfs" not in found
