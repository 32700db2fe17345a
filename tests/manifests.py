"""Manifests for tests: the keys that every one has, and those that a test is about."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from wrapper.manifest import Manifest, parse_manifest

LEAST: dict[str, Any] = {
    "format": 1,
    "tool": "0.1.0",
    "created": "2026-01-01T00:00:00Z",
    "kind": "conda",
    "prefix": "/p",
    "install_path": "/containerize-0123456789",
    "base": {"kind": "host", "name": "host"},
    "runtime": {"name": "apptainer", "version": "1.4.5", "path": "/no/apptainer"},
    "image": {"sha256": "0", "size": 4096},
}


def manifest(**keys: Any) -> Manifest:
    """A manifest as it is read from JSON with these ``keys``."""
    return parse_manifest(json.dumps({**LEAST, **keys}), Path("/p"))
