"""``--environ`` files: variables to set whenever a program runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from wrapper.errors import InputError
from wrapper.spec.names import why_not


def parse_variables(text: str, path: Path) -> dict[str, str]:
    """``NAME=VALUE`` lines; blank lines and ``#`` comments are skipped, nothing is expanded.

    After ``export`` a line is one of a shell script, as Tykky's files are: quotes are the shell's
    and go, and what a shell would expand is refused.

    :param path: where the text is from. :raises InputError: with the line that is none of these.
    """
    variables: dict[str, str] = {}
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.removeprefix("export ").partition("=")
        if line.startswith("export "):
            value = _unquoted(value, f"{path}, line {number}")
        reason = why_not(name)
        if not equals or reason or "\0" in value:
            raise InputError(
                f"{raw!r} is not a NAME=VALUE line that can be set",
                where=f"{path}, line {number}",
                hint=reason or "write NAME=VALUE",
            )
        variables[name] = value
    return variables


def _unquoted(value: str, where: str) -> str:
    """The value of a shell's assignment. :raises InputError: only a shell could tell it."""
    if re.search(r"[$`]", re.sub(r"'[^']*'|\\.", "", value)):
        raise InputError(
            f"{value} would have to be expanded by a shell",
            where=where,
            hint="write the value itself; what depends on others belongs into a script in "
            "etc/conda/activate.d of the environment",
        )
    try:
        words = shlex.split(value)
    except ValueError:
        return value
    return words[0] if len(words) == 1 else value
