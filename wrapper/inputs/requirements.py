"""pip's requirements files, with all that they name, in one value.

Forms and rules are those of "Requirements File Format" in pip's documentation. Files of ``-r`` and
``-c`` are looked up from the file that names them; local packages start at the working directory,
as with pip. Every line is checked here, so that a mistake is told with its place before anything
is built.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from packaging.markers import default_environment
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)

from wrapper.errors import InputError
from wrapper.inputs.advice import for_pip, of_another, of_install, only_a_comment
from wrapper.inputs.files import read_text
from wrapper.inputs.kinds import refuse_condas, refuse_others, refuse_projects
from wrapper.inputs.project import project_name
from wrapper.inputs.pylock import PyLock

REQUIRE_HASHES = "--require-hashes"
# pip's option -> uv's on the command line: uv reads few of them in files.
_ALIKE = ("--index-url", "--extra-index-url", "--find-links", "--no-binary", "--only-binary")
_WITH_VALUE = {**{name: name for name in _ALIKE}, "--trusted-host": "--allow-insecure-host"}
_FLAGS = {
    "--no-index": ("--no-index",),
    "--pre": ("--prerelease", "allow"),
    REQUIRE_HASHES: (REQUIRE_HASHES,),
}
_WITHOUT_EFFECT = ("--prefer-binary", "--use-feature")
_SHORT = {"-i": "--index-url", "-f": "--find-links", "-r": "--requirement", "-c": "--constraint"}
_SHORT["-e"] = "--editable"
NO_ISOLATION = "--no-build-isolation"
_OPTION = re.compile(r"(--[a-z-]+|-[a-z])(?:\s*=\s*|\s+)?(.*)")
_OF_REQUIREMENT = re.compile(r"\s(--(?:hash|config-settings?|global-option|install-option)[\s=].*)")
_OF_FILES = re.compile(rf"\s(?:{'|'.join((*_WITH_VALUE, *_FLAGS))}|-[if])[\s=]\s*\S")
_OTHER_SYSTEM = re.compile(r"-(?:win32|win_\w+|macosx_[\w.]+)\.whl$")
_OF_SHELL = re.compile(r"://[^/\s]*\$[A-Za-z_]")
_COMMENT = re.compile(r"(^|\s)#.*$")
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
_URL = re.compile(r"[a-z][a-z0-9+.-]*://|git\+", re.I)
_LOCAL = re.compile(r"([^\[;]*[^\[;\s])(\[[^\]]*\])?\s*(?:\s;\s*(.*))?")
_ARCHIVE = re.compile(r"\.(whl|zip|t[gbxl]z|tar(\.(gz|bz2|xz|zst|lz|lzma))?)$")  # as uv knows them
_BUILT_BY_CONDA = re.compile(
    r"file:///(?:croot|tmp/build/|opt/conda/conda-bld|[^\s]*/(?:feedstock_root|conda-bld|croots?)/)"
)
_HINT = "see 'Requirements File Format' in pip's documentation"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One package that is asked for.

    :ivar text: a line for uv, without options. :ivar name: canonical, ``None`` where only the
        package itself tells it. :ivar path: of a local one, absolute. :ivar where: file and line.
    :ivar suffix: what follows a path: extras and marker. :ivar options: hashes.
    """

    text: str
    where: str
    name: str | None = None
    path: Path | None = None
    extras: str = ""
    marker: str = ""
    options: tuple[str, ...] = ()

    @property
    def is_repository(self) -> bool:
        return "git+" in self.text.partition(";")[0]

    @property
    def is_remote(self) -> bool:
        return "://" in self.text and not self.path

    def at(self, path: Path) -> str:
        """The line for a local package that lies at ``path``."""
        named = f"{self.name}{self.extras} @ {path.as_uri()}"
        place = named if self.name else f"{path}{self.extras}"
        return place + (f" ; {self.marker}" if self.marker else "")


