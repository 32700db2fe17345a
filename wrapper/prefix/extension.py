"""An extension: a virtual environment of a user's on top of an installation that may be another's.

A directory (docs/extend.md). Frozen, its files are in ``extension.sqfs``, which shims bind over it;
what is beside that (the record, ``pyvenv.cfg``, ``bin`` of links to the installation's shims) is
what they find it by. Where there is an image, it counts, whatever else is there.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from wrapper import layout
from wrapper.errors import PrefixError
from wrapper.prefix import checks
from wrapper.prefix.shims import DEBUG_NAMES
from wrapper.util import foreign

FORMAT = 1
_NEW = "make one in a new directory: containerize extend DIR --to DIRECTORY"


@dataclass(frozen=True, kw_only=True)
class Extension:
    """The record of one. :ivar installation: on which it lies. :ivar directory: where it was made:
    its files name it. :ivar python: the version of the installation's, ``3.11``.
    """

    format: int
    installation: str
    directory: str
    python: str

    @property
    def place(self) -> Path:
        return Path(self.directory)

    @property
    def image(self) -> Path:
        return self.place / layout.EXTENSION_IMAGE

    @property
    def shim(self) -> Path:
        """Any program of the installation: all are one file, and the name by which it is called
        says what runs.
        """
        return Path(self.installation, layout.BIN, DEBUG_NAMES[0])


def read(directory: Path) -> Extension | None:
    """The record in a directory, ``None`` where there is none. :raises PrefixError: of a later
    version, or damaged.
    """
    path = directory / layout.EXTENSION
    try:
        found = msgspec.convert(foreign.parse_json(foreign.read_bytes(path)), Extension)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, msgspec.ValidationError):
        raise PrefixError(
            "the record of the extension cannot be read", where=path, hint=_NEW
        ) from None
    if found.format > FORMAT:
        raise PrefixError(
            "the extension is of a later version of containerize", where=path, hint="use that one"
        )
    return found


def existing(target: Path, *, starts: bool = True) -> Extension:
    """The extension ``target``, or the one in the installation ``target``, fit to be changed.

    :param starts: its programs have to, so its installation is checked too.
    :raises PrefixError: there is none, or its installation is not what it was.
    """
    for directory in (target, target / "extension"):
        if found := read(directory):
            (check if starts else check_place)(found, directory)
            return found
    raise PrefixError("there is no extension", where=target, hint=_NEW)


def check_place(extension: Extension, directory: Path) -> None:
    """:raises PrefixError: it has moved, or is not ours."""
    if not (
        directory.is_dir() and extension.place.is_dir() and directory.samefile(extension.place)
    ):
        raise PrefixError(
            f"this is the extension {extension.directory}: its files name that directory",
            where=directory,
            hint=f"move it back; or {_NEW}",
        )
    if not os.access(directory, os.W_OK | os.X_OK):
        raise PrefixError("no permission to write", where=directory, hint=_NEW)
    checks.check_owner(directory)
    if owner := foreign.stranger(
        [directory]
    ):  # modes and times of its files are the owner's to set
        raise PrefixError(f"the extension belongs to {owner}", where=directory, hint=_NEW)


def check(extension: Extension, directory: Path) -> None:
    """:raises PrefixError: the same, or the installation has gone or has another Python."""
    check_place(extension, directory)
    checks.check_owner(Path(extension.installation))
    if not extension.shim.exists():
        raise PrefixError(
            f"the installation below has gone: {extension.installation}",
            where=directory,
            hint="put it back",
        )
    if not (directory / layout.BIN / "python3").exists():
        raise PrefixError(
            f"the extension is for Python {extension.python},"
            f" which {extension.installation} has no more",
            where=directory,
            hint=f"containerize rollback {extension.installation}; or {_NEW}",
        )
