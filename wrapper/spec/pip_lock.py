"""The lock of a pip installation, ``requirements.lock``: a line for each package.

``NAME==VERSION @ URL``, followed by how its content is known:

- ``--hash=sha256:DIGEST``: of the file that the URL names;
- nothing where the URL is ``git+…@COMMIT``;
- ``--content=sha256:DIGEST``: of the files in a local directory, see ``wrapper.pip.local``.

``--built-with=setuptools==75.8.0`` names what made a wheel of it: another version may make another
one. ``--no-build-isolation`` at the end: built when the others are installed, against them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from wrapper.errors import InputError
from wrapper.models import LockedPackage
from wrapper.spec.requirements import NO_ISOLATION

_LOCK_MARK = "# containerize lock of pip packages, format 1"
_LOCK_LINE = re.compile(
    r"(\S+)==(\S+) @ (git\+\S+@[0-9a-f]{40}\S*|\S+?(?= --))"
    r"(?: --(hash|content)=sha256:([0-9a-f]{64}))?(?: --built-with=(\S+==\S+))?"
    r"( --no-build-isolation)?"
)


def can_be_locked(package: LockedPackage) -> bool:
    """Whether what a package is can be told for good."""
    return bool(package.sha256 or package.content or package.url.startswith("git+"))


def write_requirements_lock(packages: Sequence[LockedPackage], path: Path) -> None:
    """Write the packages that can be locked, a line each."""
    ordered = sorted(filter(can_be_locked, packages), key=lambda package: package.canonical)
    path.write_text("\n".join([_LOCK_MARK, *map(_line, ordered)]) + "\n")


def _line(package: LockedPackage) -> str:
    words = [f"{package.canonical}=={package.version} @ {package.url}"]
    if package.sha256:
        words.append(f"--hash=sha256:{package.sha256}")
    elif package.content:
        words.append(f"--content=sha256:{package.content}")
    if package.builder:
        words.append(f"--built-with={package.builder}")
    return " ".join([*words, *([] if package.isolated else [NO_ISOLATION])])


def parse_requirements_lock(text: str, path: Path) -> tuple[LockedPackage, ...] | None:
    """The packages of a lock; ``None`` where the text is none.

    :raises InputError: a line is not a lock's, with its number.
    """
    if not text.startswith(_LOCK_MARK):
        return None
    packages = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LOCK_LINE.fullmatch(line.strip())
        if not match or bool(match[5]) == match[3].startswith("git+"):
            raise InputError(
                f"'{line}' is not a line of a lock",
                where=f"{path}, line {number}",
                hint="write the lock anew, or remove its first line to use it as requirements",
            )
        name, version, url, kind, digest, builder, late = match.groups()
        packages.append(
            LockedPackage(
                manager="pip",
                name=name,
                version=version,
                url=url,
                sha256=digest if kind == "hash" else None,
                content=digest if kind == "content" else None,
                builder=builder,
                isolated=not late,
            )
        )
    return tuple(packages)
