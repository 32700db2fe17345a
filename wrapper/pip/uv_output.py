"""What uv says: a failure as its cause (a name or a version that is not there, no compiler), and
what it is at, for somebody who waits at a terminal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from packaging.utils import canonicalize_name

from wrapper.console import human_size
from wrapper.credentials import login_hint, public_url, refused_url
from wrapper.errors import (
    ChannelError,
    ContainerizeError,
    InputError,
    PackageError,
    ScriptError,
    SolveError,
    ToolError,
)
from wrapper.inputs.requirements import Requirements, Wanted, repositories

_ANOTHER = "add the index that has it: a line '--extra-index-url URL'"
_WITH_LOGIN = "in requirements ${NAME}:${PASSWORD}@ in front of the host"
_NO_SOLUTION = "No solution found"
_NO_GIT = "Git executable not found"
_NO_HASH = re.compile(  # of a requirement, and of what one needs (with uv 0.13)
    r"In `--require-hashes` mode, all requirements must .*?(?:provided for|but found): (\S+)"
    r"|Hash-checking is required, but no trusted hash was provided for: `([^`]+)`"
)
# Of requirements themselves, not of what they need (with uv 0.13).
_NO_PACKAGE = re.compile(r"Because (\S+) was not found in .*? and you require ")
_NO_VERSION = re.compile(
    r"Because (?:there (?:is|are) no versions? of|only(?: the following versions of)?) "
    r"([\w.-]*\w).*? and you require ",
    re.S,
)
_NO_FILE = re.compile(
    r"ecause ([\w.-]*\w)(?:[<>=!~]\S*)? has no (?:usable wheels|wheels with a matching ).*?"
    r" and you require \1(?![\w.-])",
    re.S,
)
_LACKING = (_NO_PACKAGE, _NO_VERSION, _NO_FILE)
_UNREACHABLE = re.compile(r"Failed to fetch: `?(\S+?)`?$", re.M)
_NOT_CONNECTED = ("client error (Connect)", "operation timed out")
_GONE = re.compile(r"HTTP status client error \((?:404|410) [^)]*\) for url \((\S+?)\)")
_NO_MODULE = re.compile(r"ModuleNotFoundError: No module named '([\w.]+)'")
_BUILDING = re.compile(
    r"(?:Failed to (?:build|download and build)|error likely indicates that) "
    r"`([A-Za-z0-9._-]*[A-Za-z0-9])"
)
# What build tools say where there is no compiler: setuptools, meson, CMake, and make.
_NO_COMPILER = re.compile(
    r"command '([^']+)' failed: No such file or directory"
    r"|Unknown compiler\(s\): \[\[?'?([^',\]]+)"
    r"|No CMAKE_C(?:XX)?_COMPILER could be found"
    r"|(?:No such file or directory: |unable to execute )'([^']*(?:gcc|g\+\+|cc|c\+\+|clang)[^']*)'"
)


def explained(error: ScriptError, asked: Requirements) -> ContainerizeError:
    """The error of uv with its cause as its message, where that is told.

    :param asked: what it was to install: packages and indexes, each with its place.
    """
    if hint := login_hint(error.detail, _WITH_LOGIN):
        return ChannelError(
            "an index or a repository cannot be read",
            where=_with_place(refused_url(error.detail), asked) or None,
            hint=hint,
            detail=error.detail,
        )
    match = _UNREACHABLE.search(error.detail)
    told = error.detail
    if match and "certificate" not in told and any(text in told for text in _NOT_CONNECTED):
        return ChannelError(
            "a server of pip packages cannot be reached",
            where=match[1],
            hint="check your network and proxy settings; compute nodes often have no way out, and "
            "PIP_INDEX_URL names a mirror of an index",
            detail=error.detail,
        )
    if match := _NO_HASH.search(error.detail):
        return _without_hash(match[1] or match[2], error.detail, asked)
    if _NO_SOLUTION in error.detail:
        return _unsolved(error.detail, asked)
    if match := _GONE.search(error.detail):
        return PackageError(
            "a file of pip's is not there, or not any more",
            where=_with_place(public_url(match[1]), asked),
            hint="check the URL; of one that a lock names, build from the requirements again",
            detail=error.detail,
        )
    if _NO_GIT in error.detail:  # of a base image; the host's is looked for before
        asking = repositories(asked.packages)
        return ToolError(
            "a package comes from a git repository, and the base image has no git",
            where=asking[0].where if asking else None,
            hint="name an archive of that revision (https://HOST/…/REV.tar.gz), or stand on an "
            "image that has git",
            detail=error.detail,
        )
    if match := _NO_MODULE.search(error.detail):
        return _unbuilt(match[1], error.detail, asked)
    match = _NO_COMPILER.search(error.detail)
    if not match:
        return error
    named = next((group for group in match.groups() if group), "")
    return ToolError(
        f"a package must be compiled, and there is no compiler {named}".rstrip(),
        hint="load the module that has it, or ask for a version that has a wheel "
        "(--only-binary NAME)",
        detail=error.detail,
    )


def lacking(detail: str) -> str | None:
    """The canonical name of a requirement that no index has, or none that fits, where a failure
    says so. uv names but one.
    """
    if _NO_SOLUTION not in detail:
        return None
    found = next(filter(None, (one.search(detail) for one in _LACKING)), None)
    return canonicalize_name(found[1]) if found else None


def together(found: Sequence[ContainerizeError]) -> ContainerizeError:
    """One error of several packages that no index has."""
    if len(found) == 1:
        return found[0]
    # (What the lines of a remote file ask for has no place.)
    lines = [": ".join(filter(None, (one.where, one.what))) + f"\n  {one.hint}" for one in found]
    return SolveError(
        f"no index has {len(found)} of the packages",
        where=found[0].where,
        hint="correct or remove these lines, or add the index that has them",
        detail="\n".join(lines),
    )


def _with_place(url: str, asked: Requirements) -> str:
    """A URL, and in which line it, or the index that it is of, is named; the URL where none is."""
    named = [(one.text, one.where) for one in asked.packages if one.is_remote]
    for text, where in [*named, *asked.sources]:
        if url in public_url(text) or url.startswith(f"{public_url(text).rstrip('/')}/"):
            return f"{url} ({where})"
    return url


def _unbuilt(module: str, detail: str, asked: Requirements) -> ScriptError:
    """A package's build lacks a Python module that it does not ask for."""
    built = _BUILDING.search(detail)
    canonical = canonicalize_name(built[1]) if built else None
    # Where uv has no name, it is one of those that only their build would tell it of.
    asking = [one for one in asked.packages if one.name == canonical]
    if not built and len(asking) > 1:
        asking = []
    name = built[1] if built else asking[0].text if asking else "a package"
    is_late = bool({canonical, ":all:"} & asked.late)
    old = " 'setuptools<81'" if module == "pkg_resources" else ""
    if is_late:
        hint = (
            f"it is built without isolation: write a line{old or f' with what has it ({module})'}"
        )
    elif old:
        hint = (
            "newer setuptools lack it: ask for a version that has a wheel, or write a line"
            f"{old} into a file and name that in PIP_BUILD_CONSTRAINT"
        )
    elif built or not asking:
        hint = f"ask for a version that has a wheel, or write a line '--no-build-isolation {name}'"
    else:
        url = asking[0].path.as_uri() if asking[0].path else asking[0].text
        hint = f"write 'NAME @ {url}' with its name, and a line '--no-build-isolation NAME'"
    return ScriptError(
        f"{name} is built from source, and its build lacks the module '{module}'",
        where=asking[0].where if asking else None,
        hint=hint,
        detail=detail,
    )


