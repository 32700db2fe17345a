"""The tools of this machine: are they there, and do they do what builds and shims need?"""

from __future__ import annotations

import os
import re
import shutil
import stat
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wrapper import process
from wrapper.compression import EVERYWHERE, Compression
from wrapper.console import Console
from wrapper.doctor.finding import Finding, failed, ok, warning
from wrapper.errors import ToolError, reason
from wrapper.models import Site
from wrapper.process import ToolFailed
from wrapper.runtime import Runtime, find_runtime, home_of, host_binds
from wrapper.skeleton import write_skeleton
from wrapper.squash import Squasher, find_squasher
from wrapper.trial import SEEN
from wrapper.trial import Trials as Tiny

_SECONDS = 15.0
_OLDEST_BASH = (4, 4)  # mapfile -d
_MOUNT_POINT = "containerize-doctor"
_SLOW_START = 3.0
_COMPRESSIONS = ("zstd", "lz4", "gzip")


def runtime_found(environ: Mapping[str, str], site: Site) -> list[Finding]:
    """The runtime that builds use."""
    found = find_runtime(environ, site)
    other = [name for name in ("singularity", "apptainer") if name != found.path.name]
    also = shutil.which(other[0], path=environ.get("PATH")) if other else None
    more = f"; {also} is on PATH too" if also and not _same(also, found.path) else ""
    return [ok("runtime", f"{found.name} {found.version} ({found.path}){more}")]


