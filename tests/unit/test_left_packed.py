"""What an update leaves packed: how the tree looks whole meanwhile."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from wrapper.build.left_packed import LENT, Packed, PackedError, State, states, untouched
from wrapper.errors import ScriptError
from wrapper.images.squashfs.layout import Directory, File, Link, Node
from wrapper.images.squashfs.reader import Image
from wrapper.util import removal


def directory() -> Directory:
    return Directory(mode=0o755, time=0)


def leaf() -> Link:
    return Link(mode=0o777, time=0, target="somewhere")


@dataclass(frozen=True, kw_only=True)
class Container:
    """As much of a build's container as lending needs."""

    tree: Path
    binds: tuple[str, ...] = ()


def names(tree: Path) -> set[str]:
    return {str(path.relative_to(tree)) for path in tree.rglob("*")}


def lent(tree: Path, kept: dict[str, Node]) -> dict[str, str]:
    """Links of the tree while what is ``kept`` is lent."""
    image: Any = SimpleNamespace(path=Path("/img.sqfs"))
    container: Any = Container(tree=tree)
    packed = Packed(image=image, root="env", bind="the old image", kept=kept)
    with packed.lent(container) as whole:
        assert list(whole.binds) == ["the old image"]
        links = [path for path in tree.rglob("*") if path.is_symlink()]
        return {str(path.relative_to(tree)): str(path.readlink()) for path in links}


def test_a_directory_that_is_packed_as_a_whole_is_one_link(tmp_path: Path) -> None:
    kept = {"lib": directory(), "lib/a": directory(), "lib/a/x.py": leaf(), "lib/b": leaf()}
    (tmp_path / "lib").mkdir()
    links = lent(tmp_path, kept)
    assert links == {"lib/a": f"{LENT}/lib/a", "lib/b": f"{LENT}/lib/b"}
    assert names(tmp_path) == {"lib"}


def test_compiled_modules_are_lent_one_by_one(tmp_path: Path) -> None:
    compiled = "site/__pycache__/one.cpython-311.pyc"
    kept = {"site/__pycache__": directory(), compiled: leaf(), "site/one.py": leaf()}
    (tmp_path / "site").mkdir()
    links = lent(tmp_path, kept)
    assert links == {name: f"{LENT}/{name}" for name in (compiled, "site/one.py")}
    assert names(tmp_path) == {"site"}


def test_what_was_compiled_meanwhile_stays(tmp_path: Path) -> None:
    kept = {"site/__pycache__": directory(), "site/__pycache__/one.pyc": leaf()}
    (tmp_path / "site/__pycache__").mkdir(parents=True)
    (tmp_path / "site/__pycache__/two.pyc").touch()
    lent(tmp_path, kept)
    assert names(tmp_path) == {"site", "site/__pycache__", "site/__pycache__/two.pyc"}


def test_what_a_step_replaced_or_removed_is_not_packed_any_more(tmp_path: Path) -> None:
    kept: dict[str, Node] = {
        "site": directory(),
        **{f"site/{name}": leaf() for name in ("one.py", "two.py", "same.py")},
        "site/__pycache__": directory(),
        "site/__pycache__/one.cpython-311.pyc": leaf(),
        "site/package": directory(),
        "site/package/inner.py": leaf(),
    }
    (tmp_path / "site").mkdir()
    image: Any = SimpleNamespace(path=Path("/img.sqfs"))
    container: Any = Container(tree=tmp_path)
    packed = Packed(image=image, root="env", kept=kept)
    with packed.lent(container):
        (tmp_path / "site/one.py").unlink()
        (tmp_path / "site/two.py").unlink()
        (tmp_path / "site/two.py").write_text("new")
        (tmp_path / "site/package").unlink()
    assert kept.keys() == {"site", "site/same.py"}
    assert names(tmp_path) == {"site", "site/two.py"}


