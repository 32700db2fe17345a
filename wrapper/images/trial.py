"""What the runtime starts here, found out by starting tiny images: a version says little of it.

SingularityCE looks at the number of the compression in an image's header and refuses some; the
kernel or squashfuse, which mount it, know some; mksquashfs writes some. A trial asks all of them at
once, on this node.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wrapper import process
from wrapper.console import Console
from wrapper.errors import ToolError, means_no_loop_device, no_loop_device, reason
from wrapper.images.compression import EVERYWHERE, Compression, wanted
from wrapper.images.format import read_format
from wrapper.images.sif import file as sif
from wrapper.images.squasher import Squasher, find_squasher
from wrapper.models import Site
from wrapper.process import ToolFailed
from wrapper.runtime.binds import BIND_VARIABLES, host_binds, write_skeleton
from wrapper.runtime.runtime import RUNTIME_VARIABLE, Runtime, find_runtime
from wrapper.util.removal import remove_marked, remove_tree
from wrapper.workspace import private_directory

SEEN = "containerize-trial"
"""What a trial's image has in its root, by which one sees that it is there."""
_MOUNT_POINT = "containerize-mount"
_LINE = "read from an image"
_MANY = 4000  # lines: more than a block, and well to be compressed
_NOT_THERE = 77  # a status that no runtime ends with


@dataclass(frozen=True, kw_only=True)
class Started:
    """What became of a start.

    :ivar refusal: why there was none, in the runtime's words. :ivar seconds: that it took.
    :ivar mounts: proc(5) mountinfo of the container.
    """

    refusal: str = ""
    seconds: float = 0.0
    mounts: str = ""