@dataclass(kw_only=True)
class Requirements:
    """All that requirements ask for.

    :ivar options: for uv's command line: indexes and the like. :ivar sources: the URLs among
        them, each with its place. :ivar late: canonical names of
        packages that are built after all others are installed, without isolation (``:all:`` for
        every one, at once). :ivar remote: ``-r`` and ``-c`` lines with URLs, uv reads them.
    :ivar locks: packages that are chosen already, installed before all others.
    """

    packages: list[Wanted] = field(default_factory=list)
    constraints: list[str] = field(default_factory=list)
    options: list[str] = field(default_factory=list)
    sources: list[tuple[str, str]] = field(default_factory=list)
    late: set[str] = field(default_factory=set)
    remote: list[str] = field(default_factory=list)
    locks: list[PyLock] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Whether anything is to be installed."""
        return bool(self.packages or self.remote or self.locks)

    @property
    def hashes_required(self) -> bool:
        """Whether each package needs a hash: as with pip, where it is said or one has a hash."""
        return REQUIRE_HASHES in self.options or any(one.options for one in self.packages)


def read_requirements(
    lines: Iterable[str],
    directory: Path,
    where: str,
    places: Iterable[str] = (),
    *,
    read: Callable[[Path], str] = read_text,
    found: Requirements | None = None,
) -> Requirements:
    """Read lines of a requirements file, and the files that they name.

    :param directory: where relative paths start. :param where: what the lines are part of.
    :param places: where each of them stands, as far as that is known.
    :param read: gives the text of a file. :param found: to be added to.
    :raises InputError: a line or a file is not right, with its place.
    """
    found = Requirements() if found is None else found
    known = iter(places)
    for line in lines:
        _Reader(found, directory, read).line(line.strip(), next(known, where), directory)
    return found


@dataclass
class _Reader:
    """:ivar start: where local packages start. :ivar outer: files that are being read.
    :ivar limits: whether the lines are constraints.
    """

    found: Requirements
    start: Path
    read: Callable[[Path], str]
    outer: tuple[Path, ...] = ()
    limits: bool = False

    def file(self, path: Path, where: str) -> None:
        # (False, not raised, for what is no path.)
        if not os.path.exists(path) or os.path.isdir(path):  # noqa: PTH110, PTH112
            raise InputError(f"no such file: {path}", where=where, hint="check the path")
        real = path.resolve()
        if real in self.outer:
            return  # pip reads such circles without an end
        inner = replace(self, outer=(*self.outer, real))
        text = self.read(path)
        refuse_others(text, path)
        refuse_condas(text, path)
        refuse_projects(text, path)
        for number, line in _logical_lines(text):
            inner.line(line, f"{path}, line {number}", path.parent)

    def line(self, line: str, where: str, directory: Path) -> None:
        if selector := of_another(line):
            self.found.warnings.append(f"{where}: {only_a_comment(selector)}")
        line = _COMMENT.sub("", line).strip()
        unset = [name for name in _VARIABLE.findall(line) if name not in os.environ]
        self.found.warnings += [f"{where}: the variable {name} is not set" for name in unset]
        if _OF_SHELL.search(line):
            self.found.warnings.append(f"{where}: pip fills in ${{NAME}} only, not $NAME")
        line = _VARIABLE.sub(lambda m: os.environ.get(m[1], m[0]), line)
        if not line:
            return
        if not line.startswith("-"):
            self._package(line, where)
            return
        match = _OPTION.fullmatch(line)
        name, value = match.groups() if match else (line, "")
        name, value = _SHORT.get(name, name), value.strip().strip("\"'")
        if name in ("--requirement", "--constraint"):
            self._nested(name, value, where, directory)
        elif name == "--editable" and value:
            self._editable(value, where)
        elif name == NO_ISOLATION:
            self._no_isolation(value)
        elif name in _WITH_VALUE and value:
            self._source(name, *_rest_of(name, match[2] if match else "", where), directory, where)
        elif name in _FLAGS and not value:
            if _FLAGS[name][0] not in self.found.options:  # uv takes none twice
                self.found.options += _FLAGS[name]
        elif name in _WITHOUT_EFFECT:
            self.found.warnings.append(f"{where}: {name} has no effect here")
        else:
            needy = name in _WITH_VALUE or name == "--editable"
            raise InputError(
                f"'{name}' needs a value" if needy else f"no such option: {line}",
                where=where,
                hint=f"write {name} VALUE in one line" if needy else _advice_for_option(line),
            )

    def _nested(self, name: str, value: str, where: str, directory: Path) -> None:
        if not value:
            raise InputError(f"'{name}' needs a file", where=where, hint=_HINT)
        if "://" in value and not value.startswith("file://"):
            self.found.remote.append(f"{name} {value}")
            return
        limits = self.limits or name == "--constraint"
        path = Path(_path_of(value, where)) if value.startswith("file://") else Path(value)
        replace(self, limits=limits).file(directory / path, where)

    def _editable(self, value: str, where: str) -> None:
        # A name is a directory's, never that of an index's package.
        named = re.fullmatch(r"\w[\w.-]*(\[[^]]*\])?", value)
        with suppress(InvalidRequirement):
            if not named and not Requirement(value).url:
                raise InputError(
                    f"'-e {value}' is neither a directory nor a URL",
                    where=where,
                    hint=f"write {value} without -e for the index's package, or -e ./DIRECTORY",
                )
        self._package(f"./{value}" if named else value, where)
        self.found.notes.append(
            f"{where}: '-e {value}' is installed as a copy, since nothing in an image can be "
            "edited; after changes run update with it"
        )

    def _no_isolation(self, value: str) -> None:
        names = value.replace(",", " ").split() or [":all:"]
        self.found.late |= {n if n == ":all:" else canonicalize_name(n) for n in names}

    def _source(self, name: str, value: str, rest: str, directory: Path, where: str) -> None:
        """An option with its value, and the further options of its line."""
        option = _WITH_VALUE[name]
        if option == "--index-url" and option in self.found.options:  # the last one counts
            place = self.found.options.index(option)
            del self.found.options[place : place + 2]
        if option == "--find-links" and not _URL.match(value):
            value = str(directory / value)
        gone = self._is_gone(option, value, where)
        values = value.split(",") if name in ("--no-binary", "--only-binary") else [value]
        for one in values if not gone else ():
            self.found.options += [option, one.strip()]
        if "://" in value:
            self.found.sources.append((value, where))
        if rest:
            self.line(rest, where, directory)

    def _is_gone(self, option: str, value: str, where: str) -> bool:
        """Whether a directory of wheels is not there, which pip warns of, and uv ends with. Of an
        index only the warning: without it another one would be asked.
        """
        is_url = value.startswith("file://")
        local = unquote(value.removeprefix("file://")) if is_url else value
        is_place = option == "--find-links" or ("index" in option and is_url)
        if not is_place or "://" in local or os.path.exists(local):  # noqa: PTH110
            return False
        self.found.warnings.append(f"{where}: {local} is not there, so nothing is found in it")
        return option == "--find-links"

    # -- one package ----------------------------------------------------------------------------
    def _package(self, line: str, where: str) -> None:
        if advice := of_install(line):
            raise InputError(f"'{line}' is a command, not a requirement", where=where, hint=advice)
        if alien := _OF_FILES.search(line):
            option = line[alien.start() :].strip()
            raise InputError(
                f"an option of pip stands behind a package: {line}",
                where=where,
                hint=f"write it in a line of its own: {option}",
            )
        line = line.rstrip(" ;")
        rest = _OF_REQUIREMENT.search(line)
        text = line[: rest.start()].strip() if rest else line
        wanted = _parse(text, where, self.start)
        options = self._own_options(rest[1], wanted, where) if rest else ()
        if self.limits:
            if wanted.extras or not wanted.name or _looks_local(wanted.text):
                raise InputError(
                    f"'{text}' cannot be a constraint", where=where, hint="write NAME and versions"
                )
            self.found.constraints.append(" ".join((wanted.text, *options)))
            return
        self.found.packages.append(replace(wanted, options=options))

    def _own_options(self, text: str, wanted: Wanted, where: str) -> tuple[str, ...]:
        """Options after a requirement: hashes, settings of its build."""
        hashes: list[str] = []
        for name, value in _pairs(text, where):
            if name == "--hash" and re.fullmatch(r"sha(256|384|512):[0-9a-fA-F]{64,128}", value):
                hashes.append(f"--hash={value}")
            elif name in ("--config-settings", "--config-setting") and "=" in value and wanted.name:
                self.found.options += ["--config-settings-package", f"{wanted.name}:{value}"]
            else:
                raise InputError(
                    f"'{name} {value}' cannot be used".rstrip(),
                    where=where,
                    hint="after a requirement: --hash=sha256:DIGEST, --config-settings=KEY=VALUE",
                )
        if hashes and not _is_one_file(wanted):  # uv would check nothing, without a word
            raise InputError(
                f"'{wanted.text}' has a hash and leaves the version open",
                where=where,
                hint="write NAME==VERSION: a hash is of one version",
            )
        return tuple(hashes)


def _is_one_file(wanted: Wanted) -> bool:
    """Whether it can be but one version: a URL, a path, or what pip calls pinned."""
    if wanted.path or _URL.match(wanted.text) or Requirement(wanted.text).url:
        return True
    limits = str(Requirement(wanted.text).specifier)  # of several one with commas
    return bool(re.fullmatch(r"={2,3}[^,]*[^,*]", limits))


def _pairs(text: str, where: str) -> Iterator[tuple[str, str]]:
    try:
        words = shlex.split(text)
    except ValueError:
        raise InputError("a quote is not closed", where=where, hint=_HINT) from None
    while words:
        name, sign, value = words.pop(0).partition("=")
        if not sign:
            value = words.pop(0) if words else ""
        yield name, value


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines with those that end in a backslash joined, and the number of the first of them."""
    joined, first = "", 1
    for number, line in enumerate(text.splitlines(), 1):
        first = first if joined else number
        if line.endswith("\\") and not _COMMENT.match(line.lstrip()):
            joined += line[:-1].strip() + " "
            continue
        yield first, (joined + line.strip()).strip()
        joined = ""
    if joined:
        yield first, joined.strip()


