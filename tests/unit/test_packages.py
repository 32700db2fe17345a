"""What an update changes, and what a tree holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wrapper.installed import conda_packages, pip_distributions, still_installed, without_replaced
from wrapper.packages import LockedPackage, changes_between, describe_changes, summarize_changes


def package(name: str, version: str = "1", manager: str = "conda", **more: str) -> LockedPackage:
    more = {"url": "u", **more}
    return LockedPackage(manager=manager, name=name, version=version, **more)  # type: ignore[arg-type]


OLD = [package("a"), package("b"), package("c", build="h1"), package("p", manager="pip")]
NEW = [package("b", "2"), package("c", build="h1"), package("d"), package("p", manager="pip")]


def test_changes_are_told_by_name() -> None:
    found = [
        (c.name, c.kind, c.size) for c in changes_between(OLD, NEW, {"b": 1000, "d": 10, "a": 5})
    ]
    assert found == [("a", "removed", 0), ("b", "changed", 1000), ("d", "added", 10)]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (package("a"), package("a"), True),
        (package("a", build="h1"), package("a", build="h2"), False),
        (package("a", sha256="1"), package("a", sha256="1"), True),
        (package("a", sha256="1"), package("a", sha256="2"), False),
        (package("a", sha256="1"), package("a"), True),
        (package("a"), package("a", manager="pip"), False),
        (package("a", url="git+u@1"), package("a", url="git+u@1", version="@ git+u@1"), True),
        (package("a", url="git+u@1"), package("a", url="git+u@2"), False),
    ],
)
def test_two_packages_are_the_same_by_hash_or_by_version_and_build(
    one: LockedPackage, other: LockedPackage, same: bool
) -> None:
    assert (changes_between([one], [other]) == []) == same


def test_the_size_of_what_a_script_installed_is_the_records() -> None:
    record = LockedPackage(manager="conda", name="a", version="1", url="u", size=7)
    assert [c.size for c in changes_between([], [record], {})] == [7]
    assert [c.size for c in changes_between([], [record], {"a": 9})] == [9]


def test_changes_as_text() -> None:
    lines = describe_changes(changes_between(OLD, NEW, {"b": 1_000_000, "d": 500_000})).splitlines()
    assert [line.split() for line in lines[:3]] == [
        ["-", "a", "1"],
        ["~", "b", "1", "->", "2", "1.0", "MB"],
        ["+", "d", "1", "500.0", "kB"],
    ]
    assert lines[3] == "1 added, 1 removed, 1 changed (a, b, d), 1.5 MB to download"


def test_many_changes_are_counted_only() -> None:
    assert summarize_changes(changes_between([], [package(name) for name in "abcde"])) == "5 added"
    assert summarize_changes([]) == describe_changes([]) == "no package changes"


# -- what a tree holds -----------------------------------------------------------------------------
@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """One conda package, which brought a distribution, and two that pip installed."""
    site = tmp_path / "lib/python3.11/site-packages"
    site.mkdir(parents=True)
    (tmp_path / "lib/python3.1").symlink_to("python3.11")
    for name, version in (("from_conda", "1"), ("From.Pip", "2"), ("local", "3")):
        info = site / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (tmp_path / "conda-meta").mkdir()
    record = {
        "name": "from-conda",
        "version": "1",
        "build": "h_0",
        "url": "https://host/from-conda-1-h_0.conda",
        "md5": "m",
        "depends": ["python"],
        "files": ["lib/python3.11/site-packages/from_conda-1.dist-info/METADATA", "bin/x"],
    }
    (tmp_path / "conda-meta/from-conda-1-h_0.json").write_text(json.dumps(record))
    return tmp_path


def test_condas_packages_are_in_its_records(tree: Path) -> None:
    (found,) = conda_packages(tree)
    assert (found.name, found.build, found.md5, found.sha256) == ("from-conda", "h_0", "m", None)
    assert found.depends == ("python",)


def test_pips_are_those_that_conda_did_not_bring(tree: Path) -> None:
    found = pip_distributions(tree)
    assert {name: d.version for name, d in found.items()} == {"from-pip": "2", "local": "3"}


def test_what_pip_replaced_is_condas_no_longer(tree: Path) -> None:
    (conda,) = conda_packages(tree)
    pip = package("from_conda", "2", manager="pip")
    assert without_replaced([conda, pip], tree) == [conda, pip], "both are there"
    (tree / "lib/python3.11/site-packages/from_conda-1.dist-info/METADATA").unlink()
    assert without_replaced([conda, pip], tree) == [pip]
    assert without_replaced([conda], tree) == [conda]


def test_lock_entries_stay_where_the_very_version_does(tree: Path) -> None:
    known = [package("from_pip", "2"), package("local", "2"), package("gone")]
    assert still_installed(known, pip_distributions(tree)) == [known[0]]


def test_an_empty_tree_holds_nothing(tmp_path: Path) -> None:
    assert conda_packages(tmp_path) == [] and pip_distributions(tmp_path) == {}
