"""Packages of an environment, and what an update changes among them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wrapper.console import counted, human_size

_FEW = 4


@dataclass(frozen=True, kw_only=True)
class LockedPackage:
    """One package of a lock file or an explicit list: where it is and what it must be.

    ``manager`` is ``conda`` or ``pip``; ``sha256`` and ``md5`` are lower-case hexadecimal.
    ``size`` are the bytes of its archive, 0 unknown. A pip package that was installed from a
    directory has the SHA-256 of its files as ``content``; one that was built has its ``builder``
    (``setuptools==75.8.0``), and one that was built against the others is not ``isolated``.
    """

    manager: str
    name: str
    version: str
    url: str
    build: str = ""
    sha256: str | None = None
    md5: str | None = None
    depends: tuple[str, ...] = ()
    size: int = 0
    content: str | None = None
    builder: str | None = None
    isolated: bool = True

    @property
    def canonical(self) -> str:
        """The name as pip compares it: lower case, ``-`` for ``_`` and ``.``."""
        return re.sub(r"[-_.]+", "-", self.name).lower()


@dataclass(frozen=True, kw_only=True)
class Change:
    """One package before and after; ``size`` are the bytes of the archive to fetch, 0 unknown."""

    name: str
    manager: str
    old: LockedPackage | None
    new: LockedPackage | None
    size: int = 0

    @property
    def kind(self) -> str:
        if self.old is None:
            return "added"
        return "removed" if self.new is None else "changed"


def changes_between(
    old: Sequence[LockedPackage],
    new: Sequence[LockedPackage],
    sizes: Mapping[str, int] | None = None,
) -> list[Change]:
    """Changes between two sets of packages, sorted by name."""
    before = {(package.manager, package.name): package for package in old}
    after = {(package.manager, package.name): package for package in new}
    changes = []
    for manager, name in sorted({*before, *after}, key=lambda key: (key[1], key[0])):
        was, now = before.get((manager, name)), after.get((manager, name))
        if was is None or now is None or not _same(was, now):
            known = (sizes or {}).get(name, 0) if manager == "conda" else 0
            size = known or now.size if now is not None else 0
            changes.append(Change(name=name, manager=manager, old=was, new=now, size=size))
    return changes


def _same(one: LockedPackage, other: LockedPackage) -> bool:
    for kind in ("sha256", "content"):
        if (before := getattr(one, kind)) and (after := getattr(other, kind)):
            return bool(before == after)
    if one.url.startswith("git+") and other.url:
        return one.url == other.url  # with the commit
    return (one.version, one.build) == (other.version, other.build)


def describe_changes(changes: Sequence[Change]) -> str:
    """A line a change, and a sum: ``+`` added, ``-`` removed, ``~`` changed."""
    if not changes:
        return "no package changes"
    lines = []
    for change in changes:
        mark = {"added": "+", "removed": "-", "changed": "~"}[change.kind]
        versions = " -> ".join(
            f"{p.version} {p.build}".strip() for p in (change.old, change.new) if p
        )
        size = human_size(change.size) if change.size else ""
        lines.append(f"{mark} {change.name:<28} {versions:<44} {size:>10}".rstrip())
    total = sum(change.size for change in changes)
    download = f", {human_size(total)} to download" if total else ""
    return "\n".join([*lines, summarize_changes(changes) + download])


def summarize_changes(changes: Sequence[Change]) -> str:
    """How many packages were added, removed and changed, and which, if few."""
    counts = dict.fromkeys(("added", "removed", "changed"), 0)
    for change in changes:
        counts[change.kind] += 1
    text = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    few = len(changes) <= _FEW and ", ".join(change.name for change in changes)
    return (f"{text} ({few})" if few else text) or "no package changes"


def describe_reused(packages: Sequence[LockedPackage]) -> str:
    """What of a base image an environment builds on, the largest packages by name."""
    if not packages:
        return "reused from the base: its Python; no package that was asked for is in it"
    largest = sorted(packages, key=lambda package: (-package.size, package.name))
    names = [package.name for package in largest[:_FEW]]
    names += ["…"] * (len(packages) > _FEW)
    size = human_size(sum(package.size for package in packages))
    return (
        f"reused from the base: {counted(len(packages), 'package')} ({', '.join(names)}), "
        f"{size} that need not be installed"
    )
