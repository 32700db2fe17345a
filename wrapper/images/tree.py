"""Looking into an image without starting a container: its names, its links, some of its files.

A SIF file and a SquashFS image are read with ``unsquashfs``, which needs no privilege and no
program of the image; a sandbox is a directory. *Measured*, 2 cores: the names of a 2 GB image
with 138,000 files in 1.3 s.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from wrapper import process
from wrapper.console import Console
from wrapper.errors import PackageError
from wrapper.images.format import SANDBOX, ImageFormat, read_format
from wrapper.process import ToolFailed
from wrapper.util import foreign
from wrapper.util.removal import remove_tree

_LINE = re.compile(r"([-dlbcps])([-rwxsStT]{9}) .*? \d{4}-\d\d-\d\d \d\d:\d\d (/.*)", re.S)
_MOST_LINKS = 40
_LARGEST = 256 << 20  # bytes of a file that is read: an interpreter or a library has some MB
_LISTING_SECONDS = 600.0  # of millions of files on a busy file system
_UNLISTED = ("/proc", "/sys", "/dev")


@dataclass(frozen=True, kw_only=True)
class ImageTree:
    """The files of an image; paths are absolute inside it.

    :ivar modes: type letter (``-`` file, ``d``, ``l``…) and permissions (``rwxr-xr-x``) of every
        path, the root excluded. :ivar links: where symbolic links lead.
    """

    path: Path
    format: ImageFormat
    unsquashfs: Path
    scratch: Path
    console: Console
    modes: Mapping[str, str]
    links: Mapping[str, str]

    def real(self, path: str) -> str | None:
        """The path with all links followed inside the image; ``None`` where it leads nowhere."""
        done, todo = PurePosixPath("/"), list(PurePosixPath(path).parts[1:])
        for _ in range(_MOST_LINKS * 10):
            if not todo:
                return str(done)
            part = todo.pop(0)
            here = done.parent if part == ".." else done / part
            if target := self.links.get(str(here)):
                todo = [word for word in PurePosixPath(target).parts if word != "/"] + todo
                here = PurePosixPath("/") if target.startswith("/") else done
            elif str(here) != "/" and str(here) not in self.modes:
                return None
            done = here
        return None

    def is_program(self, path: str) -> bool:
        """Whether there is an executable file, links followed."""
        mode = self.modes.get(self.real(path) or "", "")
        return mode.startswith("-") and "x" in mode

    def matching(self, pattern: str) -> list[str]:
        """Paths that a regular expression describes from end to end, sorted."""
        expression = re.compile(pattern)
        return sorted(path for path in self.modes if expression.fullmatch(path))

    def read(self, paths: Iterable[str]) -> dict[str, bytes]:
        """Contents of regular files by the path asked for; what is not there is left out."""
        real = {path: found for path in paths if (found := self.real(path))}
        wanted = {found for found in real.values() if self.modes.get(found, "").startswith("-")}
        if self.format.kind == SANDBOX:
            contents = _contents(self.path, wanted)
        else:
            contents = self._unpack(wanted)
        return {path: contents[found] for path, found in real.items() if found in contents}

    def text(self, path: str) -> str:
        """A file as text, empty where there is none."""
        return self.read([path]).get(path, b"").decode("utf-8", "replace")

    def _unpack(self, paths: set[str]) -> dict[str, bytes]:
        """Files of a SquashFS image: the layers in turn, the upper ones last."""
        # unsquashfs takes names for patterns (versions before 4.5 cannot be told not to).
        names = sorted(path for path in paths if not re.search(r"[*?\[\]\\]", path))
        if not names:
            return {}
        target = self.scratch / f"image-{os.getpid()}"
        try:
            for offset in self.format.offsets:
                self._run(offset, "-f", "-no-xattrs", "-d", str(target), str(self.path), *names)
            return _contents(target, names)
        finally:
            remove_tree(target)

    def _run(self, offset: int, *words: str) -> None:
        argv: list[str | Path] = [
            self.unsquashfs,
            "-o",
            str(offset),
            "-quiet",
            "-no-progress",
            *words,
        ]
        try:
            process.run(argv, console=self.console, env=process.base_environment(os.environ))
        except ToolFailed as error:
            raise _unreadable(self.path, error) from None


def read_tree(
    path: Path,
    *,
    unsquashfs: Path,
    scratch: Path,
    console: Console,
    format: ImageFormat | None = None,
) -> ImageTree:
    """List an image. :raises InputError: it is none. :raises PackageError: it is damaged.

    :param unsquashfs: the program; :param scratch: a directory for files that are looked at.
    :param format: of the image, where it is known.
    """
    format = format or read_format(path)
    modes: dict[str, str] = {}
    links: dict[str, str] = {}
    if format.kind == SANDBOX:
        _list_directory(path, modes, links)
    for offset in format.offsets:
        _list_squashfs(path, offset, unsquashfs, modes, links)
    return ImageTree(
        path=path,
        format=format,
        unsquashfs=unsquashfs,
        scratch=scratch,
        console=console,
        modes=modes,
        links=links,
    )


def _list_squashfs(
    path: Path, offset: int, unsquashfs: Path, modes: dict[str, str], links: dict[str, str]
) -> None:
    # With an empty name for the directory to unpack into, paths come as they are in the image.
    argv: list[str | Path] = [unsquashfs, "-o", str(offset), "-d", "", "-ll", path]
    try:
        env = {**process.base_environment(os.environ), "LC_ALL": "C"}
        listing = process.capture(argv, env=env, timeout=_LISTING_SECONDS)
    except ToolFailed as error:
        raise _unreadable(path, error) from None
    parse_listing(listing, modes, links)


def parse_listing(listing: str, modes: dict[str, str], links: dict[str, str]) -> None:
    """Add what ``unsquashfs -ll`` tells of a layer to what is known of those below it.

    A name may hold a line end, and what follows may look like the line of another file. So nobody
    trusts what stands here with a path of the host: see :func:`_contents`.
    """
    for line in listing.split("\n"):
        match = _LINE.fullmatch(line)
        if not match:
            continue
        kind, mode, name = match.groups()
        links.pop(name, None)
        if kind == "l":
            name, _, target = name.partition(" -> ")
            links[name] = target
        modes[name] = kind + mode


def _list_directory(root: Path, modes: dict[str, str], links: dict[str, str]) -> None:
    outside = str(root).rstrip("/")
    for folder, directories, files in os.walk(f"{outside}/"):
        inside = folder.removeprefix(outside).rstrip("/")
        directories[:] = [name for name in directories if f"{inside}/{name}" not in _UNLISTED]
        for name in (*directories, *files):
            path = Path(folder, name)
            text = stat.filemode(path.lstat().st_mode)
            modes[f"{inside}/{name}"] = text
            if text.startswith("l"):
                links[f"{inside}/{name}"] = str(path.readlink())


def _contents(root: Path, paths: Iterable[str]) -> dict[str, bytes]:
    """Regular files below ``root`` that we may read, none by way of a link.

    An image may have been listed otherwise than it is: a link would lead to a file of the host.
    """
    found = {}
    inside = os.path.realpath(root).rstrip("/")
    for path in paths:
        with contextlib.suppress(OSError, ValueError):
            if os.path.realpath(f"{inside}{path}") == f"{inside}{path}":
                found[path] = foreign.read_bytes(
                    Path(f"{inside}{path}"), most=_LARGEST, follow=False
                )
    return found


def _unreadable(path: Path, error: ToolFailed) -> PackageError:
    return PackageError(
        "the image cannot be read, it is damaged or packed in a way that unsquashfs does not know",
        where=path,
        hint="get it anew from where it came, or use a newer squashfs-tools",
        detail=error.detail,
    )
