"""What is in an image: system, C library, ROCm, Pythons, conda, MPI, libfabric, environment.

Everything is read from files (see :mod:`wrapper.images.tree`), once per digest.
"""

from __future__ import annotations

import contextlib
import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import msgspec

from wrapper import microarch, runscripts
from wrapper.base.find import BaseImage
from wrapper.console import Console
from wrapper.images.format import require_architecture
from wrapper.images.software import (
    RUNSCRIPT,
    find_entry_point,
    find_libfabric,
    find_mpi,
    find_pythons,
)
from wrapper.images.store import images_directory
from wrapper.images.tree import ImageTree, read_tree
from wrapper.util import foreign
from wrapper.util.cache import Memo

_FACTS_VERSION = 5  # raised where the same image would be described differently
_LIBRARIES = r"(?:/usr)?/lib(?:64|/[a-z0-9_]+-linux-gnu)?"
_MANAGERS = ("zypper", "apt-get", "dnf", "microdnf", "apk")
# `export NAME="value"`, and how images from OCI registries have it: NAME="${NAME:-"value"}".
_EXPORT = re.compile(r"""^\s*export (\w+)=(?:"\$\{\1:-)?(["'])(.*?)\2(?:\}")?\s*$""", re.M)


@dataclass(frozen=True, kw_only=True)
class ImageFacts:
    """What an image holds; texts are empty and tuples too where there is none of it.

    :ivar os_id: ``ID`` of os-release (``debian``, ``opensuse-leap``). :ivar os_name: its
        ``PRETTY_NAME``. :ivar libc: ``glibc`` or ``musl``. :ivar level: of x86-64 processors,
        without which that does not start. :ivar gpu: AMD architectures that it names (``gfx90a``).
    :ivar pythons: path inside -> version, the one on PATH first.
    :ivar condas: roots of conda installations (with a ``conda`` program). :ivar environments: roots
        of conda environments, those included. :ivar venvs: roots of virtual environments.
    :ivar mpi: ``MPICH`` or ``Open MPI``. :ivar package_manager: ``zypper``, ``apt-get``, ``dnf``…
    :ivar environment: variables that its own files set, as far as they are plain assignments.
    :ivar entry_point: see :class:`wrapper.images.software.EntryPoint`; so ``no_entry_point``.
    :ivar runscripts: names in a ``/runscripts`` that is not of our making.
    :ivar runtime_files: whether it has what a runtime's build puts into ``/.singularity.d``.
    """

    os_id: str = ""
    os_version: str = ""
    os_name: str = ""
    libc: str = ""
    libc_version: str = ""
    architecture: str = ""
    level: int = 1
    rocm: str = ""
    cuda: str = ""
    gpu: tuple[str, ...] = ()
    pythons: Mapping[str, str] = field(default_factory=dict)
    condas: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()
    venvs: tuple[str, ...] = ()
    mpi: str = ""
    mpi_version: str = ""
    libfabric: str = ""
    libfabric_providers: tuple[str, ...] = ()
    bash: bool = False
    package_manager: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    entry_point: tuple[str, ...] = ()
    no_entry_point: str = ""
    runscripts: tuple[str, ...] = ()
    runtime_files: bool = False

    @property
    def glibc(self) -> str:
        """The version of its glibc, empty where it has another C library."""
        return self.libc_version if self.libc == "glibc" else ""

    def tell_entry_point(self, name: str, console: Console) -> None:
        """What shims make of it. :param name: of the image."""
        if self.entry_point:
            words = shlex.join(self.entry_point)
            console.info(f"programs start as 'run' of {name} starts them, by {words}")
        if self.no_entry_point:
            console.warning(
                f"programs start as 'exec' of {name} starts them, without what 'run' does before: "
                f"{self.no_entry_point}"
            )

    def tell_run(self, name: str, console: Console) -> None:
        """What ``run`` of a SIF on the image makes of it, which has a runscript of ours."""
        if self.entry_point == (RUNSCRIPT,):
            console.warning(f"'run' does not do what the runscript of {name} does before a program")
        elif self.entry_point:
            words = shlex.join(self.entry_point)
            console.info(f"'run' starts programs by {words}, as with {name}; 'exec' does not")
        if self.no_entry_point:
            console.warning(f"'run' does not do what it does with {name}: {self.no_entry_point}")


