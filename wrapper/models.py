"""The values that steps hand to each other. Frozen: a step returns a new one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    """

    manager: str
    name: str
    version: str
    url: str
    build: str = ""
    sha256: str | None = None
    md5: str | None = None
    depends: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class EnvironmentSpec:
    """What the user asked for, read from one of the input formats.

    Either ``specs`` (to be solved) or ``locked`` (to be taken as it is) describes the conda part.
    ``pip_lines`` are lines of a requirements file; relative paths in them start at ``directory``.
    """

    source: Path
    specs: tuple[Located, ...] = ()
    channels: tuple[str, ...] = ()
    pip_lines: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    locked: tuple[LockedPackage, ...] | None = None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def directory(self) -> Path:
        return self.source.parent


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
class Activation:
    """The environment that an installation's programs see, recorded at build time.

    ``assign`` are variables to set, ``default`` to set only where the guard variables are unset or
    empty, ``prepend`` go before an existing value, joined with ``:``. ``unset`` are removed.
    ``scripts`` (paths inside the container) depend on the moment and are sourced at run time.
    """

    assign: Mapping[str, str] = field(default_factory=dict)
    default: tuple[Guarded, ...] = ()
    prepend: Mapping[str, str] = field(default_factory=dict)
    unset: tuple[str, ...] = ()
    scripts: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Guarded:
    """Assignments that a script makes only where none of ``guards`` has a value."""

    guards: tuple[str, ...]
    assign: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class TreeSize:
    """What a directory tree amounts to: number of inodes, bytes of its regular files."""

    files: int
    size: int


@dataclass(frozen=True, kw_only=True)
class NewRequest:
    """A ``conda-containerize new``, as the command line says it; paths are outside the container.

    ``environ`` is an ``--environ`` file of ``NAME=VALUE`` lines, set for programs at run time.
    """

    prefix: Path
    environment: Path
    requirements: tuple[Path, ...] = ()
    pre_install: tuple[Path, ...] = ()
    post_install: tuple[Path, ...] = ()
    environ: Path | None = None
    wrapper_paths: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    use_cache: bool = True
    tmpdir: Path | None = None
    compression: str = "default"

    @property
    def files(self) -> tuple[Path, ...]:
        """The user's files, the environment first."""
        more = (*self.requirements, *self.pre_install, *self.post_install)
        return (self.environment, *more, *((self.environ,) if self.environ else ()))


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a build would install, for ``--dry-run``. Sizes are bytes, estimated where noted."""

    packages: tuple[LockedPackage, ...]
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
