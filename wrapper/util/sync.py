"""What is to be on disk before a rename makes it seen; and a text file of ours among the user's,
written whole or not at all, over one of ours only.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from wrapper.errors import InputError


def replace_text(path: Path, text: str) -> None:
    """Put text in the place of a file by one rename, on disk before it is seen; modes stay.

    What a killed one left is written over: the caller holds the lock.
    """
    draft = path.with_name(f".{path.name}.new")
    with draft.open("w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
        file.flush()
        os.fchmod(file.fileno(), path.stat().st_mode & 0o777)
        os.fsync(file.fileno())
    draft.replace(path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make renames and links in a directory last."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# -- a file of ours among the user's -------------------------------------------------------------
_HEAD = 400  # bytes in which the mark stands


def write_owned(path: Path, text: str, mark: str, *, mode: int = 0o666) -> None:
    """Write ``text``, which has ``mark`` near its beginning, by one rename; directories above it
    are made where they are missing.

    :param mode: of a new file, which the umask narrows; one that is written anew keeps its own.
    :raises InputError: what is there has no such mark, or nothing can be written there.
    """
    try:
        if os.path.lexists(path) and not _has(path, mark):
            raise InputError(
                "there is something else", where=path, hint="name another file, or remove this one"
            )
        path = Path(os.path.realpath(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}")
        try:
            with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode), "wb") as out:
                out.write(text.encode("utf-8", "surrogateescape"))
                if path.exists():
                    os.fchmod(out.fileno(), path.stat().st_mode & 0o777)
                out.flush()
                os.fsync(out.fileno())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        sync_directory(path.parent)
    except OSError as error:
        raise InputError(
            f"the file cannot be written: {error.strerror}", where=path, hint="name another file"
        ) from None


def _has(path: Path, mark: str) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return mark.encode() in file.read(_HEAD)
