"""What a command is asked for, as the command line says it, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from wrapper import platforms
from wrapper.manifest import ImageRecord, Manifest
from wrapper.models import Site
from wrapper.packages import Change, LockedPackage

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
    ``others`` are further installations to be there too, empty as before (see
    :mod:`wrapper.prefix.other_installations`).
    ``mpi``: ``host``, ``container`` or ``none``, ``None`` as before, or as the site says.
    ``platform``: as conda calls it, ``None`` for this machine's; for another one there are plans
    only.
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
    site: Site = field(default_factory=Site)
    copy_base: bool = False
    reuse_base: bool = False
    require_hashes: bool = False
    platform: str | None = None
    mpi: str | None = None
    others: tuple[str, ...] = ()

    def on_site_base(self: R) -> R:
        """A new environment's request: it stands on the site's base image unless it names one.

        The site's image is for this machine: one for another platform stands on the host.
        """
        if self.elsewhere:
            return self
        return replace(self, base_image=self.base_image or self.site.base_image or None)

    @property
    def elsewhere(self) -> bool:
        """Whether it is for another platform than this machine's."""
        return self.platform not in (None, platforms.here())

    @property
    def files(self) -> tuple[Path, ...]:
        """The user's files, the environment first."""
        given = [self.environment, *self.requirements, *self.pre_install, *self.post_install]
        return tuple(path for path in (*given, self.environ) if isinstance(path, Path))


@dataclass(frozen=True, kw_only=True)
class NewRequest(Request):
    """A ``conda-containerize new``, as the command line says it; ``lock`` is a file to be written
    instead of an installation.
    """

    lock: Path | None = None


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
    """A ``wrap-install``; ``source`` is the installation, see ``CopySource`` for ``mask``."""

    source: Path
    mask: bool = False

    def on_site_base(self) -> WrapInstallRequest:
        """A copy stands on the host, as what it was copied from."""
        return self


@dataclass(frozen=True, kw_only=True)
class WrapContainerRequest:
    """A ``wrap-container``; ``image`` is a path or a URI, ``wrapper_paths`` are inside it: none for
    the Python that its users get, and what is beside that.
    """

    prefix: Path
    image: str
    wrapper_paths: tuple[str, ...]
    environ: Path | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    mpi: str | None = None
    site: Site = field(default_factory=Site)


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
    site: Site = field(default_factory=Site)


@dataclass(frozen=True, kw_only=True)
class ProfileRequest:
    """A ``containerize profile`` of an installation; ``words``: the program and its arguments."""

    target: Path
    words: tuple[str, ...]
    site: Site = field(default_factory=Site)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a build would install, for ``--dry-run``. Sizes are bytes, estimated where noted.

    ``changes`` are those of an update, ``None`` for a new installation. ``channels`` are URLs.
    """

    packages: tuple[LockedPackage, ...]
    changes: tuple[Change, ...] | None
    sizes: Mapping[str, int]
    pip_lines: tuple[str, ...]
    download_size: int
    installed_size: int  # estimated
    channels: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Result:
    """A finished installation: its manifest and the seconds it took.

    ``changed`` is false where an update found all that it asks for there, and made nothing.
    """

    prefix: Path
    manifest: Manifest
    seconds: float
    changed: bool = True


@dataclass(frozen=True, kw_only=True)
class Repacked:
    """A repacked installation or SIF; ``manifest`` is ``None`` in one of another program's."""

    prefix: Path
    image: ImageRecord
    manifest: Manifest | None
    seconds: float


@dataclass(frozen=True, kw_only=True)
class HistoryEntry:
    """One generation for ``containerize list``.

    ``created`` is UTC in ISO 8601, ``size`` bytes of the image, ``weight`` bytes on disk that no
    older generation has already, ``what`` the changes against the generation before, ``in_use``
    whether programs on this node have its image open.
    """

    number: int
    current: bool
    created: str
    size: int
    weight: int
    what: str
    in_use: bool
