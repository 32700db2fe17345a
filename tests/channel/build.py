"""When to build the channel, and the switch that makes it appear whole or not at all."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .util import BuildError, fresh_directory

#: In a finished channel: the digest of what it was built from.
STAMP = ".built-from"

#: Modules that serve or damage a channel and take no part in building it.
_NO_INPUTS = {"broken.py", "serve.py"}


def fingerprint() -> str:
    """A digest of the source files that decide what is in the channel."""
    digest = hashlib.sha256()
    here = Path(__file__).parent
    for path in sorted((*here.glob("*.py"), *here.glob("*.yml"))):
        if path.name not in _NO_INPUTS:
            content = path.read_bytes()
            digest.update(f"{path.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def is_current(channel: Path) -> bool:
    """Whether `channel` is finished and was built from these sources."""
    try:
        return (channel / STAMP).read_text() == f"{fingerprint()}\n"
    except FileNotFoundError:
        return False


def build(channel: Path, work: Path) -> bool:
    """Make `channel` be the channel of these sources; return whether there was anything to do.

    `work` keeps the downloads for the next time. A channel of other sources is replaced, but no
    directory that is none of ours.
    """
    if is_current(channel):
        return False
    _refuse_other_content(channel)
    # Imported here: this alone takes longer than to find the channel current.
    from .contents import fill

    work.mkdir(parents=True, exist_ok=True)
    with _lock(work):
        if is_current(channel):  # made by the process that held the lock
            return False
        new = channel.with_name(f".{channel.name}.new")
        try:
            fill(fresh_directory(new), work)
            (new / STAMP).write_text(f"{fingerprint()}\n")
            _switch(new, channel)
        finally:
            for leftover in (new, work / "apt", work / "unpacked", work / "stage"):
                shutil.rmtree(leftover, ignore_errors=True)
    return True


def _refuse_other_content(channel: Path) -> None:
    if channel.exists() and not (channel / STAMP).exists() and any(channel.iterdir()):
        raise BuildError(f"{channel} exists and is not a channel of this program: not replaced")


@contextmanager
def _lock(work: Path) -> Iterator[None]:
    """Let one process at a time use `work`; the others wait."""
    with (work / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _switch(new: Path, channel: Path) -> None:
    old = channel.with_name(f".{channel.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if channel.exists():
        channel.rename(old)
    new.rename(channel)
    shutil.rmtree(old, ignore_errors=True)
