"""Does a program of an installation or an image start, and how long does it take?"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from wrapper import layout, process
from wrapper.doctor.finding import Finding, failed, ok, warning
from wrapper.errors import ContainerizeError, ToolError, reason, start_hint
from wrapper.images.compression import EVERYWHERE, Compression
from wrapper.images.format import read_format
from wrapper.images.trial import Trials
from wrapper.manifest import Manifest
from wrapper.models import Site
from wrapper.prefix.shims import DEBUG_NAMES
from wrapper.process import ToolFailed
from wrapper.runtime.binds import host_binds, unbindable
from wrapper.runtime.runtime import RUNTIME_VARIABLE, find_runtime
from wrapper.util import foreign

_SECONDS = 30.0
_SLOW = 2.0
_PYTHONS = ("python3", "python")
_OFTEN = 2


def stranger_of(target: Path) -> str | None:
    """Name of the owner of an installation or an image, where that is neither us nor root.

    Whoever owns any of what a start reads and runs could have us run anything.
    """
    real = Path(os.path.realpath(target))
    generation = Path(os.path.realpath(real / layout.CURRENT))
    read = [
        generation / name for name in (layout.ENV, layout.MANIFEST, layout.IMAGE, layout.PROGRAMS)
    ]
    programs = [real / layout.BIN / name for name in (*_PYTHONS, *DEBUG_NAMES)]
    directories = [
        target,
        real,
        real / layout.BIN,
        real / layout.CURRENT,
        generation.parent,
        generation,
    ]
    return foreign.stranger([*directories, *programs, *read] if real.is_dir() else [target, real])


def compression(image: Path, target: Path, trials: Trials) -> list[Finding]:
    """Whether images that are compressed as ``image`` is start on this node at all.

    :param target: what to repack where they do not.
    """
    what, who = "compression", f"{trials.runtime.name} {trials.runtime.version}"
    try:
        compressors = read_format(image).compressors
    except ContainerizeError:
        return []  # told by the check of the image
    for name in sorted({*compressors} - {EVERYWHERE.name}):
        try:
            why = trials.refusal(Compression(name=name))
        except ToolFailed:
            continue  # mksquashfs cannot write it, so nothing can be tried
        if why:
            detail = f"{image} is compressed with {name}, which {who} does not start here: {why}"
            hint = f"its owner: containerize repack {shlex.quote(str(target))}"
            return [failed(what, detail, hint)]
    return [ok(what, f"{who} starts it here")]


def mask(path: Path, trials: Trials) -> list[Finding]:
    """Whether an image can lie over ``path`` on this node; that it is there the start tells."""
    if unbindable(path) or not path.is_dir():
        return []
    what, who = "mask", f"{trials.runtime.name} {trials.runtime.version}"
    if why := trials.bind_refusal(str(path)):
        detail = f"{who} does not lay the image over {path}: programs are those on disk ({why})"
        hint = f"name a runtime that can (SingularityCE 4, Apptainer) in {RUNTIME_VARIABLE}"
        return [failed(what, detail, start_hint(why, hint))]
    return [ok(what, f"the image lies over {path}")]


def of_installation(
    target: Path, data: Manifest, *, environ: Mapping[str, str], site: Site
) -> list[Finding]:
    """The shim of Python, or of any program where there is none; and the runtime without a shim."""
    env = {**environ, "PYTHONDONTWRITEBYTECODE": "1"}
    real = target / layout.CURRENT / layout.PROGRAMS
    python = next((name for name in _PYTHONS if (real / name).is_symlink()), "")
    words = [python, "-c", "pass"] if python else ["_debug_exec", "/bin/true"]
    taken = _timed([str(target / layout.BIN / words[0]), *words[1:]], env)
    if isinstance(taken, str):
        hint = "see the findings above, and those of 'containerize doctor' without DIR"
        hint = start_hint(taken, hint)
        return [failed("start", f"{' '.join(words)}: {taken}", hint)]
    text = f"bin/{' '.join(words)} in {taken:.2f} s"
    if python and data.base.kind == "host" and not data.image_root:
        program = Path(os.path.realpath(real / python))  # it is only inside, the links are here
        bare = _bare(target, program, environ, site, env)
        text += "" if bare is None else f", the runtime without a shim {bare:.2f} s"
    return [_judged(text, taken)]


def _bare(
    target: Path, program: Path, environ: Mapping[str, str], site: Site, env: Mapping[str, str]
) -> float | None:
    """Seconds of the shortest line that runs Python of the image, ``None`` where it does not."""
    image = target / layout.CURRENT / layout.IMAGE
    words = [str(program), "-c", "pass"]
    try:
        runtime = find_runtime(environ, site)
    except ToolError:
        return None
    argv = runtime.exec_argv(image, host_binds(), words, environ=environ)
    taken = _timed(argv, env)
    return None if isinstance(taken, str) else taken


def of_image(
    image: Path, data: Manifest, *, environ: Mapping[str, str], site: Site, scratch: Path
) -> list[Finding]:
    """The Python of a SIF of ``containerize build``, or its shell where there is none."""
    runtime = find_runtime(environ, site)
    python = any(package.name == "python" for package in data.packages)
    words = ["python3", "-c", "pass"] if python or data.kind == "pip" else ["/bin/sh", "-c", ":"]
    env = {**environ, **runtime.places(scratch)}
    taken = _timed([str(runtime.path), "-s", "exec", str(image), *words], env)
    if isinstance(taken, str):
        hint = start_hint(taken, _what_helps(image, data))
        return [failed("start", f"{' '.join(words)}: {taken}", hint)]
    return [_judged(f"{' '.join(words)} in {taken:.2f} s", taken)]


def _what_helps(image: Path, data: Manifest) -> str:
    """What to do about a SIF that does not start: another compression comes before another form."""
    if others := sorted({*read_format(image).compressors} - {EVERYWHERE.name}):
        repack = f"containerize repack {shlex.quote(str(image))}"
        return (
            f"is it for {' and '.join(others)}, which not every runtime starts? its owner: {repack}"
        )
    if data.flatten:
        return "see the findings above, and those of 'containerize doctor' without SIF"
    return "is an overlay mounted here? see 'containerize doctor'; else build it --flatten"


def _judged(text: str, seconds: float) -> Finding:
    if seconds > _SLOW:
        return warning(
            "start",
            text,
            "see 'images' of 'containerize doctor'; is the node or its file system busy?",
        )
    return ok("start", text)


def _timed(argv: Sequence[str], env: Mapping[str, str]) -> float | str:
    """Seconds of the fastest of some runs, or why the first failed."""
    taken = []
    for _ in range(_OFTEN):
        begin = time.monotonic()
        try:
            process.capture(argv, env=env, timeout=_SECONDS)
        except ToolFailed as error:
            return reason(error)
        taken.append(time.monotonic() - begin)
    return min(taken)
