"""The Python that a virtual environment is made for: one on PATH, or one that uv brings; and the
packages that an environment sees of it besides its own.

uv does not look at those. pip does: what is there and fits is not installed again. That matters
where they are special (Cray's NumPy and mpi4py), so they are kept out of uv's resolution.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import Distribution
from pathlib import Path
from typing import TypeVar

import msgspec
import uv
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from wrapper import layout, process
from wrapper.base_python.packages import BasePython
from wrapper.errors import ChannelError, InputError, PackageError, ScriptError, ToolError
from wrapper.inputs.requirements import Wanted, counting
from wrapper.models import Interpreter
from wrapper.runtime.container import BuildContainer

T = TypeVar("T")

_OLDEST = (3, 7)  # first with hash-based .pyc
_MANAGED = "python"  # directory below the environment
# Modules in the current directory, which Python would look at first, are the user's.
_ALONE = """
import sys
sys.path[:] = filter(None, sys.path)
"""
# Everything in one start: -s, since packages in ~/.local are not the Python's own.
_QUESTION = (
    _ALONE
    + """
import json, os, site
try:
    from importlib.metadata import distributions
    packages = {d.metadata["Name"]: d.version for d in distributions() if d.metadata["Name"]}
except ImportError:
    packages = {}
sites = [p for p in sys.path if os.path.basename(p) in ("site-packages", "dist-packages")]
print(json.dumps({
    "executable": sys.executable, "version": "%d.%d.%d" % sys.version_info[:3],
    "library": os.path.dirname(os.__file__), "packages": packages, "sites": sites,
    "is_venv": sys.prefix != sys.base_prefix, "base": sys.base_prefix,
}))
"""
)
_LIBRARY_QUESTION = (
    _ALONE
    + """
