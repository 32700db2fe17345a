"""The installation directory: may it be used, and with which permissions."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.conftest import NOBODY, without_powers
from wrapper.errors import PrefixError
from wrapper.prefix.checks import absolute_prefix, check_new, check_update, directory_mode, parents
from wrapper.runtime.binds import UNBINDABLE

Umask = Callable[[int], int]


# -- absolute_prefix -----------------------------------------------------------------------------
def test_a_relative_prefix_begins_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("env", "./env", "x/../env", "env/"):
        assert absolute_prefix(Path(name)) == tmp_path / "env"


def test_a_tilde_is_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert absolute_prefix(Path("~/env")) == tmp_path / "env"


def test_a_tilde_of_nobody_is_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute_prefix(Path("~no-such-user/env")) == tmp_path / "~no-such-user/env"


@pytest.mark.parametrize("name", ["a b", "it's", "$x", "`x`", "a*", "é", "a;b", "-x"])
def test_unusual_names_are_no_problem(tmp_path: Path, name: str) -> None:
    assert absolute_prefix(tmp_path / name) == tmp_path / name


@pytest.mark.parametrize("name", [f"a{letter}b" for letter in UNBINDABLE])
@pytest.mark.parametrize("pattern", ["{}", "{}/env"])
def test_characters_that_no_bind_can_express_are_refused(
    tmp_path: Path, name: str, pattern: str
) -> None:
    with pytest.raises(PrefixError, match="the prefix contains") as caught:
        absolute_prefix(tmp_path / pattern.format(name))
    assert repr(name[1]) in caught.value.what


def test_links_above_the_prefix_keep_their_names(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "real").mkdir()
    assert absolute_prefix(tmp_path / "link/env") == tmp_path / "link/env"


def test_a_prefix_that_is_a_link_is_the_directory(tmp_path: Path) -> None:
    """Nothing can be renamed to a link's name without replacing the link."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert absolute_prefix(tmp_path / "link") == tmp_path / "real"


def test_a_dangling_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nothing")
    assert absolute_prefix(tmp_path / "link") == tmp_path / "link"


# -- check_new -----------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["env", "a/b/env"])
def test_an_absent_prefix_is_fine(tmp_path: Path, name: str) -> None:
    check_new(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_an_empty_prefix_is_fine(tmp_path: Path) -> None:
    check_new(tmp_path)


@pytest.mark.parametrize("name", [".lock", ".staging"])
def test_what_a_build_itself_puts_there_is_nothing(tmp_path: Path, name: str) -> None:
    """Where the directory above is not ours, the lock and the work in progress are inside."""
    (tmp_path / name).mkdir()
    check_new(tmp_path)


def refused(prefix: Path) -> PrefixError:
    with pytest.raises(PrefixError) as caught:
        check_new(prefix)
    assert caught.value.hint
    return caught.value


def test_a_prefix_with_something_in_it(tmp_path: Path) -> None:
    (tmp_path / ".hidden").touch()
    error = refused(tmp_path)
    assert (error.what, error.where) == ("the prefix is not empty", str(tmp_path))


@pytest.mark.parametrize("kind", ["current", ".generations"])
def test_a_prefix_that_is_an_installation(tmp_path: Path, kind: str) -> None:
    if kind == "current":
        (tmp_path / "current").symlink_to(".generations/1")
    else:
        (tmp_path / ".generations").mkdir()
    assert refused(tmp_path).what == "there is an installation already"


@pytest.mark.parametrize("target", [None, "nothing", "file"])
def test_a_prefix_that_is_no_directory(tmp_path: Path, target: str | None) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file"
    if target:
        path = tmp_path / "link"
        path.symlink_to(target)
    assert refused(path).what == "the prefix is a file"
    error = refused(path / "sub/env")
    assert (error.what, error.where) == ("the prefix would be below a file", str(path))


@pytest.mark.parametrize("below", ["", "env", "a/b/env"])
@pytest.mark.parametrize("permissions", [0o000, 0o555, 0o700])
def test_a_prefix_that_we_may_not_write(open_place: Path, below: str, permissions: int) -> None:
    closed = open_place / "closed"
    closed.mkdir()
    if os.getuid() != 0 and permissions == 0o700:
        permissions = 0o600  # to its owner it would be open
    closed.chmod(permissions)
    try:
        with without_powers():
            error = refused(closed / below)
    finally:
        closed.chmod(0o700)
    assert (error.what, error.where) == ("no permission to write", str(closed))


def test_a_name_that_is_too_long_is_no_accident(tmp_path: Path) -> None:
    check_new(tmp_path / ("x" * 300) / "env")
    with (
        pytest.raises(PrefixError, match="cannot create the directory: File name too long"),
        parents(tmp_path / "a" / ("x" * 300) / "env"),
    ):
        pass
    assert not list(tmp_path.iterdir())


# -- directory_mode ------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("mask", "mode"), [(0o077, 0o700), (0o007, 0o770), (0o022, 0o755), (0o002, 0o775), (0, 0o775)]
)
def test_a_new_prefix_gets_what_the_umask_leaves(
    tmp_path: Path, umask: Umask, mask: int, mode: int
) -> None:
    umask(mask)
    assert directory_mode(tmp_path / "env") == mode
    assert umask(mask) == mask


