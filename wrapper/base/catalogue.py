"""Catalogues of base images: TOML files that say what an image is called, and what is in it.

::

    format = 1

    [images.rocm]
    purpose = "GPU programs on AMD hardware"
    source = "rocm.def"         # a definition beside this file, the path of an image, or a URI
    sha256 = "…"                # of the image; optional
    rocm = "5.2.3"              # facts, see FACTS; what is not told is found in the image

    [[directories]]             # every matching file is an image, by the name of its file
    path = "/appl/local/containers/sif-images"
    pattern = "*.sif"           # or a list; "*/*.sif" is one directory further down

A directory stands for a catalogue, too: of the images in it. Looking into one has a time limit: a
file server may not answer for minutes. A program of its own looks, which can be left behind: what
waits for a server cannot be interrupted.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wrapper import bundled, process
from wrapper.errors import InputError
from wrapper.process import TIMED_OUT, ToolFailed
from wrapper.util import toml

CATALOGUES_VARIABLE = "CONTAINERIZE_BASE_IMAGES"
URI = re.compile(r"[a-z][a-z0-9+-]*:")
FACTS = ("os", "glibc", "rocm", "gpu", "python", "mpi", "libfabric", "conda", "venv", "torch")
_KEYS = {"purpose", "source", "sha256", *FACTS}
_IMAGE_SUFFIXES = (".sif", ".sqfs", ".simg", ".img")
_FORMAT = 1
_NAME = re.compile(r"\w[\w.+-]*")  # of a file in the cache, too
_DIGEST = re.compile(r"(?:sha256:)?([0-9a-f]{64})", re.I)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A base image as a catalogue describes it.

    :ivar source: an absolute path (an image, or a definition file ``*.def``) or a URI.
    :ivar digest: ``sha256:…``, or empty. :ivar facts: keys of :data:`FACTS`, as text.
    :ivar catalogue: the file that has it.
    """

    name: str
    source: str
    purpose: str = ""
    digest: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    catalogue: Path

    @property
    def is_uri(self) -> bool:
        return not self.source.startswith("/")

    @property
    def is_definition(self) -> bool:
        return self.source.endswith(".def") and not self.is_uri


def read_catalogues(
    environ: Mapping[str, str],
    site: Sequence[Path] = (),
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, Entry]:
    """All base images by name: the user's (``CONTAINERIZE_BASE_IMAGES``), the site's, ours.

    Of two with one name the first counts. :param site: catalogue files, directories of images.
    :param tell: is told which directory gives no answer. :raises InputError: a catalogue is
        missing or wrong.
    """
    listing = Listing(tell)
    named = [Path(text) for text in environ.get(CATALOGUES_VARIABLE, "").split(":") if text]
    own = bundled.directory("base_images") / "catalogue.toml"
    entries: dict[str, Entry] = {}
    for path in (*named, *site, own):
        origin = "'base_images' of the site's file" if path in site else CATALOGUES_VARIABLE
        for entry in read_catalogue(path, origin, listing):
            entries.setdefault(entry.name, entry)
    return entries


def read_catalogue(
    path: Path, origin: str = CATALOGUES_VARIABLE, listing: Listing | None = None
) -> list[Entry]:
    """The entries of one catalogue, a file or a directory of images.

    :param origin: what names it, for errors. :param listing: looks into directories.
    :raises InputError: it is missing or wrong.
    """
    path = path.absolute()
    listing = listing or Listing()
    found = listing.files(path, "*") if path.suffix != ".toml" else None
    if found is not None:
        return list(_images(found, {}, path))
    if not path.is_file():
        raise InputError("no such catalogue of base images", where=path, hint=f"{origin} names it")
    data = toml.load(path)
    if data.get("format") != _FORMAT:
        raise InputError(
            f"the catalogue does not say 'format = {_FORMAT}'",
            where=path,
            hint="see base-images.md",
        )
    tables, folders = data.get("images", {}), data.get("directories", [])
    if not (isinstance(tables, dict) and isinstance(folders, list)):
        raise InputError(
            "the catalogue has no tables", where=path, hint="write [images.NAME], [[directories]]"
        )
    entries = [_entry(name, _table(table, path), path) for name, table in tables.items()]
    for table in folders:
        folder = _table(table, path, {"path", "pattern", "purpose", *FACTS})
        root = path.parent / _text(folder, "path", path, required=True)
        for pattern in _text(folder, "pattern", path).split() or ["*"]:
            entries += _images(_matching(root, pattern, path, listing), folder, path)
    return entries


def nearest(name: str, entries: Mapping[str, Entry]) -> str:
    """What to do about an unknown name, for an error's hint."""
    close = difflib.get_close_matches(name, entries, n=3, cutoff=0.5)
    names = f"did you mean {' or '.join(close)}? " if close else ""
    path = "" if "/" in name else f"; a file is named by its path (./{name})"
    return f"{names}'containerize base list' shows all{path}"


def _entry(name: str, table: toml.Table, path: Path) -> Entry:
    if not _NAME.fullmatch(name):
        raise InputError(
            f"'{name}' cannot be the name of an image",
            where=path,
            hint="use letters, digits, '.', '_', '+' and '-'",
        )
    source = _text(table, "source", path, required=True)
    if not URI.match(source):
        source = str(path.parent / source)
    digest = _text(table, "sha256", path)
    match = _DIGEST.fullmatch(digest)
    if digest and not match:
        raise InputError(f"'{digest}' is no SHA-256", where=path, hint=f"correct it at {name}")
    return Entry(
        name=name,
        source=source,
        purpose=_text(table, "purpose", path),
        digest=f"sha256:{match[1].lower()}" if match else "",
        facts=_facts(table, path),
        catalogue=path,
    )


