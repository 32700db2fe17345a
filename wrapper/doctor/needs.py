"""What an installation needs of the machine: base image, interpreter, runtime, processor, driver.

Each function takes a manifest; what is not in it (older ones, other kinds) needs nothing.
"""

from __future__ import annotations

import os
import platform
import re
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path

from wrapper import gpu as gpu_settings
from wrapper import microarch, platforms, process, rocm
from wrapper.console import human_size
from wrapper.doctor.finding import Finding, failed, not_started, ok, warning
from wrapper.gpu import Use
from wrapper.images.format import mark
from wrapper.manifest import Manifest
from wrapper.models import Site
from wrapper.process import ToolFailed
from wrapper.runtime.binds import replaced_links
from wrapper.runtime.runtime import NAMES
from wrapper.util.hashing import sha256

_SECONDS = 15.0
_UPDATES = {"conda": "conda-containerize", "pip": "pip-containerize"}
_QUESTION = "import sys; print('%d.%d.%d' % sys.version_info[:3])"


# -- base image ----------------------------------------------------------------------------------
def base_image(directory: Path, data: Manifest, *, deep: bool) -> list[Finding]:
    """The image that the environment stands on: there, and still the same?

    :param directory: of the generation. :param deep: compare the digest too, reading all of it.
    """
    what, base = "base image", data.base
    if base.kind != "image":
        return [ok(what, "none, the host")]
    path = directory / base.path
    anew = "put it back, or build anew on another one (--base-image)"
    if not path.exists():
        return [failed(what, f"{path} has gone ({base.name})", anew)]
    if not os.access(path, os.R_OK):
        return [failed(what, f"{path} cannot be read by you", "ask its owner")]
    changed = "if programs fail, build anew: it is not the image that this was built on"
    if command := _UPDATES.get(data.kind):
        accept = f"{command} update DIR --base-image {shlex.quote(str(path))}"
        changed = f"if programs fail, build anew; if they do not, accept it: {accept}"
    if base.mark and mark(path) != base.mark:
        return [warning(what, f"{path} was replaced by another one", changed)]
    if base.size and path.stat().st_size != base.size:
        return [warning(what, f"{path} has another size than before", changed)]
    if deep and base.digest and (now := f"sha256:{sha256(path)}") != base.digest:
        return [warning(what, f"{path} has the digest {now}, not {base.digest}", changed)]
    found = [ok(what, f"{path}{', same digest' if deep and base.digest else ''}")]
    if base.owned:
        return found
    named = Path(base.source or base.name)  # early manifests have the name only
    if named.is_absolute() and named.exists() and named.resolve() != path.resolve():
        detail = f"{named} leads to {named.resolve()} now; this stays on {path.resolve()}"
        hint = "build anew to use the newer one; the old one may be removed some day"
        found.append(warning("base image's name", detail, hint))
    return found


def content(image: Path, data: Manifest, offset: int = 0, size: int | None = None) -> list[Finding]:
    """Whether the environment's bytes are those that were written. Reads all of them."""
    wanted = data.image.sha256
    if data.kind == "container" or not wanted:
        return []
    if (now := sha256(image, offset, size)) != wanted:
        detail = f"{image} has the SHA-256 {now}, the manifest says {wanted}"
        return [failed("content", detail, "it is damaged: build it anew from its lock")]
    return [ok("content", f"SHA-256 as in the manifest ({human_size(data.image.size)})")]


# -- interpreter, runtime ------------------------------------------------------------------------
def interpreter(
    data: Manifest, environ: Mapping[str, str], *, stranger: str | None = None
) -> list[Finding]:
    """The Python of the host that a pip installation is built on.

    :param stranger: who wrote the manifest, where it is not to be started.
    """
    what, python = "interpreter", data.interpreter
    if not python or data.base.kind == "image":
        return []
    path, built = python.path, python.version
    if not os.access(path, os.X_OK):
        hint = "load its module if it only hides, else build anew on another Python"
        return [failed(what, f"{path} (Python {built}) has gone", hint)]
    if stranger:
        return [not_started(what, f"{path} (Python {built} then), ", stranger)]
    try:
        env = process.base_environment(environ)
        asked = process.capture([path, "-I", "-c", _QUESTION], env=env, timeout=_SECONDS)
        now = asked.split()[-1]
    except ToolFailed as error:
        return [
            failed(what, f"{path} does not start: {error.what}", "build anew on another Python")
        ]
    if now.split(".")[:2] != built.split(".")[:2]:
        detail = f"{path} is Python {now} now, this was built on {built}"
        return [failed(what, detail, "build anew: packages of another Python are not found")]
    if now != built:
        detail = f"{path} is Python {now} now, this was built on {built}"
        return [warning(what, detail, "nothing as long as programs work, else build anew")]
    return [ok(what, f"{path}, Python {now}")]


