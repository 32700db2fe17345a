"""The cache directory: one user's, or a project's."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.conftest import names
from wrapper.errors import InputError
from wrapper.util.cache import draft, drafts, make_cache, make_directory, users_directory, users_own


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("above", "expected"),
    [
        (0o700, 0o755),
        (0o755, 0o755),
        (0o775, 0o755),  # the group may be everybody's
        (0o2750, 0o755),
        (0o2770, 0o2775),
        (0o1777, 0o755),
    ],
)
def test_members_of_a_project_may_write_and_nobody_else(
    above: int, expected: int, tmp_path: Path
) -> None:
    root = tmp_path / "cache"
    root.mkdir()
    root.chmod(above)
    mask = os.umask(0o077)
    try:
        make_directory(root / "archives/1234")
    finally:
        os.umask(mask)
    assert mode(root / "archives") & ~stat.S_ISGID == expected & ~stat.S_ISGID
    assert mode(root / "archives/1234") & stat.S_IWGRP == expected & stat.S_IWGRP
    assert mode(root) == above, "what was there stays as it is"


def test_a_part_is_each_users_own(tmp_path: Path) -> None:
    tmp_path.chmod(0o2770)
    own = users_own(tmp_path)
    assert own.place == tmp_path / "users" / str(os.geteuid())
    assert mode(own.place) == 0o700
    assert mode(own.place.parent) & stat.S_IWGRP, "colleagues make theirs beside it"
    assert users_directory(tmp_path, "uv").samefile(own.place / "uv")


def test_ones_own_cache_is_used_by_its_path(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    own = users_own(tmp_path)
    assert own.closed and own.path == own.place


def test_in_a_shared_cache_another_directory_in_its_place_is_not_used(tmp_path: Path) -> None:
    tmp_path.chmod(0o2770)
    own = users_own(tmp_path)
    (own.path / "mine").touch()
    own.place.rename(tmp_path / "users/moved")
    own.place.mkdir(mode=0o777)
    (own.place / "theirs").touch()
    assert not own.closed
    assert names(users_own(tmp_path).path) == {"mine"}


def _link(place: Path) -> None:
    place.symlink_to(place.parents[2])


def _file(place: Path) -> None:
    place.touch()


def _open(place: Path) -> None:
    place.mkdir()
    place.chmod(0o770)


def _foreign(place: Path) -> None:
    place.mkdir()
    os.chown(place, 12345, -1)


@pytest.mark.parametrize(
    "put",
    [
        *(_link, _file, _open),
        pytest.param(_foreign, marks=pytest.mark.root("only root can")),
    ],
)
def test_what_somebody_else_put_there_is_refused(
    put: Callable[[Path], None], tmp_path: Path
) -> None:
    tmp_path.chmod(0o2770)
    make_directory(tmp_path / "cache/users")
    put(tmp_path / "cache/users" / str(os.geteuid()))
    with pytest.raises(InputError, match="the cache directory cannot be used"):
        users_own(tmp_path / "cache")


def test_a_cache_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cache directory cannot be used"):
        make_cache(tmp_path / "file/cache")


def test_no_two_builds_write_to_one_draft(tmp_path: Path) -> None:
    assert draft(tmp_path / "a") != draft(tmp_path / "a")
    assert draft(tmp_path / "a").parent == tmp_path


def test_drafts_are_found_again(tmp_path: Path) -> None:
    path = tmp_path / "odd [name]"
    mine = {draft(path) for _ in range(2)}
    for one in (*mine, path, draft(tmp_path / "other")):
        one.touch()
    assert {*drafts(path)} == mine
