"""pip packages into an environment, with uv, in the container, and their lock entries.

uv installs as pip does: what the environment has and what fits is kept, the best version of all
indexes is taken. Its own settings (``UV_*``) and pip's (``PIP_INDEX_URL`` and its kin, the pip
configuration files) are honoured.
"""

from __future__ import annotations

import configparser
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import Distribution
from pathlib import Path
from urllib.parse import unquote, urlsplit

import uv
from packaging.utils import (
    InvalidWheelFilename,
    canonicalize_name,
    parse_wheel_filename,
)

from wrapper import toml
from wrapper.container import BuildContainer
from wrapper.errors import InputError, ScriptError
from wrapper.installed import direct_url, site_packages
from wrapper.models import LockedPackage

# Lines of a requirements file that say where packages come from, and so matter to locking too.
_SOURCE_OPTIONS = re.compile(
    r"(--(index-url|extra-index-url|find-links|no-index|trusted-host|no-binary|only-binary|pre)"
    r"|-i|-f)\b"
)
_COMMENT = re.compile(r"(^|\s)#.*$")
_NESTED = re.compile(r"(?:-r|--requirement)[ =]?\s*(\S.*)")
_FILE_OPTION = re.compile(r"(-r|--requirement|-c|--constraint)[ =]?\s*(\S.*)")
_SITE_CONFIGS = (Path("/etc/xdg/pip/pip.conf"), Path("/etc/pip.conf"))
# pip's setting -> uv's variable that means the same.
_PIP_SETTINGS = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "no-index": "UV_NO_INDEX",
    "constraint": "UV_CONSTRAINT",
    "build-constraint": "UV_BUILD_CONSTRAINT",
    "cert": "SSL_CERT_FILE",
    "client-cert": "SSL_CLIENT_CERT",
    "timeout": "UV_HTTP_TIMEOUT",
    "require-hashes": "UV_REQUIRE_HASHES",
    "keyring-provider": "UV_KEYRING_PROVIDER",
}
_FILE_SETTINGS = ("constraint", "build-constraint", "cert", "client-cert")
_CERTIFICATE_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")  # pip reads them too


