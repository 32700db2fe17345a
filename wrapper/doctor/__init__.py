"""``containerize doctor``: what of this machine, or of an installation, does not work, and why.

Checks only look. What has to be written or started is in a temporary directory of its own.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wrapper import layout
from wrapper import settings as site
from wrapper.console import Console
from wrapper.doctor import (
    activation,
    installation,
    machine,
    mpi,
    needs,
    places,
    rights,
    sif_image,
    starts,
    variables,
)
from wrapper.doctor.finding import (
    FAILED,
    OK,
    WARNING,
    Check,
    Finding,
    examine,
    failed,
    not_started,
    warning,
)
from wrapper.errors import ContainerizeError
from wrapper.images.sif.content import ACTIVATE
from wrapper.images.squasher import find_squasher
from wrapper.images.trial import Trials
from wrapper.manifest import Manifest
from wrapper.models import Site
from wrapper.runtime.runtime import FAMILIES
from wrapper.util import foreign, removal

__all__ = ["FAILED", "OK", "WARNING", "Finding", "diagnose"]

_SECONDS = 20.0
_START_SECONDS = 120.0
_READ_SECONDS = 3600.0  # 10 GB from a busy file system


def diagnose(
    target: Path | None,
    *,
    deep: bool,
    start: bool = False,
    mpi: bool = False,
    environ: Mapping[str, str],
    console: Console,
) -> Generator[Finding]:
    """Findings, one after the other, as they are made.

    :param target: an installation's prefix or an image, ``None`` for the machine itself.
    :param deep: read images as a whole, to compare digests.
    :param mpi: look at MPI and nothing else.
    :param start: start programs also of what belongs to somebody else.
    """
    settings, found = _configuration(environ)
    yield from found
    scratch = places.temporary_directory(settings)
    if scratch is None:
        yield failed("temporary files", "no directory can be written to", "set CW_BUILD_TMPDIR")
    diagnosis = _Diagnosis(
        environ=environ,
        site=settings,
        scratch=scratch,
        console=console,
        deep=deep,
        start=start,
        mpi=mpi,
    )
    try:
        if target is None:
            yield from examine(diagnosis.machine())
        else:
            yield from diagnosis.examine_target(Path(os.path.normpath(target.absolute())))
    finally:
        if scratch is not None:
            removal.remove_marked(scratch)


def _configuration(environ: Mapping[str, str]) -> tuple[Site, list[Finding]]:
    """The site's settings; without them where they cannot be read."""
    try:
        settings = site.load(environ)
    except ContainerizeError as error:
        detail = f"{error.what} ({error.where})"
        return Site(), [failed("configuration", detail, error.hint or "correct it")]
    hint = "see 'Site configuration' in docs/admins.md"
    return settings, [warning("configuration", text, hint) for text in settings.warnings]


def _is_file(path: Path) -> bool:
    """Whether it is an image. Asked in a thread: its file system may hang."""
    answer: list[bool] = []

    def look() -> list[Finding]:
        answer.append(os.path.isfile(path))  # noqa: PTH113 - false, not raised, if forbidden
        return []

    list(examine([Check(what="image", look=look)]))
    return answer == [True]


