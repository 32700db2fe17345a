"""What uv says: a failure as its cause (a name or a version that is not there, no compiler), and
what it is at, for somebody who waits at a terminal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from packaging.utils import canonicalize_name

from wrapper.console import human_size
from wrapper.credentials import login_hint, refused_url
from wrapper.errors import (
    ChannelError,
    ContainerizeError,
    InputError,
    ScriptError,
    SolveError,
    ToolError,
)
from wrapper.inputs.requirements import Wanted, repositories

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
_UNREACHABLE = re.compile(r"Failed to fetch: `?(\S+?)`?$", re.M)
_NOT_CONNECTED = ("client error (Connect)", "operation timed out")
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


def explained(error: ScriptError, wanted: Sequence[Wanted]) -> ContainerizeError:
    """The error of uv with its cause as its message, where that is told.

    :param wanted: the requirements, each with its place.
    """
    if hint := login_hint(error.detail, _WITH_LOGIN):
        return ChannelError(
            "an index or a repository cannot be read",
            where=refused_url(error.detail) or None,
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
        return _without_hash(match[1] or match[2], error.detail, wanted)
    if _NO_SOLUTION in error.detail:
        return _unsolved(error.detail, wanted)
    if _NO_GIT in error.detail:  # of a base image; the host's is looked for before
        asking = repositories(wanted)
        return ToolError(
            "a package comes from a git repository, and the base image has no git",
            where=asking[0].where if asking else None,
            hint="name an archive of that revision (https://HOST/…/REV.tar.gz), or stand on an "
            "image that has git",
            detail=error.detail,
        )
    if match := _NO_MODULE.search(error.detail):
        return _unbuilt(match[1], error.detail)
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


def _unbuilt(module: str, detail: str) -> ScriptError:
    """A package's build lacks a Python module that it does not ask for."""
    built = _BUILDING.search(detail)
    name = built[1] if built else "a package"
    hint = f"ask for a version that has a wheel, or write a line '--no-build-isolation {name}'"
    if module == "pkg_resources":
        hint = (
            "newer setuptools lack it: ask for a version that has a wheel, or write a line "
            "'setuptools<81' into a file and name that in PIP_BUILD_CONSTRAINT"
        )
    return ScriptError(
        f"{name} is built from source, and its build lacks the module '{module}'",
        hint=hint,
        detail=detail,
    )


def _without_hash(package: str, detail: str, wanted: Sequence[Wanted]) -> InputError:
    name = re.split(r"[=<>!~@\[; ]", package, maxsplit=1)[0]
    return InputError(
        f"hashes are required, and there is none of {package}",
        where=_place(name, wanted),
        hint="write NAME==VERSION --hash=sha256:… for every package, those that others need too "
        "('uv pip compile --generate-hashes' does)",
        detail=detail,
    )


def _unsolved(detail: str, wanted: Sequence[Wanted]) -> SolveError:
    if match := _NO_PACKAGE.search(detail):
        return SolveError(
            f"no index has a package '{match[1]}'",
            where=_place(match[1], wanted),
            hint=f"check the spelling, or {_ANOTHER}",
            detail=detail,
        )
    if match := _NO_VERSION.search(detail):
        asked = [one for one in wanted if one.name == canonicalize_name(match[1])]
        return SolveError(
            f"no index has a package that fits '{asked[0].text if asked else match[1]}'",
            where=_place(match[1], wanted),
            hint=f"ask for a version that there is, or {_ANOTHER}",
            detail=detail,
        )
    if match := _NO_FILE.search(detail):
        return SolveError(
            f"no index has '{match[1]}' for this Python on Linux",
            where=_place(match[1], wanted),
            hint="ask for another version; what only another system needs gets a marker, as in "
            f"{match[1]}; sys_platform == 'win32'",
            detail=detail,
        )
    return SolveError(
        "the pip packages cannot be installed together",
        hint="loosen a version or remove a package; what stands in the way is told below",
        detail=detail,
    )


def _place(name: str, wanted: Sequence[Wanted]) -> str | None:
    """Where a package is asked for, ``None`` where it comes by way of others."""
    wheres = [one.where for one in wanted if one.name == canonicalize_name(name)]
    return wheres[0] if wheres else None


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
