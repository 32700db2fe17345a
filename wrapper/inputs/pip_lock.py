"""The lock of a pip installation, ``requirements.lock``: a line for each package.

``NAME @ URL --hash=sha256:DIGEST # VERSION`` of a file, as pip and uv read it too. They have no
words for the rest, which stands in the comment:

- ``content=sha256:DIGEST``: of the files in a local directory, see ``wrapper.pip.local``;
- ``built-with=setuptools==75.8.0``: what made a wheel of it: another version may make another one;
- ``no-build-isolation``: built when the others are installed, against them.

A repository has neither hash nor content: its URL is ``git+…@COMMIT``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from wrapper.errors import InputError
from wrapper.inputs.left_out import left_out_line
from wrapper.packages import LockedPackage

_LOCK_MARK = "# containerize lock of pip packages, format "
_FORMAT = 2
_FIRST_LINE = (
    f"{_LOCK_MARK}{_FORMAT} (for pip-containerize -r; pip and uv read it too, with --no-deps)\n"
)
_LATE = "no-build-isolation"
_LOCK_LINE = re.compile(
    r"(\S+) @ (\S+)(?: --hash=sha256:([0-9a-f]{64}))? # ([^\s=]+)"
    rf"(?: content=sha256:([0-9a-f]{{64}}))?(?: built-with=(\S+==\S+))?( {_LATE})?"
)
_COMMIT = re.compile(r"git\+\S+@[0-9a-f]{40}(#\S*)?")


def can_be_locked(package: LockedPackage) -> bool:
    """Whether what a package is can be told for good."""
    return bool(package.sha256 or package.content or package.url.startswith("git+"))


def write_requirements_lock(
    packages: Sequence[LockedPackage], path: Path, left: Sequence[LockedPackage] = ()
) -> None:
    """Write packages that :func:`can_be_locked`, a line each. :param left: those that cannot."""
    ordered = sorted(packages, key=lambda package: package.canonical)
    lines = "".join(f"{_line(package)}\n" for package in ordered)
    path.write_text(_FIRST_LINE + left_out_line(left) + lines)


def _line(package: LockedPackage) -> str:
    words = [f"{package.canonical} @ {package.url}"]
    if package.sha256:
        words.append(f"--hash=sha256:{package.sha256}")
    words.append(f"# {package.version}")
    if package.content:
        words.append(f"content=sha256:{package.content}")
    if package.builder:
        words.append(f"built-with={package.builder}")
    return " ".join([*words, *([] if package.isolated else [_LATE])])


def parse_requirements_lock(text: str, path: Path) -> tuple[LockedPackage, ...] | None:
    """The packages of a lock; ``None`` where the text is none.

    :raises InputError: a line is not a lock's, with its number.
    """
    if not text.startswith(_LOCK_MARK):
        return None
    number = re.match(r"\d*", text[len(_LOCK_MARK) :])
    if not number or number[0] != str(_FORMAT):
        raise InputError(
            f"{path.name} is a lock of another format than {_FORMAT}",
            where=f"{path}, line 1",
            hint="write it anew with this version, or build with the version that wrote it",
        )
    packages = []
    for place, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        match = _LOCK_LINE.fullmatch(line)
        # Exactly one tells what it is: the commit, the file's hash, the content's.
        if not match or sum(map(bool, (_COMMIT.fullmatch(match[2]), match[3], match[5]))) != 1:
            raise InputError(
                f"'{line}' is not a line of a lock",
                where=f"{path}, line {place}",
                hint="write the lock anew, or remove its first line to use it as requirements",
            )
        name, url, digest, version, content, builder, late = match.groups()
        packages.append(
            LockedPackage(
                manager="pip",
                name=name,
                version=version,
                url=url,
                sha256=digest,
                content=content,
                builder=builder,
                isolated=not late,
            )
        )
    return tuple(packages)
