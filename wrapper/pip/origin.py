"""Where installed pip packages came from, as lock entries: files, repositories, directories.

What installers leave of it in the metadata is taken out: packages installed from a lock are
installed by URL, and the image has to be the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from importlib.metadata import Distribution
from pathlib import Path
from urllib.parse import unquote, urlsplit

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from wrapper import platforms
from wrapper.credentials import public_url
from wrapper.inputs.project import says_its_version
from wrapper.packages import LockedPackage
from wrapper.pip.local import origin_of, reads_outside
from wrapper.util import hashing, toml

CACHE_TRACE = "uv_cache.json"  # it has a time in it
TRACES = ("direct_url.json", CACHE_TRACE)
_BUILT = "uv_build.json"  # of what uv built, with the settings


def direct_entry(distribution: Distribution) -> LockedPackage | None:
    """The lock entry of a package that came from no index (PEP 610); without a hash where only
    its URL is known. ``None`` where it came from one.
    """
    text = distribution.read_text("direct_url.json")
    if not text:
        return None
    data = json.loads(text)
    url, sha256, content = public_url(str(data["url"])), None, None
    if "vcs_info" in data:
        url = f"git+{url}@{data['vcs_info']['commit_id']}"
    else:
        url, sha256, content = _at(url)
    if data.get("subdirectory"):
        url += f"#subdirectory={data['subdirectory']}"
    return LockedPackage(
        manager="pip",
        name=distribution.name,
        version=distribution.version,
        url=url,
        sha256=sha256,
        content=content,
    )


def builder_of(distribution: Distribution) -> str | None:
    """What made the wheel of a package, as a requirement, by the wheel's own word."""
    text = distribution.read_text("WHEEL") or ""
    match = re.search(r"^Generator: ([\w.-]+) \(?(\d[\w.]*)", text, re.M)
    if not match:
        return None
    name, version = match.groups()
    return f"{'wheel' if name == 'bdist_wheel' else name}=={version}"


def planned_entry(name: str, version: str | None, url: str) -> LockedPackage:
    """The entry of a package that is to be installed, as :func:`direct_entry` gives it later; the
    version of what is still to be built is its origin. :param url: empty where an index has it.
    """
    origin, sha256, content = _at(url)
    project = Path(unquote(urlsplit(url).path))
    if content and (reads_outside(project) or not says_its_version(project)):
        content = None
    return LockedPackage(
        manager="pip",
        name=name,
        version=version or f"@ {origin}",
        url=url,
        sha256=sha256,
        content=content,
    )


def _at(url: str) -> tuple[str, str | None, str | None]:
    """The URL, of a copied project where it is; the SHA-256 of a file, and that of a
    project's content, where it is on this machine.
    """
    path = Path(unquote(urlsplit(url).path))
    if url.startswith("file:") and path.is_dir():
        origin, content = origin_of(path)
        return origin.as_uri(), None, content
    return url, hashing.sha256(path) if url.startswith("file:") and path.is_file() else None, None


def forget_origin(info: Path, traces: Sequence[str] = TRACES) -> None:
    """Remove traces from a package's metadata directory, from its list of files too."""
    present = [name for name in traces if (info / name).exists()]
    if not present:
        return
    for name in present:
        (info / name).unlink()
    record = info / "RECORD"
    lines = record.read_text(encoding="utf-8").splitlines(keepends=True)
    gone = tuple(f"{info.name}/{name}," for name in present)
    record.write_text("".join(x for x in lines if not x.startswith(gone)), encoding="utf-8")


def locked_files(
    pylock: str,
    installed: Mapping[str, Distribution],
    chosen: Collection[str] = (),
    directory: Path = Path("/"),
) -> list[LockedPackage]:
    """Lock entries from a ``pylock.toml`` (PEP 751): of each package the file that was installed.

    :param chosen: names of the files that uv takes here. :param directory: of the ``pylock.toml``,
        where its relative paths start.
    """
    entries: list[LockedPackage] = []
    for package in toml.loads(pylock).get("packages", []):
        distribution = installed.get(canonicalize_name(package["name"]))
        if distribution is None:
            continue
        file = package.get("archive") or _installed_file(package, distribution, chosen, directory)
        if file and "sha256" in file.get("hashes", {}):
            entries.append(_entry(package, file, directory))
    return entries


def _installed_file(
    package: toml.Table, distribution: Distribution, chosen: Collection[str], directory: Path
) -> toml.Table | None:
    """Which of the files that are offered a distribution came from; ``None`` where none fits.

    Of what uv installed it is the one that uv takes, unless uv says that it built it: wheels may
    have other tags in ``WHEEL`` than in their names (Ray's and XGBoost's do). pip says neither;
    there the tags count, and where none fits, it was the source.
    """
    source: toml.Table | None = package.get("sdist")
    wheels: list[toml.Table] = package.get("wheels", [])
    if distribution.read_text(_BUILT) is not None:
        return source
    tags = set(re.findall(r"^Tag: (\S+)", distribution.read_text("WHEEL") or "", re.M))
    fits = exact = [w for w in wheels if tags & _tags(_url(w, directory))]
    taken = [w for w in wheels if _file_name(_url(w, directory)) in chosen]
    if not (fits or taken):  # the platform's tag may be the one that is not true
        kinds = {tag.rpartition("-")[0] for tag in tags}
        fits = [w for w in wheels if kinds & _linux_kinds(_url(w, directory))]
    by_uv = (distribution.read_text("INSTALLER") or "").strip() == "uv"
    found = [*taken, *fits] if by_uv else [*exact, *([source] if source else []), *taken]
    return found[0] if found else source


def planned_files(
    pylock: str, chosen: Collection[str] = (), directory: Path = Path("/")
) -> list[LockedPackage]:
    """Entries of packages that are not installed yet: the parameters of :func:`locked_files`.

    Where uv did not say which file it takes, it is the first that is offered.
    """
    entries = []
    for package in toml.loads(pylock).get("packages", []):
        offered = [package.get("archive"), *package.get("wheels", ()), package.get("sdist")]
        known = [file for file in offered if file and "sha256" in file.get("hashes", {})]
        taken = [file for file in known if _file_name(_url(file, directory)) in chosen]
        if known:
            entries.append(_entry(package, [*taken, *known][0], directory))
    return entries


def _entry(package: toml.Table, file: toml.Table, directory: Path) -> LockedPackage:
    return LockedPackage(
        manager="pip",
        name=package["name"],
        version=package["version"],
        url=_url(file, directory),
        sha256=file["hashes"]["sha256"],
        size=int(file.get("size", 0)),
    )


def _url(file: toml.Table, directory: Path) -> str:
    """A file's URL, without a login; files of a local ``--find-links`` have a path."""
    return public_url(str(file.get("url") or (directory / file["path"]).as_uri()))


def _tags(url: str) -> set[str]:
    try:
        return {str(tag) for tag in parse_wheel_filename(_file_name(url))[3]}
    except InvalidWheelFilename:
        return set()


def _linux_kinds(url: str) -> set[str]:
    """Interpreter and ABI (``cp311-cp311``) of a wheel for this platform; none of another."""
    machine = platforms.machine()
    parts = (tag.rpartition("-") for tag in _tags(url))
    return {
        kind
        for kind, _, platform in parts
        if platform.endswith(f"linux2014_{machine}")
        or (platform.startswith(("linux_", "manylinux")) and platform.endswith(f"_{machine}"))
    }


def _file_name(url: str) -> str:
    return unquote(urlsplit(url).path).rsplit("/", 1)[-1]  # "%2B" in torch's local versions
