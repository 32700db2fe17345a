"""Variables to set whenever a program runs: ``--environ`` files; names that a user may choose."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from wrapper.errors import InputError


def parse_variables(text: str, path: Path) -> dict[str, str]:
    """``NAME=VALUE`` lines; blank lines and ``#`` comments are skipped, nothing is expanded.

    After ``export`` a line is one of a shell script, as Tykky's files are: quotes are the shell's
    and go, there may be several assignments, and what a shell would expand is refused.

    :param path: where the text is from. :raises InputError: with the line that is none of these.
    """
    variables: dict[str, str] = {}
    for number, raw in enumerate(text.splitlines(), 1):
        line, where = raw.strip(), f"{path}, line {number}"
        if not line or line.startswith("#"):
            continue
        exported = line.removeprefix("export ")
        for word in [line] if exported == line else _words(exported, where):
            name, equals, value = word.partition("=")
            reason = why_not(name)
            if not equals or reason or "\0" in value:
                raise InputError(
                    f"{raw!r} is not a NAME=VALUE line that can be set",
                    where=where,
                    hint=reason or "write NAME=VALUE",
                )
            variables[name] = value
    return variables


def _words(text: str, where: str) -> list[str]:
    """The words of a shell's line. :raises InputError: only a shell could tell them."""
    if re.search(r"[$`]", re.sub(r"'[^']*'|\\.", "", text)):
        raise InputError(
            f"{text} would have to be expanded by a shell",
            where=where,
            hint="write the value itself; what depends on others belongs into a script in "
            "etc/conda/activate.d of the environment",
        )
    try:
        return shlex.split(text, comments=True) or [text]
    except ValueError as error:
        raise InputError(
            f"{text} cannot be read as a shell does: {error}", where=where, hint="check the quotes"
        ) from None


# -- names ---------------------------------------------------------------------------------------
# bash sets or uses these itself, or they are read-only in it: a shim, whose own begin with "_cw_",
# could not hand them on.
_OF_THE_SHELL = frozenset(
    ("IFS", "UID", "EUID", "PPID", "OPTIND", "SHELLOPTS", "BASHOPTS", "BASH_VERSINFO", "BASHPID")
)


def why_not(name: str) -> str:
    """Why ``name`` cannot be a variable's name; empty where it can."""
    if not name.isidentifier() or not name.isascii():
        return "use letters, digits and underscores"
    if name in _OF_THE_SHELL or name.startswith("_cw_"):
        return "the shell uses this name itself: choose another"
    return ""
