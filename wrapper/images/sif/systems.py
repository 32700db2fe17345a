"""cotainr's ``systems.json``: names of machines and the base image for each.

::

    {"lumi-g": {"base-image": "/appl/local/containers/sif-images/lumi-rocm.sif"}}

The format is that of cotainr's documentation ("Predefining systems"). cotainr keeps the file in its
own root directory; where a ``cotainr`` is on PATH (a module is loaded), its file counts here too.
"""

from __future__ import annotations

import difflib
import shutil
from collections.abc import Mapping
from pathlib import Path

from wrapper.errors import InputError
from wrapper.util import foreign

VARIABLE = "CONTAINERIZE_SYSTEMS"
_NAME = "systems.json"


def find_systems(environ: Mapping[str, str]) -> dict[str, str]:
    """Base images by system: from the files in ``CONTAINERIZE_SYSTEMS`` (a list with colons), and
    of the ``cotainr`` on PATH. The first of two with one name counts.

    :raises InputError: a file is missing or wrong.
    """
    found: dict[str, str] = {}
    for path in _files(environ):
        for name, image in read_systems(path).items():
            found.setdefault(name, image)
    return found


def _files(environ: Mapping[str, str]) -> list[Path]:
    paths = [Path(text) for text in environ.get(VARIABLE, "").split(":") if text]
    program = shutil.which("cotainr", path=environ.get("PATH"))
    if program:
        theirs = Path(program).resolve().parent.parent / _NAME
        paths += [theirs] if theirs.is_file() else []
    return paths


def read_systems(path: Path) -> dict[str, str]:
    """The base images of one file. :raises InputError: it is missing or wrong."""
    try:
        data = foreign.parse_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"the list of systems cannot be read: {error.strerror}",
            where=path,
            hint=f"correct {VARIABLE}",
        ) from None
    except ValueError as error:
        raise InputError(
            f"{path.name} is not valid JSON: {error}", where=path, hint="correct the file"
        ) from None
    systems = {}
    for name, entry in data.items() if isinstance(data, dict) else [("", None)]:
        image = entry.get("base-image") if isinstance(entry, dict) else None
        if not isinstance(image, str) or not image:
            raise InputError(
                f"{path.name}: the system '{name}' has no \"base-image\"",
                where=path,
                hint='write {"NAME": {"base-image": "IMAGE"}}',
            )
        systems[name] = image
    return systems


def base_of(system: str, systems: Mapping[str, str]) -> str:
    """The base image of a system. :raises InputError: it is not known."""
    if system in systems:
        return systems[system]
    close = difflib.get_close_matches(system, systems, n=3, cutoff=0.5)
    if close:
        hint = f"did you mean {' or '.join(close)}? 'containerize info' lists all"
    else:
        names = ", ".join(systems)
        hint = f"there are {names}" if names else f"name a {_NAME} in {VARIABLE}, or --base-image"
    raise InputError(f"no such system: {system}", where="--system", hint=hint)
