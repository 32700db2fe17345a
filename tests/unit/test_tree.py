"""The built tree: permissions, programs, paths that are to be wrapped."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from wrapper.errors import InputError
from wrapper.models import TreeSize
from wrapper.shimmed_programs import check_wrapper_paths, is_plain_name, programs, wrapped
from wrapper.tree import settle


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def put(path: Path, text: str = "", *, permissions: int = 0o755) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(permissions)
    return path


# -- settle --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (0o600, 0o644),
        (0o666, 0o644),
        (0o444, 0o644),
        (0o000, 0o644),
        (0o700, 0o755),
        (0o777, 0o755),
        (0o500, 0o755),
        (0o6755, 0o755),
        (0o655, 0o644),
    ],
)
def test_files_become_readable_for_all_and_writable_for_the_owner(
    tmp_path: Path, before: int, after: int
) -> None:
    path = put(tmp_path / "tree/file", permissions=before)
    settle(tmp_path / "tree")
    assert mode(path) == after


@pytest.mark.parametrize("before", [0o700, 0o777, 0o2775, 0o1777, 0o750])
def test_directories_become_open_for_all_the_root_too(tmp_path: Path, before: int) -> None:
    inner = tmp_path / "tree/a/b"
    inner.mkdir(parents=True)
    for path in (inner, inner.parent, tmp_path / "tree"):
        path.chmod(before)
    settle(tmp_path / "tree")
    assert {mode(path) for path in (inner, inner.parent, tmp_path / "tree")} == {0o755}


def test_links_are_counted_and_not_followed(tmp_path: Path) -> None:
    outside = put(tmp_path / "outside", "12345", permissions=0o600)
    tree = tmp_path / "tree"
    put(tree / "sub/file", "123")
    (tree / "link").symlink_to(outside)
    (tree / "dangling").symlink_to("/no/where")
    (tree / "up").symlink_to("..")
    assert settle(tree) == TreeSize(files=5, size=3)
    assert mode(outside) == 0o600


def test_what_stays_as_it_is_can_be_read_by_the_owner(tmp_path: Path) -> None:
    """What cannot be read would be missing in the image, without a word."""
    tree = tmp_path / "tree"
    put(tree / "program", permissions=0o4711)
    put(tree / "closed/file", permissions=0o020)
    (tree / "closed").chmod(0o000)
    assert settle(tree, fix=False).files == 3
    assert [mode(tree / n) for n in ("program", "closed", "closed/file")] == [0o4711, 0o700, 0o420]


# -- names ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "name", ["python3.11", "x86_64-conda-linux-gnu-gcc", "2to3", "[", "c++", "git-lfs", "a~", "_x"]
)
def test_names_that_can_be_typed(name: str) -> None:
    assert is_plain_name(name)


@pytest.mark.parametrize(
    "name",
    ["", "a b", "a'b", 'a"b', "$x", "a$", "a\n", "\na", "-x", "a/b", "a;b", "a&b", "é", "~a", "a*"],
)
def test_names_that_cannot(name: str) -> None:
    assert not is_plain_name(name)


# -- programs ------------------------------------------------------------------------------------
def test_programs_are_the_executable_files(tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    put(folder / "python3.11")
    put(folder / "data", permissions=0o644)
    put(folder / ".hidden-post-link.sh")
    put(folder / "directory/inner")
    (folder / "python3").symlink_to("python3.11")
    (folder / "to-directory").symlink_to("directory")
    (folder / "dangling").symlink_to("nothing")
    (folder / "inside").symlink_to("/containerize-1/libexec/inside")
    found, skipped = programs(tmp_path)
    assert found == {name: f"bin/{name}" for name in ("inside", "python3", "python3.11")}
    assert skipped == []


def test_programs_that_nobody_can_type_are_named(tmp_path: Path) -> None:
    for name in ("a b", "-x", "good"):
        put(tmp_path / "libexec" / name)
    assert programs(tmp_path, "libexec") == ({"good": "libexec/good"}, ["-x", "a b"])


def test_a_missing_directory_has_no_programs(tmp_path: Path) -> None:
    assert programs(tmp_path) == ({}, [])


# -- -w ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("path", ["bin", "libexec/x", "/containerize-1/bin/x", "a b/x", "x/"])
def test_paths_that_could_be_wrapped(path: str) -> None:
    check_wrapper_paths([path])


@pytest.mark.parametrize(
    "path",
    [
        "",
        ".",
        "/",
        "a b",
        "x/a b",
        "a'b",
        'a"b',
        "$HOME",
        "x/$y",
        "a\nb",
        "a\n/b",
        "-x",
        "x/-y",
        "..",
        "../bin",
        "bin/../../etc",
        "x/..",
    ],
)
def test_paths_that_could_never_be_wrapped(path: str) -> None:
    with pytest.raises(InputError, match="cannot be wrapped") as caught:
        check_wrapper_paths(["bin", path])
    assert repr(path) in caught.value.what and "\n" not in caught.value.what
    assert caught.value.where == "--wrapper-paths"


def test_wrapped_paths_are_programs_or_directories_of_them(tmp_path: Path) -> None:
    for name in ("libexec/one", "libexec/two", "tools/three", "tools/data"):
        put(tmp_path / name)
    (tmp_path / "tools/data").chmod(0o644)
    found, warnings = wrapped(
        tmp_path, "/containerize-1", ["libexec/", "/containerize-1/tools/three"]
    )
    assert warnings == []
    assert found == {"one": "libexec/one", "two": "libexec/two", "three": "tools/three"}


def test_the_later_of_two_programs_of_one_name_counts(tmp_path: Path) -> None:
    put(tmp_path / "a/x")
    put(tmp_path / "b/x")
    told = "x is b/x; a/x is left out"
    assert wrapped(tmp_path, "/i", ["a", "b/x"]) == ({"x": "b/x"}, [told])
    put(tmp_path / "bin/x")
    told = "x is b/x; bin/x is left out"
    assert wrapped(tmp_path, "/i", ["b"], own=True) == ({"x": "b/x"}, [told])
    assert wrapped(tmp_path, "/i", ["bin", "bin/x"], own=True) == ({"x": "bin/x"}, [])


def test_names_that_nobody_could_type_are_told(tmp_path: Path) -> None:
    for name in ("a b", "-x", "good"):
        put(tmp_path / "tools" / name)
    found, (warning,) = wrapped(tmp_path, "/i", ["tools"])
    assert found == {"good": "tools/good"}
    assert warning == "no shims for programs with such names: '-x', 'a b'"


@pytest.mark.parametrize("path", ["nothing", "empty", "data", "/other/bin", "../outside"])
def test_what_is_no_program_cannot_be_wrapped(tmp_path: Path, path: str) -> None:
    tree = tmp_path / "tree"
    (tree / "empty").mkdir(parents=True)
    put(tree / "data", permissions=0o644)
    with pytest.raises(InputError, match="is no program") as caught:
        wrapped(tree, "/containerize-1", [path])
    assert f"'{path}'" in caught.value.what
    assert "/containerize-1" in caught.value.hint
