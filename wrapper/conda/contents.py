"""What unpacked packages say that they put into an environment, checked before any is linked.

rattler keeps inside of the directory that it unpacks to, whatever the names in an archive (tried
with 0.28: absolute ones, ``..``, members below a link, hard links that lead out). When it links, it
takes the names of ``info/paths.json`` as they stand. *Measured:* with ``..`` in one, files of the
host are written, and removed with the package; an absolute one ends the process.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from wrapper.credentials import public_url
from wrapper.errors import PackageError

if TYPE_CHECKING:
    from rattler import PrefixRecord, RepoDataRecord

_RECORDS = "conda-meta"  # the installer's own, written from outside of any container
_MOST_STEPS = 400  # through links, of one path: more is a circle
# Where the files of a noarch package belong, if its kind is "python".
_PROGRAMS, _MODULES = "python-scripts", "site-packages"


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What one package brings.

    :ivar package: its name for a user. :ivar paths: of its files, below the environment.
    :ivar links: those that are symbolic links, and where they lead. :ivar where: its URL.
    """

    package: str
    where: str
    paths: Sequence[str]
    links: Mapping[str, str] = field(default_factory=dict)


def directory_of(record: RepoDataRecord, unpacked: Path) -> Path:
    """Where a package lies unpacked: the name by which rattler's package cache knows it."""
    return unpacked / f"{record.name.normalized}-{record.version}-{record.build}"


def check_contents(
    archives: Sequence[RepoDataRecord],
    installed: Sequence[PrefixRecord],
    *,
    urls: Mapping[str, str],
    unpacked: Path,
    tree: Path,
) -> None:
    """Whether packages keep within the environment, for all that are to be linked or are there.

    :param archives: packages to be linked, unpacked below ``unpacked``. :param urls: where they
        came from, by name. :param installed: what is in the ``tree``, some of which may go.
    :raises PackageError: a path leads out of the environment, through a link of another package
        too, or is not one that a package may have.
    """
    present = [_of_installed(record, tree) for record in installed]
    modules = _module_directory([*archives, *installed])
    fresh = [
        _of_archive(record, directory_of(record, unpacked), urls, modules) for record in archives
    ]
    links: dict[str, str] = {}
    for one in (*present, *fresh):
        _require_plain(one)
        links.update(one.links)
    for one in fresh:
        _require_inside(one, links)


def _of_installed(record: PrefixRecord, tree: Path) -> Contents:
    links = {}
    for entry in record.paths_data.paths:
        place = tree / entry.relative_path
        if entry.path_type.softlink and place.is_symlink():
            links[str(entry.relative_path)] = str(place.readlink())
    return Contents(
        package=f"{record.name.normalized} {record.version}",
        where=public_url(record.url),
        paths=[str(path) for path in record.files],
        links=links,
    )


def _of_archive(
    record: RepoDataRecord, directory: Path, urls: Mapping[str, str], modules: str
) -> Contents:
    from rattler.package import PathsJson

    name = record.name.normalized
    where = public_url(urls.get(name, record.file_name))
    try:
        listed = PathsJson.from_package_directory_with_deprecated_fallback(directory).paths
        points = _entry_points(directory / "info/link.json")
    except (OSError, ValueError, TypeError, AttributeError) as error:
        _refuse(record.file_name, where, "does not say what is in it", str(error))
    paths = [str(entry.relative_path) for entry in listed]
    links = {
        path: str(place.readlink())
        for path in paths
        if (place := directory / path).is_symlink() and _is_plain(path)
    }
    if record.noarch.python:
        paths = [_placed(path, modules) for path in paths] + [f"bin/{name}" for name in points]
        links = {_placed(path, modules): target for path, target in links.items()}
        for point in points:
            if "/" in point:
                _refuse(record.file_name, where, "has a program whose name is a path", point)
    return Contents(package=record.file_name, where=where, paths=paths, links=links)


def _entry_points(path: Path) -> list[str]:
    """Names of the programs that the installer makes. :raises ValueError: it is not that file."""
    if not path.exists():
        return []
    data = json.loads(path.read_bytes())
    points = (data.get("noarch") or {}).get("entry_points") or []
    return [str(point).partition("=")[0].strip() for point in points]


def _placed(path: str, modules: str) -> str:
    """Where the installer puts a file of a noarch Python package."""
    first, slash, rest = path.partition("/")
    places = {_PROGRAMS: "bin", _MODULES: modules}
    return f"{places.get(first, first)}{slash}{rest}"


def _module_directory(records: Iterable[RepoDataRecord]) -> str:
    """Where the modules of the environment's Python are, below it."""
    for record in records:
        if record.name.normalized == "python":
            own = getattr(record, "python_site_packages_path", None)
            version = ".".join(str(record.version).split(".")[:2])
            return own or f"lib/python{version}/{_MODULES}"
    return _MODULES


def _require_plain(contents: Contents) -> None:
    for path in contents.paths:
        if not _is_plain(path):
            _refuse(contents.package, contents.where, "has a path out of the environment", path)
        if path == _RECORDS or (path.startswith(f"{_RECORDS}/") and path.endswith(".json")):
            _refuse(contents.package, contents.where, "has a file among the installer's own", path)


def _is_plain(path: str) -> bool:
    """Whether a path stays below the directory that it is put into."""
    return bool(path) and not path.startswith("/") and ".." not in path.split("/")


def _require_inside(contents: Contents, links: Mapping[str, str]) -> None:
    """No file may be put into a directory that a package's link leads out to."""
    if not links:
        return
    for folder in {os.path.dirname(path) for path in contents.paths}:  # noqa: PTH120 - text only
        if _leads_out(folder, links):
            _refuse(contents.package, contents.where, "goes through a link that leads out", folder)


def _leads_out(path: str, links: Mapping[str, str]) -> bool:
    """Whether ``path`` is outside of the environment once its links are followed."""
    place: list[str] = []
    todo = path.split("/")[::-1]
    for _ in range(_MOST_STEPS):
        if not todo:
            return False
        part = todo.pop()
        if part == "..":
            if not place:
                return True
            place.pop()
        elif part not in ("", "."):
            place.append(part)
            target = links.get("/".join(place))
            if target is not None:
                if target.startswith("/"):
                    return True
                place.pop()
                todo += target.split("/")[::-1]
    return True


def _refuse(package: str, where: str, what: str, detail: str) -> NoReturn:
    raise PackageError(
        f"package {package} {what}",
        where=where,
        hint="nothing of it was installed: report it to the channel's owner",
        detail=detail,
    )
