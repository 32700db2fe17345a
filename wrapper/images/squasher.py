"""A directory tree into a SquashFS image, with mksquashfs."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from wrapper import process
from wrapper.console import Advance, Console, unseen
from wrapper.errors import SpaceError, ToolError, means_no_space, no_room_for_image
from wrapper.images import compression as compressions
from wrapper.images.compression import Compression
from wrapper.images.squashfs import compressors
from wrapper.images.squashfs.layout import Unsupported
from wrapper.images.squashfs.reader import Image, read_image
from wrapper.images.squashfs.writer import transcode, write_image
from wrapper.models import Site
from wrapper.process import ToolFailed

# A fixed time makes equal trees equal images. Not 0: zip files begin in 1980, and programs that
# pack installed files into one (wheels, Spark, Ray) fail on older ones.
IMAGE_TIME = "946684800"  # 2000-01-01T00:00:00Z
_OLDEST = (4, 4)  # first with -mkfs-time, -all-time and reproducible output
_LEFT_OUT = 2  # unsquashfs's status where it could not make some files as they were
_PERCENTAGE_SINCE = (4, 6)
_MEMORY = "256M"
_PLAIN = ("-noI", "-noD", "-noF")  # nothing is compressed: inodes, data, fragments


@dataclass(frozen=True, kw_only=True)
class Squasher:
    """mksquashfs on this host: its path and version (major, minor).

    :ivar options: more of its options, words and values in turn; how to compress is not among
        them. :ivar processors: at most.
    """

    path: Path
    version: tuple[int, int]
    options: tuple[str, ...] = ()
    processors: int = field(default_factory=process.processors)

    @property
    def unsquashfs(self) -> Path:
        """The program beside mksquashfs that reads what that writes."""
        return self.path.with_name("unsquashfs")

    def squash(
        self,
        root: Path,
        image: Path,
        *,
        compression: Compression,
        console: Console,
        advance: Advance = unseen,
        environ: Mapping[str, str] = os.environ,
        owners: bool = False,
        times: bool = False,
        plain: Path | None = None,
        order: Sequence[str] = (),
    ) -> None:
        """Write the tree below ``root`` as ``image``, a new file; the same tree, the same bytes.

        mksquashfs compresses with zlib, which takes twice as long as need be. So for gzip it packs
        the tree beside ``root`` as it is, and the blocks are compressed by us.

        :param owners: files keep theirs; else all of the image is root's. :param times: files keep
            theirs, to the second; else all are equal. :param plain: another place to pack it.
        :param order: paths of files that come first in it, where we know how to put them there.
        :raises SpaceError: no room for the image. :raises ToolError: any other failure, a
            compressor that this mksquashfs lacks among them.
        """
        kept = [] if owners else ["-all-root"]
        kept += [] if times else ["-all-time", IMAGE_TIME]
        run = partial(self._mksquashfs, root, console=console, environ=environ, kept=kept)
        plain = plain or root.with_name(f"{root.name}.plain")
        if compression.name == "gzip":
            try:
                run(plain, [*self._words(compression), *_PLAIN], advance=_part(advance, 0, 0.5))
                self.recompress(plain, image, compression, _part(advance, 0.5, 1), order=order)
                return
            except Unsupported:
                console.log(f"{root} has what only mksquashfs can pack")
            finally:
                plain.unlink(missing_ok=True)
        run(image, self._words(compression), advance=advance)
        if order:
            self._rearrange(image, order, console)

    def _rearrange(self, image: Path, order: Sequence[str], console: Console) -> None:
        unordered = image.with_name(f"{image.name}.unordered")
        image.rename(unordered)
        try:
            self.arrange(read_image(unordered), image, order)
        except Unsupported as why:
            console.log(f"{image} stays as mksquashfs wrote it: {why}")
            unordered.replace(image)
        finally:
            unordered.unlink(missing_ok=True)

    def arrange(
        self, image: Image, target: Path, order: Sequence[str], advance: Advance = unseen
    ) -> None:
        """Write the files of ``image`` as the new file ``target``, those of an order first.

        :raises SpaceError: no room for it.
        """
        with _room_for(target):
            write_image(
                target,
                image.root,
                [image],
                order=order,
                most_unused=0,
                processors=self.processors,
                advance=advance,
            )

    def recompress(
        self,
        image: Path,
        target: Path,
        compression: Compression,
        advance: Advance,
        *,
        order: Sequence[str] = (),
    ) -> None:
        """Write the files of ``image`` as the new file ``target``, compressed otherwise.

        :param order: paths of files that come first.
        :raises Unsupported: the image, or the compressor, is none that we know.
        :raises SpaceError: no room for it.
        """
        chosen = compressors.compressor(compression.name, compression.level)
        if chosen is None:
            raise Unsupported(f"the compressor {compression.name}")
        source = read_image(image)
        with _room_for(target):
            transcode(
                source, target, chosen, order=order, processors=self.processors, advance=advance
            )

    def _mksquashfs(
        self,
        root: Path,
        image: Path,
        words: Sequence[str],
        *,
        console: Console,
        advance: Advance,
        environ: Mapping[str, str],
        kept: Sequence[str],
    ) -> None:
        argv = [
            str(self.path),
            str(root),
            str(image),
            *words,
            *("-noappend", "-no-xattrs", "-quiet"),
            *("-mkfs-time", IMAGE_TIME),
            *kept,
            "-percentage" if self.version >= _PERCENTAGE_SINCE else "-no-progress",
        ]

        def on_line(line: str) -> bool:
            if re.fullmatch(r"\d{1,3}", line.strip()):
                advance(float(line), 100.0)
                return True
            return False

        try:
            process.run(
                argv, console=console, env=process.base_environment(environ), on_line=on_line
            )
        except ToolFailed as error:
            image.unlink(missing_ok=True)
            raise _explained(error, image) from None

    def _words(self, compression: Compression) -> list[str]:
        """Options with a value, each once: it takes none twice."""
        # mksquashfs would take a quarter of the node's memory for its queues.
        chosen = {"-processors": str(self.processors), "-mem": _MEMORY, **compression.words}
        chosen |= dict(zip(self.options[::2], self.options[1::2], strict=True))
        if compression.block:
            chosen["-b"] = str(compression.block)
        return [word for pair in chosen.items() for word in pair]

    def unsquash(
        self,
        image: Path,
        target: Path,
        *,
        console: Console,
        paths: Sequence[str] = (),
        offset: int = 0,
        over: bool = False,
    ) -> None:
        """Unpack ``image``, or only ``paths`` in it, into the new directory ``target``.

        :param offset: where the file system begins in the file, in bytes.
        :param over: unpack a whole system over what is in ``target``; what only root could make
            (devices) is left out.
        :raises ToolError: unsquashfs is missing or fails, :raises SpaceError: for want of room.
        """
        argv = [str(self.unsquashfs), "-no-progress", "-no-xattrs", "-quiet"]
        argv += ["-processors", str(self.processors), "-d", str(target)]
        argv += ["-offset", str(offset)] if offset else []
        argv += ["-force"] if over else []
        try:
            process.run(
                [*argv, str(image), *paths],
                console=console,
                env=process.base_environment(os.environ),
            )
        except ToolFailed as error:
            if over and error.status == _LEFT_OUT and not means_no_space(error.detail):
                return
            raise _explained(error, target) from None


def _explained(error: ToolFailed, place: Path) -> SpaceError | ToolFailed:
    return no_room_for_image(place, error.detail) if means_no_space(error.detail) else error


@contextlib.contextmanager
def _room_for(image: Path) -> Iterator[None]:
    """What is written fits, or is gone. :raises SpaceError: no room."""
    try:
        yield
    except OSError as error:
        image.unlink(missing_ok=True)
        if means_no_space(error):
            raise no_room_for_image(image) from None
        raise


def _part(advance: Advance, begin: float, end: float) -> Advance:
    """Progress of a part of the work, told as one of all of it."""
    return lambda done, total: advance(begin * total + (end - begin) * done, total)


def find_squasher(environ: Mapping[str, str], site: Site, more: Sequence[str] = ()) -> Squasher:
    """mksquashfs on PATH or in ``/usr/sbin``, where some distributions keep it.

    :param more: options besides the site's, words and values in turn.
    :raises ToolError: there is none, or it is too old.
    """
    search = f"{environ.get('PATH', '')}:/usr/sbin:/sbin"
    found = shutil.which("mksquashfs", path=search)
    if not found:
        raise ToolError("mksquashfs is not on PATH", hint="install squashfs-tools >= 4.4")
    path = Path(found)
    try:
        answer = process.capture([path, "-version"], env=process.base_environment(environ))
    except ToolFailed as error:
        answer = error.detail  # 4.3 and older end with status 1
    match = re.search(r"mksquashfs version (\d+)\.(\d+)", answer)
    if not match:
        raise ToolError("cannot tell the version of mksquashfs", where=path, detail=answer.strip())
    version = (int(match[1]), int(match[2]))
    if version < _OLDEST:
        raise ToolError(
            f"mksquashfs {version[0]}.{version[1]} is too old",
            where=path,
            hint="install squashfs-tools >= 4.4",
        )
    return Squasher(
        path=path,
        version=version,
        options=(*compressions.other_options(site.squashfs_options), *more),
        processors=min(process.processors(), site.processors),
    )