def _same(one: str | Path, other: str | Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def mode(environ: Mapping[str, str], site: Site, root: Path = Path("/")) -> list[Finding]:
    """How the runtime gets its rights: set-uid, user namespaces, root."""
    try:
        runtime = find_runtime(environ, site)
    except ToolError:
        return []  # told by the check of the runtime
    starter = _starter(runtime, environ)
    if starter and starter.stat().st_mode & stat.S_ISUID and starter.stat().st_uid == 0:
        return [ok("mode", f"set-uid ({starter}): images are mounted in the kernel")]
    if os.getuid() == 0:
        return [ok("mode", "root: images are mounted in the kernel")]
    if closed := _closed_namespaces(root):
        return [
            failed(
                "mode",
                f"not set-uid, and users may have no namespaces here ({closed})",
                "use a set-uid installation of the runtime (load its module), or ask the "
                "administrators to allow user namespaces",
            )
        ]
    return [ok("mode", "unprivileged: user namespaces, images are mounted by FUSE"), *_fuse(root)]


def _starter(runtime: Runtime, environ: Mapping[str, str]) -> Path | None:
    """The set-uid helper, where the runtime has one: ``LIBEXECDIR/NAME/bin/starter-suid``."""
    try:
        answer = process.capture(
            [runtime.path, "buildcfg"], env=process.base_environment(environ), timeout=_SECONDS
        )
    except ToolFailed:
        return None
    folder = re.search(r"^LIBEXECDIR=(.+)$", answer, re.M)
    places = (
        [Path(folder[1], name, "bin/starter-suid") for name in ("apptainer", "singularity")]
        if folder
        else []
    )
    return next((place for place in places if place.exists()), None)


def _closed_namespaces(root: Path) -> str:
    """The setting of the kernel that keeps users from namespaces, empty where none does."""
    for name in ("user/max_user_namespaces", "kernel/unprivileged_userns_clone"):
        try:
            if int((root / "proc/sys" / name).read_text()) == 0:
                return f"{name.replace('/', '.')} is 0"
        except (OSError, ValueError):
            continue
    return ""


def _fuse(root: Path) -> list[Finding]:
    device = root / "dev/fuse"
    if os.access(device, os.R_OK | os.W_OK):
        return [ok("/dev/fuse", "can be used")]
    found = "cannot be opened by you" if device.exists() else "is not there"
    hint = "ask the administrators: without set-uid the runtime mounts images through it"
    return [failed("/dev/fuse", f"{found}", hint)]


# -- other programs ------------------------------------------------------------------------------
def squash_tools(environ: Mapping[str, str], site: Site) -> list[Finding]:
    """mksquashfs, and unsquashfs beside it."""
    squasher = find_squasher(environ, site)
    version = ".".join(map(str, squasher.version))
    found = [ok("mksquashfs", f"{version} ({squasher.path})")]
    if not os.access(squasher.unsquashfs, os.X_OK):
        hint = "install all of squashfs-tools: updates unpack the image with it"
        return [*found, failed("unsquashfs", f"{squasher.unsquashfs} is not there", hint)]
    env = process.base_environment(environ)
    try:
        answer = process.capture([squasher.unsquashfs, "-version"], env=env, timeout=_SECONDS)
    except ToolFailed as error:
        answer = error.detail  # 4.5 and older end with status 1
    match = re.search(r"unsquashfs version (\S+)", answer)
    if not match:
        raise ToolError("unsquashfs does not start", where=squasher.unsquashfs, detail=answer)
    return [*found, ok("unsquashfs", f"{match[1]} ({squasher.unsquashfs})")]


def bash(program: Path = Path("/bin/bash")) -> list[Finding]:
    """What shims are written in."""
    try:
        answer = process.capture([program, "--version"], env={}, timeout=_SECONDS)
    except ToolFailed as error:
        return [failed("bash", error.what, "shims need bash 4.4 or newer as /bin/bash")]
    match = re.search(r"version (\d+)\.(\d+)", answer)
    version = (int(match[1]), int(match[2])) if match else (0, 0)
    text = ".".join(map(str, version))
    if version < _OLDEST_BASH:
        return [failed("bash", f"{text} is too old", "shims need bash 4.4 or newer as /bin/bash")]
    return [ok("bash", f"{text} ({program})")]


# -- trials --------------------------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True)
class Trials:
    """Containers started for the sake of it, from tiny images in ``scratch``."""

    environ: Mapping[str, str]
    site: Site
    scratch: Path
    console: Console

    def start(self) -> list[Finding]:
        """A container whose root is a skeleton, as shims of the host base start theirs."""
        what = "start of a container"
        if not (tools := self._tools()):
            return []
        runtime, squasher = tools
        bottom, _ = self._layers(squasher)
        begin = time.monotonic()
        if failure := self._run(runtime, bottom, [], "/.containerize"):
            hint = "see 'mode' and '/dev/fuse' above; ask the administrators with this line"
            return [failed(what, f"{runtime.name} cannot: {failure}", hint)]
        seconds = time.monotonic() - begin
        if seconds > _SLOW_START:
            hint = "is the node busy, or the runtime on a slow file system? try another node"
            return [warning(what, f"takes {seconds:.1f} s", hint)]
        return [ok(what, f"from a SquashFS file, in {seconds:.2f} s")]

    def bind_image(self) -> list[Finding]:
        """A SquashFS file that is bound into a container: environments on base images."""
        what = "bind of an image"
        if not (tools := self._tools()):
            return []
        runtime, squasher = tools
        bottom, top = self._layers(squasher)
        bind = f"{top}:/{_MOUNT_POINT}:image-src=/"
        if failure := self._run(runtime, bottom, [bind], f"/{_MOUNT_POINT}/{SEEN}"):
            hint = "--base-image and CONTAINERIZE_WITH need it: use a newer runtime"
            return [failed(what, f"{runtime.name} cannot: {failure}", hint)]
        return [ok(what, "a SquashFS file is bound into a container (image-src)")]

    def overlay(self) -> list[Finding]:
        """An overlay partition of a SIF: the images of ``containerize build``."""
        what = "overlay partitions"
        if not (tools := self._tools()):
            return []
        if why := self._tiny(*tools).overlay_refusal(EVERYWHERE):
            hint = "build images with --flatten, which need none"
            return [warning(what, f"{tools[0].name} does not mount them here: {why}", hint)]
        return [ok(what, "mounted: images of 'containerize build' can be used")]

    def compression(self) -> list[Finding]:
        """How images may be compressed: what a build takes here, or a node can start."""
        what = "compression"
        if not (tools := self._tools()):
            return []
        tiny = self._tiny(*tools)
        refusals: dict[str, str] = {}
        for name in _COMPRESSIONS:
            try:
                refusals[name] = tiny.refusal(Compression(name=name))
            except ToolError as error:
                refusals[name] = f"mksquashfs cannot write it: {reason(error)}"
        started = [name for name, why in refusals.items() if not why]
        if not started:
            return []  # told by the start of a container
        text = f"{', '.join(started)} start here"
        for name, why in refusals.items():
            text += f"; not {name} ({why})" if why else ""
        return [ok(what, text)]

    def _tiny(self, runtime: Runtime, squasher: Squasher) -> Tiny:
        return Tiny(
            runtime=runtime,
            squasher=squasher,
            scratch=self.scratch,
            console=self.console,
            environ=self.environ,
        )

    def _tools(self) -> tuple[Runtime, Squasher] | None:
        """``None`` where one is missing, which other checks tell."""
        try:
            return find_runtime(self.environ, self.site), find_squasher(self.environ, self.site)
        except ToolError:
            return None

    def _layers(self, squasher: Squasher) -> tuple[Path, Path]:
        """Images of mount points, and of a directory by which one sees that it is there."""
        folder = self.scratch / "trial"
        images = folder / "bottom.sqfs", folder / "top.sqfs"
        if folder.exists():
            return images
        bottom, top = folder / "bottom", folder / "top"
        bottom.mkdir(parents=True)
        write_skeleton(bottom)
        (bottom / _MOUNT_POINT).mkdir()
        (top / SEEN).mkdir(parents=True)
        for root, image in zip((bottom, top), images, strict=True):
            squasher.squash(
                root, image, compression=EVERYWHERE, console=self.console, advance=lambda *_: None
            )
        return images

    def _place(self, name: str) -> Path:
        path = self.scratch / name
        path.mkdir(exist_ok=True)
        return path

    def _run(self, runtime: Runtime, image: Path, binds: Sequence[str], expected: str) -> str:
        """Look for a directory inside; returns why that failed, empty where it is there."""
        argv = runtime.exec_argv(
            image,
            [*host_binds(), *binds],
            ["/bin/sh", "-c", f"test -d {expected}"],
            cwd=Path("/"),
            home=home_of(self.environ),
        )
        env = runtime.environment(self._place("runtime"), self.environ)
        try:
            process.capture(argv, env=env, timeout=_SECONDS)
        except ToolFailed as error:
            return reason(error)
        return ""