class PipInstaller:
    """uv at work on one environment.

    :param cache: uv's cache, outside; ``None`` for none.
    :param directory: where relative paths in requirements start (outside and inside).
    """

    def __init__(self, container: BuildContainer, *, cache: Path | None, directory: Path) -> None:
        self._container = container
        self._directory = directory
        self._python = f"{container.install_path}/bin/python"
        self._cache = ["--no-cache"] if cache is None else ["--cache-dir", str(cache / "uv")]

    def install(self, lines: Sequence[str]) -> None:
        """Install the requirements, lines of a requirements file.

        :raises InputError: the environment has no Python. :raises ScriptError: uv fails.
        """
        self._require_python()
        wanted = self._container.scratch / "requirements.in"
        wanted.write_text("\n".join(absolute_files(lines, self._directory)) + "\n")
        self._uv("install", "-r", wanted)
        for info in self._metadata():
            _forget(info, ("uv_cache.json",))  # it has a time in it

    def install_locked(self, packages: Sequence[LockedPackage]) -> None:
        """Install exactly these, every file checked against its hash."""
        self._require_python()
        wanted = self._container.scratch / "locked.txt"
        lines = [f"{p.name} @ {p.url} --hash=sha256:{p.sha256}" for p in packages]
        wanted.write_text("\n".join(lines) + "\n")
        self._uv("install", "--no-deps", "--require-hashes", "-r", wanted)
        names = {package.canonical for package in packages}
        for info in self._metadata():
            # A package installed by its URL shall look like one from an index, which it is:
            # an image from a lock would differ from the one that the lock was written for.
            if canonicalize_name(info.name.split("-")[0]) in names:
                _forget(info, ("direct_url.json", "uv_cache.json"))

    def _metadata(self) -> list[Path]:
        sites = site_packages(self._container.tree)
        return [info for site in sites for info in site.glob("*.dist-info")]

    def lock(
        self, present: Mapping[str, Distribution], lines: Sequence[str]
    ) -> list[LockedPackage]:
        """Lock entries of installed distributions, with URLs and hashes from their indexes.

        :param lines: the requirements that they were installed for: their index options matter.
        :returns: an entry for each; without a hash what no index offers (paths, repositories).
        """
        urls = {name: direct_url(d) for name, d in present.items()}
        pins = [f"{d.name}=={d.version}" for name, d in present.items() if not urls[name]]
        entries = self._index_entries(pins, present, lines) if pins else []
        locked = {canonicalize_name(entry.name) for entry in entries}
        missing = [name for name in present if name not in locked]
        if missing:
            self._container.console.warning(
                f"not in the lock, no index offers them: {', '.join(sorted(missing))}"
            )
        for name in missing:
            distribution = present[name]
            entries.append(
                LockedPackage(
                    manager="pip",
                    name=distribution.name,
                    version=distribution.version,
                    url=urls[name] or "",
                )
            )
        return entries

    def _index_entries(
        self, pins: Sequence[str], present: Mapping[str, Distribution], lines: Sequence[str]
    ) -> list[LockedPackage]:
        wanted = self._container.scratch / "pins.in"
        sources = source_options(lines, self._directory)
        wanted.write_text("\n".join([*sources, *pins]) + "\n")
        lock = self._container.scratch / "pylock.toml"
        try:
            options = ["--quiet", "--no-deps", "--format", "pylock.toml"]
            self._uv("compile", *options, "-o", lock, wanted)
        except ScriptError as error:
            self._container.console.warning(f"pip packages cannot be locked: {error.what}")
            return []
        return locked_files(lock.read_text(), present)

    def _uv(self, command: str, *words: str | Path) -> None:
        argv = [
            *self._container.own_program(uv.find_uv_bin()),
            *("pip", command, "--python", self._python),
            # pip looks at all indexes and takes the best version; uv's default stops at the first
            # index that has the name, which breaks the usual --extra-index-url of ROCm wheels.
            *("--index-strategy", "unsafe-best-match", "--no-progress", "--no-config"),
            *self._cache,
            *map(str, words),
        ]
        if command == "install":
            # The tree is a mount of its own inside: no hard links from the cache.
            argv += ["--break-system-packages", "--link-mode", "copy"]
        self._container.run(
            argv,
            what=f"uv pip {command}",
            env={
                **{"UV_PYTHON_DOWNLOADS": "never", "UV_NO_MANAGED_PYTHON": "1"},
                **{"VIRTUAL_ENV": "", "CONDA_PREFIX": self._container.install_path},
                **uv_settings(self._container.environ),
            },
            cwd=self._directory,
        )

    def _require_python(self) -> None:
        if not (self._container.tree / "bin/python").exists():
            raise InputError(
                "there are pip packages to install, but the environment has no Python",
                hint="add 'python' to the dependencies",
            )


# -- requirement lines -------------------------------------------------------------------------
def absolute_files(lines: Iterable[str], directory: Path) -> list[str]:
    """The lines with files of ``-r`` and ``-c`` as absolute paths: they are read elsewhere."""
    result = []
    for line in lines:
        match = _FILE_OPTION.fullmatch(line.strip())
        if match and "://" not in match[2]:
            result.append(f"{match[1]} {directory / match[2]}")
        else:
            result.append(line)
    return result


def source_options(
    lines: Iterable[str], directory: Path, seen: frozenset[Path] = frozenset()
) -> list[str]:
    """Index options in the lines and in the files that they name.

    :param seen: files that are being read, not to be read again below themselves.
    """
    found: list[str] = []
    for line in (_COMMENT.sub("", raw).strip() for raw in lines):
        if _SOURCE_OPTIONS.match(line):
            found.append(line)
        elif (nested := _NESTED.fullmatch(line)) and "://" not in nested[1]:
            path = directory / nested[1]
            real = path.resolve()
            if path.is_file() and real not in seen:
                text = path.read_text(encoding="utf-8", errors="replace")
                found += source_options(text.splitlines(), path.parent, seen | {real})
    return list(dict.fromkeys(found))


