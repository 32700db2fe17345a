"""``containerize extend``: a place for packages on top of an installation."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path

from wrapper import layout, process
from wrapper.commands.wrap_container import wrap_container
from wrapper.console import Console
from wrapper.errors import PrefixError, ScriptError
from wrapper.images.format import mark, read_format
from wrapper.manifest import Manifest, read_manifest
from wrapper.prefix import checks as prefix
from wrapper.prefix import extension
from wrapper.prefix.extension import Extension
from wrapper.process import ToolFailed
from wrapper.requests import WrapContainerRequest
from wrapper.util.lock import locked
from wrapper.util.removal import remove_tree

_UNFINISHED = ".extending"  # in one that is not complete yet
_SCRIPTS = {"extend.py": "extend.py", "extension-pip.py": "_containerize_extension.py"}
_NEW = "name a new or an empty directory, below one that you may write to: --to DIRECTORY"
_PARSED = "$`"  # in double quotes, with what no path of ours has
_OTHER_PYTHONS = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")


def extend(target: Path, place: Path | None, console: Console) -> Extension:
    """Make an extension of the installation ``target``, or make one anew what comes from that.

    What pip has installed stays. A new one that fails leaves nothing.

    :param place: the directory, else ``extension`` in the installation.
    :raises PrefixError: one of the two cannot be used.
    :raises ScriptError: the installation's Python cannot make it.
    """
    target = prefix.absolute_prefix(target)
    read_manifest(target)
    prefix.check_owner(target)
    python = target / layout.BIN / "python3"
    if not python.exists():
        raise PrefixError(
            "the installation has no Python to extend",
            where=python,
            hint="only Python's packages can be added; of a container name its Python: -w",
        )
    place = prefix.absolute_prefix(place or target / "extension")
    _check(place, target)
    with prefix.parents(place), locked(place):
        _check(place, target)  # others had the lock until now
        with console.step(f"Making {place}"), _made(place):
            _make(place, target, environment(os.environ), console)
        found = extension.read(place)
    assert found
    return found


def extend_image(request: WrapContainerRequest, console: Console) -> Extension:
    """Make shims of an image, if they are not there, and in their directory an extension of them.

    If a first one fails, nothing is left.

    :raises InputError: it is no image, or has no Python. :raises PrefixError: as :func:`extend`.
    """
    read_format(Path(request.image))
    place = prefix.absolute_prefix(request.prefix)
    if (place / layout.CURRENT).exists():
        _check_shims(read_manifest(place), place, request)
        return extend(place, None, console)
    _check_new(place)
    missing = not place.exists()
    with prefix.parents(place):
        with process.interruptible_after():
            wrap_container(request, console)
        try:
            return extend(place, None, console)
        except BaseException:
            for entry in [place] if missing else [*place.iterdir()]:
                remove_tree(entry)
            raise


def _check_shims(manifest: Manifest, place: Path, request: WrapContainerRequest) -> None:
    """:raises PrefixError: what is there is not of this image as it is, or to be another."""
    image, below = Path(request.image), manifest.base
    if manifest.kind != "container" or not (
        below.path and Path(below.path).exists() and Path(below.path).samefile(image)
    ):
        raise PrefixError("there is an installation of something else", where=place, hint=_NEW)
    if below.mark and below.mark != mark(image):
        raise PrefixError(
            "there are shims of the image that was in its place before", where=place, hint=_NEW
        )
    if request.wrapper_paths:
        raise PrefixError("there are shims already, and -w names more", where=place, hint=_NEW)


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """For a program of an installation, without what leads its Python elsewhere."""
    return {name: value for name, value in environ.items() if name not in _OTHER_PYTHONS}


def _check(place: Path, target: Path) -> None:
    """:raises PrefixError: what is there is neither empty nor an extension of ``target``."""
    if bad := next((letter for letter in str(place) if letter in _PARSED), ""):
        raise PrefixError(
            f"the directory contains {bad!r}, which a shell would parse where programs name it",
            where=place,
            hint="choose one without dollar signs and backquotes in its path: --to DIRECTORY",
        )
    found = extension.read(place)
    if found is None:
        if (place / _UNFINISHED).exists():
            return  # of one that was killed
        if (place / layout.VENV).exists():
            raise PrefixError(
                "there is a virtual environment of another Python",
                where=place,
                hint=_NEW,
            )
        _check_new(place)
        return
    if not Path(found.installation).exists() or not target.samefile(found.installation):
        raise PrefixError(
            f"there is an extension of another installation: {found.installation}",
            where=place,
            hint=_NEW,
        )
    extension.check(found, place)
    if found.image.exists():
        raise PrefixError("the extension is frozen", where=place, hint=f"containerize thaw {place}")


def _check_new(place: Path) -> None:
    """:raises PrefixError: it is no new or empty directory that we may write to."""
    try:
        prefix.check_new(place)
    except PrefixError as error:
        what = error.what.replace("the prefix", "the directory")
        raise PrefixError(what, where=error.where, hint=_NEW) from None


@contextlib.contextmanager
def _made(place: Path) -> Iterator[None]:
    """What makes it, in a directory that is there until it is complete.

    What appears while a new one fails goes again; one that was killed before stays one.
    """
    new, missing = not (place / layout.EXTENSION).exists(), not place.exists()
    place.mkdir(exist_ok=True)
    before = {entry.name for entry in place.iterdir()}
    making = place / _UNFINISHED
    try:
        remove_tree(making)
        making.mkdir()
        for template, name in _SCRIPTS.items():
            text = (files("wrapper") / "templates" / template).read_text()
            (making / name).write_text(text)
        yield
    except BaseException:
        for entry in place.iterdir() if new else [making]:
            if not (new and entry.name in before):
                remove_tree(entry)
        if missing:
            with contextlib.suppress(OSError):  # others may have put something there
                place.rmdir()
        raise
    remove_tree(making)


def _make(place: Path, target: Path, env: Mapping[str, str], console: Console) -> None:
    programs = target / layout.BIN
    script = place / _UNFINISHED / "extend.py"
    try:
        argv: list[str | Path] = [programs / "python3", "-s", script, place, programs]
        process.run(argv, console=console, env=env, cwd=place)
    except ToolFailed as error:
        raise ScriptError(
            "the installation's Python could not make the extension",
            where=place,
            hint="see below: it has to see this directory (SINGULARITY_BIND), and to have pip or"
            " ensurepip",
            detail=error.detail,
        ) from None
