"""The build directory: node-local, private, removed at the end."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from wrapper.binds import UNBINDABLE_NAMES, unbindable
from wrapper.console import Console
from wrapper.errors import InputError, Interrupted, SpaceError
from wrapper.models import Site
from wrapper.owner import has_ended, identity

TMPDIR_VARIABLE = "CW_BUILD_TMPDIR"
MORE_ROOM = f"name a larger file system with --tmpdir or {TMPDIR_VARIABLE}"
_NAME = "containerize-"
_OWNER = "owner.json"
_UNMARKED_SECONDS = 60.0  # longer than a directory is without its mark
_REMOVE_SECONDS = 5.0
_TOLD_SECONDS = 1.0  # a removal that takes longer is told
_LOOKS, _LOOK_SECONDS = 5, 0.1


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """Directories of one build, all outside the container.

    :ivar root: the build directory. :ivar cache: downloads; inside ``root`` unless the user named
        a place of their own, which is kept. :ivar image: the root directory of the image to be:
        mount points, and the environment at its install path.
    """

    root: Path
    cache: Path

    @property
    def lasting_cache(self) -> Path | None:
        """The cache that the user named, if any: what is in it can be referred to later."""
        return None if self.root in self.cache.parents else self.cache

    @property
    def image(self) -> Path:
        return self.root / "image"

    @property
    def unpacked(self) -> Path:
        """Unpacked packages. Of one build only: the tree has hard links to them, and a script that
        writes into an installed file would write into a cache that other builds use.
        """
        return self.root / "pkgs"

    @property
    def records(self) -> Path:
        """Records of the packages that an update starts from."""
        return self.root / "records"

    @property
    def log(self) -> Path:
        return self.root / "build.log"

    @property
    def scratch(self) -> Path:
        return self.root / "tmp"


def parent_directory(site: Site) -> Path:
    """Where build directories go; what is missing of it is made with the first of them.

    :raises InputError: it is no directory that we can write to.
    """
    parent = site.tmpdir.absolute()
    check_bindable(parent, "the directory for temporary files")
    above = _existing(parent)
    if not (os.path.isdir(above) and os.access(above, os.W_OK | os.X_OK)):  # noqa: PTH112
        raise InputError(
            "the directory for temporary files cannot be used",
            where=parent,
            hint=f"name a writable directory with --tmpdir or {TMPDIR_VARIABLE}",
        )
    return parent


def _existing(path: Path) -> Path:
    """The path, or the one above it that is there: Tykky's sites build in ``/tmp/$USER``."""
    return next(p for p in (path, *path.parents) if os.path.lexists(p))


def check_bindable(path: Path, what: str) -> None:
    """:raises InputError: the runtime's bind syntax cannot express ``path``."""
    if bad := unbindable(path):
        raise InputError(
            f"{what} contains {bad!r}, which cannot be in a bind path",
            where=path,
            hint=f"choose a path without {UNBINDABLE_NAMES}",
        )


@contextlib.contextmanager
def workspace(
    console: Console,
    *,
    site: Site,
    use_cache: bool = True,
) -> Iterator[Workspace]:
    """A build directory for the ``with`` block.

    Removed when the block ends; after a failure its ``build.log`` stays, unless it is empty, and
    everything stays where the files are to be kept.
    """
    root = private_directory(site)
    remove_abandoned(root.parent)
    cache = site.cache if use_cache else None
    space = Workspace(root=root, cache=cache.absolute() if cache else root / "cache")
    keep = site.keep_files
    try:
        space.image.mkdir()
        space.scratch.mkdir()
        console.open_log(space.log)
        yield space
    except Interrupted:
        _finish(console, space, keep_all=keep, keep_log=False)
        if not keep:
            _remove_for_good(space.root)
        raise
    except BaseException:
        _finish(console, space, keep_all=keep, keep_log=True)
        raise
    else:
        console.log_path = None
        _finish(console, space, keep_all=keep, keep_log=False)


