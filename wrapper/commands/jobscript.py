"""``containerize jobscript``: a batch script for this site's Slurm.

It is text that a user reads, changes and keeps. What the site's profile knows goes in: a partition
that takes the job, the memory of a node, the processors next to each task's GPU. Where there is no
profile it says what was asked for and no more.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from wrapper import __version__, layout
from wrapper.commands.modulefile import image_manifest, site_binds
from wrapper.console import Console
from wrapper.errors import InputError
from wrapper.manifest import Manifest, read_manifest
from wrapper.models import Site
from wrapper.partitions import Shape, check, choose, fitting
from wrapper.prefix import checks as prefix
from wrapper.runtime.runtime import NAMES
from wrapper.site_profile import Partition, near

_WORD = re.compile(r"[A-Za-z0-9_][\w.+@,-]*", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class JobRequest:
    """What every job is asked for.

    :ivar shape: with ``tasks`` 0 where nobody said how many. :ivar partition: empty to choose one.
    :ivar command: the words that run.
    """

    shape: Shape
    command: tuple[str, ...]
    partition: str = ""
    account: str = ""
    site: Site = field(default_factory=Site)


@dataclass(frozen=True, kw_only=True)
class RunRequest(JobRequest):
    """A job that runs a program of ``target``, an installation or a SIF.

    :ivar mpi: the word of ``srun --mpi=``, empty for the one that the target's record has.
    """

    target: Path
    mpi: str = ""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """A batch script in the making. :ivar options: of sbatch, with their values. :ivar lines: what
    runs. :ivar name: of the job.
    """

    name: str
    options: tuple[str, ...]
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """The script."""
        head = ["#!/bin/bash -e", f"# made by 'containerize jobscript' {__version__}"]
        options = [f"--job-name={self.name}", *self.options]
        return "\n".join([*head, *(f"#SBATCH {o}" for o in options), "", *self.lines, ""])


def jobscript(request: RunRequest, console: Console) -> Batch:
    """A script that runs ``request.command`` with the programs of ``request.target``.

    :raises ContainerizeError: the target is nothing that runs, or no partition has the shape.
    """
    site = request.site
    _check_gpus(request)
    tasks = request.shape.tasks or request.shape.gpus or 1
    partition, shape = place(replace(request, shape=replace(request.shape, tasks=tasks)), console)
    masks = _masks(shape, site)
    there = site.partitions.get(partition, Partition())
    if masks or there.whole_nodes:
        shape = replace(shape, memory=shape.memory or there.memory)
    if not masks:
        shape = _share(shape, there)
    options = [*sbatch_options(request, shape, partition), "--output=%x-%j.out"]
    lines: list[str] = []
    if masks and not there.whole_nodes:
        options.append("--exclusive")
        lines += ["# (--exclusive, because the masks below name processors of a whole node.)"]
    manifest, before, words = _programs(request, console)
    mpi = request.mpi or (manifest.mpi.srun if manifest and manifest.mpi else "")
    _check_words(request, mpi=mpi)  # the record may be another user's
    srun = ["srun", *([f"--mpi={mpi}"] if mpi else [])]
    lines += before
    if masks:
        lines += ["# The processors next to the GPU of task 0, of task 1... of a node"]
        lines += [f"masks={','.join(masks)}"]
        srun += ["--cpu-bind=mask_cpu:$masks"]
    elif shape.cpus:  # srun does not take it from sbatch
        srun += [f"--cpus-per-task={shape.cpus}"]
    lines += _said(" ".join(srun), shlex.join([*words, *request.command]))
    return Batch(name=_job_name(request.command), options=tuple(options), lines=tuple(lines))


def place(request: JobRequest, console: Console) -> tuple[str, Shape]:
    """The partition, empty where the site's are not known, and what is asked for.

    :raises InputError: as :func:`wrapper.partitions.choose`.
    """
    shape, partitions = request.shape, request.site.partitions
    check(shape)
    if not partitions:
        return request.partition, shape
    chosen = choose(shape, request.partition, partitions, request.site.name)
    if not request.partition:
        others = [name for name in fitting(shape, partitions) if name != chosen]
        also = f" (--partition: {', '.join(others)} would do too)" if others else ""
        console.info(f"partition {chosen}{also}")
    return chosen, shape


def sbatch_options(request: JobRequest, shape: Shape, partition: str) -> list[str]:
    """What sbatch is told of a job."""
    asked = {
        "partition": partition,
        "nodes": shape.nodes,
        "gpus-per-node": shape.gpus,
        "ntasks-per-node": shape.tasks,
        "cpus-per-task": shape.cpus,
        "mem": shape.memory,
        "time": shape.time,
        "account": request.account,
    }
    return [f"--{name}={value}" for name, value in asked.items() if value]


# -- shapes --------------------------------------------------------------------------------------
def _check_words(request: JobRequest, **more: str) -> None:
    """:raises InputError: what goes into a line of options for sbatch is no plain word."""
    words = {"partition": request.partition, "account": request.account, **more}
    for name, word in words.items():
        if word and not _WORD.fullmatch(word):
            raise InputError(
                f"'{word}' cannot be of a job's {name}",
                where=f"--{name} {word}",
                hint="write letters, digits and the characters _ . + @ -",
            )


def _check_gpus(request: JobRequest) -> None:
    """:raises InputError: no node has so many."""
    most, asked = request.site.gpus.per_node, request.shape.gpus
    if most and asked > most and not request.site.partitions:
        raise InputError(
            f"a node of {request.site.name} has {most} GPUs, not {asked}",
            where=f"--gpus-per-node {asked}",
            hint=f"ask for {most} at most, and for more nodes",
        )


def _masks(shape: Shape, site: Site) -> tuple[str, ...]:
    """The processors of each task of a node, where each has a GPU of its own."""
    known = site.gpus.cpu_masks
    return known[: shape.gpus] if shape.gpus == shape.tasks and shape.gpus <= len(known) else ()


def _share(shape: Shape, there: Partition) -> Shape:
    """With GPUs: the cores that go with them, where nobody said how many."""
    if shape.cpus or not (shape.gpus and there.gpus and there.cores):
        return shape
    return replace(shape, cpus=max(there.cores * shape.gpus // there.gpus // shape.tasks, 1))


def _job_name(command: Sequence[str]) -> str:
    """Of a script among the words, else of the program."""
    scripts = [word for word in command[1:] if re.search(r"\w\.(py|sh|R|r|jl|m)$", word)]
    name = Path((scripts or [*command])[0]).stem
    return re.sub(r"[^\w.+-]+", "-", name, flags=re.ASCII).strip("-.") or "job"


def _said(words: str, given: str, *, of: str = "") -> list[str]:
    """A line of the script with what the user gave, ``of`` which a checker might ask whether the
    dollars are meant.
    """
    asks = re.search(r"[$`\\]", of or given)
    note = ["# shellcheck disable=SC1003,SC2016 # as it was given"] if asks else []
    return [*note, f"{words} {given}"]


# -- programs ------------------------------------------------------------------------------------
def _programs(
    request: RunRequest, console: Console
) -> tuple[Manifest | None, list[str], list[str]]:
    """The target's record, lines that come before, and words that come before the command's."""
    if request.target.is_file():
        return _in_image(request)
    target = prefix.absolute_prefix(request.target)
    manifest = read_manifest(target)
    name, programs = request.command[0], target / layout.BIN
    if "/" not in name and not (programs / name).exists() and not shutil.which(name):
        known = near(name, (path.name for path in programs.iterdir()))
        console.warning(f"there is no program '{name}' in {programs}{known and f'; {known}'}")
    line = f'{shlex.quote(str(programs))}:"$PATH"'
    return manifest, [*_said("export", f"PATH={line}", of=str(programs)), ""], []


def _in_image(request: RunRequest) -> tuple[Manifest | None, list[str], list[str]]:
    site, image = request.site, request.target.absolute()
    manifest = image_manifest(image)
    gpu = ["--nv"] if request.shape.gpus and site.gpus.kind.startswith("sm_") else []
    words = [_runtime(site), "exec", *gpu, str(image)]
    return manifest, _binding(site_binds(site, image, manifest)), words


def _runtime(site: Site) -> str:
    """The runtime's name: the compute nodes' may be at another path."""
    found = (name for name in NAMES if shutil.which(name))
    return site.runtime or next(found, "singularity")


def _binding(binds: Sequence[str]) -> list[str]:
    """Lines that add the site's directories to those that the user binds."""
    if not binds:
        return []
    return [
        "# Directories of this site, after those that are bound already; a missing one is fatal.",
        f"binds=({shlex.join(binds)})",
        'for bind in "${binds[@]}"; do',
        '    if [[ ,${SINGULARITY_BIND-}, != *",$bind,"* && -e ${bind%%:*} ]]; then',
        "        SINGULARITY_BIND=${SINGULARITY_BIND:+$SINGULARITY_BIND,}$bind",
        "    fi",
        "done",
        "export SINGULARITY_BIND",
        "",
    ]
