"""The generations of an installation: which there are, which is in use, switching, removing.

Every successful build leaves a directory ``.generations/N``; ``current`` names the one in use.
All functions that change something expect the caller to hold the prefix's lock.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from wrapper import layout
from wrapper.manifest import Manifest, NoInstallation, load_manifest, no_installation
from wrapper.prefix import shims
from wrapper.prefix.checks import STAGING_NAME
from wrapper.util.removal import MARK, names, opened, remove_abandoned, remove_tree
from wrapper.util.sync import sync_directory

# Present in every generation that was once in use. A build that was killed between completing its
# generation and switching to it leaves one without.
USED_MARK = ".used"
_START_SECONDS = 5.0
_FUSE_HELPER = "squashfuse"  # squashfuse_ll too
UNFINISHED = (".new-", ".old-")


@dataclass(frozen=True, kw_only=True)
class Generation:
    """One generation: its directory, outside the container, and its manifest."""

    number: int
    directory: Path
    manifest: Manifest
    current: bool

    @property
    def image(self) -> Path:
        return self.directory / layout.IMAGE

    def within_image(self, path: str) -> Path:
        """A path inside the container as a path inside the image, without the first slash."""
        return Path(path).relative_to(self.manifest.image_root or "/")

    @property
    def programs(self) -> set[str]:
        return program_names(self.directory / layout.PROGRAMS)


def program_names(folder: Path) -> set[str]:
    """What is in a directory ``_bin`` or ``bin``, without what is hidden there for other purposes
    (see :mod:`wrapper.prefix.staging`); no program has such a name.
    """
    return {entry.name for entry in folder.iterdir() if not entry.name.startswith(".")}


def generations(prefix: Path) -> list[Generation]:
    """All complete generations, oldest first; one whose manifest is damaged is none.

    :raises PrefixError: ``prefix`` is no installation, or one is of a newer format.
    """
    current = current_number(prefix)
    found = []
    for number, directory in _numbered(prefix):
        with contextlib.suppress(NoInstallation):
            found.append(
                Generation(
                    number=number,
                    directory=directory,
                    manifest=load_manifest(directory / layout.MANIFEST, prefix),
                    current=number == current,
                )
            )
    return found


def _numbered(prefix: Path) -> list[tuple[int, Path]]:
    """The directories of generations, whatever is in them, oldest first."""
    try:
        directories = list((prefix / layout.GENERATIONS).iterdir())
    except (FileNotFoundError, NotADirectoryError):
        raise no_installation(prefix) from None
    return sorted((int(path.name), path) for path in directories if path.name.isdecimal())


def next_number(prefix: Path) -> int:
    """A number that no generation has, also none that is damaged."""
    return max(number for number, _ in _numbered(prefix)) + 1


def current_generation(prefix: Path) -> Generation:
    """The generation in use. :raises PrefixError: ``prefix`` is no installation."""
    for generation in generations(prefix):
        if generation.current:
            return generation
    raise no_installation(prefix)


def current_number(prefix: Path) -> int:
    """The number of the generation in use, also of one that is damaged.

    :raises PrefixError: there is none.
    """
    try:
        return int((prefix / layout.CURRENT).readlink().name)
    except (OSError, ValueError):
        raise no_installation(prefix) from None


# -- switching ---------------------------------------------------------------------------------
def switch(prefix: Path, number: int, shim: str | None = None) -> None:
    """Put generation ``number`` into use: one atomic rename of ``current``.

    Shims of its programs are there before the rename; shims of programs that it does not have go
    after it. A killed switch is finished or undone by :func:`repair`.

    :param shim: text for the shims, where it is to be renewed.
    """
    wanted = program_names(prefix / layout.GENERATIONS / str(number) / layout.PROGRAMS)
    _add_shims(prefix / layout.BIN, wanted, shim)
    replacement = prefix / f".{layout.CURRENT}.new"
    replacement.unlink(missing_ok=True)
    replacement.symlink_to(f"{layout.GENERATIONS}/{number}")
    replacement.rename(prefix / layout.CURRENT)
    sync_directory(prefix)
    mark_used(prefix, number)
    _remove_shims(prefix, wanted)


def mark_used(prefix: Path, number: int) -> None:
    """Note that a generation was in use, which keeps :func:`repair` from removing it."""
    directory = prefix / layout.GENERATIONS / str(number)
    mark = directory / USED_MARK
    with contextlib.suppress(OSError):  # a full quota must not undo a finished switch
        mode = (directory / layout.MANIFEST).stat().st_mode & 0o777
        handle = os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.fchmod(handle, mode)
        finally:
            os.close(handle)


def repair(prefix: Path) -> None:
    """Clean up after a build that was killed: unfinished generations, shims of no generation."""
    current = current_number(prefix)
    mark_used(prefix, current)
    with opened(prefix / layout.GENERATIONS) as inside:
        for name in names(inside):
            if name != str(current) and _is_ours(name, inside) and _is_left(name, inside):
                remove_tree(Path(name), inside=inside)
    (prefix / f".{layout.CURRENT}.new").unlink(missing_ok=True)
    (prefix / MARK).unlink(missing_ok=True)  # of 'new', killed right after its switch
    remove_abandoned(prefix, STAGING_NAME, held=True)
    programs = prefix / layout.GENERATIONS / str(current) / layout.PROGRAMS
    if programs.is_dir():  # else one can only go back to another generation
        wanted = program_names(programs)
        _add_shims(prefix / layout.BIN, wanted, None)
        _remove_shims(prefix, wanted)


def _is_ours(name: str, inside: int) -> bool:
    """Whether we own an entry; what a colleague's build left is theirs to remove."""
    return os.lstat(name, dir_fd=inside).st_uid == os.geteuid()


