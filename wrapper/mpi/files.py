"""Where the loader looks: this machine's files, an image's, and one at a place in the other."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Protocol

from wrapper.images.tree import ImageTree
from wrapper.mpi.elf import Elf, read_elf
from wrapper.util import foreign

_MOST = 1 << 30  # bytes of a library that is read where it is
CACHE = "/etc/ld.so.cache"
# ldconfig's file, in its second format: a magic, the number of entries; each has flags, the offsets
# of a library's name and path (from the magic on), and two fields about processors.
_MAGIC = b"glibc-ld.so.cache1.1"
_HEADER, _ENTRY = struct.Struct("<20sII20x"), struct.Struct("<iIIIQ")


class Files(Protocol):
    """Files by their paths where programs run."""

    def real(self, path: str) -> str | None:
        """A file's path with all links followed, ``None`` where there is none."""

    def elf(self, path: str) -> Elf | None:
        """What a file says to the loader; its path as :meth:`real` says it."""

    def content(self, path: str) -> bytes:
        """All of a small file, empty where there is none."""


@dataclass(frozen=True, kw_only=True)
class Outside:
    """Files of this machine, of which ``below`` is the root."""

    below: str = ""
    _known: dict[str, Elf | None] = field(default_factory=dict, compare=False)

    def real(self, path: str) -> str | None:
        found = os.path.realpath(f"{self.below}{path}")
        inside = found.removeprefix(self.below)
        return inside if os.path.isfile(found) else None  # noqa: PTH113 - false, not raised

    def elf(self, path: str) -> Elf | None:
        if path not in self._known:
            self._known[path] = None
            try:
                with foreign.open_regular(Path(f"{self.below}{path}")) as file:
                    if os.fstat(file.fileno()).st_size <= _MOST:
                        self._known[path] = read_elf(file)
            except OSError:
                pass
        return self._known[path]

    def content(self, path: str) -> bytes:
        try:
            return foreign.read_bytes(Path(f"{self.below}{path}"))
        except OSError:
            return b""


@dataclass(frozen=True, kw_only=True)
class InImage:
    """Files of an image that was listed, at ``root`` of where programs run."""

    tree: ImageTree
    _known: dict[str, Elf | None] = field(default_factory=dict, compare=False)

    def real(self, path: str) -> str | None:
        found = self.tree.real(path)
        return found if found and self.tree.modes.get(found, "").startswith("-") else None

    def elf(self, path: str) -> Elf | None:
        self.read([path])
        return self._known[path]

    def read(self, paths: Iterable[str]) -> None:
        """Have at hand what these say: one call of a program for all that are not yet."""
        wanted = {path for path in paths if path not in self._known}
        contents = self.tree.read(wanted) if wanted else {}
        for path in wanted:
            content = contents.get(path)
            self._known[path] = read_elf(io.BytesIO(content)) if content else None

    def content(self, path: str) -> bytes:
        return self.tree.read([path]).get(path, b"")


@dataclass(frozen=True, kw_only=True)
class Joined:
    """Of several the one whose place is the longest beginning of a path has it.

    :ivar places: directory -> files, which have it by that path too; one is the root (empty).
    """

    places: Mapping[str, Files]

    def _of(self, path: str) -> Files:
        fitting = [place for place in self.places if f"{path}/".startswith(f"{place}/")]
        return self.places[max(fitting, key=len)]

    def real(self, path: str) -> str | None:
        return self._of(path).real(path)

    def elf(self, path: str) -> Elf | None:
        return self._of(path).elf(path)

    def content(self, path: str) -> bytes:
        return self._of(path).content(path)


def cached(files: Files) -> dict[str, list[str]]:
    """What ``/etc/ld.so.cache`` says: name of a library -> paths, the preferred one first."""
    data = files.content(CACHE)
    data = data[max(0, data.find(_MAGIC)) :]
    found: dict[str, list[str]] = {}
    try:
        for name, path in _entries(data):
            found.setdefault(name, []).append(path)
    except (struct.error, ValueError):
        return {}
    return found


def _entries(data: bytes) -> Iterator[tuple[str, str]]:
    if not data.startswith(_MAGIC):
        return
    number = _HEADER.unpack_from(data)[1]
    for index in range(number):
        _, name, path, *_ = _ENTRY.unpack_from(data, _HEADER.size + index * _ENTRY.size)
        yield _text(data, name), _text(data, path)


def _text(data: bytes, start: int) -> str:
    return os.fsdecode(data[start : data.index(b"\0", start)])


def parent(path: str) -> str:
    """The directory of a path."""
    return str(PurePosixPath(path).parent)


@dataclass(frozen=True, kw_only=True)
class Below:
    """Files of another place, which are at the directory ``at`` where programs run."""

    at: str
    files: Files

    def real(self, path: str) -> str | None:
        found = self.files.real(path.removeprefix(self.at))
        return f"{self.at}{found}" if found else None

    def elf(self, path: str) -> Elf | None:
        return self.files.elf(path.removeprefix(self.at))

    def content(self, path: str) -> bytes:
        return self.files.content(path.removeprefix(self.at))


@dataclass(frozen=True, kw_only=True)
class Links:
    """A directory of links into other files: name -> where it leads."""

    targets: Mapping[str, str]
    files: Files

    def real(self, path: str) -> str | None:
        target = self.targets.get(path.rsplit("/", 1)[-1])
        return self.files.real(target) if target else None

    def elf(self, path: str) -> Elf | None:
        return self.files.elf(path)

    def content(self, path: str) -> bytes:
        return self.files.content(path)
