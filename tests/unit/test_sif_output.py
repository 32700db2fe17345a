"""The file that is built: may it be, its permissions, its one rename."""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.conftest import names, without_powers
from wrapper.errors import PrefixError, SpaceError
from wrapper.images.sif.output import Ownership, check_output, drafted, output_path, publish


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real.sif").write_text("x")
    (tmp_path / "link.sif").symlink_to("real.sif")
    assert output_path(tmp_path / "link.sif") == tmp_path / "real.sif"
    assert output_path(tmp_path / "a/../new.sif") == tmp_path / "new.sif"


@pytest.mark.parametrize(
    ("name", "update", "force", "message"),
    [
        ("old.sif", False, False, "exists already"),
        ("new.sif", True, False, "no image to update"),
        ("folder", False, True, "is a directory"),
        ("none/new.sif", False, False, "no directory"),
        ("old.sif", True, False, ""),
        ("old.sif", False, True, ""),
        ("new.sif", False, True, ""),
        ("empty", False, True, ""),
        ("env.yml", False, False, "no SIF"),
        ("env.yml", False, True, "no SIF"),
        ("env.yml", True, False, ""),
    ],
)
def test_what_may_be_written(
    tmp_path: Path, name: str, update: bool, force: bool, message: str
) -> None:
    (tmp_path / "old.sif").write_bytes(bytes(32) + b"SIF_MAGIC\0")
    (tmp_path / "empty").touch()
    (tmp_path / "env.yml").write_text("dependencies: [python]\n" * 3)
    (tmp_path / "folder").mkdir()
    if message:
        with pytest.raises(PrefixError, match=message):
            check_output(tmp_path / name, update=update, force=force)
    else:
        check_output(tmp_path / name, update=update, force=force)


def test_a_directory_that_is_not_ours(open_place: Path) -> None:
    (open_place / "closed").mkdir(mode=0o555)
    with without_powers(), pytest.raises(PrefixError, match="no permission"):
        check_output(open_place / "closed/new.sif", update=False, force=False)


def test_drafts_go(tmp_path: Path) -> None:
    out = tmp_path / "out.sif"
    for name in (".out.sif.new-123", ".out.sif.new-x", ".other.sif.new-123"):
        (tmp_path / name).write_text("x")
    with drafted(out) as draft:
        assert names(tmp_path) == {".out.sif.new-x", ".other.sif.new-123"}, "of killed builds"
        draft.write_text("x")
    assert names(tmp_path) == {".out.sif.new-x", ".other.sif.new-123"}


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match="no room left"), drafted(tmp_path / "out.sif") as draft:
        draft.write_text("x")
        raise OSError(errno.EDQUOT, "quota")
    assert names(tmp_path) == set()


@pytest.mark.parametrize(
    ("folder", "mask", "expected"),
    [
        (0o2770, 0o007, 0o750),
        (0o2770, 0o077, 0o750),
        (0o755, 0o022, 0o755),
        (0o755, 0o077, 0o750),
        (0o700, 0o022, 0o700),
        (0o777, 0o000, 0o755),
    ],
)
def test_the_directory_says_who_may_use_it(
    tmp_path: Path, umask: Callable[[int], int], folder: int, mask: int, expected: int
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    place.chmod(folder)
    umask(mask)
    ownership = Ownership.of(place / "out.sif")
    with drafted(place / "out.sif") as draft:
        draft.write_text("new")
        publish(draft, place / "out.sif", ownership)
    assert stat.S_IMODE((place / "out.sif").stat().st_mode) == expected
    assert (place / "out.sif").stat().st_gid == place.stat().st_gid
    assert names(place) == {"out.sif"}


def test_a_file_that_is_replaced_hands_its_permissions_on(tmp_path: Path) -> None:
    out = tmp_path / "out.sif"
    out.write_text("old")
    out.chmod(0o664)
    assert Ownership.of(out).mode == 0o644
