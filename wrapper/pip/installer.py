"""pip packages into an environment, with uv, in the container, and their lock entries.

uv installs as pip does: what the environment has and what fits is kept, the best version of all
indexes is taken. Its own settings (``UV_*``) and pip's (``PIP_INDEX_URL`` and its kin, the pip
configuration files) are honoured.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.metadata import Distribution
from itertools import groupby
from pathlib import Path
from urllib.parse import unquote, urlsplit

import uv
from packaging.utils import canonicalize_name

from wrapper import installed
from wrapper.base_python.packages import conflict
from wrapper.base_python.session import Reuse
from wrapper.credentials import git_settings, without_logins
from wrapper.errors import ContainerizeError, InputError, PackageError, ScriptError, SolveError
from wrapper.inputs.pylock import PyLock
from wrapper.inputs.requirements import REQUIRE_HASHES, Requirements, Wanted
from wrapper.packages import LockedPackage
from wrapper.pip.config import uv_settings, without_indexes
from wrapper.pip.interpreter import OuterPackages
from wrapper.pip.local import content_digest, copy_project, surroundings
from wrapper.pip.origin import (
    CACHE_TRACE,
    builder_of,
    direct_entry,
    forget_origin,
    locked_files,
    planned_entry,
    planned_files,
)
from wrapper.pip.uv_output import UvProgress, explained, lacking, together
from wrapper.runtime.container import BuildContainer

_PLANNED = re.compile(r"\s*([+~-]) (\S+?)(?:==(\S+)| @ (\S+))(?: \(from (.*)\))?\s*")
_ALL = ":all:"
_LAST = "(built last)"  # in the place of a version
_BEST = "unsafe-best-match"
_MOST_LACKING = 9  # that are looked for besides the first
_SYSTEMS = 3  # parts of paths as /usr/local and /opt, in whose place a base image has its own
_NOT_FOUND = "was not found in the package registry"
# Of uv's verbose output (with uv 0.13): which file it takes of a version.
_CHOSEN = re.compile(r"DEBUG Selecting: \S+ \[.*\] \((\S+)\)\s*$")
_VERBOSE = re.compile(r"(TRACE|DEBUG) ")


@dataclass(kw_only=True)
class PipInstaller:
    """uv at work on one environment.

    :ivar directory: where relative paths in requirements start (outside and inside).
    :ivar outer: packages that the environment sees besides its own.
    :ivar reuse: the base image's, which cannot be changed, where they are reused.
    """

    container: BuildContainer
    directory: Path
    outer: OuterPackages = field(default_factory=OuterPackages)
    reuse: Reuse | None = None
    _copies: dict[Path, Path] = field(default_factory=dict, init=False)
    _logins: dict[str, str] = field(default_factory=dict, init=False)

    def install(self, wanted: Requirements) -> None:
        """Install what requirements ask for.

        :raises InputError: the environment has no Python. :raises SolveError: there is no solution.
        :raises ScriptError: uv fails otherwise.
        """
        self._require_python()
        for lock in wanted.locks:
            self._uv("install", *self._lock_words(lock, wanted))
        if wanted.packages or wanted.remote:
            self._install_asked(wanted)
        if self.reuse:
            self.reuse.clean(self.container.tree)
        for info in self._metadata():
            forget_origin(info, (CACHE_TRACE,))

    def _install_asked(self, wanted: Requirements) -> None:
        early = [one for one in wanted.packages if one.name not in wanted.late]
        passes = [early] if len(early) < len(wanted.packages) else []
        hashed = wanted.hashes_required
        lines = {one: self._line(one, hashed=hashed) for one in wanted.packages}
        for packages in [*passes, wanted.packages]:
            excluded = self.outer.fitting(packages)
            while True:
                asked = [lines[one] for one in packages]
                self._uv("install", *self._files(wanted, asked, excluded), asked=wanted)
                unfit = self._unfit() & excluded
                if not unfit:
                    break
                excluded -= unfit

    def _lock_words(self, lock: PyLock, wanted: Requirements) -> list[str]:
        """uv's options for the packages of a ``pylock.toml``, which is written for it.

        :raises SolveError: the base whose packages are reused has another version of one.
        """
        if self.reuse:
            known = [
                LockedPackage(manager="pip", name=p["name"], version=p.get("version", ""), url="")
                for p in lock.packages
            ]
            missing = {package.name for package in self.reuse.missing(known)}
            lock = lock.without({package.name for package in known} - missing)
        words = ["--no-deps", "-r", self._write("pylock.toml", [lock.text(self._copy)])]
        words += [f"--extra={name}" for name in lock.extras]
        words += [f"--group={name}" for name in lock.groups]
        return [*words, "--preview-features", "pylock", *_isolation(wanted.late)]

    def _unfit(self) -> set[str]:
        """Packages of the outer Python in whose place those in the tree need others."""
        if not self.outer.versions:
            return set()
        return self.outer.unfit(installed.pip_distributions(self.container.tree).values())

    def _line(self, wanted: Wanted, *, hashed: bool) -> str:
        """The line for uv: of a project's directory one for a copy of it.

        :param hashed: whether each package needs a hash.
        """
        line = wanted.text
        if wanted.path and wanted.path.is_dir():
            line = wanted.at(self._copy(wanted.path))
        elif wanted.path:
            line = wanted.at(wanted.path)
        if self.reuse and wanted.name in self.reuse.python.packages:
            # Its own hashes are those of a file that is not installed.
            return f"{line} {self.reuse.hashes.get(str(wanted.name), '')}" if hashed else line
        return " ".join((line, *wanted.options))

    def _copy(self, project: Path) -> Path:
        """A copy of a project, the same one for all that name it."""
        if project not in self._copies:
            self._copies[project] = copy_project(project, self.container.scratch / "projects")
        return self._copies[project]

    def _files(
        self, wanted: Requirements, lines: Iterable[str], excluded: Iterable[str] = ()
    ) -> list[str]:
        """uv's options for these requirements, which are written to files for it."""
        words = ["-r", self._write("requirements.in", [*wanted.remote, *lines])]
        limits, hashed = wanted.constraints, wanted.hashes_required
        if self.reuse:
            words += self.reuse.options(wanted.options, hashed=hashed)
        else:
            words += wanted.options
        if hashed:
            words += [] if REQUIRE_HASHES in words else [REQUIRE_HASHES]
            # pip asks for no hash of what is but limited; uv would.
            limits = [line for line in limits if "--hash=" in line]
        if limits:
            words += ["-c", self._write("constraints.txt", limits)]
        if names := sorted(excluded):
            words += ["--excludes", self._write("excludes.txt", names)]
        return [*words, *_isolation(wanted.late)]

    def _write(self, name: str, lines: Iterable[str]) -> str:
        """A file for uv, in the build directory, which is ours alone; its path."""
        path = self.container.scratch / name
        path.write_text("\n".join(without_logins(lines, self._logins)) + "\n")
        return str(path)

    def install_locked(self, packages: Sequence[LockedPackage]) -> None:
        """Install exactly these, every file checked against its hash.

        :raises PackageError: a local project has changed.
        """
        self._require_python()
        for _, members in groupby(sorted(packages, key=_rank), key=_rank):
            group = list(members)
            words = ["-r", self._write("locked.txt", map(self._locked_line, group))]
            words += ["--require-hashes"] if group[0].sha256 else []
            words += _isolation({p.canonical for p in group if not p.isolated})
            if builder := group[0].builder:
                words += ["-b", self._write("builder.txt", [builder])]
            self._uv("install", "--no-deps", *words)
        names = {package.canonical for package in packages}
        for info in self._metadata():
            # A package installed by its URL shall look like one from an index, which it is:
            # an image from a lock would differ from the one that the lock was written for.
            if canonicalize_name(info.name.split("-")[0]) in names:
                forget_origin(info)

    def _locked_line(self, package: LockedPackage) -> str:
        url = package.url
        if package.content:
            parts = urlsplit(url)
            project = Path(unquote(parts.path))
            if not project.is_dir() or content_digest(project) != package.content:
                raise PackageError(
                    f"{package.name} has changed since it was locked, or has gone",
                    where=project,
                    hint="bring back its files as they were, or build from the requirements",
                )
            url = self._copy(project).as_uri()
            url += f"#{parts.fragment}" if parts.fragment else ""
        line = f"{package.name} @ {url}"
        return f"{line} --hash=sha256:{package.sha256}" if package.sha256 else line

    def _metadata(self) -> list[Path]:
        sites = installed.site_packages(self.container.tree)
        return [info for site in sites for info in site.glob("*.dist-info")]

    # -- what it would be, what it was -----------------------------------------------------------
    def plan(self, wanted: Requirements) -> tuple[list[LockedPackage], set[str]]:
        """What :meth:`install` would install, with sizes where indexes tell them, and the names of
        what would be replaced or removed: see :meth:`resolved`.
        """
        added, removed = self.resolved(wanted)
        known = [planned_files(lock.text()) for lock in wanted.locks]
        for entry in (entry for entries in known for entry in entries):
            found = added.get(entry.name)
            if found and not found.url and found.version == entry.version:
                added[entry.name] = entry
        unknown = [p for p in added.values() if not p.url and p.version != _LAST]
        for offered in self._compile([f"{p.name}=={p.version}" for p in unknown], wanted):
            for entry in planned_files(*offered):
                added[canonicalize_name(entry.name)] = entry
        return list(added.values()), removed

    def resolved(self, wanted: Requirements) -> tuple[dict[str, LockedPackage], set[str]]:
        """What :meth:`install` would install, by name, and the names of what would be replaced or
        removed, from a dry run. A package that can only be built beside the others is there
        without a version, and without what it needs.

        :raises ContainerizeError: as :meth:`install`.
        """
        self._require_python()
        added: dict[str, LockedPackage] = {}
        removed: set[str] = set()

        def on_line(line: str) -> bool:
            if match := _PLANNED.fullmatch(line):
                mark, name, version, url, origin = match.groups()
                url = url or origin  # of no index: it says nothing of these
                if mark == "-":
                    removed.add(name)
                elif not (self.reuse and canonicalize_name(name) in self.reuse.python.packages):
                    added[name] = planned_entry(name, version, url or "")
            return False

        for lock in wanted.locks:
            self._uv("install", "--dry-run", *self._lock_words(lock, wanted), on_line=on_line)

        def ask(packages: Sequence[Wanted]) -> None:
            lines = [self._line(one, hashed=wanted.hashes_required) for one in packages]
            files = self._files(wanted, lines, self.outer.fitting(packages))
            self._uv("install", "--dry-run", *files, asked=wanted, on_line=on_line)

        late = [one for one in wanted.packages if one.name in wanted.late]
        early = [one for one in wanted.packages if one not in late]
        if late:
            try:
                ask(wanted.packages)
                early, late = [], []
            except ScriptError:
                pass  # its build asks for packages that are not there
        if early or (wanted.remote and not added):
            ask(early)
        added |= {
            str(one.name): LockedPackage(manager="pip", name=str(one.name), version=_LAST, url="")
            for one in late
        }
        return added, removed

    def lock(
        self, present: Mapping[str, Distribution], wanted: Requirements
    ) -> list[LockedPackage]:
        """Lock entries of installed distributions, with URLs and hashes from their indexes.

        :param wanted: what they were installed for: its index options matter.
        :returns: an entry for each; without a hash what no index offers.
        """
        direct = {name: direct_entry(d) for name, d in present.items()}
        given: dict[str, LockedPackage] = {}
        for locked in wanted.locks:
            for entry in locked_files(locked.text(), present):
                canonical = canonicalize_name(entry.name)
                if entry.version == present[canonical].version and not direct[canonical]:
                    given[canonical] = entry
        entries = {n: e for n, e in direct.items() if e and not _needs_hash(e)} | given
        urls = {n: f"{e.name} @ {e.url}" for n, e in direct.items() if e and _needs_hash(e)}
        pins = [
            urls.get(name) or f"{d.name}=={d.version}"
            for name, d in present.items()
            if name not in entries
        ]
        for text, chosen, directory in self._compile(pins, wanted):
            for entry in locked_files(text, present, chosen, directory):
                entries[canonicalize_name(entry.name)] = entry
        for name, distribution in present.items():
            entries.setdefault(name, direct[name] or installed.of_no_index(distribution))
        for info in self._metadata():
            forget_origin(info)
        return [
            replace(
                entry,
                isolated=not wanted.late & {name, _ALL},
                builder=None if _is_wheel(entry) else builder_of(present[name]),
            )
            for name, entry in entries.items()
        ]

    def _compile(
        self, pins: Sequence[str], wanted: Requirements
    ) -> list[tuple[str, set[str], Path]]:
        """What indexes offer of exactly these: texts of a ``pylock.toml``, each with the names of
        the files that uv takes of it, and its directory.

        What no index offers is left out; where it fails otherwise, all are, with a warning.
        """
        if not pins:
            return []
        lock = self.container.scratch / "pylock.toml"
        lock.unlink(missing_ok=True)  # uv keeps to the versions of one that is there
        options = ["--verbose", "--no-deps", "--format", "pylock.toml", *_isolation(wanted.late)]
        sources = [word for word in wanted.options if word != REQUIRE_HASHES]
        chosen: set[str] = set()

        def on_line(line: str) -> bool:
            if match := _CHOSEN.match(line):
                chosen.add(match[1])
            return bool(_VERBOSE.match(line))

        files = ["-o", str(lock), self._write("pins.in", pins)]
        try:
            self._uv("compile", *options, *sources, *files, on_line=on_line)
        except SolveError:  # one that no index has shall not cost the others their entries
            middle = len(pins) // 2
            parts = (pins[:middle], pins[middle:]) if middle else ()
            return [found for part in parts for found in self._compile(part, wanted)]
        except ContainerizeError as error:
            self.container.console.warning(f"pip packages cannot be locked: {error.what}")
            return []
        return [(lock.read_text(), chosen, lock.parent)]

    def _uv(
        self,
        command: str,
        *words: str | Path,
        asked: Requirements | None = None,
        on_line: Callable[[str], bool] | None = None,
        strategy: str = _BEST,
    ) -> None:
        settings = uv_settings(self.container.environ)
        options, indexes = without_indexes(map(str, words), {**self.container.environ, **settings})
        for variable, value in indexes.items():
            self.container.console.log(f"{variable}={value}")
        argv = [
            *self.container.own_program(uv.find_uv_bin()),
            *("pip", command, "--python", self._python),
            # pip looks at all indexes and takes the best version; uv's default stops at the first
            # index that has the name, which breaks the usual --extra-index-url of ROCm wheels.
            *("--index-strategy", strategy, "--no-progress", "--no-config"),
            *options,
        ]
        if command == "install":
            # The tree is a mount of its own inside: no hard links from the cache.
            argv += ["--break-system-packages", "--link-mode", "copy"]
            on_line = on_line or UvProgress(self.container.console.now)
        try:
            self.container.run(
                argv,
                what=f"uv pip {command}",
                env={
                    **{"UV_PYTHON_DOWNLOADS": "never", "UV_NO_MANAGED_PYTHON": "1"},
                    **{"VIRTUAL_ENV": "", "CONDA_PREFIX": self.container.install_path},
                    "UV_NO_EDITABLE": "1",  # members of a workspace would be: copies, which go
                    # Debug information names the directory of the build, another each time.
                    "CFLAGS": "-g0",
                    **{**settings, **indexes},
                    **git_settings(self._logins, self.container.environ),
                    "GIT_OPTIONAL_LOCKS": "0",  # of a project, whose repository is the user's
                    # The user's constraints are for choosing versions, not for given ones.
                    **({"UV_CONSTRAINT": ""} if {"--no-deps", REQUIRE_HASHES} & {*words} else {}),
                },
                cwd=self.directory,
                on_line=on_line,
            )
        except ScriptError as error:
            unfit = self.reuse.python.named_in(error.detail) if self.reuse else []
            if unfit and "No solution found" in error.detail:
                raise conflict(unfit, error.detail) from None
            if _NOT_FOUND in error.detail and (command, strategy) == ("install", _BEST):
                self._require_logins(words, asked)
            told = explained(error, asked or Requirements())
            trial = strategy != _BEST or "--no-deps" in words
            if asked and not trial and (name := lacking(error.detail)):
                told = together([told, *self._others_lacking({name}, asked)])
            raise told from None

    def _others_lacking(self, names: set[str], asked: Requirements) -> Iterator[ContainerizeError]:
        """What else of the requirements no index has, besides ``names``: each in a run of uv."""
        for _ in range(_MOST_LACKING):
            rest = replace(asked, packages=[p for p in asked.packages if p.name not in names])
            lines = [self._line(one, hashed=asked.hashes_required) for one in rest.packages]
            words = ["--dry-run", "--no-deps", *self._files(rest, lines)]
            try:
                self._uv("install", *words, asked=rest)
                return
            except ContainerizeError as error:
                name = lacking(error.detail)
                if not name or name in names:
                    return
                names.add(name)
                yield error

    def _require_logins(self, words: Sequence[str | Path], asked: Requirements | None) -> None:
        """:raises ChannelError: an index has refused the login: where uv asks all of them, it
        passes over those without a word.
        """
        with suppress(SolveError, ScriptError):
            trial = [] if "--dry-run" in words else ["--dry-run"]
            self._uv("install", *trial, *words, asked=asked, strategy="first-index")

    @property
    def _python(self) -> str:
        return f"{self.container.install_path}/bin/python"

    def _require_python(self) -> None:
        # A link to a path that exists only in the container counts.
        python = self.container.tree / "bin/python"
        if not (python.is_symlink() or python.exists()):
            raise InputError(
                "there are pip packages to install, but the environment has no Python",
                hint="add 'python' to the dependencies",
            )


