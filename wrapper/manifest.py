"""``manifest.json``: the versioned record of a generation, enough to build it again.

Format 1 is a JSON object whose keys are the fields of :class:`Manifest`. A manifest is shown, sent
and put into logs, so it has no secrets: it holds the names of variables, and their values are in
``variables.json`` beside it, in objects of the same keys. In memory they are one.

Sizes are bytes. Readers ignore keys they do not know and refuse a higher format.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from wrapper import layout
from wrapper.credentials import public_url
from wrapper.errors import PrefixError
from wrapper.gpu import Settings
from wrapper.models import Base, Interpreter, TreeSize
from wrapper.packages import LockedPackage
from wrapper.util import foreign

FORMAT = 1
_VALUES = ("variables", "environ")
# Keys that say something of some builds only, left out elsewhere.
_NOT_ALWAYS = {
    *("interpreter", "system_site_packages", "source", "mask", "adopted", "image_root"),
    *("form", "flatten", "os_packages", "foreign", "labels", "site", "others", "mpi", "gpu"),
}

Values = Mapping[str, str | None]
"""Variables and their values, ``None`` for one whose value has gone."""


@dataclass(frozen=True, kw_only=True)
class BaseRecord:
    """What an environment stands on, found again by ``path``.

    :ivar kind: ``host`` or ``image``; all else is about an image. :ivar name: as the user said it.
    :ivar source: an absolute path whose links are not resolved, or a URI. :ivar path: outside;
        below the generation where it ``owned`` the image. :ivar mark: see
        :func:`wrapper.images.format.mark`. :ivar rocm: its version. :ivar level: of x86-64
        processors, see :mod:`wrapper.microarch`. :ivar sets: names of variables that its files
        set. :ivar entry_point: with which its programs start. :ivar runscripts: names in its own
        ``/runscripts``. :ivar offers: virtual packages in which it differs from the host.
    :ivar virtual_packages: all of the solve.
    """

    kind: str = "host"
    name: str = ""
    source: str = ""
    path: str = ""
    digest: str = ""
    mark: str = ""
    size: int = 0
    owned: bool = False
    has_bash: bool = True
    rocm: str = ""
    level: int = 1
    sets: tuple[str, ...] = ()
    entry_point: tuple[str, ...] = ()
    runscripts: tuple[str, ...] = ()
    offers: Mapping[str, str] = field(default_factory=dict)
    virtual_packages: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, base: Base, virtual_packages: Mapping[str, str], size: int = 0) -> BaseRecord:
        """What is recorded of a base. :param size: of its file, where it counts."""
        return cls(
            kind="image" if base.image else "host",
            name=base.name,
            source=base.source,
            path=base.reference,
            digest=base.digest,
            mark=base.mark,
            size=size,
            owned=base.owned,
            has_bash=base.has_bash,
            rocm=base.rocm,
            level=base.level,
            sets=base.sets,
            entry_point=base.entry_point,
            runscripts=base.runscripts,
            offers=dict(base.virtual_packages),
            virtual_packages=virtual_packages,
        )

    def on(self, image: Path) -> Base:
        """The base as a build uses it. :param image: where it is now."""
        return Base(
            image=image,
            name=self.name,
            source=self.source,
            digest=self.digest,
            mark=self.mark,
            has_bash=self.has_bash,
            virtual_packages=self.offers,
            owned=self.owned,
            rocm=self.rocm,
            level=self.level,
            sets=self.sets,
            entry_point=self.entry_point,
            runscripts=self.runscripts,
        )


@dataclass(frozen=True, kw_only=True)
class RuntimeRecord:
    """The runtime of the build."""

    name: str
    version: str
    path: str


@dataclass(frozen=True, kw_only=True)
class Options:
    """Of the command line, as far as they shape the result."""

    compression: str = "default"
    wrapper_paths: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ImageRecord:
    """An image file: digest (a sandbox has none), bytes, compressor (early manifests: empty)."""

    sha256: str | None
    size: int
    compression: str = ""


@dataclass(frozen=True, kw_only=True)
class ScriptRecord:
    """A package's activation script: ``script`` is its path inside, ``why`` it is sourced at every
    start, empty where it is not, and ``unless``: variables where one of which is set.
    """

    script: str
    why: str
    unless: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ReusedPackage:
    """A package of a base image that an environment builds on."""

    manager: str
    name: str
    version: str
    build: str = ""
    size: int = 0


@dataclass(frozen=True, kw_only=True)
class ReuseRecord:
    """What of the base image is in use: ``python`` and its ``python_path`` (a PYTHONPATH), the root
    of its ``conda`` environment, if any, the image's ``digest``, ``packages`` and their ``size``.
    """

    python: str
    python_version: str
    python_path: str = ""
    conda: str = ""
    digest: str = ""
    size: int = 0
    packages: tuple[ReusedPackage, ...] = ()


@dataclass(frozen=True, kw_only=True)
class HostLibrary:
    """A library of the host that programs get: its name, where it is, and its SHA-256."""

    name: str
    path: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class MpiRecord:
    """Whose MPI programs get.

    :ivar kind: ``host`` or ``container`` (also where the environment has none). :ivar srun: the
        word of ``srun --mpi=`` that goes with it, empty where nobody knows. All else is about the
        host's: :ivar abi: and :ivar version:, :ivar library: its file, :ivar libraries: that and
        what it needs, :ivar directory: of the generation, with links to those that programs find.
    :ivar variables: that programs get where the caller has none of that name.
    :ivar beside: an Open MPI of the image, which programs that are linked with it keep.
    """

    kind: str
    srun: str = ""
    abi: str = ""
    version: str = ""
    library: str = ""
    directory: str = ""
    libraries: tuple[HostLibrary, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    beside: str = ""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The record of a generation, or of a SIF of ``containerize build``.

    :ivar tool: version of containerize. :ivar created: UTC, ISO 8601.
    :ivar kind: ``conda``, ``pip``, ``install`` or ``container``, of a SIF also ``base``.
    :ivar prefix: path outside at build time. :ivar install_path: path inside the container.
    :ivar machine: architecture of the machine that built it, as ``uname -m`` says it (early
        manifests: empty). :ivar image: for a ``container`` the one that is wrapped.
    :ivar tree: before squashing.
    :ivar read_first: number of files that the image has in the order in which a recorded program
        opened them (``reading-order.txt``).
    :ivar programs: number of shims. :ivar mksquashfs: version.
    :ivar packages: lock entries. :ivar variables: set at run time; :ivar environ: those of them
        that came from ``--environ`` files. :ivar channels: URLs.
    :ivar inputs: names of the copies in ``inputs/``.
    :ivar activation: the packages' activation scripts; ``None`` in early manifests, which were made
        without a look at what scripts read. :ivar reused: ``None`` where nothing of the base is.
    :ivar mpi: ``None`` where nobody asked for one.
    :ivar gpu: what a SIF sets where GPUs are (an installation's ``env`` has it), with the reasons.
    :ivar interpreter: of a ``pip`` environment; so ``system_site_packages``.
    :ivar source: of an ``install``: what was copied, and ``mask``: it is covered by the image.
    :ivar adopted: ``tykky``, and ``image_root``: where the image's root directory is inside, in a
        generation that was adopted (else the image is the container's root).
    :ivar site: by whose profile it has binds, variables or the host's MPI; empty where it has none
        of a site's.
    :ivar others: prefixes of further installations that are there too.
    :ivar form: ``sif``, and for its updates ``flatten``, ``os_packages``, ``foreign`` and
        ``labels`` of its base (see :mod:`wrapper.images.sif.build`).
    """

    format: int = FORMAT
    tool: str
    created: str
    kind: str
    interpreter: Interpreter | None = None
    system_site_packages: bool = False
    source: str = ""
    mask: bool = False
    adopted: str = ""
    image_root: str = ""
    form: str = ""
    flatten: bool | None = None
    foreign: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    os_packages: tuple[str, ...] = ()
    reused: ReuseRecord | None = None
    mpi: MpiRecord | None = None
    gpu: Settings | None = None
    generation: int = 1
    prefix: str
    install_path: str
    machine: str = ""
    base: BaseRecord
    runtime: RuntimeRecord
    site: str = ""
    others: tuple[str, ...] = ()
    mksquashfs: str = ""
    options: Options = field(default_factory=Options)
    variables: Values = field(default_factory=dict)
    environ: Values = field(default_factory=dict)
    channels: tuple[str, ...] = ()
    packages: tuple[LockedPackage, ...] = ()
    activation: tuple[ScriptRecord, ...] | None = None
    programs: int = 0
    inputs: tuple[str, ...] = ()
    image: ImageRecord
    read_first: int = 0
    tree: TreeSize = field(default_factory=TreeSize)


