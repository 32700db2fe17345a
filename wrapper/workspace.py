"""The build directory: node-local, private, removed at the end."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from wrapper import layout
from wrapper.console import Console
from wrapper.errors import InputError, Interrupted, SpaceError
from wrapper.models import Site
from wrapper.runtime.binds import UNBINDABLE_NAMES, unbindable
from wrapper.util import foreign, removal
from wrapper.util.cache import make_cache
from wrapper.util.disk import TMPDIR_VARIABLE, existing

TOLD_SECONDS = 1.0
"""A removal that takes longer is told."""
_NAME = "containerize-"
_LOG_DAYS = 14.0  # the logs of failures are kept
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
        return self.root / layout.LOG

    @property
    def scratch(self) -> Path:
        return self.root / "tmp"


def parent_directory(site: Site) -> Path:
    """Where build directories go; what is missing of it is made with the first of them.

    :raises InputError: it is no directory that we can write to, or strangers could put something
        in the place of a build.
    """
    parent = site.tmpdir.absolute()
    check_bindable(parent, "the directory for temporary files")
    if why := foreign.why_exposed(parent):
        raise InputError(
            f"the directory for temporary files is not safe: {why}",
            where=parent,
            hint=f"name one of your own with --tmpdir or {TMPDIR_VARIABLE}",
        )
    above = existing(parent)
    if not (os.path.isdir(above) and os.access(above, os.W_OK | os.X_OK)):  # noqa: PTH112
        raise InputError(
            "the directory for temporary files cannot be used",
            where=parent,
            hint=f"name a writable directory with --tmpdir or {TMPDIR_VARIABLE}",
        )
    if os.statvfs(above).f_flag & os.ST_NOEXEC:
        raise InputError(
            "no program can be started in the directory for temporary files: it is mounted noexec",
            where=parent,
            hint=f"name one elsewhere with --tmpdir or {TMPDIR_VARIABLE}",
        )
    return parent


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

    Removed after the command's last word (:meth:`Console.finish`); after a failure its
    ``build.log`` stays for two weeks, unless the screen said all of it, and everything stays where
    the files are to be kept.
    """
    root = private_directory(site)
    with console.step("Removing what killed builds left", least=TOLD_SECONDS):
        removal.remove_abandoned(root.parent, _NAME)
        removal.remove_expired(root.parent, _NAME, only=layout.LOG, days=_LOG_DAYS)
    cache = site.cache if use_cache else None
    if cache and not cache.is_dir():  # what is in it depends on who can write to it
        make_cache(cache)
    space = Workspace(root=root, cache=cache.absolute() if cache else root / "cache")
    keep = site.keep_files
    try:
        space.image.mkdir()
        space.scratch.mkdir()
        console.open_log(space.log)
        yield space
    except Interrupted:
        _finish(console, space, keep_all=keep, keep_log=False, interrupted=True)
        raise
    except BaseException:
        _finish(console, space, keep_all=keep, keep_log=True)
        raise
    else:
        console.log_path = None
        _finish(console, space, keep_all=keep, keep_log=False)


def private_directory(site: Site) -> Path:
    """A new directory for temporary files, marked as ours: who is killed leaves it to the next.

    :raises SpaceError: it cannot be made. :raises InputError: see :func:`parent_directory`.
    """
    parent = parent_directory(site)
    try:
        for missing in reversed([p for p in (parent, *parent.parents) if not os.path.lexists(p)]):
            missing.mkdir(mode=0o700, exist_ok=True)
        parent_directory(site)  # somebody may have been quicker
        return removal.marked_directory(parent, _NAME)
    except OSError as error:
        raise SpaceError(
            f"cannot make a build directory: {error.strerror}", where=parent, hint="use --tmpdir"
        ) from None


def _finish(
    console: Console, space: Workspace, *, keep_all: bool, keep_log: bool, interrupted: bool = False
) -> None:
    console.close_log()
    if keep_all:
        (space.root / removal.MARK).unlink(missing_ok=True)
        console.info(f"the build directory is kept: {space.root}")
        return
    kept = ""
    if keep_log and console.log_says_more and space.log.is_file():
        # A directory without an owner's mark holds a log to read, and is nobody's litter.
        kept = space.log.name
    else:
        console.log_path = None
    console.afterwards(partial(_remove, console, space.root, kept, interrupted))


def _remove(console: Console, root: Path, kept: str, interrupted: bool) -> None:
    """:param kept: the name of what stays. :param interrupted: something may go on in it."""
    try:
        with console.step("Removing the build directory", least=TOLD_SECONDS):
            if interrupted:
                _remove_for_good(root)
            removal.remove_marked(root, but=kept)
    except OSError as error:  # the work is done, or told to have failed
        console.warning(f"the build directory cannot be removed: {root}: {error.strerror}")


def _remove_for_good(root: Path) -> None:
    """Remove also what threads of a library, which go on after an interruption, make once more."""
    for _ in range(_LOOKS):
        removal.empty_marked(root)
        time.sleep(_LOOK_SECONDS)
