"""``uv.lock``, of which uv makes a ``pylock.toml``."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import uv

from wrapper.errors import InputError
from wrapper.inputs.files import read_text
from wrapper.inputs.project import FILE_NAME as PROJECT
from wrapper.process import ToolFailed, capture

_LOCAL = re.compile(r'^source = \{ (?:editable|virtual|directory) = "([^"\\]+)" \}$', re.M)
_SECONDS = 60.0  # it reads one file, of which the largest are some MB


def as_pylock(
    text: str,
    path: Path,
    extras: Sequence[str],
    groups: Sequence[str],
    read: Callable[[Path], str] = read_text,
) -> str:
    """The packages of a ``uv.lock`` as the text of a ``pylock.toml``, but for the project itself.

    :param path: where the text is from; beside it is the project, of which uv wants to know the
        extras and groups. :param extras: of the project. :param groups: likewise.
    :param read: gives the text of a file.
    :raises InputError: uv cannot read it, or it has no such extra or group.
    """
    with TemporaryDirectory() as place:
        (Path(place) / "uv.lock").write_text(text, encoding="utf-8")
        for project in projects(text, path.parent):
            copy = Path(place) / project.relative_to(path.parent) / PROJECT
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(read(project / PROJECT), encoding="utf-8")
        result = Path(place) / "pylock.toml"
        words = [
            *(uv.find_uv_bin(), "export", "--directory", place, "--frozen", "--offline"),
            *("--quiet", "--no-config", "--preview-features", "frozen-lockfile"),
            *("--no-emit-project", "--no-default-groups", "--format", "pylock.toml"),
            *(f"--extra={name}" for name in extras),
            *(f"--group={name}" for name in groups),
            *("--output-file", str(result)),
        ]
        variables = {"PATH": os.environ.get("PATH", os.defpath), "HOME": place}
        variables["UV_CACHE_DIR"] = f"{place}/cache"
        try:
            capture(words, env=variables, timeout=_SECONDS)
        except ToolFailed as error:
            raise InputError(
                f"uv cannot read {path.name}",
                where=path,
                hint=f"is it beside its {PROJECT}? If so, write it anew: uv lock; --extra and "
                "--group name what the project has",
                detail=error.detail,
            ) from None
        return result.read_text(encoding="utf-8")


def projects(text: str, root: Path) -> list[Path]:
    """The project and the members of its workspace, which are below it."""
    places = [root, *(root / os.path.normpath(place) for place in _LOCAL.findall(text))]
    below = [
        place
        for place in places
        if place.is_relative_to(root) and os.pardir not in place.relative_to(root).parts
    ]
    return [place for place in dict.fromkeys(below) if os.path.isfile(place / PROJECT)]  # noqa: PTH113 - false, not raised