def _matching(root: Path, pattern: str, catalogue: Path, listing: Listing) -> list[Path]:
    try:
        return listing.files(root, pattern) or []
    except ValueError as error:
        raise InputError(
            f"'{pattern}' is no pattern for names of files: {error}",
            where=catalogue,
            hint='write pattern = "*.sif"',
        ) from None


def _images(found: Sequence[Path], table: toml.Table, catalogue: Path) -> Iterator[Entry]:
    """Images among the files of a directory, by name."""
    for image in found:
        if image.name.endswith(_IMAGE_SUFFIXES):
            yield Entry(
                name=image.stem,
                source=str(image),
                purpose=_text(table, "purpose", catalogue),
                facts={**facts_of_name(image.name), **_facts(table, catalogue)},
                catalogue=catalogue,
            )


def facts_of_name(name: str) -> dict[str, str]:
    """What the file name of an image says of its content.

    LUMI's AI images have a code for Ubuntu, ROCm, libfabric, MPICH and torch
    (``lumi-multitorch-full-u24r64f21m43t29-20260225_144743.sif``), older ones name versions in
    words (``lumi-pytorch-rocm-6.2.4-python-3.12-pytorch-v2.7.1.sif``).
    """
    found: dict[str, str] = {}
    letters = {"r": "rocm", "f": "libfabric", "m": "mpi", "t": "torch"}
    if code := re.search(r"-u(\d\d)((?:[rfmt]\d\d+)+)(?=-|\.|$)", name):
        found["os"] = f"Ubuntu {code[1]}.04"
        for letter, digits in re.findall(r"([rfmt])(\d\d+)", code[2]):
            version = f"{digits[0]}.{digits[1:]}"
            found[letters[letter]] = f"MPICH {version}" if letter == "m" else version
        return found
    for word, key in (("rocm", "rocm"), ("python", "python"), ("pytorch-v", "torch")):
        if match := re.search(rf"\b{word}-?(\d+\.\d+(?:\.\d+)*)", name):
            found[key] = match[1]
    return found


def _table(table: object, path: Path, keys: set[str] | None = None) -> toml.Table:
    allowed = keys or _KEYS
    if not isinstance(table, dict) or (unknown := sorted(set(table) - allowed)):
        what = f"unknown key '{unknown[0]}'" if isinstance(table, dict) else "an entry is no table"
        raise InputError(what, where=path, hint=f"keys are {', '.join(sorted(allowed))}")
    return table


def _facts(table: toml.Table, path: Path) -> dict[str, str]:
    return {key: _text(table, key, path) for key in FACTS if key in table}


def _text(table: toml.Table, key: str, path: Path, *, required: bool = False) -> str:
    """A value as text; a list of texts is joined with spaces."""
    value = table.get(key, "")
    words = value if isinstance(value, list) else [value]
    if not all(isinstance(word, str) for word in words) or (required and not value):
        what = f"'{key}' is missing" if required and not value else f"'{key}' is no text"
        raise InputError(what, where=path, hint="write it in quotes")
    return " ".join(words)


# -- looking into directories --------------------------------------------------------------------
SECONDS = 10.0
_LOOK = """
import json, sys
from pathlib import Path
root = Path(sys.argv[1])
try:
    there = root.is_dir()
    found = [str(path) for path in sorted(root.glob(sys.argv[2])) if not path.is_dir()]
    print(json.dumps(found if there else None))
except OSError as error:
    print(json.dumps(error.strerror))
"""


@dataclass(frozen=True)
class Listing:
    """Looks into directories; of what hangs it looks into no second one.

    :ivar tell: is told which directory gave no answer. :ivar seconds: how long each may take.
    """

    tell: Callable[[str], None] = lambda _: None
    seconds: float = SECONDS
    _stalled: set[str] = field(default_factory=set)

    def files(self, root: Path, pattern: str) -> list[Path] | None:
        """What in a directory has names like ``pattern``, directories aside, in order.

        :returns: ``None`` where there is no such directory; nothing where it gives no answer.
        :raises ValueError: ``pattern`` is none.
        """
        _check(pattern)
        top = str(Path(*root.parts[:2]))
        if not os.path.lexists(top):  # at the root nothing waits for a server
            return None
        if top in self._stalled:
            return []
        words = [sys.executable, "-I", "-S", "-X", "utf8", "-c", _LOOK, str(root), pattern]
        try:
            answer = process.capture(words, env={}, timeout=self.seconds)
        except ToolFailed as error:
            if error.status != TIMED_OUT:
                raise
            self._stalled.add(top)
            self.tell(
                f"{root} gave no answer within {self.seconds:.0f} s: images there, and all below "
                f"{top}, are left out; name one by its path, or try again"
            )
            return []
        found: list[str] | str | None = json.loads(answer)
        if isinstance(found, str):
            self.tell(f"{root} cannot be looked into: {found}; images there are left out")
            return []
        return None if found is None else [Path(path) for path in found]


def _check(pattern: str) -> None:
    """:raises ValueError: it is no pattern for names of files."""
    try:
        next(iter(Path(os.devnull).glob(pattern)), None)
    except NotImplementedError as error:
        raise ValueError(str(error)) from None