def _rest_of(name: str, text: str, where: str) -> tuple[str, str]:
    """The value that begins a text, and what follows: further options.

    :raises InputError: a package follows, which pip passes over without a word.
    """
    found = re.match(r"(\"[^\"]*\"|'[^']*'|\S+)\s*(.*)", text.strip())
    value, rest = found.groups() if found else (text, "")
    if rest and not rest.startswith("-"):
        if name in ("--no-binary", "--only-binary"):
            return text.strip(), ""
        raise InputError(
            f"'{rest}' stands behind {name} and its value",
            where=where,
            hint="write it in a line of its own; put a value with blanks in quotes",
        )
    return value.strip("\"'"), rest


def _advice_for_option(line: str) -> str:
    if line.startswith("- "):
        return f"write {line[1:].strip()}: only an env.yml has lists with '-'"
    if line.startswith("--hash"):
        return "let the line before end in a backslash, with no comment in between"
    return "remove it: it is for pip's command line, not for its files"


def _parse(text: str, where: str, start: Path) -> Wanted:
    if text.startswith("file:") and not text.startswith("file://"):
        text = text.removeprefix("file:")
        text = text if "/" in text or text.startswith(".") else f"./{text}"
    if re.match(r"(git\+)?\w+@[\w.-]+:\w|git://|[A-Za-z]:\\|\.{1,2}\\", text):
        raise InputError(
            f"'{text}' is not a requirement",
            where=where,
            hint=for_pip(text) or f"write git+https{text.removeprefix('git')}",
        )
    if _URL.match(text):
        return _remote(text, where)
    if not _looks_local(text):
        return _named(text, where, start)
    match = _LOCAL.fullmatch(text)
    if not match:
        raise InputError(f"'{text}' is not a requirement", where=where, hint=_HINT)
    place, extras, marker = match.groups()
    path = _existing(start / os.path.expanduser(place), where, start)  # noqa: PTH111
    return Wanted(
        text=text,
        where=where,
        name=_name_at(path),
        path=path,
        extras=extras or "",
        marker=marker or "",
    )


