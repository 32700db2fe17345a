"""Which libraries a program loads: ld.so(8)'s rules, followed without starting anything.

Of a name that is needed the loader takes the first that is for the same machine:

1. in the directories of DT_RPATH of who needs it, and of who loaded that, up to the program; of
   each only where it has no DT_RUNPATH;
2. in those of LD_LIBRARY_PATH;
3. in those of DT_RUNPATH of who needs it;
4. what ``/etc/ld.so.cache`` says;
5. in the system's directories.

What was loaded once by a name counts for all that need it later.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from wrapper.mpi.elf import Elf
from wrapper.mpi.files import Files, InImage, cached, parent

# glibc's own: they are one with the loader, and of no other system than that which runs.
_GLIBC = re.compile(
    r"ld-linux[\w-]*\.so\.\d+|ld64\.so\.\d+|linux-vdso\.so\.\d+"
    r"|lib(?:c|m|pthread|dl|rt|util|resolv|anl|mvec|thread_db|BrokenLocale|nss_\w+)\.so\.\d+"
)
_SYSTEM = (
    *("/lib/{triplet}", "/usr/lib/{triplet}", "/lib64", "/usr/lib64", "/lib", "/usr/lib"),
    *("/usr/local/lib", "/usr/local/lib64"),
)
_TRIPLETS = {"EM_X86_64": "x86_64-linux-gnu", "EM_AARCH64": "aarch64-linux-gnu"}
BY_RPATH, BY_VARIABLE, BY_RUNPATH, BY_SYSTEM = "RPATH", "LD_LIBRARY_PATH", "RUNPATH", "system"


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A library or program in a process.

    :ivar path: with all links followed. :ivar found: the path at which it was found, :ivar how: and
        by which rule. :ivar by: who needed it first, ``None`` of the one that all begins with.
    """

    name: str
    path: str
    found: str
    how: str
    elf: Elf
    by: Loaded | None = None


@dataclass(frozen=True, kw_only=True)
class Closure:
    """All that is loaded, by name, in the order of loading; and what was not found: name -> who
    needs it (a path).
    """

    loaded: dict[str, Loaded]
    missing: dict[str, str]

    def glibc(self) -> tuple[int, ...]:
        """The oldest glibc that has all of its symbols; empty where none are asked for."""
        versions = [
            tuple(map(int, match[1].split(".")))
            for item in self.loaded.values()
            for names in item.elf.wants.values()
            for name in names
            if (match := re.fullmatch(r"GLIBC_(\d+(?:\.\d+)+)", name))
        ]
        return max(versions, default=())


def of_glibc(name: str) -> bool:
    """Whether a library is the C library's own: it comes from the system that runs, always."""
    return bool(_GLIBC.fullmatch(name))


@dataclass(frozen=True)
class Loader:
    """:ivar library_path: the directories of LD_LIBRARY_PATH."""

    files: Files
    library_path: Sequence[str] = ()

    def closure(self, paths: Sequence[str]) -> Closure:
        """What is in a process after these were loaded, one after the other; glibc's own left out.

        :raises ValueError: one of them is no library or program for Linux.
        """
        loaded: dict[str, Loaded] = {}
        missing: dict[str, str] = {}
        for path in paths:
            first = self.start(path)
            if first is None:
                raise ValueError(f"{path} is no library")
            if loaded.setdefault(first.name, first) is first:
                self._load_needed(first, loaded, missing)
        return Closure(loaded=loaded, missing=missing)

    def find(self, name: str, *, by: Loaded) -> Loaded | None:
        """The library that ``by`` gets by a name, ``None`` where there is none."""
        for how, path in self._candidates(name, by):
            real = self.files.real(path)
            elf = self.files.elf(real) if real else None
            if real and elf and elf.kind == by.elf.kind:
                return Loaded(name=name, path=real, found=path, how=how, elf=elf, by=by)
        return None

    def read_ahead(self, wanted: Mapping[str, Loaded]) -> None:
        """Have all at hand that :meth:`find` may look at. :param wanted: name -> who needs it."""
        if isinstance(self.files, InImage):
            paths = (path for name, by in wanted.items() for _, path in self._candidates(name, by))
            self.files.read([real for path in paths if (real := self.files.real(path))])

    def start(self, path: str) -> Loaded | None:
        """A program or library as the first of a process, ``None`` where it is none."""
        real = self.files.real(path)
        elf = self.files.elf(real) if real else None
        if not (real and elf):
            return None
        name = elf.soname or path.rsplit("/", 1)[-1]
        return Loaded(name=name, path=real, found=path, how="", elf=elf)

    def _load_needed(
        self, first: Loaded, loaded: dict[str, Loaded], missing: dict[str, str]
    ) -> None:
        """Breadth first, as the loader does."""
        todo = [first]
        while todo:
            item = todo.pop(0)
            for name in item.elf.needed:
                if name in loaded or of_glibc(name):
                    continue
                if found := self.find(name, by=item):
                    loaded[name] = found
                    todo.append(found)
                else:
                    missing.setdefault(name, item.path)

    def _candidates(self, name: str, by: Loaded) -> Iterator[tuple[str, str]]:
        if "/" in name:
            yield BY_RPATH, name
            return
        above: Loaded | None = None if by.elf.runpath else by
        while above:
            if not above.elf.runpath:
                for path in _expanded(above.elf.rpath, above):
                    yield BY_RPATH, f"{path}/{name}"
            above = above.by
        for path in self.library_path:
            yield BY_VARIABLE, f"{path}/{name}"
        for path in _expanded(by.elf.runpath, by):
            yield BY_RUNPATH, f"{path}/{name}"
        for path in self._cache.get(name, ()):
            yield BY_SYSTEM, path
        triplet = _TRIPLETS.get(by.elf.kind[1], "")
        for path in _SYSTEM:
            yield BY_SYSTEM, f"{path.format(triplet=triplet)}/{name}"

    @cached_property
    def _cache(self) -> dict[str, list[str]]:
        return cached(self.files)


def _expanded(directories: Sequence[str], of: Loaded) -> Iterator[str]:
    """Directories of a DT_RPATH with its tokens replaced; ``$LIB`` has two values in use."""
    origin = parent(of.path)
    for text in directories:
        path = re.sub(r"\$(?:ORIGIN|\{ORIGIN\})", origin, text)
        if re.search(r"\$(?:LIB|\{LIB\})", path):
            triplet = _TRIPLETS.get(of.elf.kind[1], "")
            for value in ("lib64", f"lib/{triplet}"):
                yield re.sub(r"\$(?:LIB|\{LIB\})", value, path)
        else:
            yield path