def _isolation(late: Iterable[str]) -> list[str]:
    names = sorted(late)
    if _ALL in names:
        return ["--no-build-isolation"]
    return [word for name in names for word in ("--no-build-isolation-package", name)]


def _rank(package: LockedPackage) -> tuple[bool, bool, bool, str]:
    """What is installed together, and in which order: finished wheels first, then what is built,
    each with its builder, last what is built against the others.
    """
    return (
        not package.isolated,
        not package.sha256,
        not _is_wheel(package),
        package.builder or "",
    )


def _is_wheel(entry: LockedPackage) -> bool:
    return urlsplit(entry.url).path.endswith(".whl")


def _needs_hash(entry: LockedPackage) -> bool:
    return not (entry.sha256 or entry.content or entry.url.startswith("git+"))


def local_places(environ: Mapping[str, str], wanted: Requirements, directory: Path) -> list[Path]:
    """Directories and files of the host that installing reads: ``--find-links`` and the like."""
    words = [*re.split(r"[\s,]+", " ".join(uv_settings(environ).values())), *wanted.options]
    paths = [directory / word.removeprefix("file://") for word in words]
    # A mirror's pages lead to files beside them, as "simple/NAME/" to "packages/".
    paths += [path.parent for path in paths if path.name == "simple" and path.parents[2:]]
    paths += [one.path for one in wanted.packages if one.path]
    projects = [one.path for one in wanted.packages if one.path and one.path.is_dir()]
    projects += [path for lock in wanted.locks for path in lock.directories if path.is_dir()]
    around = [surroundings(project) for project in projects]
    paths += [path for each in around for path in each.paths]
    paths += [path for lock in wanted.locks for path in lock.directories]
    for one in wanted.packages:  # repositories on disk
        paths += [Path(place) for place in re.findall(r"git\+file://([^@#\s]+)", one.text)]
    found = [path for path in paths if "://" not in str(path) and path.exists()]
    listed = [path for path in found if path.is_dir() and os.access(path, os.R_OK | os.X_OK)]
    entries = [entry for path in listed for entry in path.iterdir()]
    linked = [entry.resolve().parent for entry in entries if entry.is_symlink()]
    above = [path for each in around for path in each.above if len(path.parts) > _SYSTEMS]
    return [*found, *linked, *above]
