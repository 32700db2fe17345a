"""What a tree really holds, read from its own records: conda's ``conda-meta``, pip's metadata."""

from __future__ import annotations

import csv
import json
import posixpath
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from importlib.metadata import Distribution, PathDistribution, distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.utils import canonicalize_name

from wrapper.packages import LockedPackage

if TYPE_CHECKING:
    from importlib.metadata import PackageMetadata

    from rattler import PrefixRecord


def conda_packages(tree: Path) -> list[LockedPackage]:
    """The conda packages, as lock entries, by name."""
    return [
        LockedPackage(
            manager="conda",
            name=data["name"],
            version=data["version"],
            build=data["build"],
            url=data["url"],
            sha256=data.get("sha256"),
            md5=data.get("md5"),
            size=data.get("size") or 0,
            depends=tuple(data.get("depends", ())),
        )
        for data in _metadata(tree)
    ]


def conda_records(tree: Path) -> list[PrefixRecord]:
    """The same as rattler's records, to solve and link against."""
    return records_in(tree / "conda-meta")


def records_in(folder: Path) -> list[PrefixRecord]:
    """rattler's records of a directory like ``conda-meta``."""
    from rattler import PrefixRecord

    return [PrefixRecord.from_path(path) for path in sorted(folder.glob("*.json"))]


def _metadata(tree: Path) -> Iterable[Mapping[str, Any]]:
    for path in sorted((tree / "conda-meta").glob("*.json")):
        yield json.loads(path.read_text())


def site_packages(tree: Path) -> list[Path]:
    """Directories of Python packages below the tree."""
    return sorted(p for p in tree.glob("lib/python3*/site-packages") if not p.parent.is_symlink())


class _Known(PathDistribution):
    """A distribution whose metadata are read once: each look at a name parses all of them."""

    @cached_property
    def metadata(self) -> PackageMetadata:
        return super().metadata


def _distributions(tree: Path) -> Iterator[tuple[str, Distribution]]:
    """All distributions below the tree, whoever installed them, by canonical name."""
    for found in distributions(path=[str(path) for path in site_packages(tree)]):
        path = getattr(found, "_path", None)
        known = _Known(path) if isinstance(path, Path) else found  # else of a zipped egg
        if name := known.name:
            yield canonicalize_name(name), known


def pip_distributions(tree: Path) -> dict[str, Distribution]:
    """Distributions that conda did not install, by canonical name."""
    owned = {
        file.rsplit("/", 2)[-2]
        for data in _metadata(tree)
        for file in data.get("files", ())
        if ".dist-info/" in file or ".egg-info/" in file
    }
    return {
        name: distribution
        for name, distribution in _distributions(tree)
        if Path(str(getattr(distribution, "_path", ""))).name not in owned
    }


def files_of(names: Collection[str], tree: Path) -> set[str] | None:
    """Paths below the tree of all that distributions of these canonical names have recorded,
    whoever installed them; ``None`` where one has no such record.
    """
    found: set[str] = set()
    for name, distribution in _distributions(tree):
        if name not in names:
            continue
        record = distribution.read_text("RECORD")
        if record is None:
            return None
        site = Path(str(distribution.locate_file(""))).relative_to(tree)
        rows = csv.reader(record.splitlines())
        found |= {posixpath.normpath(site / row[0]) for row in rows if row}
    return found


def of_no_index(distribution: Distribution) -> LockedPackage:
    """The entry of a distribution of which only name and version are known."""
    return LockedPackage(
        manager="pip", name=distribution.name, version=distribution.version, url=""
    )


def without_replaced(packages: Sequence[LockedPackage], tree: Path) -> list[LockedPackage]:
    """The packages but for conda's that pip has replaced: their own metadata has gone.

    (Of other pairs of one name both are there: graphviz, and Python's interface to it.)
    """
    pip = {package.canonical for package in packages if package.manager == "pip"}
    replaced = {
        data["name"]
        for data in _metadata(tree)
        if data["name"] in pip
        and any(
            file.endswith(".dist-info/METADATA") and not (tree / file).exists()
            for file in data.get("files", ())
        )
    }
    return [p for p in packages if p.manager == "pip" or p.name not in replaced]


def still_installed(
    known: Sequence[LockedPackage], present: Mapping[str, Distribution]
) -> list[LockedPackage]:
    """The lock entries among ``known`` whose very version is present."""
    there = {
        package.canonical: package
        for package in known
        if (found := present.get(canonicalize_name(package.name)))
        and found.version == package.version
    }
    return list(there.values())
