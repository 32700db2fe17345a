"""Exact packages into a tree that is to be used at another path, inside the container."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import rattler
from rattler import PackageCache, PrefixRecord, RepoDataRecord, ValidationMode
from rattler.exceptions import ExtractError, InstallerError, IoError, LinkError, TransactionError

from wrapper.conda.client import run_async
from wrapper.conda.contents import check_contents
from wrapper.console import Advance
from wrapper.errors import PackageError, means_no_space
from wrapper.util.disk import free_space, no_room

# Where rattler found a package on the building machine: of no use in an image, and different
# from build to build.
_LOCAL_FACTS = ("extracted_package_dir", "package_tarball_full_path", "link", "requested_spec")
_FULL = 1 << 16  # bytes


class _Reporter:
    """rattler's progress as (done, total) operations."""

    def __init__(self, advance: Advance) -> None:
        self._advance = advance
        self._total = self._done = 0

    def on_transaction_start(self, total_operations: int) -> None:
        self._total = total_operations

    def on_transaction_operation_complete(self, operation: int) -> None:
        self._done += 1
        self._advance(self._done, self._total)


def link_packages(
    archives: Sequence[RepoDataRecord],
    *,
    staying: Sequence[PrefixRecord] = (),
    installed: Sequence[PrefixRecord] = (),
    urls: Mapping[str, str],
    tree: Path,
    install_path: str,
    unpacked: Path,
    advance: Advance,
    base: Path | None = None,
) -> None:
    """Install packages into ``tree`` (outside) so that they work at ``install_path`` (inside).

    :param archives: packages to be linked, unpacked and checked. :param staying: those of
        ``installed`` that stay. :param installed: what is there now; the rest of it goes.
    :param urls: where each package came from, by name.
    :param unpacked: directory of the unpacked packages, to which the tree may have hard links.
    :param base: directory with the records of a base, whose Python the tree's modules are for.
    :raises PackageError: a package cannot be linked, or would reach out of the tree.
    """
    check_contents(archives, installed, urls=urls, unpacked=unpacked, tree=tree)
    python = _python_elsewhere(base, tree)
    try:
        run_async(
            rattler.install,
            [*staying, *archives, *python],
            target_prefix=tree,
            package_cache=PackageCache.new_layered(
                [unpacked], validation_mode=ValidationMode.skip()
            ),
            installed_packages=[*installed, *python],
            show_progress=False,
            execute_link_scripts=False,
            reporter=_Reporter(advance),
            alternative_target_prefix=install_path,
        )
    except (InstallerError, ExtractError, LinkError, TransactionError, IoError, OSError) as error:
        # On a full disk rattler may stumble over its own half-written records first (measured).
        if means_no_space(str(error)) or free_space(tree) < _FULL:
            raise no_room("no room left for the packages", tree, str(error)) from None
        raise PackageError(
            "a package cannot be installed",
            hint="report it to the channel's owner",
            detail=str(error),
        ) from None
    for record in (tree / "conda-meta" / path.name for path in _python_records(base)):
        record.unlink(missing_ok=True)
    _clean_metadata(urls, tree)


def _python_records(base: Path | None) -> list[Path]:
    return list(base.glob("python-[0-9]*.json")) if base else []


def _python_elsewhere(base: Path | None, tree: Path) -> list[PrefixRecord]:
    """The Python of a base as a package without files: rattler wants to know its version, and
    expects the records of all that is installed in the tree (measured).
    """
    found = []
    for path in _python_records(base):
        data = json.loads(path.read_text())
        data |= {"files": [], "paths_data": {"paths_version": 1, "paths": []}}
        record = tree / "conda-meta" / path.name
        record.parent.mkdir(exist_ok=True)
        record.write_text(json.dumps(data))
        found.append(PrefixRecord.from_path(record))
    return found


def split(
    records: Sequence[RepoDataRecord], present: Sequence[PrefixRecord]
) -> tuple[list[PrefixRecord], list[RepoDataRecord]]:
    """Of the packages that shall be there: those that are, as installed, and those to fetch."""
    there = {record.name.normalized: record for record in present}
    staying: list[PrefixRecord] = []
    fresh: list[RepoDataRecord] = []
    for record in records:
        old = there.get(record.name.normalized)
        if old is not None and _same(old, record):
            staying.append(old)
        else:
            fresh.append(record)
    return staying, fresh


def _same(old: PrefixRecord, new: RepoDataRecord) -> bool:
    if old.sha256 and new.sha256:
        return old.sha256 == new.sha256
    return (str(old.version), str(old.build)) == (str(new.version), str(new.build))


def _clean_metadata(urls: Mapping[str, str], tree: Path) -> None:
    """Let ``conda-meta`` say where packages come from, not where they lay during the build."""
    for path in sorted((tree / "conda-meta").glob("*.json")):
        data = json.loads(path.read_text())
        if data["name"] not in urls:
            continue
        for key in _LOCAL_FACTS:
            data.pop(key, None)
        data["url"] = urls[data["name"]]
        data["channel"] = data["url"].rsplit("/", 2)[0]
        data["files"] = sorted(data.get("files", []))
        path.unlink()  # it may be a hard link into a cache
        path.write_text(json.dumps(data, indent=1, sort_keys=True) + "\n")
