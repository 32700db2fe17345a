"""A generation on its way to the prefix: all of it or nothing, with the right permissions."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.manifests import manifest
from tests.unit.conftest import NOBODY, left_behind, names, without_powers
from wrapper.errors import PrefixError, SpaceError
from wrapper.manifest import write_manifest
from wrapper.models import Environment
from wrapper.prefix import shims
from wrapper.prefix.generations import program_names
from wrapper.prefix.staging import Staging

INSIDE = "/containerize-1"
PROGRAMS = {"python3": "bin/python3", "tool": "libexec/tool"}
ENVIRONMENT = Environment(
    root=INSIDE,
    entries=("etc", "lib"),
    python=f"{INSIDE}/bin",
    pythons={"python3": "python3.11"},
)


@pytest.fixture(autouse=True)
def synced(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """What was synced to disk; disks are slow, so that nothing is."""
    done: list[Path] = []
    monkeypatch.setattr(os, "fsync", lambda fd: done.append(Path(f"/proc/self/fd/{fd}").readlink()))
    return done


def fill(staging: Staging) -> None:
    """What a build writes, with the permissions that its umask left."""
    staging.write_programs(PROGRAMS, INSIDE, "#!/bin/bash\n# the shim\n", ENVIRONMENT)
    staging.write_links(ENVIRONMENT)
    staging.image.write_bytes(b"image")
    (staging.directory / "env").write_text("x=1\n")
    write_manifest(staging.directory / "manifest.json", manifest())
    (staging.directory / "inputs").mkdir()
    (staging.directory / "inputs/env.yml").write_text("name: x\n")
    staging.image.chmod(0o600)


def publish(prefix: Path, mode: int = 0o755) -> None:
    with Staging(prefix, generation=1, mode=mode) as staging:
        fill(staging)
        staging.publish()


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    return tmp_path / "en v"


# -- layout --------------------------------------------------------------------------------------
def test_the_layout_is_the_documented_one(prefix: Path) -> None:
    publish(prefix)
    links = {path.name: str(path.readlink()) for path in prefix.iterdir() if path.is_symlink()}
    assert links == {
        "current": ".generations/1",
        "img.sqfs": "current/img.sqfs",
        "container.sif": "current/img.sqfs",
        "common.sh": "current/env",
        "_bin": "current/_bin",
        "share": "bin/.share",
        "lib": f"{INSIDE}/lib",
        "etc": f"{INSIDE}/etc",
    }
    assert names(prefix) - set(links) == {"bin", ".generations"}
    assert (prefix / "img.sqfs").read_bytes() == b"image"


def test_shims_are_one_file_with_many_names(prefix: Path) -> None:
    publish(prefix)
    shown = [path for path in (prefix / "bin").iterdir() if not path.name.startswith(".")]
    found = {path.name: path.stat().st_ino for path in shown}
    listing = found.pop("list-packages")
    assert set(found) == {"python3", "tool", "_debug_exec", "_debug_shell"}
    assert len(set(found.values())) == 1 and listing not in found.values()
    assert (prefix / "bin/tool").read_text() == "#!/bin/bash\n# the shim\n"
    assert (prefix / "bin/list-packages").read_text() == shims.list_packages()


def test_real_programs_are_links_into_the_environment(prefix: Path) -> None:
    publish(prefix)
    real = {path.name: str(path.readlink()) for path in (prefix / "_bin").iterdir()}
    assert real == {
        ".share": f"{INSIDE}/share",
        ".lib": f"{INSIDE}/lib",
        ".python": f"{INSIDE}/bin",
        "python3": ".python/python3.11",
        "tool": f"{INSIDE}/libexec/tool",
    }


def test_one_path_is_the_shim_outside_and_python_inside(prefix: Path) -> None:
    publish(prefix)
    folder = prefix / "bin/.python"
    assert names(folder) == {"python3", "python3.11"}
    assert all(path.resolve() == prefix / "bin/python3" for path in folder.iterdir())


def test_share_is_what_tykky_has_there(prefix: Path) -> None:
    publish(prefix)
    assert (prefix / "share/manifest.json").samefile(prefix / "current/manifest.json")


@pytest.mark.parametrize("name", ["_debug_exec", "_debug_shell", "list-packages"])
def test_a_program_may_have_one_of_our_names(prefix: Path, name: str) -> None:
    with Staging(prefix, generation=1, mode=0o755) as staging:
        staging.write_programs({name: f"bin/{name}"}, INSIDE, "shim", ENVIRONMENT)
        assert program_names(staging.root / "bin") == {*shims.DEBUG_NAMES, shims.LIST_PACKAGES}
        assert program_names(staging.directory / "_bin") == {name}
        text = (staging.root / "bin/list-packages").read_text()
    assert text == shims.list_packages()


# -- permissions -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("mode", "program", "data"),
    [
        (0o700, 0o700, 0o600),
        (0o750, 0o750, 0o640),
        (0o770, 0o750, 0o640),
        (0o755, 0o755, 0o644),
        (0o2775, 0o755, 0o644),
        (0o2770, 0o750, 0o640),
        (0o711, 0o711, 0o600),
    ],
)
def test_permissions_follow_the_prefixs(prefix: Path, mode: int, program: int, data: int) -> None:
    publish(prefix, mode)
    for path in (prefix, *prefix.rglob("*")):
        if path.is_symlink():
            continue
        is_program = path.parent.name == "bin"
        expected = mode if path.is_dir() else program if is_program else data
        assert stat.S_IMODE(path.stat().st_mode) == expected, path


def test_until_then_nobody_else_can_look(prefix: Path) -> None:
    with Staging(prefix, generation=1, mode=0o777) as staging:
        assert stat.S_IMODE(staging.root.stat().st_mode) == 0o700


@pytest.mark.root("only root can give a directory to any group")
def test_an_existing_prefixs_group_is_kept(prefix: Path) -> None:
    prefix.mkdir()
    os.chown(prefix, -1, 12345)
    publish(prefix, 0o2770)
    groups = {path.lstat().st_gid for path in (prefix, *prefix.rglob("*"))}
    assert groups == {12345}


@pytest.mark.root("only root can give a directory to any group")
def test_a_group_that_we_are_not_in_is_no_failure(
    open_place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = shims.list_packages()  # of a file that nobody else may be able to reach
    monkeypatch.setattr(shims, "list_packages", lambda: text)
    prefix = open_place / "env"
    prefix.mkdir()
    os.chown(prefix, NOBODY, 12345)
    with without_powers():
        publish(prefix, 0o750)
    assert (prefix / "current/env").stat().st_gid == NOBODY


# -- appearing -----------------------------------------------------------------------------------
def test_nothing_appears_before_it_is_published(prefix: Path) -> None:
    with Staging(prefix, generation=1, mode=0o755) as staging:
        fill(staging)
        assert not prefix.exists()
        assert names(prefix.parent) == {staging.root.name}
    assert names(prefix.parent) == set()


def test_it_appears_by_one_rename(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    renames: list[tuple[Path, Path]] = []
    rename = Path.rename

    def recorded(self: Path, target: Path) -> Path:
        assert (self / "current/img.sqfs").exists(), "complete before it appears"
        renames.append((self, Path(target)))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", recorded)
    with Staging(prefix, generation=1, mode=0o755) as staging:
        fill(staging)
        staging.publish()
    assert renames == [(staging.root, prefix)]
    assert names(prefix.parent) == {prefix.name}


def test_everything_is_on_disk_before_it_appears(
    prefix: Path, synced: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename
    before: list[Path] = []

    def recorded(self: Path, target: Path) -> Path:
        before.extend(synced)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", recorded)
    with Staging(prefix, generation=1, mode=0o755) as staging:
        fill(staging)
        written = [p for p in (staging.root, *staging.root.rglob("*")) if not p.is_symlink()]
        staging.publish()
    assert set(before) >= {path for path in written if path.parent.name != "bin"}
    assert synced[-1] == prefix.parent


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_nothing(prefix: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), Staging(prefix, generation=1, mode=0o755) as staging:
        fill(staging)
        raise error
    assert names(prefix.parent) == set()


def test_what_a_killed_build_left_beside_is_removed(prefix: Path) -> None:
    left = left_behind(prefix.parent / f".{prefix.name}.new-0123abcd")
    (left / "sub").chmod(0o500)
    publish(prefix)
    assert names(prefix.parent) == {prefix.name}


def test_something_that_appeared_meanwhile_is_not_touched(prefix: Path) -> None:
    with (
        pytest.raises(PrefixError, match="cannot write the installation: Directory not empty"),
        Staging(prefix, generation=1, mode=0o755) as staging,
    ):
        fill(staging)
        prefix.mkdir()
        (prefix / "theirs").touch()
        staging.publish()
    assert names(prefix) == {"theirs"} and names(prefix.parent) == {prefix.name}


# -- a prefix that is there ------------------------------------------------------------------------
@pytest.fixture(params=["", "directory of another"])
def fixed(
    request: pytest.FixtureRequest, prefix: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """An empty directory, which is filled and not replaced: somebody may stand in it."""
    prefix.mkdir()
    before = prefix.stat().st_ino
    if request.param:
        access = os.access
        monkeypatch.setattr(os, "access", lambda p, m: Path(p) != prefix.parent and access(p, m))
    yield prefix
    assert names(prefix.parent) == {prefix.name}
    assert prefix.stat().st_ino == before


def test_what_killed_builds_left_beside_and_inside_is_removed(prefix: Path) -> None:
    for left in (prefix.parent / f".{prefix.name}.new-12345", prefix / ".staging"):
        left_behind(left)
    (prefix / "bin").mkdir()
    publish(prefix)
    assert names(prefix.parent) == {prefix.name} and ".staging" not in names(prefix)
    assert stat.S_IMODE(prefix.stat().st_mode) == 0o755


def test_a_directory_that_all_may_write_to_is_closed_to_them(prefix: Path) -> None:
    prefix.mkdir()
    prefix.chmod(0o777)
    publish(prefix)
    assert stat.S_IMODE(prefix.stat().st_mode) == 0o755


def test_a_fixed_prefix_is_filled_current_last(
    fixed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved: list[str] = []
    rename = Path.rename

    def recorded(self: Path, target: Path) -> Path:
        moved.append(self.name)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", recorded)
    publish(fixed)
    assert moved[-1] == "current"
    assert (fixed / "current/img.sqfs").read_bytes() == b"image"
    assert ".staging" not in names(fixed)


def test_a_fixed_prefix_is_empty_again_after_a_failure(
    fixed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.name == "current":
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(PrefixError, match="Input/output error"):
        publish(fixed)
    assert names(fixed) == set()


def test_below_a_directory_of_another_user(
    open_place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = open_place / "mine"
    text = shims.list_packages()  # the repository may be below a closed directory
    monkeypatch.setattr(shims, "list_packages", lambda: text)
    with without_powers():
        prefix.mkdir()
    open_place.chmod(0o711)
    with without_powers():
        if os.access(open_place, os.W_OK):
            pytest.skip("the directory above is the tester's own, if not root")
        publish(prefix)
        assert (prefix / "current/img.sqfs").read_bytes() == b"image"


# -- no room ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("place", ["mkdir", "write_text", "hardlink_to", "symlink_to", "rename"])
def test_a_full_file_system_is_told_as_that(
    prefix: Path, monkeypatch: pytest.MonkeyPatch, place: str, number: int
) -> None:
    def full(self: Path, *_args: object, **_options: object) -> None:
        raise OSError(number, os.strerror(number), str(self))

    monkeypatch.setattr(Path, place, full)
    with pytest.raises(SpaceError, match="no room left for the installation") as caught:
        publish(prefix)
    assert str(prefix.parent) in str(caught.value.where)
    monkeypatch.undo()
    assert names(prefix.parent) == set()


def test_a_full_file_system_while_syncing_too(
    prefix: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_handle: int) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SpaceError):
        publish(prefix)
    assert names(prefix.parent) == set()


def test_other_failures_name_the_prefix(prefix: Path) -> None:
    with (
        pytest.raises(PrefixError, match="cannot write the installation: No such file") as caught,
        Staging(prefix / "missing/env", generation=1, mode=0o755),
    ):
        pass
    assert "missing" in str(caught.value.where)
