"""What the node has besides processors: GPUs and their driver, the network between nodes."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from wrapper import process, rocm
from wrapper.doctor.finding import Finding, ok, warning
from wrapper.process import ToolFailed

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
