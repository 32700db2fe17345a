"""The values that steps hand to each other. Frozen: a step returns a new one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from wrapper.packages import LockedPackage
from wrapper.site_profile import Detect, Gpus, MpiPlaces, Partition

if TYPE_CHECKING:
    from rattler import RepoDataRecord


@dataclass(frozen=True, kw_only=True)
class Located:
    """A piece of an input file and the line it stands on (counted from 1)."""

    text: str
    line: int


@dataclass(frozen=True, kw_only=True)
class EnvironmentSpec:
    """What the user asked for, read from one of the input formats.

    Either ``specs`` (to be solved) or ``locked`` (to be taken as it is) describes the conda part.
    ``pip_lines`` are lines of a requirements file; relative paths in them start at ``directory``.
    ``pip_places`` say of those that the source itself has where they stand.
    """

    source: Path
    specs: tuple[Located, ...] = ()
    channels: tuple[str, ...] = ()
    pip_lines: tuple[str, ...] = ()
    pip_places: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    locked: tuple[LockedPackage, ...] | None = None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    base: Path | None = None

    @property
    def directory(self) -> Path:
        """Where relative paths start."""
        return self.base or self.source.parent


@dataclass(frozen=True, kw_only=True)
class Resolution:
    """The exact packages of an environment, in no particular order.

    ``pip_locked`` are pip packages that a lock file already pins; packages from ``pip_lines`` are
    known only after uv has resolved them against the installed Python.
    """

    records: tuple[RepoDataRecord, ...]
    channels: tuple[str, ...]
    pip_locked: tuple[LockedPackage, ...] = ()

    @property
    def download_size(self) -> int:
        """Bytes of all package archives, as far as the channels tell."""
        return sum(record.size or 0 for record in self.records)


@dataclass(frozen=True, kw_only=True)
class Environment:
    """What an installation's environment is inside, for the prefix to look like it.

    :ivar root: its directory inside the container. :ivar entries: what is in that.
    :ivar python: the directory of its Python's program, inside; empty where it has none that may
        take the prefix for its own. :ivar pythons: names of that program among the installation's
        programs, and as what it stands in the directory.
    """

    root: str
    entries: tuple[str, ...] = ("lib",)
    python: str = ""
    pythons: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Base:
    """What an environment stands on: the host (all defaults), or an image with its own system.

    ``image`` is outside, links resolved; ``source`` is where it was found before that: an absolute
    path, which may be a link that moves, or a URI. ``digest`` is that of its file, ``sha256:…``, or
    empty for a directory. ``virtual_packages`` are those in which it differs from the host, name ->
    version, empty where it has none. ``mark`` are bytes at its beginning that another image has
    not, in hexadecimal. ``owned``: it is a file of the generation, next to its image.
    ``environments`` are the roots of its conda environments, where it was looked into just now.
    ``rocm`` is the version of its ROCm, if it has one; ``level`` is what it asks of a processor
    (:mod:`wrapper.microarch`); ``sets`` are names of variables that its own
    files set; ``entry_point`` are words to start a program with, as ``run`` does; ``runscripts``
    are names in a ``/runscripts`` of its own.
    """

    image: Path | None = None
    name: str = "host"
    source: str = ""
    digest: str = ""
    mark: str = ""
    has_bash: bool = True
    virtual_packages: Mapping[str, str] = field(default_factory=dict)
    owned: bool = False
    environments: tuple[str, ...] = ()
    rocm: str = ""
    level: int = 1
    sets: tuple[str, ...] = ()
    entry_point: tuple[str, ...] = ()
    runscripts: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names by which the image is known: none, where there is none."""
        return names_of(self.name, self.source, self.image) if self.image else ()

    @property
    def reference(self) -> str:
        """The image for the shim: a path, below the generation where that owns it."""
        if self.image is None:
            return ""
        return self.image.name if self.owned else str(self.image)