import json, os, sysconfig
include = sysconfig.get_path("include")
print(json.dumps({
    "names": sorted(os.listdir(os.path.dirname(os.__file__))),
    "include": include if os.path.isdir(include) else "",
}))
"""
)


@dataclass(frozen=True, kw_only=True)
class _Facts:
    """The answer to :data:`_QUESTION`."""

    executable: str
    version: str
    library: str
    packages: Mapping[str, str]
    sites: tuple[str, ...]
    is_venv: bool
    base: str


@dataclass(frozen=True, kw_only=True)
class Outer:
    """What else a Python on the host has.

    :ivar sites: directories of packages. :ivar is_venv: it is itself a virtual environment.
    """

    packages: OuterPackages
    sites: tuple[str, ...]
    is_venv: bool


@dataclass(frozen=True, kw_only=True)
class Library:
    """What is in a Python's standard library, and the directory of its header files, empty where
    there is none: the answer to :data:`_LIBRARY_QUESTION`.
    """

    names: tuple[str, ...]
    include: str


def parse_version(text: str) -> str:
    """The version of ``--pyver``: X.Y or X.Y.Z. What follows a dash is part of a Docker tag, which
    Tykky takes there (``3.12.9-slim-trixie``).

    :raises InputError: it is none.
    """
    match = re.fullmatch(r"(3\.\d+(?:\.\d+)?)(?:-\S+)?", text)
    if not match:
        raise InputError(
            f"'{text}' is not a version of Python",
            where="--pyver",
            hint="write 3.12, or 3.12.9",
        )
    return match[1]


def find_interpreter(
    environ: Mapping[str, str], version: str = "", *, sees_outer: bool = False
) -> Interpreter | None:
    """The first Python on PATH of that version, of any if none is named; ``None`` if none fits.

    The one that runs containerize is passed over. Of a virtual environment that is active, as
    people have one without a thought and remove it, it is the Python that it was made with.

    :param sees_outer: its packages are wanted: then a virtual environment is taken as it is.
    :raises ToolError: it is too old, or it is itself a wrapped program.
    """
    for path in _candidates(environ, version):
        try:
            facts = _ask_host(path, environ, sees_outer=sees_outer)
        except ToolError:
            if version:
                continue  # pyenv has such programs for versions that it does not use
            raise
        if not _fits(facts.version, version):
            continue
        found = _interpreter(facts)
        return replace(found, path=_by_version(found.path, found.version))
    return None


def _ask_host(path: Path, environ: Mapping[str, str], *, sees_outer: bool) -> _Facts:
    """What a Python on the host, or the one it stands on, answers. :raises ToolError: as above."""
    _refuse_wrapped(path.parent.parent, path)
    facts = _ask(path, environ, _QUESTION, _Facts)
    if facts.is_venv:
        _refuse_wrapped(Path(facts.base), path)
    if sees_outer or not facts.is_venv or environ.get("VIRTUAL_ENV") != str(path.parent.parent):
        return facts
    name = "python" + ".".join(facts.version.split(".")[:2])
    return _ask(Path(facts.base, "bin", name), environ, _QUESTION, _Facts)


def _refuse_wrapped(prefix: Path, path: Path) -> None:
    if (prefix / layout.CURRENT / layout.ENV).exists():
        raise ToolError(
            "the Python on PATH is itself a wrapped program, which cannot be built on",
            where=path,
            hint="take that installation's bin directory out of PATH for the build, and leave a "
            "virtual environment on it: deactivate",
        )


def find_inside(container: BuildContainer, version: str, *, may_miss: bool) -> Interpreter | None:
    """The ``python3`` of a base image: what a user of the image gets by that name.

    :param may_miss: return ``None`` where there is none of that version, instead of raising.
    :raises InputError: it has none, or of another version. :raises ToolError: it is too old.
    """
    try:
        facts = _ask_inside("python3", container, _QUESTION, _Facts)
    except ScriptError as error:
        if may_miss:
            return None
        raise InputError(
            "the base image has no python3 on its PATH",
            where=container.image,
            hint="--reuse-base finds the one that an image's $WITH_CONDA activates; a conda "
            "environment and 'pip-containerize --uv' bring their own",
            detail=error.detail,
        ) from None
    if _fits(facts.version, version):
        return _interpreter(facts)
    if may_miss:
        return None
    hint = "choose another base image, or let uv bring that version: --uv"
    raise _of_another_version(facts.version, version, container.image, hint)


def from_base(base: BasePython, version: str) -> Interpreter:
    """The Python of a base image, which was asked for all that it has (:mod:`wrapper.base_python`).

    :raises InputError: it is of another version than the one that is wanted.
    """
    if not _fits(base.version, version):
        hint = "choose another base image, or do without --reuse-base"
        raise _of_another_version(base.version, version, base.executable, hint)
    return Interpreter(path=Path(base.executable), version=base.version, library=Path(base.library))


def _of_another_version(found: str, wanted: str, where: str | Path, hint: str) -> InputError:
    return InputError(f"the base image has Python {found}, not {wanted}", where=where, hint=hint)


def _interpreter(facts: _Facts) -> Interpreter:
    path, version = Path(facts.executable), facts.version
    if tuple(map(int, version.split(".")[:2])) < _OLDEST:
        raise ToolError(f"Python {version} is too old", where=path, hint="use Python 3.7 or newer")
    return Interpreter(path=path, version=version, library=Path(facts.library))


def none_found(environ: Mapping[str, str], version: str) -> ToolError:
    """The error for it, with what there is."""
    if not version:
        return ToolError("no python3 on PATH", hint="load the module of the Python to build on")
    found = []
    for path in _candidates(environ, "3"):
        with contextlib.suppress(ToolError):
            found.append(f"{_ask(path, environ, _QUESTION, _Facts).version} ({path})")
    return ToolError(
        f"no Python {version} on PATH, only {', '.join(found)}"
        if found
        else f"no Python {version} on PATH, nor any other",
        hint="load its module, or let uv bring one: --uv",
    )


def look_around(
    interpreter: Interpreter, environ: Mapping[str, str], container: BuildContainer | None = None
) -> Outer:
    """The packages of a Python on the host, or in the container."""
    facts = _ask(interpreter.path, environ, _QUESTION, _Facts, container)
    packages = OuterPackages.of(facts.packages, python=interpreter.version)
    return Outer(packages=packages, sites=facts.sites, is_venv=facts.is_venv)


def look_into_library(
    interpreter: Interpreter, environ: Mapping[str, str], container: BuildContainer | None = None
) -> Library:
    """The library of a Python on the host, or in the container."""
    return _ask(interpreter.path, environ, _LIBRARY_QUESTION, Library, container)


def bring_interpreter(container: BuildContainer, version: str) -> Interpreter:
    """Let uv download a Python into the environment; uv checks its hash.

    :param version: X.Y or X.Y.Z; empty for uv's choice. :raises ChannelError: uv cannot get it.
    :raises PackageError: it is not what its hash says.
    """
    inside = f"{container.install_path}/{_MANAGED}"
    options = ["--install-dir", inside, "--no-bin", "--no-progress", "--no-config"]
    try:
        container.run(
            [
                *container.own_program(uv.find_uv_bin()),
                *("python", "install", *options),
                *([version] if version else []),
            ],
            what=f"uv python install {version}".rstrip(),
            env={"UV_PYTHON_DOWNLOADS": "manual"},
        )
    except ScriptError as error:
        if "Hash mismatch" in error.detail:
            raise PackageError(
                "the Python that uv fetched is damaged or not the right one",
                hint="try again; if it stays, report it to the owner of the mirror",
                detail=error.detail,
            ) from None
        raise ChannelError(
            f"uv cannot bring Python {version}".rstrip(),
            where=container.environ.get("UV_PYTHON_INSTALL_MIRROR") or "uv python install",
            hint="check the version and your network; UV_PYTHON_INSTALL_MIRROR names a mirror",
            detail=error.detail,
        ) from None
    outside = container.tree / _MANAGED
    for entry in outside.iterdir():  # uv's locks, and links to the newest
        if entry.is_symlink() or not entry.is_dir():
            entry.unlink()
        elif entry.name.startswith("."):
            shutil.rmtree(entry)
    (root,) = outside.iterdir()
    library = next(p for p in sorted(root.glob("lib/python3*")) if not p.is_symlink())
    release = re.search(r"-(\d+\.\d+\.\d+)", root.name)
    return Interpreter(
        path=Path(inside, root.name, "bin", library.name),
        version=release[1] if release else library.name.removeprefix("python"),
        library=Path(inside, root.name, "lib", library.name),
        managed=True,
    )


def _candidates(environ: Mapping[str, str], version: str) -> Iterator[Path]:
    """Programs on PATH that may be a Python of that version, each once."""
    own = Path(sys.prefix) / "bin"
    search = os.pathsep.join(
        folder
        for folder in environ.get("PATH", "").split(os.pathsep)
        if folder and Path(folder).absolute() != own
    )
    minor = ".".join(version.split(".")[:2])
    seen: set[Path] = set()
    for name in [f"python{minor}"] * bool(minor) + ["python3", "python"]:
        found = shutil.which(name, path=search)
        if found and Path(found).resolve() not in seen:
            seen.add(Path(found).resolve())
            yield Path(found).absolute()


def _ask(
    path: Path,
    environ: Mapping[str, str],
    question: str,
    kind: type[T],
    container: BuildContainer | None = None,
) -> T:
    """What a Python on the host, or in the container, answers.

    :raises ToolError: nothing that is of this ``kind``.
    """
    if container:
        return _ask_inside(str(path), container, question, kind)
    env = process.base_environment(environ)
    return _read(path, process.capture([path, "-s", "-c", question], env=env), kind)


def _ask_inside(program: str, container: BuildContainer, question: str, kind: type[T]) -> T:
    """The same of a Python in the container. :raises ScriptError: it cannot run."""
    lines: list[str] = []

    def on_line(line: str) -> bool:
        lines.append(line)
        return True

    container.run([program, "-s", "-c", question], what="asking for Python", on_line=on_line)
    return _read(Path(program), "".join(lines), kind)


def _read(path: Path, answer: str, kind: type[T]) -> T:
    try:
        line = next(line for line in answer.splitlines() if line.startswith("{"))
        return msgspec.convert(json.loads(line), kind)
    except (StopIteration, ValueError):
        raise ToolError(
            "the Python does not say what it is", where=path, hint="try it", detail=answer
        ) from None


def _fits(found: str, wanted: str) -> bool:
    return not wanted or f"{found}.".startswith(f"{wanted}.")


def _by_version(path: Path, version: str) -> Path:
    """The same program under the name with its version (python3.11), where it has one.

    When another Python takes its place, that name goes, and so it is noticed.
    """
    named = path.with_name(f"python{'.'.join(version.split('.')[:2])}")
    return named if named.exists() and named.resolve() == path.resolve() else path


# -- packages that an environment sees besides its own -------------------------------------------
@dataclass(frozen=True, kw_only=True)
class OuterPackages:
    """:ivar versions: by canonical name. :ivar python: version of the Python, for markers."""

    versions: Mapping[str, str] = field(default_factory=dict)
    python: str = ""

    @classmethod
    def of(cls, packages: Mapping[str, str], *, python: str) -> OuterPackages:
        return cls(versions={canonicalize_name(n): v for n, v in packages.items()}, python=python)

    def fitting(self, wanted: Sequence[Wanted]) -> set[str]:
        """Names of those that nothing in ``wanted`` asks for in another form."""
        others = {
            one.name
            for one in wanted
            if one.path or one.extras or " @ " in one.text or not self._fits(one.text)
        }
        return set(self.versions) - others

    def unfit(self, distributions: Iterable[Distribution]) -> set[str]:
        """Names of those in whose place the installed distributions need other versions."""
        return {
            canonicalize_name(Requirement(text).name)
            for distribution in distributions
            for text in distribution.requires or ()
            if not self._fits(text)
        }

    def _fits(self, text: str) -> bool:
        """Whether a requirement that speaks of one of them is met by it."""
        wanted = counting(text, self.python)
        if wanted is None:
            return True
        version = self.versions.get(canonicalize_name(wanted.name))
        return version is None or wanted.specifier.contains(version, prereleases=True)
