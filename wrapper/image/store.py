"""The part of the cache that holds images: its directories, what files are, who writes to it."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

from wrapper.console import Console
from wrapper.errors import BusyError
from wrapper.lock import locked
from wrapper.memo import Memo

_CHUNK = 8 << 20
_TOLD_SIZE = 200 << 20  # hashing less takes no time worth telling
_POLL_SECONDS = 1.0


def images_directory(cache: Path) -> Path:
    """The part of the user's cache that holds images and what is known of them."""
    return cache / "images"


def file_digest(path: Path, *, console: Console, cache: Path | None) -> str:
    """``sha256:…`` of a file, hashed once: remembered by path, inode, size and time."""
    status = path.stat()
    key = f"{path} {status.st_ino} {status.st_size} {status.st_mtime_ns}"
    known = Memo(directory=images_directory(cache) / "digests" if cache else None)
    if found := known.recall(key):
        return str(found.get("digest"))
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(_CHUNK))
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(path.open("rb", buffering=0))
        large = status.st_size > _TOLD_SIZE
        step = stack.enter_context(console.step(f"Hashing {path.name}")) if large else None
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
            if step:
                step(file.tell(), status.st_size)
    text = f"sha256:{digest.hexdigest()}"
    known.remember(key, {"path": str(path), "digest": text})
    return text


@contextlib.contextmanager
def alone(path: Path, what: str, console: Console) -> Iterator[None]:
    """Wait until nobody else makes the file ``path``, then hold it for the block."""
    told = False
    with contextlib.ExitStack() as held:
        while True:
            try:
                held.enter_context(locked(path))
                break
            except BusyError as error:
                if not told:
                    console.info(f"waiting for {what}: {error.what}")
                    told = True
                time.sleep(_POLL_SECONDS)
        yield