def inspect_image(
    image: BaseImage,
    *,
    unsquashfs: Path,
    scratch: Path,
    cache: Path | None,
    console: Console,
    tree: ImageTree | None = None,
) -> ImageFacts:
    """The facts of an image, from the cache where it was looked into before.

    :param unsquashfs: the program. :param scratch: a directory for files that are looked at.
    :param cache: the user's cache directory. :param tree: of the image, where it was listed.
    :raises PackageError: it is damaged. :raises InputError: it is for other machines.
    """
    known = Memo(directory=images_directory(cache) / "facts" if cache and image.digest else None)
    key = f"{image.digest} {_FACTS_VERSION}"
    if data := known.recall(key):
        with contextlib.suppress(ValueError):  # a damaged entry counts as none
            return msgspec.convert(data, ImageFacts)
    with console.step(f"Looking into {image.path.name}"):
        tree = tree or read_tree(
            image.path,
            unsquashfs=unsquashfs,
            scratch=scratch,
            console=console,
            format=image.format,
        )
        facts = read_facts(tree)
    require_architecture(facts.architecture, image.path)
    known.remember(key, asdict(facts))
    return facts


def read_facts(tree: ImageTree) -> ImageFacts:
    """The facts of an image that was listed."""
    release = _assignments(tree.text("/etc/os-release") or tree.text("/usr/lib/os-release"))
    environment = _environment(tree)
    packages = _packages(tree)
    libc, libc_version, architecture, level = _libc(tree, packages)
    mpi, mpi_version = find_mpi(tree, packages)
    libfabric, providers = find_libfabric(tree, packages)
    environments = _directories_with(tree, "conda-meta/history")
    rocm = _rocm(tree)
    entry_point = find_entry_point(tree, environment)
    return ImageFacts(
        os_id=release.get("ID", ""),
        os_version=release.get("VERSION_ID", ""),
        os_name=release.get("PRETTY_NAME", ""),
        libc=libc,
        libc_version=libc_version,
        architecture=architecture or tree.format.architecture,
        level=level,
        rocm=rocm,
        cuda="" if rocm else environment.get("CUDA_VERSION", ""),
        gpu=_gpu(tree, environment) if rocm else (),
        pythons=find_pythons(tree, environment.get("PATH", "")),
        condas=tuple(root for root in environments if tree.is_program(f"{root}/bin/conda")),
        environments=tuple(environments),
        venvs=tuple(_directories_with(tree, "pyvenv.cfg")),
        mpi=mpi,
        mpi_version=mpi_version,
        libfabric=libfabric,
        libfabric_providers=providers,
        bash=tree.is_program("/bin/bash"),
        package_manager=next((m for m in _MANAGERS if tree.is_program(f"/usr/bin/{m}")), "")
        or ("apk" if tree.is_program("/sbin/apk") else ""),
        environment=environment,
        labels=_labels(tree),
        entry_point=entry_point.words,
        no_entry_point=entry_point.why_not,
        runscripts=runscripts.of_image(tree),
        runtime_files="/.singularity.d/actions" in tree.modes,
    )


def _directories_with(tree: ImageTree, name: str) -> list[str]:
    """Directories in which there is a file ``name``."""
    return [path.removesuffix(f"/{name}") for path in tree.matching(rf"/.*/{re.escape(name)}")]


def _assignments(text: str) -> dict[str, str]:
    """os-release(5): shell-like assignments, values perhaps in quotes."""
    pairs = re.findall(r"""^(\w+)=(["']?)(.*)\2$""", text, re.M)
    return {name: value for name, _, value in pairs}