def private_directory(site: Site) -> Path:
    """A new directory for temporary files, marked as ours: who is killed leaves it to the next.

    :raises SpaceError: it cannot be made.
    """
    parent = parent_directory(site)
    try:
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return marked_directory(parent)
    except OSError as error:
        raise SpaceError(
            f"cannot make a build directory: {error.strerror}", where=parent, hint="use --tmpdir"
        ) from None


def marked_directory(parent: Path, stem: str = _NAME) -> Path:
    """The same in a directory of any name. :raises OSError: it cannot be made."""
    root = Path(tempfile.mkdtemp(prefix=stem, dir=parent))
    try:
        (root / _OWNER).write_text(json.dumps(identity()))
    except OSError:
        remove_tree(root)
        raise
    return root


def _finish(console: Console, space: Workspace, *, keep_all: bool, keep_log: bool) -> None:
    console.close_log()
    if keep_all:
        (space.root / _OWNER).unlink(missing_ok=True)
        console.info(f"the build directory is kept: {space.root}")
    elif keep_log and space.log.is_file() and space.log.stat().st_size:
        # A directory without an owner's mark holds a log to read, and is nobody's litter.
        for entry in space.root.iterdir():
            if entry != space.log:
                remove_tree(entry)
    else:
        console.log_path = None
        with console.step("Removing the build directory", least=_TOLD_SECONDS):
            _remove_marked(space.root)


def remove_abandoned(parent: Path, stem: str = _NAME) -> None:
    """Remove our temporary directories whose process was killed on this host.

    :param stem: with which their names begin.
    """
    for root in parent.glob(f"{stem}*"):
        with contextlib.suppress(OSError, ValueError):
            status = root.stat()
            if status.st_uid != os.getuid():
                continue
            if not (root / _OWNER).exists():
                # Killed before it was marked, or after all else of it was removed.
                if time.time() - status.st_mtime > _UNMARKED_SECONDS:
                    root.rmdir()  # nothing happens where it holds something: a log to read
                continue
            owner = json.loads((root / _OWNER).read_text())
            if isinstance(owner, dict) and has_ended(owner):
                _remove_marked(root)


def _remove_marked(root: Path) -> None:
    """Remove a directory, its mark last: who is killed meanwhile leaves the rest to the next."""
    for entry in root.iterdir():
        if entry.name != _OWNER:
            remove_tree(entry)
    remove_tree(root)


def _remove_for_good(root: Path) -> None:
    """Remove also what threads of a library, which go on after an interruption, make once more."""
    for _ in range(_LOOKS):
        time.sleep(_LOOK_SECONDS)
        remove_tree(root)


def remove_tree(path: Path) -> None:
    """Remove a file or a tree, read-only directories included.

    After an interruption a library's thread may still be writing: retried for a few seconds.
    """
    deadline = time.monotonic() + _REMOVE_SECONDS
    while path.is_symlink() or path.exists():
        try:
            if path.is_dir() and not path.is_symlink():
                _make_removable(path)
                shutil.rmtree(path)
            else:
                path.unlink()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _make_removable(root: Path) -> None:
    if root.stat().st_mode & stat.S_IRWXU != stat.S_IRWXU:
        root.chmod(stat.S_IRWXU)
    for directory, names, _ in os.walk(root):
        for name in names:
            child = Path(directory, name)
            if not child.is_symlink() and child.stat().st_mode & stat.S_IRWXU != stat.S_IRWXU:
                child.chmod(stat.S_IRWXU)


def free_space(path: Path) -> int:
    """Bytes that an ordinary user can still write on the file system of ``path``."""
    status = os.statvfs(_existing(path))
    return status.f_bavail * status.f_frsize


def require_space(path: Path, needed: int, what: str, hint: str) -> None:
    """:raises SpaceError: fewer than ``needed`` bytes are free where ``path`` is."""
    from wrapper.console import human_size

    free = free_space(path)
    if free < needed:
        raise SpaceError(
            f"no room for {what}: about {human_size(needed)} needed, {human_size(free)} free",
            where=path,
            hint=hint,
        )