def local_places(environ: Mapping[str, str], lines: Iterable[str], directory: Path) -> list[Path]:
    """Directories and files of the host that installing reads: ``--find-links`` and the like."""
    words = " ".join([*uv_settings(environ).values(), *source_options(lines, directory)])
    paths = (directory / word.removeprefix("file://") for word in re.split(r"[\s,=]+", words))
    found = [path for path in paths if "://" not in str(path) and path.exists()]
    entries = [entry for path in found if path.is_dir() for entry in path.iterdir()]
    return [*found, *(entry.resolve().parent for entry in entries if entry.is_symlink())]


def uv_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """pip's index settings in uv's terms; a ``UV_*`` that the user set has the last word.

    Sources: "Configuration" in pip's documentation (variables over the user's file over the
    site's), "Environment variables" in uv's.
    """
    settings = _pip_config(environ)
    for name in _PIP_SETTINGS:
        variable = "PIP_" + name.upper().replace("-", "_")
        if variable in environ:
            settings[name] = environ[variable]
    result: dict[str, str] = {}
    for name, value in settings.items():
        variable = _PIP_SETTINGS[name]
        if variable not in environ:
            words = value.split()
            if name in _FILE_SETTINGS:  # uv runs in another directory
                words = [str(Path(word).expanduser().absolute()) for word in words]
            result[variable] = ",".join(words) if name == "find-links" else " ".join(words)
    for name in _CERTIFICATE_VARIABLES:
        if environ.get(name) and "SSL_CERT_FILE" not in environ:
            result.setdefault("SSL_CERT_FILE", environ[name])
    return result


def _pip_config(environ: Mapping[str, str]) -> dict[str, str]:
    home = Path(environ.get("HOME", "/"))
    user = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    named = environ.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        return {}  # pip's way to say: no configuration files at all
    places = [*_SITE_CONFIGS, home / ".pip/pip.conf", user / "pip/pip.conf"]
    places += [Path(named)] if named else []
    settings: dict[str, str] = {}
    parser = configparser.ConfigParser(interpolation=None)
    for place in places:
        parser.clear()
        try:
            parser.read(place, encoding="utf-8")
        except (configparser.Error, OSError, UnicodeDecodeError):
            continue  # pip itself will complain; a build should not
        for section in ("global", "install"):
            if parser.has_section(section):
                items = {k.replace("_", "-"): v for k, v in parser.items(section)}
                settings.update({k: v for k, v in items.items() if k in _PIP_SETTINGS})
    return settings


# -- what was installed ------------------------------------------------------------------------
def _forget(info: Path, names: Sequence[str]) -> None:
    """Remove files of a package's metadata directory, from its list of files too."""
    present = [name for name in names if (info / name).exists()]
    if not present:
        return
    for name in present:
        (info / name).unlink()
    record = info / "RECORD"
    lines = record.read_text(encoding="utf-8").splitlines(keepends=True)
    gone = tuple(f"{info.name}/{name}," for name in present)
    record.write_text("".join(x for x in lines if not x.startswith(gone)), encoding="utf-8")


def locked_files(pylock: str, installed: Mapping[str, Distribution]) -> list[LockedPackage]:
    """Lock entries from a ``pylock.toml`` (PEP 751): of each package the file that was installed.

    A wheel is told by the tags that it left in ``WHEEL``; where none fits, it was the sdist.
    """
    entries: list[LockedPackage] = []
    for package in toml.loads(pylock).get("packages", []):
        distribution = installed.get(canonicalize_name(package["name"]))
        if distribution is None:
            continue
        tags = set(re.findall(r"^Tag: (\S+)", distribution.read_text("WHEEL") or "", re.M))
        fits = [w for w in package.get("wheels", []) if tags & _tags(w["url"])]
        file = fits[0] if fits else package.get("sdist")
        if file and "sha256" in file.get("hashes", {}):
            entries.append(
                LockedPackage(
                    manager="pip",
                    name=package["name"],
                    version=package["version"],
                    url=file["url"],
                    sha256=file["hashes"]["sha256"],
                )
            )
    return entries


def _tags(url: str) -> set[str]:
    try:
        name = unquote(urlsplit(url).path).rsplit("/", 1)[-1]  # "%2B" in torch's local versions
        return {str(tag) for tag in parse_wheel_filename(name)[3]}
    except InvalidWheelFilename:
        return set()