class NoInstallation(PrefixError):
    """There is no manifest, or it cannot be read."""


# -- writing -------------------------------------------------------------------------------------
def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write a manifest, and the values of its variables beside it."""
    path.write_text(manifest_text(manifest))
    if text := values_text(manifest):
        path.with_name(layout.VARIABLES).write_text(text)


def manifest_text(manifest: Manifest) -> str:
    """A manifest as text, without the values of its variables."""
    return public_url(json.dumps(as_json(manifest), indent=1)) + "\n"


def as_json(manifest: Manifest) -> dict[str, object]:
    """A manifest as the value of a JSON text, with the names of its variables only."""
    data = json.loads(json.dumps(asdict(manifest), default=str))
    data |= {key: list(data[key]) for key in _VALUES}
    gone = {key for key in _NOT_ALWAYS if not (data[key] or _counts(manifest, key))}
    gone |= {"activation"} if manifest.activation is None else set()
    return {key: value for key, value in data.items() if key not in gone}


def _counts(manifest: Manifest, key: str) -> bool:
    """Whether a key belongs to this kind of manifest also where its value is an empty one."""
    of_sif = key in ("flatten", "os_packages", "foreign", "labels") and bool(manifest.form)
    of_pip = key == "system_site_packages" and manifest.interpreter is not None
    return of_sif or of_pip or (key == "mask" and bool(manifest.source))


def values_text(manifest: Manifest) -> str:
    """The values of its variables as text, empty where it has none."""
    values = {key: found for key in _VALUES if (found := getattr(manifest, key))}
    return json.dumps(values, indent=1) + "\n" if values else ""


# -- reading -------------------------------------------------------------------------------------
def read_manifest(prefix: Path) -> Manifest:
    """The manifest of the generation in use.

    :raises NoInstallation: ``prefix`` is none. :raises PrefixError: it is of a newer format.
    """
    return load_manifest(prefix / layout.CURRENT / layout.MANIFEST, prefix)


def load_manifest(path: Path, prefix: Path) -> Manifest:
    """The manifest in the file ``path`` of the installation ``prefix``; raises as above."""
    return parse_manifest(_text(path), prefix, values=_text(path.with_name(layout.VARIABLES)))


def _text(path: Path) -> str:
    """What is in a file, nothing where it cannot be read."""
    try:
        return foreign.read_bytes(path).decode("utf-8")
    except (OSError, ValueError):
        return ""


def parse_manifest(text: str, prefix: Path, *, values: str = "") -> Manifest:
    """A manifest from its text; ``prefix`` is whose it is; raises as above.

    :param values: of its variables. Where they are missing it keeps their names.
    """
    import msgspec

    try:
        data = foreign.parse_json(text)
        if not isinstance(data, dict):
            raise ValueError("no object")
        if (version := msgspec.convert(data.get("format"), int)) > FORMAT:
            raise _newer(data, prefix)
        found = _read_values(values)
        data |= {key: {**_names(data.get(key)), **found.get(key, {})} for key in _VALUES}
        return msgspec.convert({**data, "format": version}, Manifest, dec_hook=_path)
    except ValueError:
        raise no_installation(prefix) from None


def _newer(data: Mapping[str, object], prefix: Path) -> PrefixError:
    return PrefixError(
        f"{prefix.name} was made by a newer containerize ({data.get('tool')})",
        where=prefix,
        hint="update containerize",
    )


def _names(recorded: object) -> dict[str, object]:
    """A manifest's list of names; the first manifests had the values themselves."""
    if isinstance(recorded, list):
        return {str(name): None for name in recorded}
    return recorded if isinstance(recorded, dict) else {}


