"""Python projects on disk: copies to build from, and what identifies their content.

A build writes into its project (``build/``, ``*.egg-info``), which is the user's: so a copy is
built. What lies around the project is around the copy, as links to it: a build may name it in ways
that only running it would tell. Other projects that are named there (uv's ``path = "../common"``,
members of its workspace) are built too, and so copied. Large files are links to the user's: a build
makes new files, it writes none of those. The copy remembers where it came from.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from packaging.utils import canonicalize_name

from wrapper.errors import InputError, means_no_space
from wrapper.process import ToolFailed, capture
from wrapper.util import foreign, toml

# What builds and tools leave in a project; not part of it.
_LITTER = ("__pycache__", ".tox", ".nox", ".mypy_cache", ".pytest_cache", "node_modules")
_GIT = ".git"
_ORIGIN = ".origin.json"
_VERSION_CONTROL = (_GIT, ".hg", ".svn")
_LARGE = 4 << 20  # bytes from which on a file is linked, unless git has it
_SMALL = 64 << 10  # the same of data
# Of data alone: what else is there a build may make anew, and through a link it would write the
# user's.
_DATA = re.compile(
    r"\.(np[yz]|h5|hdf5|nc|parquet|[ct]sv|pkl|pth?|safetensors|bin|dat|[gx]z|bz2|zst|zip|tar|whl|db"
    r"|png|jpe?g|gif|tiff?|pdf|fits|mp[34]|wav|sif|sqfs)$",
    re.I,
)
_BLOCK = 1 << 20
_SECONDS = 60.0  # for git to list the files of the largest repositories
_PROJECT_FILES = ("pyproject.toml", "setup.py")
_TEXTS = (
    *_PROJECT_FILES,
    "setup.cfg",
    "meson.build",
    "CMakeLists.txt",
    "Cargo.toml",
    "MANIFEST.in",
)
_MOST_TEXT = 1 << 20  # bytes of one of them
_MOST_AROUND = 10_000  # entries of a directory; one with more is a store, not a project's
# A path that begins "..", alone or behind "-I", "${DIR}/" and "./".
_OUTSIDE = re.compile(
    r"(?:(?<![\w./])|(?<=-[IL])|(?<=[^\w./]/)|(?<=[^\w./]\./))\.\.(?:/[\w.+-]+)*(?![\w.])"
)
# Other ways to say so, for who asks whether a build reads what is outside at all.
_ABOVE = re.compile(r"\bpardir\b|\bparents\[|\.parent\.parent\b|dirname\(.*dirname\(")
# What tells a version from a repository, which may be one above the project.
_ASKS_GIT = re.compile(
    r"setuptools[-_]scm|hatch-vcs|versioneer|versioningit|git[-_]versioning|\bpbr\b"
)


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a build of a project reads.

    :ivar projects: it, and other projects that it names: each is copied. :ivar linked: files and
        directories besides that it names. :ivar above: directories around it: what is in them is
        linked. :ivar repository: the work tree around it, of which it asks for a version; ``None``
        where it does not.
    """

    projects: tuple[Path, ...]
    linked: tuple[Path, ...] = ()
    above: tuple[Path, ...] = ()
    repository: Path | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        return (*self.projects, *self.linked, *([self.repository] if self.repository else []))


def surroundings(project: Path) -> Surroundings:
    """What is read while a project is built: what its own files name, and what is around it."""
    projects, linked, asks = [project], dict[Path, None](), False
    work_tree, workspace = _work_tree(project), _workspace(project)
    members = _members(workspace) if workspace else {}
    above = {path for path in (project.parent, work_tree, workspace) if path and path != project}
    for one in projects:  # grows
        text = _texts(one)
        asks = asks or bool(_ASKS_GIT.search(text))
        named = [Path(os.path.normpath(one / word)) for word in _OUTSIDE.findall(text)]
        words = set(re.findall(r"[\w.-]+", text)) if members else set()
        named += [members[name] for name in map(canonicalize_name, words) if name in members]
        for path in dict.fromkeys(named):
            if path in projects or path.is_relative_to(one) or not os.path.exists(path):  # noqa: PTH110
                continue
            if any(each.is_relative_to(path) for each in projects):  # one above it: what is there
                above.add(path)
                asks = True
            elif any(os.path.isfile(path / name) for name in _PROJECT_FILES):  # noqa: PTH113
                projects.append(path)
            else:
                linked[path] = None
    return Surroundings(
        projects=tuple(projects),
        linked=tuple(linked),
        above=tuple(sorted(path for path in above if path.parent != path)),
        repository=work_tree if asks and work_tree != project else None,
    )