def _looks_local(text: str) -> bool:
    place = re.split(r"[\[;]|\s@\s", text, maxsplit=1)[0].strip()
    is_path = "/" in place or place.startswith((".", "~")) or _ARCHIVE.search(place)
    is_url = re.match(r"[\w.-]+(\[[^\]]*\])?@[a-z][a-z0-9+.-]*:", text)  # NAME@URL
    return " @ " not in text and not is_url and bool(is_path)


def _named(text: str, where: str, start: Path) -> Wanted:
    """A requirement as PEP 508 defines it."""
    if re.fullmatch(r"pkg[-_]resources==0\.0\.0", text):
        raise InputError(
            f"'{text}' is no package: Debian's pip freeze writes it by mistake",
            where=where,
            hint="remove the line",
        )
    if export := re.fullmatch(r"([\w.-]+)=([^=\s]+)=\S+", text):
        raise InputError(
            f"'{text}' is a line of 'conda list --export'",
            where=where,
            hint=f"give the file to conda-containerize, or write {export[1]}=={export[2]} for pip",
        )
    try:
        parsed = Requirement(text)
    except InvalidRequirement as error:
        raise InputError(
            f"'{text}' is not a requirement: {str(error).splitlines()[0]}",
            where=where,
            hint=for_pip(text) or _HINT,
        ) from None
    _refuse_no_package(parsed, where, start)
    extras = f"[{','.join(sorted(parsed.extras))}]" if parsed.extras else ""
    path = None
    if parsed.url:
        if re.fullmatch(r"v?\d[\w.]*", parsed.url):
            raise InputError(
                f"'{text}' is not a requirement", where=where, hint=for_pip(text) or _HINT
            )
        _check_url(parsed.url, where, marked=parsed.marker is not None)
        if _BUILT_BY_CONDA.match(parsed.url):
            raise InputError(
                f"'{text}' is where conda built it, which pip freeze names in its environments",
                where=where,
                hint=f"write {parsed.name}==VERSION: 'pip list --format=freeze' tells it",
            )
        if parsed.url.startswith("file:") or not _URL.match(parsed.url):
            path = _existing(start / _path_of(parsed.url, where), where, start)
    return Wanted(
        text=text,
        where=where,
        name=canonicalize_name(parsed.name),
        path=path,
        extras=extras,
        marker=str(parsed.marker or ""),
    )


