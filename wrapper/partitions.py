"""Slurm's partitions of a site: which of them takes a job of a certain shape, and if none, why.

Times are seconds, memory is MiB.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import NamedTuple

from wrapper.errors import InputError
from wrapper.site_profile import Partition, nearest

_UNITS = {"K": 1 / 1024, "M": 1, "G": 1024, "T": 1024 * 1024}
_SEVERAL_FORMS = "MINUTES, H:MM:SS, D-H or D-HH:MM:SS"


def seconds(time: str) -> int:
    """A time as Slurm writes it: minutes, M:S, H:M:S, D-H, D-H:M, D-H:M:S.

    :raises ValueError: it is none.
    """
    if not re.fullmatch(r"(\d+-\d+(:\d+){0,2}|\d+(:\d+){0,2})", time, re.ASCII):
        raise ValueError(f"'{time}' is no time of Slurm's")
    days, dash, rest = time.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    if dash:
        hours, minutes, secs = [*parts, 0, 0][:3]
        return ((int(days) * 24 + hours) * 60 + minutes) * 60 + secs
    hours, minutes, secs = parts if len(parts) == 3 else (0, *parts, 0)[:3]
    return (hours * 60 + minutes) * 60 + secs


def mebibytes(memory: str) -> int:
    """Memory as Slurm writes it: 480G, or a number of MiB.

    :raises ValueError: it is none.
    """
    match = re.fullmatch(r"(\d+)([KMGT]?)B?", memory, re.ASCII | re.IGNORECASE)
    if not match:
        raise ValueError(f"'{memory}' is no size of memory")
    return int(int(match[1]) * _UNITS[match[2].upper() or "M"])


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What is asked for a job. ``gpus``, ``tasks`` and ``memory`` are of a node, ``cpus`` of a
    task; 0 or empty is not asked for.
    """

    nodes: int = 1
    gpus: int = 0
    tasks: int = 1
    cpus: int = 0
    time: str = ""
    memory: str = ""


class Lack(NamedTuple):
    """What a partition has too little of. :ivar option: that asks for it, with its value."""

    option: str
    asked: str
    most: str


def check(shape: Shape) -> None:
    """:raises InputError: time or memory is written in no form of Slurm's."""
    for option, value, read, form in (
        ("--time", shape.time, seconds, _SEVERAL_FORMS),
        ("--memory", shape.memory, mebibytes, "a number with K, M, G or T, such as 480G"),
    ):
        try:
            if value and not read(value):
                raise ValueError(f"'{value}' is nothing")
        except ValueError as error:
            raise InputError(str(error), where=f"{option} {value}", hint=f"write {form}") from None


def lacks(shape: Shape, partition: Partition) -> list[Lack]:
    """What of a shape a partition does not have; what it does not say is there."""
    found = []

    def compare(option: str, asked: int, most: int, shown: str = "", limit: str = "") -> None:
        if most and asked > most:
            found.append(
                Lack(f"{option} {shown or asked}", shown or str(asked), limit or str(most))
            )

    compare("--nodes", shape.nodes, partition.nodes)
    if shape.gpus > partition.gpus:
        shown = str(shape.gpus)
        found.append(Lack(f"--gpus-per-node {shown}", shown, str(partition.gpus)))
    compare("--tasks-per-node", shape.tasks, partition.cores)
    if shape.cpus and not any(lack.option.startswith("--tasks") for lack in found):
        compare("--cpus-per-task", shape.cpus, partition.cores // shape.tasks)
    if shape.time and partition.time:
        asked, most = seconds(shape.time), seconds(partition.time)
        compare("--time", asked, most, shape.time, partition.time)
    if shape.memory and partition.memory:
        asked, most = mebibytes(shape.memory), mebibytes(partition.memory)
        compare("--memory", asked, most, shape.memory, partition.memory)
    return found


def fitting(shape: Shape, partitions: Mapping[str, Partition]) -> list[str]:
    """Names of partitions that take such a job, the one to choose first.

    Those whose nodes have GPUs are for jobs that ask for some. Where a part of a node is asked for,
    those come first that give parts; else the order is the site's.
    """
    names = [
        name
        for name, partition in partitions.items()
        if not lacks(shape, partition) and bool(partition.gpus) == bool(shape.gpus)
    ]

    def spare(name: str) -> bool:
        partition = partitions[name]
        cores = shape.tasks * max(shape.cpus, 1)
        whole = shape.gpus == partition.gpus if shape.gpus else cores >= partition.cores
        return partition.whole_nodes and not whole

    return sorted(names, key=spare)


def choose(shape: Shape, asked: str, partitions: Mapping[str, Partition], site: str) -> str:
    """The partition for a job: the one that is ``asked`` for, if any, else one that fits.

    :param site: its name, for messages.
    :raises InputError: there is no such partition, or it does not fit, or none does.
    """
    names = fitting(shape, partitions)
    if not asked:
        if names:
            return names[0]
        raise _none_fits(shape, partitions, site)
    if asked not in partitions:
        raise InputError(
            f"{site} has no partition '{asked}'",
            where=f"--partition {asked}",
            hint=f"{nearest(asked, partitions)}; if it is a new one, add it to the site's file",
        )
    if lacking := lacks(shape, partitions[asked]):
        others = f"these fit: {', '.join(names)}" if names else "no other one has this either"
        raise InputError(
            f"the partition {asked} offers at most {lacking[0].most}, not {lacking[0].asked}",
            where=lacking[0].option,
            hint=f"ask for less, or name another partition ({others})",
        )
    return asked


def _none_fits(shape: Shape, partitions: Mapping[str, Partition], site: str) -> InputError:
    """The error that names the nearest partition, and what it offers instead."""
    alike = [n for n in partitions if bool(partitions[n].gpus) == bool(shape.gpus)] or [*partitions]
    best = min(alike, key=lambda name: len(lacks(shape, partitions[name])))
    lacking = lacks(shape, partitions[best])
    if not lacking:  # it has GPUs, and none are asked for
        return InputError(
            f"{site} has no partition without GPUs of this shape",
            where=describe(shape),
            hint=f"name one of those with GPUs if you mean it: --partition {best}",
        )
    offered = ", ".join(f"{lack.option.split()[0]} {lack.most}" for lack in lacking)
    return InputError(
        f"no partition of {site} has this shape",
        where=describe(shape),
        hint=f"nearest is {best}, with at most: {offered}",
    )


def describe(shape: Shape) -> str:
    """What is asked for, as options."""
    options = {"nodes": "nodes", "gpus": "gpus-per-node", "tasks": "tasks-per-node"}
    options |= {"cpus": "cpus-per-task", "time": "time", "memory": "memory"}
    given = {field.name: getattr(shape, field.name) for field in fields(shape)}
    return " ".join(f"--{options[name]} {value}" for name, value in given.items() if value)
