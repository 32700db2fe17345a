"""``manifest.json``: the versioned record of a generation, enough to build it again.

Format 1 is a JSON object with the keys

- ``format``: 1; ``tool``: version of containerize; ``created``: UTC, ISO 8601;
- ``kind``: ``conda``, ``pip``, ``install`` or ``container``; ``generation``: int;
- ``prefix``: path outside at build time;
- ``install_path``: path inside the container;
- ``image_root``: where the image's root directory is inside, in a generation that was adopted
  from Tykky (absent: the image is the container's root); ``adopted``: ``tykky``;
- ``base``: ``kind`` (``host`` or ``image``), ``name`` as the user said it, ``source`` (an absolute
  path whose links are not resolved, or a URI; empty for the host), ``path`` (outside; below
  the generation where it ``owned`` the image), ``digest``, ``mark`` (see
  :func:`wrapper.image.format.mark`), ``has_bash``, ``rocm`` (its version), ``offers``
  (virtual packages in which it differs from the host), and all ``virtual_packages`` of the solve;
- ``reused``: what of the base image is in use, ``null`` where none of it is: paths of its
  ``python`` and ``conda`` environment, ``python_path`` (its PYTHONPATH), the image's ``digest``,
  ``packages`` and their ``size``;
- ``runtime``: ``{"name", "version", "path"}``; ``mksquashfs``: version;
- ``options``: of the command line, as far as they shape the result;
- ``packages``: lock entries of all packages; ``variables``: names of those set at run time;
- ``environ``: those of them that came from ``--environ`` files;
- ``inputs``: names of the copies in ``inputs/``; ``channels``: URLs;
- ``image``: ``{"sha256", "size", "compression"}``, the last not in early manifests; ``tree``:
  ``{"files", "size"}`` before squashing;
- ``activation``: the packages' activation scripts, each with ``script`` (path inside), ``why`` it
  is sourced at every start, empty where it is not, and ``unless``: variables where one of which is
  set; not in early manifests, which were made without a look at what scripts read;
- ``programs``: number of shims.

A SIF of ``containerize build`` has ``form``: ``sif`` and, for its updates, ``flatten``,
``os_packages``, ``foreign`` and ``labels`` of its base (see :mod:`wrapper.sif.build`); its ``kind``
may be ``base``.

A manifest is shown, sent and put into logs, so it has no secrets. The values of variables are in
``variables.json`` beside it: objects of the same two keys. In memory they are one.

Sizes are bytes. Readers ignore keys they do not know and refuse a higher format.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wrapper import foreign
from wrapper.credentials import public_url
from wrapper.errors import PrefixError

FORMAT = 1
FILE_NAME, VALUES_NAME = "manifest.json", "variables.json"
INPUTS = "inputs"  # a directory beside it, with copies of the user's files
_VALUES = ("variables", "environ")


class NoInstallation(PrefixError):
    """There is no manifest, or it cannot be read."""


def write_manifest(path: Path, data: Mapping[str, Any]) -> None:
    """Write a manifest, and the values of its variables beside it; ``data`` are the keys besides
    ``format``.
    """
    path.write_text(manifest_text(data))
    if text := values_text(data):
        path.with_name(VALUES_NAME).write_text(text)


def manifest_text(data: Mapping[str, Any]) -> str:
    """A manifest as text, without the values of its variables."""
    return public_url(json.dumps(public({"format": FORMAT, **data}), indent=1)) + "\n"


def public(data: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest with the names of its variables only."""
    return {**data, **{key: [*data[key]] for key in _VALUES if key in data}}


def values_text(data: Mapping[str, Any]) -> str:
    """The values of its variables as text, empty where it has none."""
    values = {key: data[key] for key in _VALUES if data.get(key)}
    return json.dumps(values, indent=1) + "\n" if values else ""


def read_manifest(prefix: Path) -> dict[str, Any]:
    """The manifest of the generation in use.

    :raises NoInstallation: ``prefix`` is none. :raises PrefixError: it is of a newer format.
    """
    return load_manifest(prefix / "current" / FILE_NAME, prefix)


def load_manifest(path: Path, prefix: Path) -> dict[str, Any]:
    """The manifest in the file ``path`` of the installation ``prefix``; raises as above."""
    return parse_manifest(_text(path), prefix, values=_text(path.with_name(VALUES_NAME)))


def _text(path: Path) -> str:
    """What is in a file, nothing where it cannot be read."""
    try:
        return foreign.read_bytes(path).decode("utf-8")
    except (OSError, ValueError):
        return ""


def parse_manifest(text: str, prefix: Path, *, values: str = "") -> dict[str, Any]:
    """A manifest from its text; ``prefix`` is whose it is; raises as above.

    :param values: of its variables. Where they are missing it keeps their names, as a list.
    """
    try:
        data: Any = foreign.parse_json(text)
        version = int(data["format"])
    except (ValueError, OverflowError, TypeError, KeyError):
        raise no_installation(prefix) from None
    if version > FORMAT:
        raise PrefixError(
            f"{prefix.name} was made by a newer containerize ({data.get('tool')})",
            where=prefix,
            hint="update containerize",
        )
    none: dict[str, Any] = {key: {} for key in _VALUES if data.get(key) == []}
    return {**data, **none, **_read_values(values)}


def _read_values(text: str) -> dict[str, dict[str, str]]:
    try:
        found = foreign.parse_json(text)
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    return {
        key: {str(name): str(value) for name, value in found[key].items()}
        for key in _VALUES
        if isinstance(found.get(key), dict)
    }


def no_installation(prefix: Path) -> NoInstallation:
    """The error where ``prefix`` is none, with what it is instead as far as that can be seen."""
    hint = "name a prefix made by 'new', and check that you may read it"
    above, name = prefix.absolute().parent, shlex.quote(str(prefix))
    if not os.path.lexists(prefix):
        hint = "there is no such directory: check the spelling"
    elif os.path.isfile(prefix):  # noqa: PTH113 - false, not raised, where we may not look
        hint = f"it is a file; of an image of 'build': containerize inspect {name}"
    elif os.path.islink(prefix / "current"):  # noqa: PTH114
        hint = f"see what is wrong: containerize doctor {name}"
    elif os.path.isfile(prefix / "common.sh"):  # noqa: PTH113
        hint = f"if Tykky made it: containerize adopt {name}"
    elif os.path.isfile(above / "current" / FILE_NAME):  # noqa: PTH113
        hint = f"it is a part of one: name {above}"
    return NoInstallation(
        f"{prefix} is no installation of containerize, or a damaged one", where=prefix, hint=hint
    )
