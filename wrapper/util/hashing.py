"""SHA-256 of files."""

from __future__ import annotations

import hashlib
from pathlib import Path

_CHUNK = 8 << 20


def sha256(path: Path, offset: int = 0, size: int | None = None) -> str:
    """Of a file, or of ``size`` bytes of it from ``offset`` on; in hexadecimal."""
    digest = hashlib.sha256()
    left = path.stat().st_size - offset if size is None else size
    with path.open("rb", buffering=0) as file:
        file.seek(offset)
        while left > 0 and (block := file.read(min(_CHUNK, left))):
            digest.update(block)
            left -= len(block)
    return digest.hexdigest()
