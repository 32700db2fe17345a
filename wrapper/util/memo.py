"""Answers that cost time to find, kept in the cache directory: digests, facts, what was pulled.

Without a cache directory nothing is kept. What counts are our own answers and root's: anybody who
can write to the cache could say that an image is the one that was asked for. A damaged entry counts
as none, and where the cache cannot be written the answer is found again next time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wrapper.util import foreign
from wrapper.util.cache import FILE_MODE, draft, make_directory


@dataclass(frozen=True, kw_only=True)
class Memo:
    """A drawer of the cache: a directory outside the container, or ``None`` to keep nothing."""

    directory: Path | None

    def path(self, key: str) -> Path | None:
        """Where the entry for ``key`` (any text) is or would be."""
        if self.directory is None:
            return None
        return self.directory / f"{hashlib.sha256(os.fsencode(key)).hexdigest()[:32]}.json"

    def recall(self, key: str) -> dict[str, object] | None:
        """What was remembered for ``key``, ``None`` where nothing is known."""
        path = self.path(key)
        if path is None:
            return None
        with contextlib.suppress(OSError, ValueError):
            with foreign.open_regular(path, follow=False) as file:
                if not foreign.is_kept_from_others(os.fstat(file.fileno())):
                    return None
                entry = foreign.parse_json(file.read(foreign.MOST))
            if isinstance(entry, dict) and entry.get("key") == key:
                data = entry.get("data")
                return data if isinstance(data, dict) else None
        return None

    def remember(self, key: str, data: Mapping[str, object]) -> None:
        """Keep ``data``, for JSON; where that is not possible nothing happens."""
        path = self.path(key)
        if path is None:
            return
        fresh = draft(path)
        with contextlib.suppress(OSError):
            make_directory(path.parent)
            try:
                fresh.write_text(json.dumps({"key": key, "data": dict(data)}, indent=1))
                foreign.set_mode(fresh, FILE_MODE)
                fresh.replace(path)
            finally:
                fresh.unlink(missing_ok=True)