def _environment(tree: ImageTree) -> dict[str, str]:
    """Plain exports of the image's own scripts, in the order in which a runtime sources them.

    The runtime's own scripts hold conditions, no plain values that matter here.
    """
    scripts = tree.matching(r"/\.singularity\.d/env/(?!01-|9[59]-)[^/]*\.sh")
    contents = tree.read(scripts)
    found: dict[str, str] = {}
    for script in scripts:
        text = contents.get(script, b"").decode("utf-8", "replace")
        for name, quote, value in _EXPORT.findall(text):
            found[name] = re.sub(r'\\(["\\$`])', r"\1", value) if quote == '"' else value
    return found


def _labels(tree: ImageTree) -> dict[str, str]:
    labels = foreign.json_object(tree.text("/.singularity.d/labels.json"))
    return {name: str(value) for name, value in labels.items()}


def _packages(tree: ImageTree) -> dict[str, str]:
    """Versions of the distribution's packages, where dpkg or apk has them in a text file.

    (rpm's database is binary; what is asked of it is found in other ways below.)
    """
    dpkg = tree.text("/var/lib/dpkg/status")
    found = {}
    for block in dpkg.split("\n\n"):
        if name := re.search(r"^Package: (\S+)", block, re.M):
            version = re.search(r"^Version: (?:\d+:)?([^\s-]+)", block, re.M)
            found[name[1]] = version[1] if version else ""
    apk = tree.text("/lib/apk/db/installed")
    found |= dict(re.findall(r"^P:(\S+)\nV:([^\s-]+)", apk, re.M))
    return found


def _libc(tree: ImageTree, packages: Mapping[str, str]) -> tuple[str, str, str, int]:
    """Kind and version of the C library, the architecture it is for, and the level of that.

    glibc says its version in a text that ``libc.so.6`` prints where it is run as a program.
    """
    musl = tree.matching(r"(?:/usr)?/lib/ld-musl-(\w+)\.so\.1")
    glibc = tree.matching(rf"{_LIBRARIES}/libc\.so\.6")
    if glibc:
        content = next(iter(tree.read(glibc[:1]).values()), b"")
        match = re.search(rb"GNU C Library [^\n]* version (\d+\.\d+)", content)
        version = match[1].decode() if match else ""
        return "glibc", version, _machine(content), microarch.of_library(content)
    if musl:
        content = next(iter(tree.read(musl[:1]).values()), b"")
        match = re.search(rb"\0(1\.\d+\.\d+)\0", content)
        version = packages.get("musl", "") or (match[1].decode() if match else "")
        return "musl", version, _machine(content), 1
    return "", "", "", 1


def _machine(content: bytes) -> str:
    """The architecture of an ELF file: elf(5), ``e_machine``."""
    names = {3: "i386", 40: "arm", 62: "x86_64", 183: "aarch64", 21: "ppc64le", 22: "s390x"}
    number = int.from_bytes(content[18:20], "little") if content[:4] == b"\x7fELF" else 0
    return names.get(number, "")


def _rocm(tree: ImageTree) -> str:
    """``/opt/rocm/.info/version`` of AMD's packages: ``6.2.4-134``."""
    folders = ["/opt/rocm", *reversed(tree.matching(r"/opt/rocm-[^/]*"))]
    for folder in folders:
        for name in ("version", "version-dev"):
            if match := re.match(r"\d+(\.\d+)+", tree.text(f"{folder}/.info/{name}")):
                return match[0]
    return ""


def _gpu(tree: ImageTree, environment: Mapping[str, str]) -> tuple[str, ...]:
    """GPU architectures: told by the image, else those that rocBLAS or MIOpen has kernels for."""
    told = " ".join(environment.get(name, "") for name in ("PYTORCH_ROCM_ARCH", "ROCM_ARCH"))
    text = told if told.strip() else "\n".join(tree.matching(r".*/(?:rocblas|miopen)/.*gfx.*"))
    return tuple(sorted(set(re.findall(r"gfx[0-9a-f]{3,4}", text))))
