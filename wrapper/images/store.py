"""The part of the cache that holds images: its directories, what files are, who writes to it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

from wrapper.console import Console
from wrapper.errors import BusyError
from wrapper.util import foreign
from wrapper.util.lock import locked
from wrapper.util.memo import Memo

_CHUNK = 8 << 20
_TOLD_SIZE = 200 << 20  # hashing less takes no time worth telling
_POLL_SECONDS = 1.0


def images_directory(cache: Path) -> Path:
    """The part of the cache that holds the user's images and what is known of them.

    Where others write to the cache, each has a directory: nothing says what an image is that was
    pulled or built, but who did it. Others may read it, as installations are used by others.
    """
    images = cache / "images"
    return images if foreign.only_ours(images) else images / str(os.geteuid())


def file_digest(path: Path, *, console: Console, cache: Path | None) -> str:
    """``sha256:…`` of a file, hashed once: remembered by path, inode, size and times.

    Who owns a file can give it another content with the time of before, but not with the same
    time of change.
    """
    known = Memo(directory=images_directory(cache) / "digests" if cache else None)
    with path.open("rb", buffering=0) as file:
        status = os.fstat(file.fileno())
        times = f"{status.st_mtime_ns} {status.st_ctime_ns}"
        key = f"{path} {status.st_ino} {status.st_size} {times}"
        if found := known.recall(key):
            return str(found.get("digest"))
        text = f"sha256:{_hashed(file, path.name, status.st_size, console)}"
    known.remember(key, {"path": str(path), "digest": text})
    return text


def _hashed(file: FileIO, name: str, size: int, console: Console) -> str:
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(_CHUNK))
    with contextlib.ExitStack() as stack:
        step = stack.enter_context(console.step(f"Hashing {name}")) if size > _TOLD_SIZE else None
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
            if step:
                step(file.tell(), size)
    return digest.hexdigest()


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
