"""The values that steps hand to each other. Frozen: a step returns a new one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from rattler import RepoDataRecord


@dataclass(frozen=True, kw_only=True)
class Located:
    """A piece of an input file and the line it stands on (counted from 1)."""

    text: str
    line: int


@dataclass(frozen=True, kw_only=True)
class LockedPackage:
    """One package of a lock file or an explicit list: where it is and what it must be.

    ``manager`` is ``conda`` or ``pip``; ``sha256`` and ``md5`` are lower-case hexadecimal.
    ``size`` are the bytes of its archive, 0 unknown. A pip package that was installed from a
    directory has the SHA-256 of its files as ``content``; one that was built has its ``builder``
    (``setuptools==75.8.0``), and one that was built against the others is not ``isolated``.
    """

    manager: str
    name: str
    version: str
    url: str
    build: str = ""
    sha256: str | None = None
    md5: str | None = None
    depends: tuple[str, ...] = ()
    size: int = 0
    content: str | None = None
    builder: str | None = None
    isolated: bool = True

    @property
    def canonical(self) -> str:
        """The name as pip compares it: lower case, ``-`` for ``_`` and ``.``."""
        return re.sub(r"[-_.]+", "-", self.name).lower()

    def as_dict(self) -> dict[str, Any]:
        """For a manifest; :meth:`from_dict` is the way back."""
        return {**asdict(self), "depends": list(self.depends)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LockedPackage:
        """From a manifest, perhaps of a later version: keys that are not known are left out."""
        known = {item.name for item in fields(cls)}
        return cls(**{name: value for name, value in data.items() if name in known})


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
    ``rocm`` is the version of its ROCm, if it has one.
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

    @property
    def reference(self) -> str:
        """The image for the shim: a path, below the generation where that owns it."""
        if self.image is None:
            return ""
        return self.image.name if self.owned else str(self.image)


@dataclass(frozen=True, kw_only=True)
class TreeSize:
    """What a directory tree amounts to: number of inodes, bytes of its regular files."""

    files: int
    size: int

    def __add__(self, other: TreeSize) -> TreeSize:
        return TreeSize(files=self.files + other.files, size=self.size + other.size)


@dataclass(frozen=True, kw_only=True)
class Site:
    """What the site, the environment and the command line say, see :mod:`wrapper.site`.

    The meaning of each field stands in ``wrapper.site.KEYS``, where they are read. ``origins``
    tells where each value that is no default comes from; ``chosen`` are those that the command line
    or a site's force set for this build; ``warnings`` say what in the files has no effect.
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
    exclude_binds: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    fix_permissions: bool = True
    keep_files: bool = False
    log_level: int = 2
    message: str = ""
    more_channels: tuple[str, ...] = ()  # of .condarc, searched after all others
    origins: Mapping[str, str] = field(default_factory=dict)
    chosen: frozenset[str] = frozenset()
    warnings: tuple[str, ...] = ()


