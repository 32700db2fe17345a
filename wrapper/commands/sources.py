"""``containerize export-sources``: the sources of an installation's packages, for editors.

An editor asks ``DIR/bin/python`` where packages are, and is told ``DIR/lib/python3.11/...``, which
is in the image. So what an editor reads is copied, and ``DIR/lib`` leads to the copy outside and to
the environment inside: one path for both, as with ``bin``. Each generation has its own copy.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from wrapper import layout
from wrapper.commands.own_python import ask, python_of
from wrapper.console import Console, counted, human_size
from wrapper.errors import ContainerizeError, PrefixError
from wrapper.prefix import checks as prefix
from wrapper.prefix import generations
from wrapper.prefix.generations import Generation
from wrapper.prefix.staging import link_sources, settle
from wrapper.util import removal
from wrapper.util.lock import locked

_STEM, _PATHS = ".sources-", "paths.json"
_SECONDS = 3600.0  # of tens of thousands of files on a busy file system


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What an editor is told.

    :ivar python: the interpreter. :ivar paths: directories of packages.
    """

    python: Path
    paths: tuple[Path, ...]

    @property
    def settings(self) -> dict[str, object]:
        """As VS Code has them, with those of pyright (Pylance) and pylsp."""
        paths = [str(path) for path in self.paths]
        told: dict[str, object] = {
            "python.defaultInterpreterPath": str(self.python),
            "python.analysis.extraPaths": paths,
            "pylsp.plugins.jedi.extra_paths": paths,
        }
        if not any(layout.SOURCES in path.parts for path in self.paths):
            # Else Jedi would prefer the interpreter's own paths, which are not there outside.
            told["pylsp.plugins.jedi.environment"] = str(self.python)
        return told


def export_sources(target: Path, environ: Mapping[str, str], console: Console) -> Sources:
    """Copy the sources of the generation in use, where it has no copy yet.

    :raises PrefixError: it is no installation, or may not be changed. :raises ContainerizeError: it
        has no Python, or that does not start.
    """
    if target.is_file():
        raise PrefixError(
            f"{target.name} is a file: there is no place in it for an editor to look",
            where=target,
            hint="name an installation; of an image: pip-containerize new --reuse-base",
        )
    target = prefix.absolute_prefix(target)
    generations.current_number(target)
    prefix.check_update(target)
    with locked(target):
        return copy(target, environ, console)


def copy(target: Path, environ: Mapping[str, str], console: Console) -> Sources:
    """The same for a caller that holds the prefix."""
    generation = generations.current_generation(target)
    place, python = generation.directory / layout.SOURCES, python_of(target)
    paths = _recorded(place)
    if paths is None:
        with console.step("Copying sources"):
            removal.remove_tree(place)  # what a crash of the node spoiled
            paths = _copy(generation, python, target, environ, console)
    else:
        console.info(f"{place} is there, and what it has does not change")
    linked = link_sources(target)
    return Sources(python=python, paths=tuple(_known_as(paths, target, linked=linked)))


def follow(
    target: Path, previous: Generation, environ: Mapping[str, str], console: Console
) -> None:
    """After an update: a copy for the new generation too, where the one before had one."""
    if not (previous.directory / layout.SOURCES).is_dir():
        return
    try:
        copy(target, environ, console)
    except (ContainerizeError, OSError) as error:
        console.warning(f"no sources for editors: {error}; try 'containerize export-sources'")


def _copy(
    generation: Generation, python: Path, target: Path, environ: Mapping[str, str], console: Console
) -> list[str]:
    """The copy, which appears by one rename; returns its directories of packages. (Its many files
    are not synced: they can be copied again.)
    """
    above = generation.directory
    removal.remove_abandoned(above, _STEM, held=True)
    draft = above / f"{_STEM}{secrets.token_hex(4)}"
    removal.make_marked(draft)
    try:
        code = (files("wrapper") / "templates" / "copy-sources.py").read_text()
        libraries = [f"{target}/lib", f"{generation.manifest.install_path}/lib"]
        answer = ask(
            [python, "-s", "-c", code, draft, *libraries], target, environ, seconds=_SECONDS
        )
        told = json.loads(answer.splitlines()[-1])
        (draft / _PATHS).write_text(json.dumps(told["paths"]))
        with removal.opened_marked(draft) as handle:
            settle(handle, prefix.directory_mode(target), target.stat().st_gid)
        draft.rename(above / layout.SOURCES)
        (above / layout.SOURCES / removal.MARK).unlink()
    finally:
        removal.remove_marked(draft)
    console.info(f"{counted(told['files'], 'file')}, {human_size(told['size'])}")
    return [*map(str, told["paths"])]


def _recorded(place: Path) -> list[str] | None:
    """The directories of packages in a copy; ``None`` where there is none, or a broken one."""
    try:
        return [*map(str, json.loads((place / _PATHS).read_text()))]
    except (OSError, ValueError):
        return None


def _known_as(paths: Sequence[str], target: Path, *, linked: bool) -> Iterator[Path]:
    """Where editors find packages: by the path that programs have, else in the copy, whose name
    stays over updates.
    """
    for path in paths:
        own = linked and path.startswith("lib/")
        yield target / path if own else target / layout.CURRENT / layout.SOURCES / path