def runtime(data: Manifest, environ: Mapping[str, str]) -> list[Finding]:
    """The runtime whose path is in the shims, or another one on PATH."""
    what, built = "runtime of the build", data.runtime
    path, told = built.path, f"{built.name} {built.version}"
    if os.access(path, os.X_OK):
        return [ok(what, f"{path} ({told} then)")]
    instead = [shutil.which(name, path=environ.get("PATH")) for name in NAMES]
    if other := next(filter(None, instead), None):
        return [ok(what, f"{path} has gone, {other} on PATH takes its place")]
    hint = "load the module that has one, or set CONTAINERIZE_RUNTIME to its path"
    return [failed(what, f"{path} ({told}) has gone, and none is on PATH", hint)]


# -- node ----------------------------------------------------------------------------------------
def node(data: Manifest, root: Path = Path("/")) -> list[Finding]:
    """Can this node's processor and C library run what was built, and is it of that kind?"""
    what, base = "node", data.base
    offered = base.virtual_packages
    found = []
    if data.machine and data.machine != platforms.machine():
        detail = f"built for {data.machine}, this node is {platforms.machine()}"
        hint = "use a node of that kind, or build it on this one too, into another directory"
        return [failed(what, detail, hint)]
    needed = microarch.needed(data.packages)
    for whose, level in (("packages are", needed), ("the base image is", base.level)):
        if platforms.machine() == "x86_64" and level > (here := microarch.here(root)):
            detail = f"{whose} for x86-64-v{level}, this processor is x86-64-v{here}"
            hint = f"use other nodes, or build anew with CONDA_OVERRIDE_ARCHSPEC=x86_64_v{here}"
            hint = hint if level == needed else "use other nodes, or build anew on an older image"
            found.append(failed(what, detail, hint))
    libc = platform.libc_ver()[1]
    if base.kind == "host" and _numbers(libc) < _numbers(offered.get("__glibc", "")):
        detail = f"built where glibc is {offered['__glibc']}, here it is {libc}"
        hint = f"build anew, here or with CONDA_OVERRIDE_GLIBC={libc}"
        found.append(warning(what, detail, hint))
    built = offered.get("__archspec", "")
    detail = f"built on {built}, runs here" if built else "runs here, as far as is known"
    return found or [ok(what, detail)]


def links(data: Manifest, root: Path = Path("/")) -> list[Finding]:
    """Which paths have another physical name inside?"""
    there = replaced_links(root) if data.base.kind == "image" else []
    if not there:
        return []
    told = ", ".join(f"{link} ({(root / link[1:]).resolve()})" for link in there)
    return [
        ok("links", f"directories inside, with the same files; realpath keeps the name: {told}")
    ]


def site(data: Manifest, here: Site) -> list[Finding]:
    """Is this machine of the site whose binds, variables or MPI it has?"""
    what = "site"
    if not data.site:
        return []
    if data.site == here.name:
        return [ok(what, f"{data.site}, as at the build")]
    now = f"{here.name} ({here.found_by or 'named'})" if here.name else "of no site that is known"
    detail = f"it has binds, variables or the MPI of {data.site}, and this machine is {now}"
    hint = "nothing where programs work; else build it anew here, or name the site it is in "
    return [warning(what, detail, f"{hint}CONTAINERIZE_SITE")]


def harmful(data: Manifest, environ: Mapping[str, str]) -> list[Finding]:
    """Variables that recipes set and that do harm with its ROCm: yours, its own, its image's."""
    base = data.base
    use = Use.of(base.on(Path(base.path)), data.packages, data.site)
    found = []
    for setting in gpu_settings.left_out(use):
        name = setting.name
        if environ.get(name, "0") not in ("", "0"):
            whose, hint = f"yours is {environ[name]}", f"unset {name}"
        elif name in data.variables:
            whose, hint = "it was given to it", "its owner: build it anew without it"
        elif name in base.sets:
            whose, hint = (
                "its base image sets it",
                "tell who made the image; a value of yours counts",
            )
        else:
            continue
        found.append(warning(name, f"{whose}, and it {setting.why} ({setting.source})", hint))
    return found


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version))) or (0,)


def gpu(data: Manifest, environ: Mapping[str, str], root: Path = Path("/")) -> list[Finding]:
    """Are its base's ROCm and its builds for ROCm in the window of this node's driver; are there
    builds for CUDA?
    """
    driver = rocm.driver_release(environ, root)
    amd = (root / "sys/module/amdgpu").exists() or bool(driver)
    if not amd:
        return []
    found = []
    base = data.base.rocm
    if why := rocm.misfit(base, driver):
        hint = "build anew on an image that it serves: see 'containerize base list'"
        found.append(warning("GPU", f"the base image has ROCm {base}: {why}", hint))
    for package in data.packages:
        version = rocm.release_of(package.canonical, package.version)
        if why := rocm.misfit(version, driver):
            hint = "install its build for a ROCm that the driver serves"
            found.append(warning("GPU", f"{package.name} is for ROCm {version}: {why}", hint))
    cuda = [p.name for p in data.packages if rocm.for_nvidia(p.canonical, p.version, p.build)]
    if cuda:
        detail = f"{cuda[0]} is for NVIDIA's GPUs, this node has AMD's"
        hint = "install builds for ROCm: --extra-index-url https://download.pytorch.org/whl/rocmX.Y"
        found.append(warning("GPU", detail, hint))
    return found or [ok("GPU", "nothing that the driver does not serve")]