def _is_left(name: str, inside: int) -> bool:
    """Whether an entry is no generation that was ever in use."""
    if name.startswith(UNFINISHED):
        return True
    try:
        os.lstat(f"{name}/{USED_MARK}", dir_fd=inside)
    except (FileNotFoundError, NotADirectoryError):
        return True
    return False


def _add_shims(folder: Path, names: set[str], text: str | None) -> None:
    """Hard links to the shim for ``names``, and for all of them a new shim where it changed."""
    first = folder / shims.DEBUG_NAMES[0]
    if text is not None and first.read_text() != text:
        replacement = folder / ".shim.new"
        replacement.unlink(missing_ok=True)
        replacement.write_text(text)
        replacement.chmod(first.stat().st_mode & 0o777)
        for name in {*names, *shims.DEBUG_NAMES} - {first.name}:
            link = folder / ".link.new"
            link.unlink(missing_ok=True)
            link.hardlink_to(replacement)
            link.rename(folder / name)
        replacement.rename(first)
    for name in names - {shims.LIST_PACKAGES}:
        if not (folder / name).exists():
            (folder / name).hardlink_to(first)
    sync_directory(folder)


def _remove_shims(prefix: Path, wanted: set[str]) -> None:
    """Remove shims that are not wanted; what is no shim of ours in ``bin`` stays."""
    keep = {*wanted, *shims.DEBUG_NAMES, shims.LIST_PACKAGES}
    for entry in (prefix / layout.BIN).iterdir():
        if entry.name in keep or not entry.is_file():
            continue
        if entry.name in (".shim.new", ".link.new") or shims.is_shim_file(entry):
            entry.unlink()


# -- removing ----------------------------------------------------------------------------------
def prunable(prefix: Path, keep: int) -> tuple[list[Generation], list[Generation]]:
    """Which generations to remove so that ``keep`` stay, the one in use always among them.

    :returns: those that can go, and those that would but whose images are in use on this node.
    """
    every = generations(prefix)
    others = [generation for generation in every if not generation.current]
    superfluous = others[: max(0, len(others) - (keep - 1))]
    open_images = set(images_in_use())
    busy = [g for g in superfluous if str(g.image.resolve()) in open_images]
    return [g for g in superfluous if g not in busy], busy


def wait_for_starts(prefix: Path) -> None:
    """Wait until the last switch is some seconds ago.

    A shim that read the old generation just before it has not opened its image yet.
    """
    age = time.time() - (prefix / layout.CURRENT).lstat().st_mtime
    time.sleep(min(max(0.0, _START_SECONDS - age), _START_SECONDS))


def remove(generation: Generation) -> None:
    """Remove a generation; renamed first, so that a killed removal is recognised as one."""
    name, aside = generation.directory.name, f".old-{generation.number}"
    with opened(generation.directory.parent) as inside:
        os.rename(name, aside, src_dir_fd=inside, dst_dir_fd=inside)
        remove_tree(Path(aside), inside=inside)


def images_in_use(proc: Path = Path("/proc")) -> Iterator[str]:
    """Paths of image files that containers on this node have open.

    Kernel mounts show in ``/sys/block/loop*/loop/backing_file`` (all users'), FUSE mounts and
    programs in ``/proc/PID/fd`` (our own, all as root). A FUSE helper outlives a runtime that was
    killed: it counts as long as a program runs in its user namespace, which each start has anew.
    """
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            yield path.read_text().strip()
    helpers: list[tuple[Path, list[str]]] = []
    inhabited: set[Path] = set()
    for process in proc.iterdir():
        if not process.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            (process / "ns/mnt").readlink()  # a zombie has none
            space = (process / "ns/user").readlink()
            if (process / "comm").read_text().startswith(_FUSE_HELPER):
                helpers.append((space, list(_open_files(process))))
            else:
                inhabited.add(space)
                yield from _open_files(process)
    for space, files in helpers:
        if space in inhabited:
            yield from files


def _open_files(process: Path) -> Iterator[str]:
    for handle in (process / "fd").iterdir():
        with contextlib.suppress(OSError):
            yield str(handle.readlink())