def _refuse_no_package(parsed: Requirement, where: str, start: Path) -> None:
    """:raises InputError: it has the form of a requirement, and is meant as something else."""
    if canonicalize_name(parsed.name) == "python" and not parsed.url:
        raise InputError(
            f"'{parsed}': Python is no package of pip's",
            where=where,
            hint="remove the line; --pyver of pip-containerize, or an env.yml, chooses the Python",
        )
    if re.search(r"\.(txt|in|ya?ml|toml)$", parsed.name) and os.path.isfile(start / parsed.name):  # noqa: PTH113
        raise InputError(
            f"{parsed.name} is a file, not a package",
            where=where,
            hint=f"write -r {parsed.name}, if it is a requirements file",
        )


def _remote(text: str, where: str) -> Wanted:
    """A URL without a name, but for the one in ``#egg=``."""
    url, _, marker = text.partition(" ;")
    _check_url(url, where, marked=bool(marker))
    egg = re.search(r"[#&]egg=([A-Za-z0-9._-]+)", url)
    name: str | None = canonicalize_name(egg[1]) if egg else None
    if url.startswith("file://"):
        path = _existing(Path(_path_of(url, where)), where, Path("/"))
        name = name or _name_at(path)
        return Wanted(text=text, where=where, name=name, path=path, marker=marker.strip())
    return Wanted(text=text, where=where, name=name or _name_of_archive(Path(urlsplit(url).path)))


