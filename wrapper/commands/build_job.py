"""``containerize jobscript --build``: a build as a job, with what it needs estimated before."""

from __future__ import annotations

import json
import math
import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from wrapper import process
from wrapper.commands.jobscript import Batch, JobRequest, place, sbatch_options
from wrapper.console import Console, human_size
from wrapper.errors import InputError
from wrapper.models import Site

_PLANNED = ("conda-containerize", "pip-containerize")
PROGRAMS = (*_PLANNED, "containerize", "wrap-container", "wrap-install")
_IN_MEMORY = ("/tmp", "/dev/shm")  # on many sites' compute nodes
_GIB = 2**30
# Four times what a build took at most, that with an index of the size of conda-forge's.
_ITSELF = 2 * _GIB
# Bytes a second, on the safe side: a file system that is shared, a network that others use.
_FETCHED, _WORKED = 5e6, 10e6
_AT_LEAST = 15 * 60
_QUARTER = 15 * 60
_UNKNOWN = 2 * 3600
_PACKAGE, _UNPACKED = 20_000_000, 4  # bytes to download where no index tells sizes, and times that
_PATIENCE = 3600.0  # seconds for a dry run


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a build needs.

    :ivar scratch: bytes in the build directory, 0 where nothing tells. :ivar memory: bytes,
        ``in_memory``: with the scratch in it. :ivar time: seconds. :ivar why: for a person.
    """

    scratch: int
    memory: int
    time: int
    in_memory: bool
    why: str

    def as_lines(self) -> list[str]:
        """For a person, and for the script."""
        where = ", in the memory (the build directory may be that)" if self.in_memory else ""
        scratch = f"{human_size(self.scratch)} of scratch{where}" if self.scratch else ""
        memory = f"{math.ceil(self.memory / _GIB)}G of memory"
        time = f"{slurm_time(self.time)} of time"
        return [", ".join(filter(None, [memory, time, scratch])), self.why]


def build_job(request: JobRequest, console: Console) -> Batch:
    """A script that runs ``request.command``, which builds something.

    The estimate is told, and fills in what the request leaves open.

    :raises InputError: the command is none that builds. :raises CommandFailed: it would fail.
    """
    site, words = request.site, request.command
    if words[0] not in PROGRAMS or len(words) < 2:
        raise InputError(
            f"'{shlex.join(words)}' builds nothing",
            where="--build",
            hint=f"name a command of {', '.join(PROGRAMS)} after --",
        )
    program = _program(words[0])
    told = estimate(_plan([program, *words[1:]], console), words, site)
    for line in told.as_lines():
        console.info(f"estimated: {line}")
    shape = replace(
        request.shape,
        tasks=1,
        cpus=request.shape.cpus or site.processors,
        memory=request.shape.memory or f"{math.ceil(told.memory / _GIB)}G",
        time=request.shape.time or slurm_time(told.time),
    )
    partition, shape = place(replace(request, shape=shape), console)
    # Before its time is over it is told to end, and takes its files away.
    options = [*sbatch_options(request, shape, partition), "--signal=B:TERM@120"]
    options += ["--output=containerize-%j.log"]
    lines = [f"# estimated: {line}" for line in told.as_lines()]
    # The build's own log is in the node's /tmp, where nobody sees it.
    lines += ["export CW_LOG_LEVEL=${CW_LOG_LEVEL:-3}"]
    lines += [f"exec {shlex.join([program, *words[1:]])}"]
    return Batch(name=f"build-{Path(words[0]).name}", options=tuple(options), lines=tuple(lines))


def estimate(plan: Mapping[str, object] | None, words: Sequence[str], site: Site) -> Estimate:
    """What a build needs, by what its dry run says; ``None``: it has none."""
    directory = _option(words, "--tmpdir") or os.environ.get("CW_BUILD_TMPDIR") or site.tmpdir
    in_memory = any(Path(directory).is_relative_to(place) for place in _IN_MEMORY)
    if plan is None:
        why = (
            "a guess: this command has no dry run, see what its log says and ask for less next time"
        )
        return Estimate(scratch=0, memory=2 * _ITSELF, time=_UNKNOWN, in_memory=False, why=why)
    download, installed = (
        _bytes(plan, key) for key in ("download_size", "installed_size_estimate")
    )
    unknown, packages = _of_unknown_size(plan, words)
    if unknown:
        times = installed / download if download else _UNPACKED
        download += unknown * (2 * download // (packages - unknown) if download else _PACKAGE)
        installed = round(times * download)
    # Archives, what is unpacked of them, compiled modules; uv has it all in its cache besides.
    copies = 2 if Path(words[0]).name == "pip-containerize" else 1
    scratch = round(1.8 * download) + copies * installed
    time = _AT_LEAST + download / _FETCHED + installed / _WORKED
    why = f"{human_size(download)} to download, about {human_size(installed)} unpacked"
    if unknown:
        why += f" ({unknown} of {packages} packages have no size in their index: a guess)"
    if plan.get("pip"):
        why += "; pip packages are not in it: add what they need with --memory and --time"
    return Estimate(
        scratch=scratch,
        memory=_ITSELF + (scratch if in_memory else 0),
        time=math.ceil(time / _QUARTER) * _QUARTER,
        in_memory=in_memory,
        why=why,
    )


def slurm_time(seconds: int) -> str:
    """``1-02:30:00``."""
    days, rest = divmod(seconds, 86400)
    text = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"{days}-{text}" if days else text


def _of_unknown_size(plan: Mapping[str, object], words: Sequence[str]) -> tuple[int, int]:
    """How many packages there are to fetch whose size no index tells, and how many in all."""
    found = plan.get("changes" if "update" in words[:2] else "packages")
    named = [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []
    sizes = [entry.get("size") for entry in named if entry.get("kind") != "removed"]
    return len([size for size in sizes if not size]), len(sizes)


def _bytes(plan: Mapping[str, object], key: str) -> int:
    value = plan.get(key)
    return value if isinstance(value, int) else 0


def _option(words: Sequence[str], name: str) -> str:
    """The value of an option among a command's words, empty where it is not given."""
    for word, after in zip(words, [*words[1:], ""], strict=True):
        if word == name:
            return after
        if word.startswith(f"{name}="):
            return word.partition("=")[2]
    return ""


def _program(name: str) -> str:
    """Our command's path: beside this Python, else on PATH."""
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else shutil.which(name) or name


def _plan(command: Sequence[str], console: Console) -> Mapping[str, object] | None:
    """What the dry run of a build says, ``None`` where the command has none.

    :raises CommandFailed: it says that the build would fail.
    """
    if Path(command[0]).name not in _PLANNED or command[1] not in ("new", "update"):
        return None
    try:
        with console.step("Asking what the build needs (a dry run)"):
            said = process.capture(
                [*command, "--dry-run", "--json", "--quiet"],
                env=dict(os.environ),
                timeout=_PATIENCE,
            )
    except process.ToolFailed as error:
        raise process.CommandFailed(
            "the build would fail: its dry run did",
            status=error.status,
            where=shlex.join(command),
            hint="mend what it says, then ask for the job again",
            detail=error.detail,
        ) from None
    plan = json.loads(said)
    return plan if isinstance(plan, dict) else {}
