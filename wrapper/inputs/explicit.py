"""``@EXPLICIT`` lists, as ``conda list --explicit`` writes them: one package URL a line.

``conda-lock render`` writes pip packages as comments: ``# pip NAME @ URL#sha256=HASH``.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from wrapper.errors import InputError
from wrapper.models import EnvironmentSpec
from wrapper.packages import LockedPackage

_EXTENSIONS = (".conda", ".tar.bz2")
_MD5 = re.compile(r"[0-9a-f]{32}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_IN_CHANNEL = re.compile(r"\S+:/\S*/(noarch|[a-z]+-\w+)/[^/\s]+(\.conda|\.tar\.bz2)(#\S*)?")
_OF_PIP = re.compile(r"# pip ([\w.-]+(\[[\w,. -]*\])? ?(@|===?) ?\S.*)")


def is_explicit(text: str) -> bool:
    """Whether the first line that is no comment is the marker, or all are URLs in a channel."""
    lines = [line for raw in text.splitlines() if (line := raw.strip()) and line[0] != "#"]
    return bool(lines) and (lines[0] == "@EXPLICIT" or all(map(_IN_CHANNEL.fullmatch, lines)))


def parse_explicit(text: str, path: Path) -> EnvironmentSpec:
    """Parse an explicit list.

    :raises InputError: a line is not a package's URL.
    """
    packages: list[LockedPackage] = []
    pip: dict[str, str] = {}  # lines, with their places
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if found := _OF_PIP.fullmatch(line):
            pip[found[1]] = f"{path}, line {number}"
        elif line and line != "@EXPLICIT" and not line.startswith("#"):
            packages.append(_package(line, f"{path}, line {number}"))
    if not packages:
        raise InputError(
            f"{path.name} lists no packages", where=path, hint="see 'conda list --explicit'"
        )
    unchecked = [p.name for p in packages if not (p.sha256 or p.md5)]
    return EnvironmentSpec(
        source=path,
        locked=tuple(packages),
        pip_lines=tuple(pip),
        pip_places=tuple(pip.values()),
        warnings=(f"{path}: no hash to check for {', '.join(unchecked)}",) if unchecked else (),
    )


def _package(line: str, where: str) -> LockedPackage:
    url, _, digest = line.partition("#")
    digest = digest.removeprefix("sha256:").lower()
    name_parts = split_archive_name(url)
    if name_parts is None or not urlsplit(url).scheme:
        raise InputError(
            f"'{line}' is not the URL of a conda package",
            where=where,
            hint="a line is URL/SUBDIR/NAME-VERSION-BUILD.conda#HASH",
        )
    if digest and not (_MD5.fullmatch(digest) or _SHA256.fullmatch(digest)):
        raise InputError(
            f"'{digest}' is neither an MD5 nor a SHA-256", where=where, hint="check the hash"
        )
    name, version, build = name_parts
    return LockedPackage(
        manager="conda",
        name=name,
        version=version,
        build=build,
        url=url,
        sha256=digest if _SHA256.fullmatch(digest) else None,
        md5=digest if _MD5.fullmatch(digest) else None,
    )


def split_archive_name(url: str) -> tuple[str, str, str] | None:
    """``…/linux-64/numpy-1.26.4-py311_0.conda`` into name, version and build; else ``None``."""
    try:
        file_name = unquote(urlsplit(url).path).rsplit("/", 1)[-1]
    except ValueError:  # 'http://[x'
        return None
    for extension in _EXTENSIONS:
        if file_name.endswith(extension):
            parts = file_name.removesuffix(extension).rsplit("-", 2)
            if len(parts) == 3 and all(parts):
                return parts[0], parts[1], parts[2]
    return None