R = TypeVar("R", bound="Request")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What ``new`` and ``update`` have in common; paths are outside the container.

    ``environment`` may be absent in an update, which then leaves the conda packages as they are.
    Scripts are files, or lines of one (of a tool's file). ``environ`` is a file of ``NAME=VALUE``
    lines, set for programs at run time besides ``variables``. ``requirements`` are requirements
    files, pyproject.toml or our locks; ``extras`` and ``groups`` are a project's, ``no_isolation``
    packages to build after the others and against them. ``compression``
    ``None`` means the one before; so does ``base_image``, which is a path, a name or a URI.
    ``copy_base``: the installation gets a copy of its own.
    ``reuse_base``: its Python and packages stay in use, and only what is missing is added.
    ``require_hashes``: every package has to be known by a hash beforehand.
    """

    prefix: Path
    environment: Path | None = None
    requirements: tuple[Path, ...] = ()
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    no_isolation: tuple[str, ...] = ()
    pre_install: tuple[Path | str, ...] = ()
    post_install: tuple[Path | str, ...] = ()
    environ: Path | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    wrapper_paths: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    use_cache: bool = True
    compression: str | None = None
    base_image: str | None = None
    site: Site = Site()
    copy_base: bool = False
    reuse_base: bool = False
    require_hashes: bool = False

    def on_site_base(self: R) -> R:
        """A new environment's request: it stands on the site's base image unless it names one."""
        return replace(self, base_image=self.base_image or self.site.base_image or None)

    @property
    def files(self) -> tuple[Path, ...]:
        """The user's files, the environment first."""
        given = [self.environment, *self.requirements, *self.pre_install, *self.post_install]
        return tuple(path for path in (*given, self.environ) if isinstance(path, Path))


@dataclass(frozen=True, kw_only=True)
class NewRequest(Request):
    """A ``conda-containerize new``, as the command line says it."""


@dataclass(frozen=True, kw_only=True)
class UpdateRequest(Request):
    """A ``conda-containerize update``; ``keep`` generations stay, ``None`` for all."""

    keep: int | None = None


@dataclass(frozen=True, kw_only=True)
class NewPipRequest(Request):
    """A ``pip-containerize new``: ``pyver`` is the Python's version, ``managed`` whether uv may
    bring one.
    """

    system_site: bool = False
    pyver: str = ""
    managed: bool = False


@dataclass(frozen=True, kw_only=True)
class UpdatePipRequest(NewPipRequest):
    """A ``pip-containerize update``; see :class:`UpdateRequest`."""

    keep: int | None = None


@dataclass(frozen=True, kw_only=True)
class WrapInstallRequest(Request):
    """A ``wrap-install``; ``source`` is the installation, see ``CopyBuild`` for ``mask``."""

    source: Path
    mask: bool = False


@dataclass(frozen=True, kw_only=True)
class WrapContainerRequest:
    """A ``wrap-container``; ``image`` is a path or a URI, ``wrapper_paths`` are inside it."""

    prefix: Path
    image: str
    wrapper_paths: tuple[str, ...]
    environ: Path | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    site: Site = Site()


@dataclass(frozen=True, kw_only=True)
class SifRequest(NewPipRequest):
    """A ``containerize build``; ``prefix`` is the file to be made.

    ``update`` and ``force`` say what may happen to one that exists. ``flatten``: base and
    environment in one file system; ``None`` as before. ``os_packages`` are names of packages of the
    base's own system.
    """

    update: bool = False
    force: bool = False
    flatten: bool | None = None
    os_packages: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RepackRequest:
    """A ``containerize repack``; ``target`` is a prefix or a SIF file."""

    target: Path
    compression: str | None = None
    site: Site = Site()


@dataclass(frozen=True, kw_only=True)
class Change:
    """One package before and after; ``size`` are the bytes of the archive to fetch, 0 unknown."""

    name: str
    manager: str
    old: LockedPackage | None
    new: LockedPackage | None
    size: int = 0

    @property
    def kind(self) -> str:
        if self.old is None:
            return "added"
        return "removed" if self.new is None else "changed"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a build would install, for ``--dry-run``. Sizes are bytes, estimated where noted.

    ``changes`` are those of an update, ``None`` for a new installation.
    """

    packages: tuple[LockedPackage, ...]
    changes: tuple[Change, ...] | None
    sizes: Mapping[str, int]
    pip_lines: tuple[str, ...]
    download_size: int
    installed_size: int  # estimated


@dataclass(frozen=True, kw_only=True)
class Result:
    """A finished installation: its manifest and the seconds it took."""

    prefix: Path
    manifest: Mapping[str, Any]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class HistoryEntry:
    """One generation for ``containerize list``.

    ``created`` is UTC in ISO 8601, ``size`` bytes of the image, ``what`` the changes against the
    generation before, ``in_use`` whether programs on this node have its image open.
    """

    number: int
    current: bool
    created: str
    size: int
    what: str
    in_use: bool
