"""Files of others: whatever lies under a name, looking at it neither hangs nor fills the memory."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.conftest import NOBODY, names
from wrapper.commands.history import history
from wrapper.errors import ContainerizeError, PackageError, PrefixError
from wrapper.images.format import mark, read_format
from wrapper.images.sif.file import GENERIC, NewObject, read_sif, write_sif
from wrapper.manifest import read_manifest
from wrapper.prefix.shims import is_shim_file
from wrapper.prefix.tykky_prefix import read_tykky_prefix
from wrapper.util import foreign
from wrapper.util.lock import holder, lock_path, locked


def pipe(path: Path) -> None:
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def hole(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)


def directory(path: Path) -> None:
    path.mkdir()


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def dangling(path: Path) -> None:
    path.symlink_to("nowhere")


Trap = Callable[[Path], None]
TRAPS = [pipe, endless, hole, directory, loop, dangling]


@pytest.fixture(params=TRAPS, ids=lambda trap: trap.__name__)
def trap(request: pytest.FixtureRequest) -> Trap:
    chosen: Trap = request.param
    return chosen


# -- reading -------------------------------------------------------------------------------------
def test_what_is_no_file_is_an_error(tmp_path: Path, trap: Trap) -> None:
    trap(tmp_path / "x")
    begin = time.monotonic()
    with pytest.raises(OSError):
        foreign.read_bytes(tmp_path / "x")
    assert time.monotonic() - begin < 5


def test_a_file_of_the_most_bytes_is_read_and_no_longer_one(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"12345")
    assert foreign.read_bytes(path, most=5) == b"12345"
    with pytest.raises(OSError, match="File too large"):
        foreign.read_bytes(path, most=4)


def test_a_file_that_says_it_is_empty_is_read_within_the_bound() -> None:
    """Those of /proc do, and have content all the same."""
    assert foreign.read_bytes(Path("/proc/self/status")).startswith(b"Name:")
    with pytest.raises(OSError, match="File too large"):
        foreign.read_bytes(Path("/proc/self/status"), most=10)


def test_links_are_followed_where_they_may_be(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"1")
    (tmp_path / "link").symlink_to("x")
    assert foreign.read_bytes(tmp_path / "link") == b"1"
    with pytest.raises(OSError, match="not a regular file"):
        foreign.read_bytes(tmp_path / "link", follow=False)


def test_json_without_end_is_no_json() -> None:
    assert foreign.parse_json(b'{"a": [1]}') == {"a": [1]}
    for text in ("[" * 100_000, '{"a":' * 100_000, "{", b"\xff\xfe\xfd"):
        with pytest.raises(ValueError):
            foreign.parse_json(text)


# -- who reads -----------------------------------------------------------------------------------
def test_a_manifest_that_is_a_trap(tmp_path: Path, trap: Trap) -> None:
    (tmp_path / ".generations/1").mkdir(parents=True)
    (tmp_path / "current").symlink_to(".generations/1")
    trap(tmp_path / "current/manifest.json")
    with pytest.raises(PrefixError):
        read_manifest(tmp_path)
    assert history(tmp_path) == []


@pytest.mark.parametrize("text", ["[" * 100_000, '{"format": Infinity}', '{"format": 1e999}'])
def test_a_manifest_that_no_program_wrote(tmp_path: Path, text: str) -> None:
    (tmp_path / "current").mkdir()
    (tmp_path / "current/manifest.json").write_text(text)
    with pytest.raises(PrefixError):
        read_manifest(tmp_path)


def test_a_file_of_tykkys_that_is_a_trap(tmp_path: Path, trap: Trap) -> None:
    (tmp_path / "bin").mkdir()
    trap(tmp_path / "common.sh")
    with pytest.raises(PrefixError):
        read_tykky_prefix(tmp_path)


def test_a_program_that_is_a_trap_is_no_shim(tmp_path: Path, trap: Trap) -> None:
    trap(tmp_path / "python3")
    assert not is_shim_file(tmp_path / "python3")


def test_an_image_that_is_a_trap(tmp_path: Path, trap: Trap) -> None:
    trap(tmp_path / "x.sif")
    with pytest.raises(ContainerizeError):
        read_format(tmp_path / "x.sif")
    if trap is not directory and trap is not hole:
        with pytest.raises(OSError):
            mark(tmp_path / "x.sif")


def test_a_record_in_an_image_that_would_fill_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "x.sif"
    write_sif(path, [NewObject(kind=GENERIC, name="record", content=b"{}")])
    sif = read_sif(path)
    (item,) = sif.objects
    assert sif.read(item) == b"{}"
    huge = type(item)(**{**vars(item), "size": 1 << 40})
    with pytest.raises(PackageError, match="cannot be one"):
        sif.read(huge)


# -- locks ---------------------------------------------------------------------------------------
def test_a_lock_that_is_a_trap_is_told(tmp_path: Path, trap: Trap) -> None:
    prefix = tmp_path / "env"
    trap(lock_path(prefix))
    begin = time.monotonic()
    if trap is hole:  # a file that cannot be read counts as a young lock
        with pytest.raises(ContainerizeError, match="another build"), locked(prefix):
            pass
    else:
        with (
            pytest.raises(PrefixError, match=r"\.env\.lock is in the way") as caught,
            locked(prefix),
        ):
            pass
        assert caught.value.hint.startswith("remove it")
    assert time.monotonic() - begin < 5
    assert names(tmp_path) == {".env.lock"}
    if trap is not hole:
        with pytest.raises(PrefixError, match="is in the way"):
            holder(prefix)


# -- owners --------------------------------------------------------------------------------------
def test_names_of_users() -> None:
    assert foreign.user_name(0) == "root"
    assert foreign.user_name(4_000_000_000) == "4000000000"


def test_our_files_and_roots_are_no_strangers(tmp_path: Path) -> None:
    assert foreign.stranger([tmp_path, Path("/etc/passwd"), tmp_path / "nothing"]) is None
    assert foreign.stranger([]) is None


@pytest.mark.root("only root can give a file away")
def test_a_strangers_link_is_told_by_its_own_owner(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    os.chown(tmp_path / "link", NOBODY, NOBODY, follow_symlinks=False)
    assert foreign.stranger([tmp_path, tmp_path / "link"]) == foreign.user_name(NOBODY)


# -- directories for temporary files --------------------------------------------------------------
needs_root = pytest.mark.root("only root can give a directory away")


def test_directories_of_ours_and_of_the_system_are_ours_to_use(open_place: Path) -> None:
    for place in (open_place, Path("/tmp"), Path.home(), open_place / "nothing/below"):
        assert foreign.why_exposed(place) == ""
    (open_place / "mine").mkdir(mode=0o755)
    (open_place / "link").symlink_to("mine")
    for name in ("mine", "link", "link/../mine", "mine/below"):
        assert foreign.why_exposed(open_place / name) == ""


def test_loops_and_files_are_no_matter(open_place: Path) -> None:
    (open_place / "loop").symlink_to("loop")
    (open_place / "file").touch()
    for name in ("loop", "file", "file/below"):
        assert foreign.why_exposed(open_place / name) == ""


@pytest.mark.parametrize("mode", [0o777, 0o733])
def test_what_all_can_write_to_has_a_sticky_bit(open_place: Path, mode: int) -> None:
    place = open_place / "place"
    place.mkdir()
    place.chmod(mode)
    assert foreign.why_exposed(place).startswith(f"everybody can write to {place}, and")
    assert foreign.why_exposed(place / "below") == foreign.why_exposed(place)
    place.chmod(mode | 0o1000)
    assert foreign.why_exposed(place) == ""


def test_who_shares_a_place_with_a_group_does_so_where_not_all_can_write(open_place: Path) -> None:
    for place in (open_place / "place", open_place / "place/project"):
        place.mkdir()
        place.chmod(0o775)
        if os.getuid() == 0:
            os.chown(place, -1, NOBODY)
    # A project's directory, whose members trust each other with what is in it...
    (open_place / "place").chmod(0o755)
    assert foreign.why_exposed(open_place / "place/project") == ""
    # ...and one that anybody could have made.
    (open_place / "place").chmod(0o775)
    told = f"its group can write to {open_place}/place (chmod g-w)"
    assert foreign.why_exposed(open_place / "place/project") == (told if os.getuid() == 0 else "")


@needs_root
@pytest.mark.parametrize("kind", ["directory", "link", "above"])
def test_a_place_that_somebody_else_made(open_place: Path, kind: str) -> None:
    """As /tmp/$USER, whose name is known."""
    (open_place / "real").mkdir()
    place = open_place / "place"
    if kind == "link":
        place.symlink_to("real")
    else:
        place.mkdir()
    os.chown(place, NOBODY, NOBODY, follow_symlinks=False)
    named = place / "builds" if kind == "above" else place
    told = f"{place} belongs to {foreign.user_name(NOBODY)}"
    assert foreign.why_exposed(named) == told
    open_place.chmod(0o755)
    assert foreign.why_exposed(named) == "", "where not everybody can make one"


# -- who else can change a file --------------------------------------------------------------------
@pytest.fixture
def closed(tmp_path: Path) -> Path:
    """``a/b/file`` that only we can change (pytest's directories are closed to others)."""
    folder = tmp_path / "a/b"
    folder.mkdir(parents=True)
    for path in (tmp_path, tmp_path / "a", folder):
        path.chmod(0o755)
    file = folder / "file"
    file.touch(mode=0o644)
    return file


def test_what_nobody_else_can_write_to(closed: Path) -> None:
    assert foreign.only_ours(closed)
    assert foreign.only_ours(closed.parent / "not/there/yet")
    assert foreign.only_ours(Path("/")), "root's own"


@pytest.mark.parametrize("part", ["a/b/file", "a/b", "a"])
@pytest.mark.parametrize("mode", [0o775, 0o2775, 0o757])
def test_one_directory_on_the_way_is_enough(
    part: str, mode: int, closed: Path, tmp_path: Path
) -> None:
    (tmp_path / part).chmod(mode)
    assert not foreign.only_ours(closed)


def test_in_a_sticky_directory_what_is_ours_stays(closed: Path, tmp_path: Path) -> None:
    (tmp_path / "a").chmod(0o1777)
    assert foreign.only_ours(closed)
    assert not foreign.only_ours(tmp_path / "a"), "others put things into it"
    assert not foreign.only_ours(tmp_path / "a/new"), "another may make it first"


@pytest.mark.root("only root can give a file away")
@pytest.mark.parametrize("part", ["a/b/file", "a/b", "a"])
def test_the_owner_can_always_change_it(part: str, closed: Path, tmp_path: Path) -> None:
    os.chown(tmp_path / part, 12345, -1)
    assert not foreign.only_ours(closed)


def test_links_are_followed_with_all_that_is_on_their_way(closed: Path, tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "open/through").symlink_to(closed.parent)
    (tmp_path / "straight").symlink_to("a/b")
    (tmp_path / "around").symlink_to(tmp_path / "open/through")
    assert foreign.only_ours(tmp_path / "straight/file")
    assert not foreign.only_ours(tmp_path / "open/through/file")
    assert not foreign.only_ours(tmp_path / "around/file"), "the second link can be exchanged"
