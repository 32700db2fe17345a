"""``--environ`` files: variables to set whenever a program runs."""

from __future__ import annotations

from pathlib import Path

from wrapper.errors import InputError


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
        if not equals or not (name.isidentifier() and name.isascii()) or "\0" in value:
            raise InputError(
                f"{raw!r} is not a NAME=VALUE line",
                where=f"{path}, line {number}",
                hint="use letters, digits and underscores in the name",
            )
        variables[name] = value
    return variables