@dataclass(frozen=True, kw_only=True)
class HostPrograms:
    """Programs of the host that those of an image can call.

    :ivar names: of scripts in the generation. :ivar binds: what they need. :ivar users: an
        ``/etc/passwd``, without the caller; empty where the image's own will do.
    """

    names: tuple[str, ...] = ()
    binds: tuple[str, ...] = ()
    users: str = ""


def names_of(name: str, source: str, image: Path) -> tuple[str, ...]:
    """The names by which an image is known: what the user said, the file that it was found as,
    which may be a link, and the file that it is.
    """
    return tuple(dict.fromkeys([name, Path(source).name, image.name]))


@dataclass(frozen=True, kw_only=True)
class Interpreter:
    """A Python.

    :ivar path: of the program, on the host, or inside the container where it is ``managed``: then
        it is a part of the image. :ivar library: directory of its standard library, likewise (early
        manifests have none: a directory that is there, then).
    """

    path: Path
    version: str
    library: Path = Path("/")
    managed: bool = False


@dataclass(frozen=True, kw_only=True)
class TreeSize:
    """What a directory tree amounts to: number of inodes, bytes of its regular files."""

    files: int = 0
    size: int = 0

    def __add__(self, other: TreeSize) -> TreeSize:
        return TreeSize(files=self.files + other.files, size=self.size + other.size)


@dataclass(frozen=True, kw_only=True)
class Site:
    """What the site, the environment and the command line say, see :mod:`wrapper.settings`.

    The meaning of each field stands in ``wrapper.settings.KEYS``, where they are read. ``origins``
    tells where each value that is no default comes from; ``chosen`` are those that the command line
    or a site's force set for this build; ``warnings`` say what in the files has no effect. ``file``
    is the site's, ``found_by`` says what of the machine led to it where nobody named it.
    """

    tmpdir: Path = Path("/tmp")
    cache: Path | None = None
    runtime: str = ""
    prefix: Path | None = None
    install_path: str = "/containerize"
    channels: tuple[str, ...] = ("conda-forge",)
    mirrors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    condarc: bool = False
    compression: str = "default"
    squashfs_options: tuple[str, ...] = ()
    processors: int = 16
    base_image: str = ""
    base_images: tuple[Path, ...] = ()
    binds: tuple[str, ...] = ()
    image_binds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    exclude_binds: tuple[str, ...] = ()
    host_programs: tuple[str, ...] = ()
    installations: tuple[Path, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    fix_permissions: bool = True
    keep_files: bool = False
    log_level: int = 2
    message: str = ""
    mounts: tuple[str, ...] = ()
    modules: Mapping[str, str] = field(default_factory=dict)
    partitions: Mapping[str, Partition] = field(default_factory=dict)
    gpus: Gpus = field(default_factory=Gpus)
    mpi: MpiPlaces = field(default_factory=MpiPlaces)
    detect: Detect = field(default_factory=Detect)
    sources: Mapping[str, str] = field(default_factory=dict)
    more_channels: tuple[str, ...] = ()  # of .condarc, searched after all others
    origins: Mapping[str, str] = field(default_factory=dict)
    chosen: frozenset[str] = frozenset()
    warnings: tuple[str, ...] = ()
    file: Path | None = None
    found_by: str = ""

    @property
    def name(self) -> str:
        """What the site is called: as its file is."""
        return self.file.stem if self.file else ""

    def shaping(self, *, mpi: bool = False) -> str:
        """Its name, where an installation takes something of it along; else empty.

        :param mpi: whether that has the MPI of the site's machines.
        """
        taken = self.binds or self.exclude_binds or self.variables or mpi
        return self.name if taken else ""

    def on_image(self, names: Iterable[str]) -> Site:
        """The same with the binds that an installation on an image needs.

        :param names: by which the image is known: none, where there is no image.
        """
        for pattern, binds in self.image_binds.items():
            if any(fnmatchcase(name, pattern) for name in names):
                return replace(self, binds=tuple(dict.fromkeys([*self.binds, *binds])))
        return self
