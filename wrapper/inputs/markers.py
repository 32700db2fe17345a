"""Which requirements count for a Python: environment markers, as PEP 508 defines them."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from packaging.markers import default_environment
from packaging.requirements import InvalidRequirement, Requirement


def counting(text: str, python: str) -> Requirement | None:
    """A requirement, ``None`` where it is none or does not count: of an extra, for other Pythons.

    :param python: the version, X.Y.Z; empty for the one that runs us.
    """
    try:
        wanted = Requirement(text)
    except InvalidRequirement:
        return None
    here: dict[str, str | AbstractSet[str]] = {"extra": ""}
    here.update((name, str(value)) for name, value in default_environment().items())
    if python:
        here["python_full_version"] = python
        here["python_version"] = ".".join(python.split(".")[:2])
    return None if wanted.marker and not wanted.marker.evaluate(here) else wanted