@dataclass(frozen=True, kw_only=True)
class _Diagnosis:
    """The checks and what they share; ``scratch`` is a temporary directory, if there is one."""

    environ: Mapping[str, str]
    site: Site
    scratch: Path | None
    console: Console
    deep: bool
    start: bool
    mpi: bool = False

    @property
    def for_runtime(self) -> Mapping[str, str]:
        """The environment of programs, by which the runtime makes no directory in $HOME."""
        if self.scratch is None:
            return self.environ
        directories = {f"{family}_CONFIGDIR": str(self.scratch) for family in FAMILIES}
        return {**self.environ, **directories}

    def machine(self) -> list[Check]:
        environ, tools, settings = self.environ, self.for_runtime, self.site
        checks = [
            Check(what="container", look=variables.inside_container),
            Check(what="runtime", look=lambda: machine.runtime_found(tools, settings)),
            Check(what="mode", look=lambda: rights.mode(tools, settings)),
            Check(what="bash", look=machine.bash),
            Check(what="mksquashfs", look=lambda: machine.squash_tools(tools, settings)),
        ]
        if self.scratch:
            trials = machine.Trials(
                environ=tools, site=settings, scratch=self.scratch, console=self.console
            )
            checks += [
                Check(what="start of a container", look=trials.start),
                Check(what="compression", look=trials.compression),
                Check(what="bind of an image", look=trials.bind_image),
                Check(what="overlay partitions", look=trials.overlay),
            ]
        return [
            *checks,
            Check(what="build directory", look=lambda: places.build_directory(settings)),
            Check(what="cache directory", look=lambda: places.cache_directory(settings, environ)),
            Check(what="variables", look=lambda: variables.variables(environ)),
            Check(what="PATH", look=lambda: variables.path(environ)),
            Check(what="containerize", look=lambda: variables.commands(environ)),
            Check(what="GPU", look=lambda: machine.gpu(environ)),
            Check(what="network", look=lambda: machine.network(environ)),
        ]

    # -- an installation or an image -------------------------------------------------------------
    def examine_target(self, target: Path) -> Iterator[Finding]:
        if _is_file(target):
            yield from examine(self._image(target))
            return
        first = list(
            examine(
                [Check(what="installation", look=lambda: installation.generation_in_use(target))]
            )
        )
        yield from first
        if any(f.what == "installation" and f.state == FAILED for f in first):
            yield from examine([Check(what="left-overs", look=lambda: self._rest(target))])
            return
        yield from examine(self._installation(target))

    def _rest(self, target: Path) -> list[Finding]:
        """What can be said of an installation that is none any more."""
        if not (target / layout.GENERATIONS).is_dir():
            return []
        return [*installation.generations(target), *installation.lock(target)]

    def _installation(self, target: Path) -> list[Check]:
        def check(
            what: str,
            look: Callable[[Path, Manifest], Sequence[Finding]],
            seconds: float = _SECONDS,
        ) -> Check:
            return Check(
                what=what,
                look=lambda: installation.with_manifest(target, look),
                seconds=seconds,
            )

        if self.mpi:
            return [check("MPI of the machine", mpi.recorded), check("MPI", self._mpi)]
        checks = [
            Check(what="manifest", look=lambda: installation.manifest(target)),
            check("image", installation.image),
            check("base image", self._base_image, _READ_SECONDS if self.deep else _SECONDS),
            check("interpreter", self._interpreter),
            check("runtime of the build", lambda _, data: needs.runtime(data, self.environ)),
            check("node", lambda _, data: needs.node(data)),
            check("links", lambda _, data: needs.links(data)),
            check("site", lambda _, data: needs.site(data, self.site)),
            check("GPU", lambda _, data: needs.gpu(data, self.environ)),
            check("variables for GPUs", lambda _, data: needs.harmful(data, self.environ)),
            check("MPI of the machine", mpi.recorded),
            Check(what="shims", look=lambda: installation.shims_agree(target)),
            check("place", installation.place),
            check("others", installation.others),
            check("host's programs", installation.of_host),
            Check(what="generations", look=lambda: installation.generations(target)),
            Check(what="lock", look=lambda: installation.lock(target)),
            Check(what="left-overs", look=lambda: installation.leftovers(target)),
            Check(what="permissions", look=lambda: installation.permissions(target)),
            Check(what="variables", look=lambda: variables.variables(self.environ)),
        ]
        if self.deep:
            checks.append(check("content", self._content, _READ_SECONDS))
        if self.scratch:
            checks.append(check("activation", self._activation))
            checks.append(check("compression", self._compression))
            checks.append(check("mask", self._mask))
            checks.append(check("start", self._start, _START_SECONDS))
        return checks

    def _stranger(self, target: Path) -> str | None:
        """Whose the target is, where nothing of it is to be started."""
        return None if self.start else starts.stranger_of(target)

    def _interpreter(self, target: Path, data: Manifest) -> list[Finding]:
        return needs.interpreter(data, self.environ, stranger=self._stranger(target))

    def _base_image(self, target: Path, data: Manifest) -> list[Finding]:
        return needs.base_image(target / layout.CURRENT, data, deep=self.deep)

    def _mpi(self, target: Path, data: Manifest) -> list[Finding]:
        assert self.scratch
        unsquashfs = find_squasher(self.for_runtime, self.site).unsquashfs
        return mpi.walk(
            target, data, unsquashfs=unsquashfs, scratch=self.scratch, console=self.console
        )

    def _activation(self, target: Path, data: Manifest) -> list[Finding]:
        if data.kind == "container":
            return []
        if data.activation is not None:
            return activation.recorded(data.activation)
        env = foreign.read_bytes(target / layout.CURRENT / layout.ENV).decode("utf-8", "replace")
        unpack = self._unpacking(target / layout.CURRENT / layout.IMAGE)
        inputs = shlex.quote(str(target / layout.CURRENT / "inputs"))
        hint = f"its owner: build it anew, or with any update (what it was made of is in {inputs})"
        return activation.looked_into(data, env, unpack, hint)

    def _unpacking(self, image: Path, offset: int = 0) -> Callable[[str], Path]:
        """A function that takes a path out of an image, and returns where it is then."""

        def unpack(path: str) -> Path:
            assert self.scratch
            squasher = find_squasher(self.for_runtime, self.site)
            target = self.scratch / f"unpacked-{path.replace('/', '-')}"
            squasher.unsquash(image, target, console=self.console, paths=[path], offset=offset)
            return target / path

        return unpack

    def _compression(self, target: Path, data: Manifest) -> list[Finding]:
        """Of the image, and of the base image below it."""
        images = (
            [] if data.kind == "container" else [(target / layout.CURRENT / layout.IMAGE, target)]
        )
        if base := data.base.path:
            image = target / layout.CURRENT / base
            images.append((image, image))
        found = [it for pair in images for it in starts.compression(*pair, self._trials())]
        return [it for it in found if it.state != OK] or found[:1]

    def _mask(self, _: Path, data: Manifest) -> list[Finding]:
        """Where the image lies over a path of the host, does this runtime lay it there?"""
        if not data.mask:
            return []
        return starts.mask(Path(data.source).resolve(), self._trials())

    def _trials(self) -> Trials:
        assert self.scratch
        return Trials.here(self.for_runtime, self.site, self.scratch, self.console)

    def _content(self, target: Path, data: Manifest) -> list[Finding]:
        return needs.content(target / layout.CURRENT / layout.IMAGE, data)

    def _start(self, target: Path, data: Manifest) -> list[Finding]:
        if stranger := self._stranger(target):
            return [not_started("start", "", stranger)]
        return starts.of_installation(target, data, environ=self.for_runtime, site=self.site)

    def _image(self, path: Path) -> list[Check]:
        def check(
            what: str,
            look: Callable[[Manifest], Sequence[Finding]],
            seconds: float = _SECONDS,
        ) -> Check:
            def looked() -> Sequence[Finding]:
                with contextlib.suppress(ContainerizeError):  # told by the check of the image
                    if data := sif_image.read_manifest(path):
                        return look(data)
                return []

            return Check(what=what, look=looked, seconds=seconds)

        if self.mpi:
            recorded = check("MPI of the machine", lambda data: mpi.recorded(path, data))
            manifest = Check(what="manifest", look=lambda: sif_image.manifest(path))
            return [manifest, recorded, check("MPI", lambda data: self._mpi(path, data))]
        checks = [
            Check(what="image", look=lambda: sif_image.image(path)),
            Check(what="manifest", look=lambda: sif_image.manifest(path)),
            Check(what="permissions", look=lambda: sif_image.permissions(path)),
            Check(what="left-overs", look=lambda: sif_image.leftovers(path)),
            check("node", needs.node),
            check("site", lambda data: needs.site(data, self.site)),
            check("GPU", lambda data: needs.gpu(data, self.environ)),
            check("variables for GPUs", lambda data: needs.harmful(data, self.environ)),
            check("MPI of the machine", lambda data: mpi.recorded(path, data)),
            Check(what="variables", look=lambda: variables.variables(self.environ)),
        ]
        if self.deep:
            checks.append(
                check("content", lambda data: sif_image.content(path, data), _READ_SECONDS)
            )
        if scratch := self.scratch:
            checks.append(
                check("compression", lambda _: starts.compression(path, path, self._trials()))
            )

            checks.append(check("activation", lambda data: self._image_activation(path, data)))

            def start(data: Manifest) -> list[Finding]:
                if stranger := self._stranger(path):
                    return [not_started("start", "", stranger)]
                return starts.of_image(
                    path, data, environ=self.for_runtime, site=self.site, scratch=scratch
                )

            checks.append(check("start", start, _START_SECONDS))
        return checks

    def _image_activation(self, path: Path, data: Manifest) -> list[Finding]:
        if data.activation is not None:
            return activation.recorded(data.activation)
        unpack = self._unpacking(path, sif_image.layer_offset(path))
        env = foreign.read_bytes(unpack(ACTIVATE), follow=False).decode("utf-8", "replace")
        command = f"containerize build --update {shlex.quote(str(path))} FILE"
        hint = f"its owner: build it anew, or with any update ({command})"
        return activation.looked_into(data, env, unpack, hint)
