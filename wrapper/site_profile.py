"""What a site's profile says of its machines: the values that are tables, and how they are read.

A reader takes a value of YAML (or, where a variable may set it, a text) and returns what it means.
What is wrong is a ``ValueError`` whose text goes on after "a setting"; :class:`Misread` says
besides at which key of a table.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")
Reader = Callable[[object], object]

_DATE = re.compile(r"\b20\d\d-[01]\d-[0-3]\d\b")
_TIME = re.compile(r"(\d+-)?\d{1,3}(:\d\d){0,2}")  # of Slurm: MINUTES, H:M:S, DAYS-H…
_SIZE = re.compile(r"\d+[KMGT]", re.I)
_MOUNT = re.compile(r"/[A-Za-z0-9][A-Za-z0-9._-]*")
# A look at one of these waits for no file server.
_LOCAL = ("/etc/", "/opt/", "/proc/", "/run/", "/sys/", "/usr/", "/var/")


class Misread(ValueError):
    """:ivar inside: the keys of tables on the way to what is wrong."""

    def __init__(self, why: str, inside: tuple[str, ...] = ()) -> None:
        super().__init__(why)
        self.inside = inside


def near(name: str, known: Iterable[str]) -> str:
    """``did you mean X?`` for a name that is none of ``known``, empty where none is like it."""
    close = difflib.get_close_matches(name, sorted(known), n=2, cutoff=0.6)
    return f"did you mean {' or '.join(close)}?" if close else ""


def nearest(name: str, known: Iterable[str]) -> str:
    """The same, else what there is."""
    return near(name, known) or f"there are: {', '.join(sorted(known))}"


# -- readers -------------------------------------------------------------------------------------
def text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must be a text, found {value!r}: put it in quotes")
    return value.strip()


def texts(value: object) -> tuple[str, ...]:
    return tuple(map(text, value if isinstance(value, list) else [value]))


def number(value: object) -> int:
    if isinstance(value, bool) or not re.fullmatch(r"\d+", str(value)):
        raise ValueError(f"must be a number, found {value!r}")
    return int(str(value))


def by_name(read: Callable[[object], T]) -> Callable[[object], Mapping[str, T]]:
    """A reader of a table with any keys, each of whose values is read by ``read``."""

    def reader(value: object) -> Mapping[str, T]:
        return {str(name): _within(str(name), read, item) for name, item in _table(value).items()}

    return reader


def record(make: Callable[..., T], **fields: Reader) -> Callable[[object], T]:
    """A reader of a table with these keys, each of which may be missing, into ``make(**them)``."""

    def reader(value: object) -> T:
        table = {} if value is None else _table(value)
        given = {str(name): item for name, item in table.items()}
        for name in given:
            if name not in fields:
                raise Misread(f"has no key '{name}'; {nearest(name, fields)}", (name,))
        return make(**{name: _within(name, fields[name], item) for name, item in given.items()})

    return reader


def _table(value: object) -> Mapping[object, object]:
    if not isinstance(value, dict):
        raise ValueError(f"must have lines 'KEY: value', found {value!r}")
    return value


def _within(name: str, read: Callable[[object], T], value: object) -> T:
    try:
        return read(value)
    except ValueError as error:
        raise Misread(str(error), (name, *getattr(error, "inside", ()))) from None


def _like(pattern: re.Pattern[str], what: str) -> Callable[[object], str]:
    def reader(value: object) -> str:
        found = text(value)
        if not pattern.fullmatch(found):
            raise ValueError(f"must be {what}, found {found!r}")
        return found

    return reader


def _listed(read: Callable[[object], T]) -> Callable[[object], tuple[T, ...]]:
    return lambda value: tuple(map(read, value if isinstance(value, list) else [value]))


def _local_file(value: object) -> str:
    path = text(value)
    if not path.startswith(_LOCAL) or "/../" in path:
        raise ValueError(f"must be a file of the node's own (in /etc, /opt…), found {path!r}")
    return path


def _local_files(value: object) -> Mapping[str, str]:
    return {_local_file(path): text(found) for path, found in _table(value).items()}


def _mask(value: object) -> str:
    """A set of processors, as ``srun --cpu-bind=mask_cpu:`` takes it."""
    try:
        mask = value if isinstance(value, int) else int(text(value), 16)
    except ValueError:
        mask = 0
    if mask <= 0:
        raise ValueError(f"must be a mask of processors such as 0xfe, found {value!r}")
    return f"{mask:#x}"


def source(value: object) -> str:
    """Where a value comes from, and the day on which that was read."""
    found = text(value)
    if not _DATE.search(found):
        raise ValueError(f"must say from where and of which day (2026-11-28), found {found!r}")
    return found


# -- values --------------------------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True)
class Detect:
    """By what a site is told; one of these is enough, see :mod:`wrapper.sites`.

    :ivar clusters: names of its Slurm. :ivar variables: name -> pattern of its value.
    :ivar files: one of which is there. :ivar text: file -> a text in it.
    :ivar fallback: 0, or how late it is looked at: only where no other with a lower number fits.
    :ivar always: whether it fits everywhere.
    """

    clusters: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    text: Mapping[str, str] = field(default_factory=dict)
    fallback: int = 0
    always: bool = False


@dataclass(frozen=True, kw_only=True)
class Partition:
    """One of Slurm's partitions: the most that a job there gets, and what its nodes have.

    :ivar nodes: at most so many of a job. :ivar time: at most, in Slurm's form. :ivar cores: of a
        node, without hardware threads; :ivar memory: of a node for jobs, ``480G``; :ivar gpus: of
        a node. What is not known is 0 or empty. :ivar whole_nodes: whether a job gets no part of
        one.
    """

    nodes: int = 0
    time: str = ""
    cores: int = 0
    memory: str = ""
    gpus: int = 0
    whole_nodes: bool = False


@dataclass(frozen=True, kw_only=True)
class Gpus:
    """GPUs of a node.

    :ivar per_node: as Slurm counts them. :ivar kind: the architecture, ``gfx90a``, ``sm_90``.
    :ivar cpu_masks: of a node with a task for each GPU: the processors that are next to the GPU of
        task 0, of task 1…, as ``srun --cpu-bind=mask_cpu:`` takes them.
    """

    per_node: int = 0
    kind: str = ""
    cpu_masks: tuple[str, ...] = ()


MPI_KINDS = ("host", "container", "none")


@dataclass(frozen=True, kw_only=True)
class MpiPlaces:
    """MPI of a machine.

    :ivar default: of ``--mpi``. :ivar directories: patterns of those that have its library, and
        :ivar search: of lists of those that have what that needs; ``$NAME`` counts in both.
    :ivar also: libraries that are loaded by name while programs run. :ivar srun: the word of
        ``srun --mpi=`` that goes with the ``host``'s MPI, and with that of a ``container``.
    """

    default: str = "none"
    directories: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    srun: Mapping[str, str] = field(default_factory=dict)


def _yes(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"must be yes or no, found {value!r}")
    return value


detect = record(
    Detect,
    clusters=texts,
    variables=by_name(text),
    files=_listed(_local_file),
    text=_local_files,
    fallback=number,
    always=_yes,
)
partitions = by_name(
    record(
        Partition,
        nodes=number,
        time=_like(_TIME, "a time of Slurm's in quotes, such as '2-00:00:00'"),
        cores=number,
        memory=_like(_SIZE, "a size such as 480G"),
        gpus=number,
        whole_nodes=_yes,
    )
)
gpus = record(Gpus, per_node=number, kind=text, cpu_masks=_listed(_mask))
mpi = record(
    MpiPlaces,
    default=_like(re.compile("|".join(MPI_KINDS)), "host, container or none"),
    directories=texts,
    search=texts,
    also=texts,
    srun=record(dict, host=text, container=text),
)
mounts = _listed(_like(_MOUNT, "a directory of the root, such as /scratch"))
