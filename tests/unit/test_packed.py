"""What an update leaves packed: how the tree looks whole meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from wrapper.build.packed import LENT, Packed, PackedError
from wrapper.errors import ScriptError
from wrapper.images.squashfs.layout import Directory, Link, Node


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
    with Packed(image=image, root="env", kept=kept).lent(container) as whole:
        assert list(whole.binds) == [f"/img.sqfs:{LENT}:image-src=/env"]
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