@dataclass(frozen=True, kw_only=True)
class Trials:
    """Trials of one runtime. :ivar scratch: a directory for their images, which are removed."""

    runtime: Runtime
    squasher: Squasher
    scratch: Path
    console: Console
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)

    @classmethod
    def here(
        cls, environ: Mapping[str, str], site: Site, scratch: Path, console: Console
    ) -> Trials:
        """With the tools of this machine. :raises ToolError: one is missing."""
        return cls(
            runtime=find_runtime(environ, site),
            squasher=find_squasher(environ, site),
            scratch=scratch,
            console=console,
            environ=environ,
        )

    @property
    def _who(self) -> str:
        return f"{self.runtime.name} {self.runtime.version}"

    def refusal(self, compression: Compression) -> str:
        """Why no image of this compression starts, in the runtime's words; empty where one does.

        :raises ToolError: mksquashfs cannot write it.
        """
        with self._folder() as folder:
            image = self._squashed(folder / "root", compression, skeleton=True)
            return self._started(image, folder)

    def overlay_refusal(self, compression: Compression) -> str:
        """Why no overlay partition of this compression is mounted; empty where one is.

        :raises ToolError: mksquashfs cannot write it.
        """
        with self._folder() as folder:
            bottom = self._squashed(folder / "bottom", EVERYWHERE, skeleton=True, seen=False)
            top = self._squashed(folder / "top", compression, skeleton=False)
            image = folder / "overlay.sif"
            sif.write_sif(
                image,
                [
                    sif.NewObject(
                        kind=sif.PARTITION, name="", content=layer, extra=sif.partition(role)
                    )
                    for layer, role in ((bottom, sif.PRIMARY), (top, sif.OVERLAY))
                ],
            )
            return self._started(image, folder)

    def start(self) -> Started:
        """Start a container of a skeleton, as shims of the host base do, and look at its mounts."""
        with self._folder() as folder:
            image = self._squashed(folder / "root", EVERYWHERE, skeleton=True)
            argv = self._argv(image, host_binds(), "cat /proc/self/mountinfo")
            begin = time.monotonic()
            try:
                mounts = process.capture(argv, env=self._environment(folder))
            except ToolFailed as error:
                return Started(refusal=reason(error))
            return Started(seconds=time.monotonic() - begin, mounts=mounts)

    def bind_refusal(self, at: str = "") -> str:
        """Why no image is bound into a container, in the runtime's words; empty where one is.

        :param at: where, absolute: a directory of the host, over which it shall lie, or a path for
            which a container's image has no mount point. Else where it has one.
        """
        place = at or f"/{_MOUNT_POINT}"
        with self._folder() as folder:
            bottom = self._squashed(folder / "bottom", EVERYWHERE, skeleton=True, seen=False)
            top = self._squashed(folder / "top", EVERYWHERE, skeleton=False)
            return self._started(bottom, folder, [f"{top}:{place}:image-src=/"], place)

    def require_cover(self, path: Path) -> None:
        """Whether an image can lie over a directory of the host.

        SingularityCE before 4.0 mounts images first, and then the host's directories over them.

        :raises ToolError: it cannot.
        """
        if why := self.bind_refusal(str(path)):
            raise ToolError(
                f"{self._who} lays no image over a directory of the host",
                where=path,
                hint="do without --mask, or take SingularityCE 4 or Apptainer, which can: "
                f"{RUNTIME_VARIABLE} names it",
                detail=why,
            )

    def choose(self, candidates: Sequence[Compression]) -> Compression:
        """The first of them that starts.

        :raises ToolError: none does, or mksquashfs can write none.
        """
        refusals: dict[str, str] = {}
        for compression in candidates:
            try:
                why = self.refusal(compression)
            except ToolFailed as error:
                why = f"{self.squasher.path.name}: {reason(error)}"
            if not why:
                if refusals:
                    self.console.info(
                        f"images are compressed with {compression.name}: "
                        f"{self._who} does not start {' or '.join(refusals)} here"
                    )
                return compression
            refusals[compression.name] = why
        raise self._error(refusals, "choose another --compression, or leave it out")

    def require(self, image: Path) -> None:
        """Whether an image that exists is compressed with what starts here.

        :raises ToolError: it is not. :raises InputError: it is no image.
        """
        for name in sorted({*read_format(image).compressors} - {EVERYWHERE.name}):
            with contextlib.suppress(ToolFailed):  # mksquashfs lacks it: its start will tell
                if why := self.refusal(Compression(name=name)):
                    hint = (
                        f"make of it one that starts: containerize repack {shlex.quote(str(image))}"
                    )
                    raise self._error({name: why}, hint, image)

    def _error(
        self, refusals: Mapping[str, str], hint: str, image: Path | None = None
    ) -> ToolError:
        nothing = refusals.get(EVERYWHERE.name) or self.refusal(EVERYWHERE)
        if nothing:
            return ToolError(
                f"{self._who} starts no image here",
                where=self.runtime.path,
                hint="see what it lacks: containerize doctor",
                detail=nothing,
            )
        names = " or ".join(refusals)
        what = f"{self._who} starts no image here that is compressed with {names}"
        return ToolError(
            what if image is None else f"{what}, as {image.name} is",
            where=image or self.runtime.path,
            hint=hint,
            detail="\n".join(f"{name}: {why}" for name, why in refusals.items()),
        )

    # -- one trial -------------------------------------------------------------------------------
    @contextlib.contextmanager
    def _folder(self) -> Iterator[Path]:
        folder = Path(tempfile.mkdtemp(prefix="trial-", dir=self.scratch))
        try:
            yield folder
        finally:
            remove_tree(folder)

    def _squashed(
        self, root: Path, compression: Compression, *, skeleton: bool, seen: bool = True
    ) -> Path:
        root.mkdir()
        if skeleton:
            write_skeleton(root, places=[_MOUNT_POINT])
        if seen:
            (root / SEEN).write_text(f"{_LINE}\n" * _MANY)
        image = root.with_suffix(".sqfs")
        self.squasher.squash(root, image, compression=compression, console=self.console)
        return image

    def _argv(self, image: Path, binds: Sequence[str], look: str) -> list[str]:
        command = ["/bin/sh", "-c", look]
        return self.runtime.exec_argv(image, binds, command, environ=self.environ)

    def _environment(self, scratch: Path) -> dict[str, str]:
        seen = self.runtime.environment(scratch, self.environ)
        # A mistake in the user's binds is not the image's.
        return {name: value for name, value in seen.items() if name not in BIND_VARIABLES}

    def _started(self, image: Path, scratch: Path, binds: Sequence[str] = (), at: str = "") -> str:
        """Start ``image`` and look for what the trial's image has, in the directory ``at``.

        :returns: why that is not to be seen, in the runtime's words; empty where it is.

        :raises ToolError: the node has no loop device for it, which says nothing of the image.
        """
        seen = shlex.quote(f"{at}/{SEEN}")
        look = f'[ -e {seen} ] || exit {_NOT_THERE}; read -r line <{seen}; [ "$line" = "{_LINE}" ]'
        argv = self._argv(image, [*host_binds(), *binds], look)
        try:
            process.run(argv, console=self.console, env=self._environment(scratch))
        except ToolFailed as error:
            if error.status == _NOT_THERE:
                return "the container starts without it, and nothing is said of that"
            if means_no_loop_device(error.detail):
                raise no_loop_device("nothing starts", self.runtime.path, error.detail) from None
            return reason(error)
        return ""


@contextlib.contextmanager
def _trials(site: Site) -> Iterator[Trials]:
    """Trials outside of a build, for the ``with`` block."""
    scratch = private_directory(site)
    try:
        yield Trials.here(os.environ, site, scratch, Console(-1))
    finally:
        remove_marked(scratch)


def describe_compression(site: Site) -> str:
    """How the image of a new installation would be compressed here, for a person."""
    with _trials(site) as trials:
        candidates = wanted(site.compression, site.squashfs_options)
        found = trials.choose(candidates)
    better = [item.name for item in candidates[: candidates.index(found)]]
    return f"{found} ({', '.join(better)}: not started here)" if better else str(found)


def describe_overlays(site: Site) -> str:
    """Whether SIFs with an environment's layer can be used here, for a person."""
    with _trials(site) as trials:
        why = trials.overlay_refusal(EVERYWHERE)
    return f"not mounted ({why}): 'containerize build' needs --flatten" if why else "mounted"