@pytest.mark.parametrize(
    ("detail", "expected"),
    [("cannot write: Read-only file system (os error 30)", PackedError), ("other", ScriptError)],
)
def test_only_who_would_change_what_is_packed_needs_the_whole(
    detail: str, expected: type[Exception], tmp_path: Path
) -> None:
    image: Any = SimpleNamespace(path=Path("/img.sqfs"))
    container: Any = Container(tree=tmp_path)
    packed = Packed(image=image, root="env", kept={"a": leaf()})
    with pytest.raises(ScriptError) as told, packed.lent(container):
        raise ScriptError("it failed", detail=detail)
    assert type(told.value) is expected
    assert names(tmp_path) == set()


def test_what_is_replaced_is_unpacked_with_what_was_compiled_of_it(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    kept: dict[str, Node] = {
        "site": directory(),
        "site/__pycache__": directory(),
        "site/__pycache__/one.cpython-311.pyc": leaf(),
        "site/__pycache__/two.cpython-311.pyc": leaf(),
        **{f"site/{name}": leaf() for name in ("one.py", "two.py")},
        "site/whole": directory(),
        "site/whole/x.py": leaf(),
        "site/shared": directory(),
        **{f"site/shared/{name}": leaf() for name in ("mine", "others")},
    }
    image: Any = SimpleNamespace(
        unpack=lambda node, path: path.touch() if node == leaf() else path.mkdir()
    )
    packed = Packed(image=image, root="env", kept=kept)
    asked = ("site/one.py", "site/whole/x.py", "site/shared/mine", "site/not/there", "../outside")
    part = packed.with_compiled(asked)
    packed.unpack(part, tmp_path)
    mine = {"site/one.py", "site/__pycache__/one.cpython-311.pyc", "site/shared/mine"}
    assert part.keys() == {*mine, "site/whole", "site/whole/x.py"}
    assert names(tmp_path) == {*part, "site", "site/__pycache__", "site/shared"}
    assert {
        name for name in kept if name.startswith("site/__pycache__/two")
    } and not part.keys() & kept.keys()
    assert "site/shared/others" in kept and "site" in kept


def test_a_module_whose_compiled_code_went_is_unpacked_to_be_compiled(tmp_path: Path) -> None:
    (tmp_path / "space").mkdir()
    cache = "space/__pycache__"
    compiled = {f"{cache}/{name}.cpython-311.pyc": leaf() for name in ("one", "two")}
    modules = {f"space/{name}.py": leaf() for name in ("one", "two", "three")}
    kept: dict[str, Node] = {"space": directory(), cache: directory(), **compiled, **modules}
    image: Any = SimpleNamespace(path=Path("/i"), unpack=lambda _, path: path.touch())
    container: Any = Container(tree=tmp_path)
    with Packed(image=image, root="env", kept=kept).lent(container):
        (tmp_path / "space/one.py").unlink()
        removal.remove_tree(tmp_path / cache)
    assert names(tmp_path) == {"space", "space/two.py"}
    assert kept.keys() == {"space", "space/three.py"}


def test_what_is_beside_a_tree_is_told_without_a_look_at_each(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/b").touch()
    where = {"image": tmp_path, "start": 0, "blocks": (), "fragment": 0, "offset": 0}
    file = File(mode=0o644, time=0, size=10, sparse=0, **cast(Any, where))
    kept: dict[str, Node] = {"lib": directory(), "lib/a": directory()}
    kept |= {"lib/a/x": file, "lib/a/y": leaf(), "lib/b": file, "lib/c": file}
    size = Packed(image=cast(Any, None), root="env", kept=kept).size_beside(tmp_path)
    assert (size.files, size.size) == (4, 20)


def unpacked(tree: Path) -> tuple[dict[str, Node], Image, dict[str, State]]:
    """An image, unpacked: a directory of files, one with two names, and a link."""
    names = ("pkg/a", "pkg/b", "pkg/twin", "pkg/sub/c", "other")
    (tree / "pkg/sub").mkdir(parents=True)
    for name in names:
        (tree / name).write_text(name)
    (tree / "pkg/twin").unlink()
    (tree / "pkg/twin").hardlink_to(tree / "pkg/b")
    (tree / "pkg/link").symlink_to("a")
    where = {"image": tree, "start": 0, "blocks": (), "fragment": 0, "offset": 0}
    file = File(mode=0o644, time=0, size=10, sparse=0, **cast(Any, where))
    sub, pkg = directory(), directory()
    sub.entries["c"] = file
    pkg.entries |= {"a": file, "b": file, "twin": file, "link": leaf(), "sub": sub}
    root = Directory(mode=0o755, time=0, entries={"pkg": pkg, "other": file})
    image: Any = SimpleNamespace(root=Directory(mode=0o755, time=0, entries={"env": root}))
    return dict(root.walk()), image, states(tree)


def rewrite(tree: Path) -> None:
    """The same bytes, and the time of before."""
    times = (tree / "pkg/a").stat()
    (tree / "pkg/a").write_text("pkg/a")
    os.utime(tree / "pkg/a", ns=(times.st_atime_ns, times.st_mtime_ns))


def swap(tree: Path) -> None:
    (tree / "pkg/a").rename(tree / "x")
    (tree / "other").rename(tree / "pkg/a")
    (tree / "x").rename(tree / "other")


def move_away(tree: Path) -> None:
    (tree / "pkg").rename(tree / "moved")
    (tree / "pkg").symlink_to("moved")


@pytest.mark.parametrize(
    ("touch", "touched"),
    [
        (lambda _: None, ()),
        (lambda tree: (tree / "new").touch(), ()),
        (lambda tree: (tree / "pkg/a").unlink(), ("pkg/a",)),
        (rewrite, ("pkg/a",)),
        (lambda tree: (tree / "pkg/b").chmod(0o755), ("pkg/b", "pkg/twin")),
        (lambda tree: (tree / "pkg/twin").unlink(), ("pkg/b", "pkg/twin")),
        (lambda tree: (tree / "pkg/hard").hardlink_to(tree / "pkg/a"), ("pkg/a",)),
        (swap, ("pkg/a", "other")),
        (lambda tree: removal.remove_tree(tree / "pkg/sub"), ("pkg/sub", "pkg/sub/c")),
        (move_away, ("pkg", "pkg/a", "pkg/b", "pkg/twin", "pkg/sub", "pkg/sub/c")),
    ],
    ids=[
        "none",
        "new",
        "removed",
        "rewritten",
        "mode",
        "name",
        "hard link",
        "swap",
        "tree",
        "moved",
    ],
)
def test_what_nobody_touched_is_found(
    touch: Callable[[Path], object], touched: tuple[str, ...], tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    nodes, image, before = unpacked(tree)
    time.sleep(0.02)  # times of change have the clock's resolution
    touch(tree)
    all_names = names(tree)
    found = untouched(image, "env", tree, before)
    assert found
    assert found.kept.keys() == nodes.keys() - {*touched, "pkg/link"}
    files = {name for name in found.kept if name not in ("pkg", "pkg/sub")}
    assert names(tree) == all_names - files, "only what was touched is still to be packed"


def test_of_an_image_that_was_touched_all_over_nothing_stays(tmp_path: Path) -> None:
    _, image, _ = unpacked(tmp_path / "tree")
    assert untouched(image, "env", tmp_path / "tree", {}) is None


@pytest.mark.parametrize(
    "leave",
    [
        lambda site: (site / "built.so").write_bytes(b"\0" * 5000 + LENT.encode()),
        lambda site: (site / "moved.py").symlink_to(f"{LENT}/lib/python3.11/site-packages/one.py"),
        lambda site: (site.parents[2] / "pyvenv.cfg").touch(),
    ],
    ids=["content", "link", "venv"],
)
def test_scripts_that_saw_the_links_are_found(
    leave: Callable[[Path], object], tmp_path: Path
) -> None:
    site = tmp_path / "lib/python3.11/site-packages"
    site.mkdir(parents=True)
    inside = "lib/python3.11/site-packages"
    kept: dict[str, Node] = {f"{inside}/{name}": leaf() for name in ("one.py", "pip")}
    packed = Packed(image=cast(Any, SimpleNamespace(path=Path("/i"))), root="env", kept=kept)
    with packed.lent(cast(Any, Container(tree=tmp_path))):
        (site / "new.py").write_text("x = 1")
        (site / "empty.py").touch()
        packed.require_unseen(tmp_path)
        leave(site)
        with pytest.raises(PackedError):
            packed.require_unseen(tmp_path)
