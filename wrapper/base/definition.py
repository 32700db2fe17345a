"""Definition files of base images, and the lists of packages that pin them.

The format is the runtimes' own (``Bootstrap: debootstrap``, ``%environment``, …), so that root can
build an image with the runtime alone. A lock beside it (``rocm.lock`` for ``rocm.def``) names every
package with its hash; with it, an image can be built by anybody, and comes out the same.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from wrapper.errors import InputError
from wrapper.inputs.files import read_text
from wrapper.util import hashing

_SECTIONS = ("help", "environment", "labels", "runscript", "files")
_PACKAGE = re.compile(r"([0-9a-f]{64})  (\d+)  ([\w./+~%:-]+\.deb)")


@dataclass(frozen=True, kw_only=True)
class Deb:
    """A Debian package: ``path`` is below a mirror's root, ``size`` in bytes."""

    path: str
    sha256: str
    size: int

    @property
    def name(self) -> str:
        return self.path.rsplit("/", 1)[-1]


@dataclass(frozen=True, kw_only=True)
class Definition:
    """A definition file as it was read.

    :ivar header: its keywords in lower case (``bootstrap``, ``mirrorurl``).
    :ivar sections: their text, by name without ``%``.
    :ivar packages: of the lock, empty where there is none; ``snapshot`` is the time of the index
        that they are from, as archives of old versions name it.
    """

    path: Path
    text: str
    header: Mapping[str, str]
    sections: Mapping[str, str] = field(default_factory=dict)
    packages: tuple[Deb, ...] = ()
    snapshot: str = ""

    @property
    def files(self) -> list[tuple[Path, str]]:
        """What ``%files`` copies: paths outside, and where they go inside."""
        pairs = (line.split() for line in self.sections.get("files", "").splitlines())
        return [(self.path.parent / pair[0], pair[-1]) for pair in pairs if pair]

    @property
    def identity(self) -> str:
        """SHA-256 of all that the image is made from, in hexadecimal."""
        texts = [self.text, *(f"{deb.sha256} {deb.path}" for deb in self.packages)]
        parts = [hashlib.sha256(text.encode()).digest() for text in texts]
        files = [source for source, _ in self.files if source.is_file()]
        parts += [bytes.fromhex(hashing.sha256(source)) for source in files]
        return hashlib.sha256(b"".join(parts)).hexdigest()

    @property
    def labels(self) -> dict[str, str]:
        """``%labels``: the first word of a line is the name."""
        pairs = (line.split(None, 1) for line in self.sections.get("labels", "").splitlines())
        return {pair[0]: pair[1].strip() for pair in pairs if len(pair) == 2}


def read_definition(path: Path) -> Definition:
    """Read a definition, and the lock beside it.

    :raises InputError: it is missing or wrong; with a lock, it asks for what we cannot do.
    """
    text = read_text(path)
    before, *parts = re.split(r"^%", text, flags=re.M)
    header = {
        name.lower(): value.strip() for name, value in re.findall(r"^(\w+)\s*:(.*)", before, re.M)
    }
    sections = {}
    for part in parts:
        name, _, body = part.partition("\n")
        sections[name.split()[0].lower() if name.split() else ""] = body
    lock = path.with_suffix(".lock")
    packages, snapshot = _read_lock(lock) if lock.is_file() else ((), "")
    if packages and (foreign := sorted(set(sections) - set(_SECTIONS))):
        raise InputError(
            f"%{foreign[0]} cannot be done without root",
            where=path,
            hint=f"use {', '.join('%' + name for name in _SECTIONS)} only, or remove {lock.name} "
            "and build with the runtime as root",
        )
    return Definition(
        path=path,
        text=text,
        header=header,
        sections=sections,
        packages=packages,
        snapshot=snapshot,
    )


def _read_lock(path: Path) -> tuple[tuple[Deb, ...], str]:
    packages, snapshot = [], ""
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if line.startswith("# snapshot "):
            snapshot = line.split()[-1]
        if not line.strip() or line.startswith("#"):
            continue
        match = _PACKAGE.fullmatch(line)
        if not match:
            raise InputError(
                "a lock has lines of SHA-256, size and path",
                where=f"{path}, line {number}",
                hint="make it anew with tools/lock-base-images",
            )
        packages.append(Deb(sha256=match[1], size=int(match[2]), path=match[3]))
    return tuple(packages), snapshot