def reads_outside(project: Path) -> bool:
    """Whether a build reads what the project's digest does not have, as far as its files say."""
    text = _texts(project)
    return bool(_OUTSIDE.search(text) or _ABOVE.search(text))


def _workspace(project: Path) -> Path | None:
    """The directory of uv's workspace that a project may be a member of."""
    return next((path for path in project.parents if _patterns(path)), None)


def _patterns(workspace: Path) -> list[str]:
    """Where the members of a workspace of uv's are; none where a directory is no workspace."""
    with contextlib.suppress(OSError, ValueError, RecursionError, LookupError, TypeError):
        content = foreign.read_bytes(workspace / _PROJECT_FILES[0], most=_MOST_TEXT)
        return [*map(str, toml.loads(content.decode())["tool"]["uv"]["workspace"]["members"])]
    return []


def _members(workspace: Path) -> dict[str, Path]:
    """The members of a workspace by their names."""
    found: dict[str, Path] = {}
    for pattern in _patterns(workspace):
        with contextlib.suppress(ValueError, NotImplementedError):  # a pattern that is none
            for path in workspace.glob(pattern):
                with contextlib.suppress(OSError):
                    text = foreign.read_bytes(path / _PROJECT_FILES[0], most=_MOST_TEXT)
                    if name := re.search(rb"""^name *= *["']([\w.-]+)""", text, re.M):
                        found[canonicalize_name(name[1].decode())] = Path(os.path.normpath(path))
    return found


def _texts(project: Path) -> str:
    found = []
    for name in _TEXTS:
        with contextlib.suppress(OSError):
            content = foreign.read_bytes(project / name, most=_MOST_TEXT)
            found.append(content.decode("utf-8", "replace"))
    return "\n".join(found)


def _work_tree(project: Path) -> Path | None:
    return next((each for each in (project, *project.parents) if (each / _GIT).exists()), None)


def copy_project(project: Path, places: Path) -> Path:
    """Copy the project, with what is around it, into a new directory below ``places``.

    :returns: the copy. :raises InputError: a part of it cannot be read.
    """
    place = places / str(len(list(places.iterdir())) if places.is_dir() else 0)
    around = surroundings(project)
    base = Path(os.path.commonpath((*around.paths, *around.above)))
    copying = _Copying(base=base, target=place / (base.name or "root"))
    try:
        for one in around.projects:
            copying.tree(one)
        if around.repository:
            copying.repository(around.repository)
        for one in around.projects:
            copying.remember(one)
        for path in around.above:
            copying.around(path, around.projects)
        for path in around.linked:
            copying.link(path)
    except OSError as error:
        if means_no_space(error):
            raise
        raise InputError(
            "the project cannot be copied, from which its package is built",
            where=project,
            hint="check that you may read all of it",
            detail=str(error),
        ) from None
    return copying.there(project)


