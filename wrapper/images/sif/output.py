"""The file that ``containerize build`` makes: may it be written, and its one rename."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from wrapper.errors import PrefixError, means_no_space, no_room_for_image
from wrapper.images.sif.file import SIF_START, begins_sif
from wrapper.util import foreign
from wrapper.util.sync import sync_directory


def output_path(path: Path) -> Path:
    """The file's absolute path; where it is a link, the file that it leads to."""
    absolute = Path(os.path.normpath(Path(os.path.expanduser(path)).absolute()))  # noqa: PTH111
    return absolute.resolve() if absolute.is_symlink() else absolute


def check_output(path: Path, *, update: bool, force: bool) -> None:
    """Whether the file may be made, replaced or updated.

    :raises PrefixError: it may not.
    """
    if not os.path.isdir(path.parent):  # noqa: PTH112 - raises nothing where we may not look
        raise PrefixError(
            "there is no directory for the image", where=path.parent, hint="make it first"
        )
    if path.is_dir():
        raise PrefixError("the output is a directory", where=path, hint="name a file: OUT.sif")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise PrefixError(
            "no permission to write", where=path.parent, hint="choose another directory"
        )
    if update and not path.exists():
        raise PrefixError(
            "there is no image to update", where=path, hint="leave --update out to make one"
        )
    if not update:  # what is to be updated is read, and tells itself what it is not
        check_kind(path)
    if path.exists() and not (update or force):
        raise PrefixError(
            "the output exists already",
            where=path,
            hint="--force replaces it, --update changes it",
        )


def check_kind(path: Path) -> None:
    """:raises PrefixError: a file is there that is no SIF, nor empty: the wrong word was typed."""
    try:
        with foreign.open_regular(path) as file:
            start = file.read(SIF_START)
    except FileNotFoundError:
        return
    except OSError:
        start = b"closed, or a pipe"
    if start and not begins_sif(start):
        raise PrefixError(
            "the output is a file, and no SIF", where=path, hint="name another one: OUT.sif"
        )


@contextlib.contextmanager
def drafted(path: Path) -> Iterator[Path]:
    """A name beside ``path`` to write to; what is there at the end of the block is removed.

    The caller holds the lock of ``path``: drafts of builds that were killed are nobody's, and go
    where we may remove them. Nobody can take the name of a new one beforehand.
    """
    named = re.compile(rf"{re.escape(f'.{path.name}.new-')}[0-9a-f]+")
    for abandoned in path.parent.iterdir():
        if named.fullmatch(abandoned.name):
            with contextlib.suppress(OSError):
                abandoned.unlink()
    draft = path.with_name(f".{path.name}.new-{secrets.token_hex(4)}")
    try:
        yield draft
    except OSError as error:
        if means_no_space(error):
            raise no_room_for_image(path) from None
        raise
    finally:
        draft.unlink(missing_ok=True)


@dataclass(frozen=True, kw_only=True)
class Ownership:
    """Permissions and group of the finished file."""

    mode: int
    group: int

    @classmethod
    def of(cls, path: Path) -> Ownership:
        """As the file that is replaced, else as the directory says: whoever may use that may use
        the image, whatever the umask; others only where the umask lets them. Nobody but the owner
        may write.
        """
        if path.exists():
            status = path.stat()
            return cls(mode=stat.S_IMODE(status.st_mode) & 0o755 | 0o600, group=status.st_gid)
        mask = os.umask(0o022)
        os.umask(mask)
        status = path.parent.stat()
        allowed = 0o750 | (0o005 & ~mask)
        return cls(mode=status.st_mode & allowed | 0o700, group=status.st_gid)


def publish(draft: Path, path: Path, ownership: Ownership) -> None:
    """Let the draft become the file, by one rename, whole and on disk.

    :raises PrefixError: something else is in the draft's place.
    """
    try:
        with foreign.open_regular(draft, follow=False) as file:
            with contextlib.suppress(PermissionError):  # not a member of the directory's group
                os.fchown(file.fileno(), -1, ownership.group)
            os.fchmod(file.fileno(), ownership.mode)
            os.fsync(file.fileno())
    except OSError as error:
        if means_no_space(error):
            raise
        raise PrefixError(
            f"what was written as {draft.name} is not there any more: {error.strerror}",
            where=path.parent,
            hint="choose a directory in which nobody else renames your files",
        ) from None
    draft.replace(path)
    sync_directory(path.parent)
