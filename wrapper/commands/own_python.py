"""The Python of an installation or an image, asked something."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from wrapper import layout, process
from wrapper.errors import InputError, SpaceError, ToolError, means_no_space, reason, start_hint

_SECONDS = 120.0  # a first start, its image on a busy file system


def python_of(target: Path) -> Path:
    """The shim of an installation's Python. :raises InputError: it has none."""
    found = [target / layout.BIN / name for name in ("python", "python3")]
    for program in found:
        if program.exists():
            return program
    raise InputError(
        f"{target.name} has no Python",
        where=found[0],
        hint="name an installation that has one among its programs",
    )


def ask(
    words: Sequence[str | Path],
    target: Path,
    environ: Mapping[str, str],
    *,
    seconds: float = _SECONDS,
) -> str:
    """What a Python of ``target`` prints.

    :param words: the whole line. :raises SpaceError: where it writes is no room left. :raises
        ToolError: it does not start, fails otherwise, or does not end.
    """
    try:
        return process.capture(words, env=process.base_environment(environ), timeout=seconds)
    except ToolError as error:
        if means_no_space(error.detail):
            raise SpaceError(
                "no room left", where=target, hint="free some space or quota there"
            ) from None
        raise ToolError(
            f"the Python of {target.name} fails here",
            where=target,
            hint=start_hint(error.detail, "what it says is below"),
            detail=reason(error),
        ) from None
