"""The tools of this machine: are they there, and do they do what builds and shims need? And what
the node has besides processors.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wrapper import process, rocm
from wrapper.console import Console
from wrapper.doctor import rights
from wrapper.doctor.finding import Finding, failed, ok, warning
from wrapper.doctor.rights import Settings
from wrapper.errors import ToolError, reason, start_hint
from wrapper.images.compression import EVERYWHERE, Compression
from wrapper.images.squasher import find_squasher
from wrapper.images.trial import Started
from wrapper.images.trial import Trials as Tiny
from wrapper.models import Site
from wrapper.process import ToolFailed
from wrapper.runtime.runtime import NAMES, find_runtime

_SECONDS = 15.0
_OLDEST_BASH = (4, 4)  # mapfile -d
_NEW_PLACE = "/containerize-new-place"
_FLATTEN = "build images with --flatten, which need none"
_SLOW_START = 3.0
_COMPRESSIONS = ("zstd", "lz4", "gzip")


def runtime_found(environ: Mapping[str, str], site: Site) -> list[Finding]:
    """The runtime that builds use."""
    found = find_runtime(environ, site)
    other = [name for name in NAMES if name != found.path.name]
    also = shutil.which(other[0], path=environ.get("PATH")) if other else None
    more = f"; {also} is on PATH too" if also and not _same(also, found.path) else ""
    return [ok("runtime", f"{found.name} {found.version} ({found.path}){more}")]


def _same(one: str | Path, other: str | Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


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
        if not (tiny := self._tiny):
            return []
        found = self._started
        if found.refusal:
            detail = f"{tiny.runtime.name} cannot, and so nothing works: {found.refusal}"
            hint = "see 'mode' and '/dev/fuse' above; ask the administrators with this line"
            return [failed(what, detail, self._hint(found.refusal, rights.NO_CONTAINER, hint))]
        mounts = rights.images(found.mounts, tiny.runtime, self._settings)
        if found.seconds > _SLOW_START:
            hint = "is the node busy, or the runtime on a slow file system? try another node"
            return [warning(what, f"takes {found.seconds:.1f} s", hint), *mounts]
        return [ok(what, f"from a SquashFS file, in {found.seconds:.2f} s"), *mounts]

    def bind_image(self) -> list[Finding]:
        """A SquashFS file that is bound into a container: environments on base images."""
        what = "bind of an image"
        if not (tiny := self._starting):
            return []
        who, hint = tiny.runtime.name, "use a newer runtime"
        if failure := tiny.bind_refusal():
            detail = f"{who} cannot, which --base-image and CONTAINERIZE_WITH need: {failure}"
            if "disallows users from mounting" in failure:
                hint = rights.ask_for_mounts(tiny.runtime, self._settings)
            return [failed(what, detail, self._hint(failure, rights.NO_IMAGE_BIND, hint))]
        found = [ok(what, "a SquashFS file is bound into a container (image-src)")]
        if failure := tiny.bind_refusal(_NEW_PLACE):
            detail = (
                f"{who} binds nothing where an image has no mount point, which CONTAINERIZE_WITH "
                f"and directories of the host newer than an installation need: {failure}"
            )
            advice = self._hint(failure, rights.NO_NEW_PLACE, hint)
            found.append(warning("mount points", detail, advice))
        with tempfile.TemporaryDirectory(dir=self.scratch) as covered:
            if failure := tiny.bind_refusal(covered):
                detail = f"{who} lays no image over a directory of the host: {failure}"
                hint = "do without 'wrap-install --mask', or use a newer runtime"
                found.append(warning("masks", detail, hint))
        return found

    def overlay(self) -> list[Finding]:
        """An overlay partition of a SIF: the images of ``containerize build``."""
        what = "overlay partitions"
        if not (tiny := self._starting):
            return []
        if why := tiny.overlay_refusal(EVERYWHERE):
            detail = f"{tiny.runtime.name} does not mount them here: {why}"
            more = self._hint(why, rights.NO_OVERLAY, "")
            return [warning(what, detail, f"{_FLATTEN}; or {more}" if more else _FLATTEN)]
        return [ok(what, "mounted: images of 'containerize build' can be used")]

    def compression(self) -> list[Finding]:
        """How images may be compressed: what a build takes here, or a node can start."""
        what = "compression"
        if not (tiny := self._starting):
            return []
        refusals: dict[str, str] = {}
        for name in _COMPRESSIONS:
            try:
                refusals[name] = tiny.refusal(Compression(name=name))
            except ToolFailed as error:
                refusals[name] = f"mksquashfs cannot write it: {reason(error)}"
        started = [name for name, why in refusals.items() if not why]
        if not started:
            return []  # told by the start of a container
        text = f"{', '.join(started)} start here"
        for name, why in refusals.items():
            text += f"; not {name} ({why})" if why else ""
        return [ok(what, text)]

    @functools.cached_property
    def _settings(self) -> Settings:
        return rights.read_settings(find_runtime(self.environ, self.site), self.environ)

    @functools.cached_property
    def _started(self) -> Started:
        return self._tiny.start() if self._tiny else Started()

    @property
    def _starting(self) -> Tiny | None:
        """``None`` where nothing starts, which needs to be told once."""
        return None if self._started.refusal else self._tiny

    def _hint(self, refusal: str, rules: rights.Rules, otherwise: str) -> str:
        return start_hint(refusal, self._settings.hint(rules, otherwise))

    @functools.cached_property
    def _tiny(self) -> Tiny | None:
        """``None`` where a tool is missing, which other checks tell."""
        try:
            return Tiny.here(self.environ, self.site, self.scratch, self.console)
        except ToolError:
            return None


# -- GPUs and their driver, the network between nodes ---------------------------------------------
_SECONDS = 15.0


def gpu(environ: Mapping[str, str], root: Path = Path("/")) -> list[Finding]:
    """The AMD GPU driver, and which ROCm images it serves."""
    what, module = "GPU", root / "sys/module/amdgpu"
    release = rocm.driver_release(environ, root)
    named = environ.get(rocm.DRIVER_VARIABLE)
    if not module.exists() and not named:
        return [ok(what, "no AMD GPU driver on this node")]
    window = rocm.window(release)
    version = module / "version"
    told = version.read_text().strip() if version.exists() else "of the kernel's own"
    driver = f"{rocm.DRIVER_VARIABLE} is {named}" if named else f"amdgpu driver {told}"
    if not window:
        detail = f"{driver}: which ROCm it serves is not known"
        hint = f"set {rocm.DRIVER_VARIABLE} to the ROCm release that it came with, as 6.3"
        return [warning(what, detail, hint), *_device(root)]
    served = f"serves ROCm {window[0]} to {window[-1]}"
    return [ok(what, f"{driver}, {served}"), *_device(root)]


def _device(root: Path) -> list[Finding]:
    device = root / "dev/kfd"
    if device.exists() and not os.access(device, os.R_OK | os.W_OK):
        hint = "ask for a GPU in your job, or to be in the group of that device (render, video)"
        return [warning("/dev/kfd", "there are GPUs, but you may not use them", hint)]
    return []


def network(environ: Mapping[str, str], root: Path = Path("/")) -> list[Finding]:
    """On Slingshot: does libfabric of the host offer the provider that uses it?

    Without it MPI falls back to TCP sockets, which work and are slow.
    """
    what = "network"
    if not any((root / "sys/class/cxi").glob("*")):
        return [ok(what, "no Slingshot on this node")]
    folders = sorted(map(str, (root / "opt/cray/libfabric").glob("*/bin")), reverse=True)
    program = shutil.which("fi_info", path=":".join([environ.get("PATH", ""), *folders]))
    if not program:
        hint = "load the module of libfabric"
        return [warning(what, "Slingshot, but no fi_info to ask libfabric for it", hint)]
    try:
        answer = process.capture(
            [program, "-l"], env=process.base_environment(environ), timeout=_SECONDS
        )
    except ToolFailed as error:
        answer = error.detail
    if re.search(r"^\W*cxi\b", answer, re.M):
        return [ok(what, f"Slingshot, libfabric has the provider cxi ({program})")]
    detail = f"Slingshot, but libfabric has no provider cxi ({program}): MPI would use TCP"
    return [warning(what, detail, "load the system's libfabric module")]