@dataclass
class _Copying:
    """Copies of what is below ``base``, which lies at ``target``."""

    base: Path
    target: Path

    def there(self, path: Path) -> Path:
        return self.target / path.relative_to(self.base)

    def tree(self, project: Path) -> None:
        """All of a project but for litter; links stay links."""
        work_tree = _work_tree(project)
        tracked = {work_tree / name for name in _listed(work_tree)} if work_tree else set()
        for folder, names, leaves in os.walk(project):
            ignored = _ignored(folder, [*names, *leaves])
            here = Path(folder)
            self.there(here).mkdir(parents=True, exist_ok=True)
            links = [name for name in names if (here / name).is_symlink()]
            names[:] = [n for n in names if n not in {*ignored, *links, _GIT}]
            for path in (here / name for name in (*leaves, *links) if name not in ignored):
                if path.name != _GIT:
                    self.file(path, whole=path in tracked)
            if (here / _GIT).exists():
                self.git(here)

    def file(self, path: Path, *, whole: bool) -> None:
        copy = self.there(path)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(copy):
            return
        most = _SMALL if _DATA.search(path.name) else _LARGE
        if not whole and not path.is_symlink() and path.stat().st_size > most:
            with path.open("rb"):  # raises where we may not read it
                copy.symlink_to(path)
        else:
            shutil.copy2(path, copy, follow_symlinks=False)

    def remember(self, project: Path) -> None:
        """Where it came from. A link of that name beside a project would lead to a file of
        somebody's.
        """
        record = _origin(self.there(project))
        record.unlink(missing_ok=True)
        record.write_text(json.dumps({"path": str(project), "content": content_digest(project)}))

    def git(self, work_tree: Path) -> None:
        """git's own files where they lie: it reads them there."""
        found, copy = work_tree / _GIT, self.there(work_tree) / _GIT
        if os.path.lexists(copy):
            return
        if found.is_dir():
            copy.symlink_to(found)
        else:  # of a submodule or a further work tree: the path in it may be relative
            text = foreign.read_bytes(found, most=_MOST_TEXT).decode("utf-8", "surrogateescape")
            place = text.removeprefix("gitdir:").strip()
            where = os.path.normpath(work_tree / place)
            copy.write_text(f"gitdir: {where}\n", errors="surrogateescape")

    def repository(self, work_tree: Path) -> None:
        """The files that git has, so that it finds nothing changed."""
        for name in _listed(work_tree):
            path = work_tree / name
            if path.is_symlink() or path.is_file():
                self.file(path, whole=True)
        self.git(work_tree)

    def around(self, directory: Path, projects: Sequence[Path]) -> None:
        """What is in a directory beside the projects that were copied, wherever they are in it."""
        with contextlib.suppress(PermissionError):  # to enter it needs no right to list it
            entries = list(islice(directory.iterdir(), _MOST_AROUND + 1))
            for path in entries if len(entries) <= _MOST_AROUND else ():
                if any(path in project.parents for project in projects):
                    self.around(path, projects)
                elif path.name != _GIT and not path.name.endswith(_ORIGIN):
                    self.link(path)  # not the repository: git would find all changed

    def link(self, path: Path) -> None:
        copy = self.there(path)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if not os.path.lexists(copy):
            copy.symlink_to(path)


def _listed(work_tree: Path) -> list[str]:
    """Names of the files that git has; none where there is no git to ask."""
    variables = {n: v for n, v in os.environ.items() if n not in ("GIT_DIR", "GIT_WORK_TREE")}
    try:
        words = ["git", "-C", str(work_tree), "ls-files", "-z"]
        return [*filter(None, capture(words, env=variables, timeout=_SECONDS).split("\0"))]
    except ToolFailed:
        return []


def _origin(directory: Path) -> Path:
    return directory.with_name(f".{directory.name}{_ORIGIN}")


def origin_of(directory: Path) -> tuple[Path, str]:
    """Where a project is that was built in ``directory``, and the SHA-256 of its content."""
    for place in (directory, *directory.parents[:-1]):  # a project may be in another's copy
        record = _origin(place)
        if record.is_file():
            origin = json.loads(record.read_text())
            path = Path(origin["path"], directory.relative_to(place))
            return path, str(origin["content"]) if place == directory else content_digest(path)
    return directory, content_digest(directory)


def content_digest(project: Path) -> str:
    """SHA-256 over names, permissions to execute and contents of a project's files."""
    digest = hashlib.sha256()
    for folder, names, leaves in os.walk(project):
        ignored = _ignored(folder, [*names, *leaves]) | set(_VERSION_CONTROL)
        names[:] = sorted(name for name in names if name not in ignored)
        links = [name for name in names if Path(folder, name).is_symlink()]
        for path in (Path(folder, name) for name in sorted([*leaves, *links])):
            if path.name in ignored:
                continue
            kind, size, blocks = _content(path)
            name = os.fsencode(path.relative_to(project))
            digest.update(b"%s %d %s %d\0" % (kind, len(name), name, size))
            for block in blocks:
                digest.update(block)
    return digest.hexdigest()


def _content(path: Path) -> tuple[bytes, int, Iterable[bytes]]:
    """Kind and size of a file or link, and what is in it."""
    if path.is_symlink():
        target = os.fsencode(path.readlink())
        return b"link", len(target), [target]
    kind = b"program" if os.access(path, os.X_OK) else b"file"
    return kind, path.stat().st_size, _blocks(path)


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            yield block


def _ignored(folder: str, names: list[str]) -> set[str]:
    """Litter and virtual environments; sockets and the like cannot be copied."""
    return {
        name
        for name in names
        if name in _LITTER
        or Path(folder, name, "pyvenv.cfg").exists()
        or not ((path := Path(folder, name)).is_symlink() or path.is_dir() or path.is_file())
    }