def _path(kind: type, value: object) -> object:
    """What JSON has no type for. :raises ValueError: it is something else."""
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise ValueError(f"no {kind.__name__}")


def _read_values(text: str) -> dict[str, dict[str, str]]:
    found = foreign.json_object(text)
    return {
        key: {str(name): str(value) for name, value in values.items()}
        for key in _VALUES
        if isinstance(values := found.get(key), dict)
    }


def no_installation(prefix: Path) -> NoInstallation:
    """The error where ``prefix`` is none, with what it is instead as far as that can be seen."""
    hint = "name a prefix made by 'new', and check that you may read it"
    above, name = prefix.absolute().parent, shlex.quote(str(prefix))
    if not os.path.lexists(prefix):
        hint = "there is no such directory: check the spelling"
    elif os.path.isfile(prefix):  # noqa: PTH113 - false, not raised, where we may not look
        hint = f"it is a file; of an image of 'build': containerize inspect {name}"
    elif os.path.islink(prefix / layout.CURRENT):  # noqa: PTH114
        hint = f"see what is wrong: containerize doctor {name}"
    elif os.path.isfile(prefix / layout.COMMON):  # noqa: PTH113
        hint = f"if Tykky made it: containerize adopt {name}"
    elif os.path.isfile(above / layout.CURRENT / layout.MANIFEST):  # noqa: PTH113
        hint = f"it is a part of one: name {above}"
    return NoInstallation(
        f"{prefix} is no installation of containerize, or a damaged one", where=prefix, hint=hint
    )