def _check_url(url: str, where: str, *, marked: bool) -> None:
    if re.match(r"(svn|hg|bzr)\+", url):
        raise InputError(
            f"'{url}': only git repositories can be installed from",
            where=where,
            hint="check it out and name the directory",
        )
    path = _path_of(url, where)
    if _OTHER_SYSTEM.search(path) and not marked:
        raise InputError(
            f"'{url}' is a wheel for another system",
            where=where,
            hint="name the one for Linux, or let pip choose: NAME==VERSION",
        )
    if url.startswith("http") and path.endswith(".git"):
        raise InputError(f"'{url}' is a repository", where=where, hint=f"write git+{url}")
    if re.match(r"https?:", url) and not _ARCHIVE.search(path):
        raise InputError(
            f"'{url}' does not end as a package's file does (.whl, .tar.gz, .zip…)",
            where=where,
            hint="name the file (at GitHub …/archive/BRANCH.zip), or the repository: git+https://…",
        )


def _path_of(url: str, where: str) -> str:
    """The path in a URL, decoded."""
    try:
        return unquote(urlsplit(url).path)
    except ValueError as error:
        raise InputError(f"'{url}' is not a URL: {error}", where=where, hint=_HINT) from None


def _existing(path: Path, where: str, start: Path) -> Path:
    path = Path(os.path.normpath(path))
    if not os.path.exists(path):  # noqa: PTH110 - false, not raised, where we may not look
        raise InputError(
            f"no such package: {path}", where=where, hint=f"relative paths start at {start}"
        )
    if path.is_dir() and not ((path / "pyproject.toml").exists() or (path / "setup.py").exists()):
        raise InputError(
            f"{path} is no Python project",
            where=where,
            hint="it has neither pyproject.toml nor setup.py",
        )
    if path.is_file() and not _ARCHIVE.search(path.name):
        raise InputError(
            f"{path.name} is neither a wheel nor a source archive",
            where=where,
            hint="write -r in front of a requirements file",
        )
    return path


def _name_at(path: Path) -> str | None:
    return project_name(path) if path.is_dir() else _name_of_archive(path)


def _name_of_archive(path: Path) -> str | None:
    try:
        return parse_wheel_filename(path.name)[0]
    except InvalidWheelFilename:
        pass
    try:
        return parse_sdist_filename(path.name)[0]
    except InvalidSdistFilename:
        return None


def repositories(packages: Sequence[Wanted]) -> list[Wanted]:
    """Those that need git."""
    return [wanted for wanted in packages if wanted.is_repository]


# -- environment markers, as PEP 508 defines them ------------------------------------------------
def counting(text: str, python: str) -> Requirement | None:
    """A requirement, ``None`` where it is none or does not count: of an extra, for other Pythons.

    :param python: the version, X.Y.Z; empty for the one that runs us.
    """
    try:
        wanted = Requirement(text)
    except InvalidRequirement:
        return None
    here: dict[str, str | AbstractSet[str]] = {"extra": ""}
    here.update((name, str(value)) for name, value in default_environment().items())
    if python:
        here["python_full_version"] = python
        here["python_version"] = ".".join(python.split(".")[:2])
    return None if wanted.marker and not wanted.marker.evaluate(here) else wanted
