"""Data that comes with the package: catalogues and definitions of base images, sites."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent


def directory(name: str) -> Path:
    """A directory of data: beside the code where it is installed, beside the package in a clone."""
    installed = _PACKAGE / "data" / name
    return installed if installed.is_dir() else _PACKAGE.parent / name
