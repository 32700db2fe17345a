"""Base images as text for a person and as JSON for a program."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from wrapper.base.catalogue import Entry
from wrapper.base.facts import ImageFacts
from wrapper.base.find import BaseImage
from wrapper.commands.base import Check, Listed
from wrapper.console import human_size
from wrapper.images.store import images_directory

_WORDS = {"rocm": "ROCm", "libfabric": "libfabric", "python": "Python", "torch": "torch"}
_MARKS = {True: "ok", False: "FAILED", None: "?"}


def list_table(rows: Sequence[Listed], cache: Path | None) -> str:
    """Two lines an image: name, state and facts; what it is for. Then where built ones lie."""
    width = max((len(row.entry.name) for row in rows), default=0)
    lines = []
    for row in rows:
        facts = [f"{_WORDS.get(key, '')} {text}".strip() for key, text in _told(row.entry)]
        lines.append(f"{row.entry.name:<{width}}  {row.state:<9}  {', '.join(facts)}".rstrip())
        if row.entry.purpose:
            lines.append(f"{'':<{width}}  {row.entry.purpose}")
    if any(row.entry.is_definition for row in rows):
        lines += ["", _where_built(cache)]
    return "\n".join(lines)


def _where_built(cache: Path | None) -> str:
    how = "by the first build that names one, or by 'containerize base build NAME'"
    if cache:
        return f"Images are built in {images_directory(cache)}, once: {how}."
    return (
        "CONTAINERIZE_CACHE_DIR is not set: each build that names one builds it for itself. Set it "
        f"to a directory, and they are built there once: {how}."
    )


def _told(entry: Entry) -> list[tuple[str, str]]:
    order = ("os", "rocm", "python", "mpi", "libfabric", "torch")
    return [(key, entry.facts[key]) for key in order if key in entry.facts]


def list_json(rows: Sequence[Listed]) -> str:
    """The same for a program."""
    data = [
        {**_entry_data(row.entry), "state": row.state, "path": str(row.path or "")} for row in rows
    ]
    return json.dumps(data, indent=1)


def _entry_data(entry: Entry) -> dict[str, object]:
    return {
        "name": entry.name,
        "purpose": entry.purpose,
        "source": entry.source,
        "digest": entry.digest,
        "catalogue": str(entry.catalogue),
        "told": dict(entry.facts),
    }


def show_data(
    image: BaseImage | None, facts: ImageFacts | None, entry: Entry | None
) -> dict[str, object]:
    """What is known of an image; of one that is not there what its catalogue says."""
    data = _entry_data(entry) if entry else {}
    if image:
        data |= {"name": image.name, "path": image.reference, "size": image.size}
        data |= {"format": image.format.kind, "digest": image.digest}
    if facts:
        data["found"] = asdict(facts)
    return data


def show_text(image: BaseImage | None, facts: ImageFacts | None, entry: Entry | None) -> str:
    """The same for a person, a line a fact; what is empty is left out."""
    data = show_data(image, facts, entry)
    rows = [
        (key, str(data[key]))
        for key in ("name", "purpose", "source", "path", "format", "digest")
        if data.get(key)
    ]
    if image and image.size:
        rows.append(("size", human_size(image.size)))
    if facts:
        rows += _found_rows(facts)
    else:
        rows += entry.facts.items() if entry else ()
        rows.append(("state", "not there; only what the catalogue says is known"))
    return "\n".join(f"{key:<17} {value}" for key, value in rows)


def _found_rows(found: ImageFacts) -> list[tuple[str, str]]:
    pythons = [f"{version} ({path})" for path, version in found.pythons.items()]
    rows = [
        ("system", found.os_name),
        ("libc", f"{found.libc} {found.libc_version}".strip()),
        ("architecture", found.architecture),
        ("ROCm", found.rocm),
        ("GPU architectures", " ".join(found.gpu)),
        ("CUDA", found.cuda),
        ("Python", ", ".join(pythons)),
        ("conda", " ".join(found.condas)),
        ("environments", " ".join(found.environments)),
        ("virtual env.", " ".join(found.venvs)),
        ("MPI", f"{found.mpi} {found.mpi_version}".strip()),
        ("libfabric", found.libfabric),
        ("its providers", " ".join(found.libfabric_providers)),
        ("bash", "yes" if found.bash else "no"),
        ("package manager", found.package_manager),
        *((f"${name}", value) for name, value in found.environment.items()),
    ]
    return [(key, value) for key, value in rows if value]


def check_text(checks: Sequence[Check]) -> str:
    """A line a check: whether it is good, what was looked at, what was found."""
    return "\n".join(f"{_MARKS[c.good]:<7} {c.what:<13} {c.detail}" for c in checks)


def check_json(checks: Sequence[Check]) -> str:
    """The same for a program."""
    return json.dumps([asdict(check) for check in checks], indent=1)