def _without_hash(package: str, detail: str, asked: Requirements) -> InputError:
    name = re.split(r"[=<>!~@\[; ]", package, maxsplit=1)[0]
    return InputError(
        f"hashes are required, and there is none of {package}",
        where=_place(name, asked),
        hint="write NAME==VERSION --hash=sha256:… for every package, those that others need too "
        "('uv pip compile --generate-hashes' does)",
        detail=detail,
    )


def _unsolved(detail: str, asked: Requirements) -> SolveError:
    if match := _NO_PACKAGE.search(detail):
        return SolveError(
            f"no index has a package '{match[1]}'",
            where=_place(match[1], asked),
            hint=f"check the spelling, or {_ANOTHER}",
            detail=detail,
        )
    if match := _NO_VERSION.search(detail):
        asking = _asking(match[1], asked)
        return SolveError(
            f"no index has a package that fits '{asking[0].text if asking else match[1]}'",
            where=_place(match[1], asked),
            hint=f"ask for a version that there is, or {_ANOTHER}",
            detail=detail,
        )
    if match := _NO_FILE.search(detail):
        return SolveError(
            f"no index has '{match[1]}' for this Python on Linux",
            where=_place(match[1], asked),
            hint="ask for another version; what only another system needs gets a marker, as in "
            f"{match[1]}; sys_platform == 'win32'",
            detail=detail,
        )
    return SolveError(
        "the pip packages cannot be installed together",
        hint="loosen a version or remove a package; what stands in the way is told below",
        detail=detail,
    )


def _place(name: str, asked: Requirements) -> str | None:
    """Where a package is asked for, ``None`` where it comes by way of others."""
    return next((one.where for one in _asking(name, asked)), None)


def _asking(name: str, asked: Requirements) -> list[Wanted]:
    return [one for one in asked.packages if one.name == canonicalize_name(name)]


# -- progress ------------------------------------------------------------------------------------
# As uv says it: "Downloading scipy (33.7MiB)", " Downloaded scipy", "   Building x @ URL".
_BEGUN = re.compile(
    r"\s*(Downloading|Building|Updating) (\S+)(?: .*?)??(?: \(([0-9.]+)(\w+)\))?\s*"
)
_ENDED = re.compile(r"\s*(?:Downloaded|Built|Updated) (\S+)(?: .*)?\s*")
_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_MOST = 3  # names at once


class UvProgress:
    """Sees uv's output line by line.

    :param show: gets what it is at: ``downloading scipy (35.3 MB), building x``; an empty text
        once that is done.
    """

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._under_way: dict[str, str] = {}

    def __call__(self, line: str) -> bool:
        """:returns: false: the line is for the log too."""
        if begun := _BEGUN.fullmatch(line):
            verb, name, number, unit = begun.groups()
            size = f" ({human_size(float(number) * _UNITS[unit])})" if unit in _UNITS else ""
            self._under_way[name] = f"{verb.lower()} {name}{size}"
        elif ended := _ENDED.fullmatch(line):
            self._under_way.pop(ended[1], None)
        else:
            return False
        told = [*self._under_way.values()]
        self._show(", ".join(told[:_MOST]) + (" …" if len(told) > _MOST else ""))
        return False
