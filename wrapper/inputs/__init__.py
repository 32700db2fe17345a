"""Input files into :class:`~wrapper.models.EnvironmentSpec`: text in, value out, no network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from wrapper.inputs.conda_list import is_conda_list, parse_conda_list
from wrapper.inputs.environment import parse_environment
from wrapper.inputs.explicit import is_explicit, parse_explicit
from wrapper.inputs.files import read_bytes, read_text
from wrapper.inputs.kinds import refuse_others, refuse_pips
from wrapper.inputs.lockfile import is_lock, parse_lock
from wrapper.inputs.pixi_lock import is_pixi_lock, parse_pixi_lock
from wrapper.inputs.variables import parse_variables
from wrapper.models import EnvironmentSpec

__all__ = ["read_bytes", "read_spec", "read_text", "read_variables"]


def read_spec(
    path: Path, read: Callable[[Path], str] = read_text, platform: str | None = None
) -> EnvironmentSpec:
    """Read an ``env.yml``, a list or a lock of conda packages, told by its content.

    :param read: gives the text of a file. :param platform: as conda calls it, whose packages are
        wanted of a lock; ``None`` for this machine's.
    :raises InputError: it is missing, unreadable or not one of these.
    """
    text = read(path)
    if is_explicit(text):
        return parse_explicit(text, path)
    if is_pixi_lock(text):
        return parse_pixi_lock(text, path, platform)
    if is_lock(text):
        return parse_lock(text, path, platform)
    refuse_others(text, path)
    if is_conda_list(text, path):
        return parse_conda_list(text, path, platform)
    refuse_pips(text, path)
    return parse_environment(text, path, platform)


def read_variables(path: Path) -> dict[str, str]:
    """Read an ``--environ`` file. :raises InputError: it is missing or not what it should be."""
    return parse_variables(read_text(path), path)
