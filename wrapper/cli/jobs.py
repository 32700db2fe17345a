"""``containerize jobscript``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from wrapper.cli.common import Command, say, with_console
from wrapper.cli.options import Decorator, configured, flag, grouped
from wrapper.console import Console
from wrapper.partitions import Shape

if TYPE_CHECKING:
    from wrapper.commands.jobscript import Batch, JobRequest

_COUNT = click.IntRange(min=1)


_OPTIONS: list[Decorator] = [
    click.option("--nodes", type=_COUNT, default=1, show_default=True, help="How many nodes."),
    click.option(
        *("--gpus-per-node", "gpus"),
        type=click.IntRange(min=0),
        default=0,
        metavar="N",
        help="GPUs of each node, as this site's Slurm counts them.",
    ),
    click.option(
        *("--tasks-per-node", "tasks"),
        type=click.IntRange(min=0),
        default=0,
        metavar="N",
        help="How often COMMAND is started on each node. Default: once for each GPU, else once.",
    ),
    click.option(
        *("--cpus-per-task", "cpus"),
        type=click.IntRange(min=0),
        default=0,
        metavar="N",
        help="Cores of each task. Default: with GPUs those that belong to them, else Slurm's.",
    ),
    click.option(
        "--partition",
        default="",
        metavar="NAME",
        help="Slurm's partition. Default: the first of this site's that takes such a job.",
    ),
    click.option(
        "--time",
        default="",
        metavar="TIME",
        help="How long at most: 30 (minutes), 4:00:00 or 1-12:00:00. Default: the partition's.",
    ),
    click.option(
        "--memory",
        default="",
        metavar="SIZE",
        help="Memory of each node, such as 480G. Default: where whole nodes are used, all of it.",
    ),
    click.option("--account", default="", metavar="NAME", help="The project that pays."),
    click.option(
        "--mpi",
        default="",
        metavar="WORD",
        help="For 'srun --mpi=WORD'. Default: what DIR or SIF was built for, if it was for any.",
    ),
]


@click.command("jobscript", cls=Command, short_help="Print a batch script for this site's Slurm.")
@click.argument("words", nargs=-1, required=True, metavar="DIR|SIF -- COMMAND...")
@flag("--build", help="COMMAND builds something; no DIR or SIF before it.")
@flag(
    "--submit",
    help="Hand the script to Slurm instead of printing it; a build is waited for, and its status "
    "is that of this command.",
)
@grouped("shape", Shape, *_OPTIONS)
@with_console
def jobscript(
    console: Console,
    *,
    words: tuple[str, ...],
    build: bool,
    submit: bool,
    shape: Shape,
    partition: str,
    account: str,
    mpi: str,
) -> None:
    """Print a batch script that runs COMMAND with the programs of DIR or of the image SIF.

    It is made for this site: the partition is one that takes such a job, time and memory are
    checked against it, and where each task has a GPU of its own, tasks run on the processors next
    to it. Where the site's partitions are not known, the script says what you ask for.

    \b
    Examples:
      containerize jobscript DIR --nodes 4 --gpus-per-node 8 -- python train.py >job.sh
      containerize jobscript --build -- conda-containerize new --prefix DIR env.yml
    """
    from wrapper.commands import submit as slurm
    from wrapper.commands.jobscript import JobRequest

    if submit:
        slurm.require_slurm()  # before anything is asked that takes time
    site = configured(console, building=False)
    job = JobRequest(command=words, shape=shape, partition=partition, account=account, site=site)
    batch = _build(job, mpi, console) if build else _run(job, mpi, console)
    if not submit:
        say(batch.text, end="")
    elif build:
        slurm.submit_and_wait(batch, console)
    else:
        say(slurm.submit(batch))


def _run(job: JobRequest, mpi: str, console: Console) -> Batch:
    from wrapper.commands.jobscript import RunRequest
    from wrapper.commands.jobscript import jobscript as make

    target, *command = job.command
    if not (target and command):
        raise click.UsageError("Missing argument 'COMMAND...': what is to run, after --.")
    request = RunRequest(
        target=Path(target),
        command=tuple(command),
        shape=job.shape,
        partition=job.partition,
        account=job.account,
        mpi=mpi,
        site=job.site,
    )
    return make(request, console)


def _build(job: JobRequest, mpi: str, console: Console) -> Batch:
    from wrapper.commands.build_job import build_job

    shape = job.shape
    if mpi or shape.nodes > 1 or shape.gpus or shape.tasks > 1:
        raise click.UsageError(
            "A build is one task of one node: no --nodes, --gpus-per-node, --tasks-per-node, --mpi."
        )
    return build_job(job, console)