@pytest.mark.parametrize(
    ("mask", "above", "mode"),
    [
        (0o007, 0o2755, 0o2770),
        (0o077, 0o2770, 0o2750),
        (0o077, 0o2700, 0o2700),
        (0o077, 0o770, 0o700),
    ],
)
def test_a_new_prefix_in_a_projects_directory_is_of_use_to_its_members(
    tmp_path: Path, umask: Umask, mask: int, above: int, mode: int
) -> None:
    umask(mask)
    tmp_path.chmod(above)
    assert directory_mode(tmp_path / "env") == directory_mode(tmp_path / "a/b/env") == mode
    with parents(tmp_path / "a/b/env"):
        made = [tmp_path / "a", tmp_path / "a/b"]
        beside = mode | (above & 0o020 if above & 0o2000 else 0)  # its members build there too
        assert {stat.S_IMODE(path.stat().st_mode) for path in made} == {beside}


def test_directories_above_a_prefix_are_not_everybodys(tmp_path: Path, umask: Umask) -> None:
    umask(0)
    with parents(tmp_path / "a/env"):
        pass
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o775


@pytest.mark.parametrize("mask", [0o077, 0o007, 0o022])
@pytest.mark.parametrize(
    ("before", "mode"),
    [(0o700, 0o700), (0o2770, 0o2770), (0o2777, 0o2775), (0o755, 0o755), (0o050, 0o750)],
)
def test_an_existing_prefix_decides_whatever_the_umask(
    tmp_path: Path, umask: Umask, mask: int, before: int, mode: int
) -> None:
    prefix = tmp_path / "env"
    prefix.mkdir()
    prefix.chmod(before)
    umask(mask)
    assert directory_mode(prefix) == mode


# -- parents -------------------------------------------------------------------------------------
def test_directories_above_stay_where_all_went_well(tmp_path: Path) -> None:
    with parents(tmp_path / "a/b/env"):
        assert (tmp_path / "a/b").is_dir()
    assert (tmp_path / "a/b").is_dir() and not (tmp_path / "a/b/env").exists()


def test_an_update_is_not_told_to_choose_another_prefix(open_place: Path) -> None:
    (open_place / "env").mkdir(mode=0o555)
    with without_powers(), pytest.raises(PrefixError) as caught:
        check_update(open_place / "env")
    assert "--prefix" not in caught.value.hint and "owner" in caught.value.hint


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_directories_above_go_after_a_failure(tmp_path: Path, error: type[BaseException]) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(error), parents(tmp_path / "mine/a/b/env"):
        raise error
    assert list((tmp_path / "mine").iterdir()) == []


def test_directories_that_others_use_meanwhile_stay(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="x"), parents(tmp_path / "a/b/env"):
        (tmp_path / "a/theirs").touch()
        raise ValueError("x")
    assert (tmp_path / "a/theirs").exists() and not (tmp_path / "a/b").exists()


# -- check_update --------------------------------------------------------------------------------
@pytest.fixture
def installed(tmp_path: Path) -> Path:
    for name in ("bin", ".generations/1"):
        (tmp_path / "env" / name).mkdir(parents=True)
    return tmp_path / "env"


def test_an_installation_of_ours_may_be_changed(installed: Path) -> None:
    check_update(installed)


@pytest.mark.parametrize("name", ["bin", ".generations"])
def test_what_is_behind_a_link_is_no_part_of_an_installation(installed: Path, name: str) -> None:
    (installed / name).rename(installed.parent / "elsewhere")
    (installed / name).symlink_to("../elsewhere")
    with pytest.raises(PrefixError, match="is a link") as caught:
        check_update(installed)
    assert caught.value.where == str(installed / name)


@pytest.mark.root("only root can give a directory away")
def test_root_changes_nobodys_installation(installed: Path) -> None:
    os.chown(installed, NOBODY, NOBODY)
    with pytest.raises(PrefixError, match="the installation belongs to nobody") as caught:
        check_update(installed)
    assert "sudo -u nobody" in caught.value.hint
