"""``--environ`` files: variables to set whenever a program runs."""

from __future__ import annotations

from pathlib import Path

from wrapper.errors import InputError
from wrapper.spec.names import why_not


def parse_variables(text: str, path: Path) -> dict[str, str]:
    """``NAME=VALUE`` lines; blank lines and ``#`` comments are skipped, nothing is expanded.

    :param path: where the text is from. :raises InputError: with the line that is none of these.
    """
    variables: dict[str, str] = {}
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip().removeprefix("export ")
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        reason = why_not(name)
        if not equals or reason or "\0" in value:
            raise InputError(
                f"{raw!r} is not a NAME=VALUE line that can be set",
                where=f"{path}, line {number}",
                hint=reason or "write NAME=VALUE",
            )
        variables[name] = value
    return variables
