"""MPI in a build: whose programs get, and what of the environment would come before it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from wrapper.base.built import Tools
from wrapper.build.gpu_builds import named
from wrapper.build.inputs import Inputs
from wrapper.console import Console
from wrapper.errors import InputError, ToolError
from wrapper.images.tree import read_tree
from wrapper.manifest import Manifest
from wrapper.models import Base, Site
from wrapper.mpi.abis import (
    HOST,
    NONE,
    OPEN_MPI,
    abi_of,
    packages_with_mpi,
    uses_mpi,
)
from wrapper.mpi.choice import BaseSystem, Choice, choose, of_container
from wrapper.mpi.files import InImage
from wrapper.packages import LockedPackage
from wrapper.requests import Request
from wrapper.site_profile import MpiPlaces

_WHY_NOT_OPEN_MPI = (
    "Open MPI cannot be replaced by this machine's MPICH (its ABI is another), and brings ways of "
    "its own to the network and to Slurm (UCX, PMIx), which have to fit the machine"
)
_INSTEAD_OF_OPEN_MPI = (
    "packages built for MPICH (conda: 'mpich', with builds mpi_mpich_*; pip: mpi4py's wheel alone)"
)
_WITHOUT_OWN = (
    "conda: ask for 'mpich=*=external_*' of the channel conda-forge/label/mpi-external; pip: leave "
    "the package out, mpi4py's wheel finds the machine's; or use it: --mpi container"
)


@dataclass(kw_only=True)
class BuildMpi:
    """Whose MPI the programs of a build get: known better as its packages become known.

    :ivar old: what is recorded of an installation that is updated. :ivar choice: as known by now.
    """

    request: Request
    old: Manifest | None
    base: Base
    tools: Tools
    choice: Choice = field(default_factory=Choice, init=False)
    _settled: set[str] = field(default_factory=set, init=False)  # names that were looked at

    def begin(self) -> None:
        """Take what was asked for, now or before. :raises ToolError: it cannot be had."""
        if kind := self.request.mpi or _before(self.old):
            self.choice = self._chosen(kind, asked=True)

    @property
    def _open_still(self) -> bool:
        return not (self.request.mpi or self.old or self.choice.by_site)

    def may_yield(self) -> bool:
        """Whether packages that are not known yet could come before the host's MPI."""
        default = self.request.site.mpi.default
        return (default if self._open_still else self.choice.kind) == HOST

    def settle(self, packages: Sequence[LockedPackage], own: Sequence[str] = ()) -> None:
        """Take what the site wants where MPI is in an environment of these packages, and what of
        it comes before the host's. Before any is fetched, and when all is installed: each package
        counts once.

        :param own: libraries of MPI in it, below its prefix.
        :raises InputError: the host's was asked for, and the environment's own comes before it.
        """
        choice, request = self.choice, self.request
        packages = [package for package in packages if package.canonical not in self._settled]
        self._settled.update(package.canonical for package in packages)
        if self._open_still and (own or uses_mpi(packages)):
            chosen = self._chosen(request.site.mpi.default, asked=False)
            choice = replace(chosen, by_site=True)
        given = judged(choice, packages, own, request, self.tools.console)
        self.choice = replace(given, by_site=choice.by_site)

    def _chosen(self, kind: str, *, asked: bool) -> Choice:
        def base() -> BaseSystem | None:
            image, tools = self.base.image, self.tools
            if image is None:
                return None
            files = image_files(
                image, tools.squasher.unsquashfs, tools.space.scratch, tools.console
            )
            glibc = self.base.virtual_packages.get("__glibc", "")
            return BaseSystem(files=files, name=str(image), glibc=glibc)

        return chosen(kind, self.request.site.mpi, base, self.tools.console, asked=asked)


def _before(old: Manifest | None) -> str:
    """Whose an update keeps; empty of what is new."""
    return (old.mpi.kind if old.mpi else NONE) if old else ""


def foreseen(inputs: Inputs, solved: Iterable[LockedPackage]) -> list[LockedPackage]:
    """Packages that are solved, and those that files name: of these only names."""
    known = {package.canonical: package for package in solved}
    for one in named(inputs):
        package = LockedPackage(manager="pip", name=one.name, version="", url="")
        known.setdefault(package.canonical, package)
    return [*known.values()]


def judged(
    choice: Choice,
    packages: Iterable[LockedPackage],
    own: Sequence[str],
    request: Request,
    console: Console,
) -> Choice:
    """The choice where packages hold an MPI: see :func:`yielding`. :param own: where it is."""
    asked, site = request.mpi, request.site
    if choice.kind == NONE:
        return choice
    held = packages_with_mpi(packages)
    open_mpi = [f"{package.name} {package.version}".rstrip() for package in held.get(OPEN_MPI, [])]
    names = [" ".join(f"{p.name} {p.version} ({p.manager})".split()) for p in held.get("MPICH", [])]
    inside = names or own
    if choice.kind == HOST and open_mpi and not inside:
        return yielding_to_open_mpi(open_mpi, asked, site, console)
    tell_open_mpi(open_mpi, console)
    return yielding(choice, inside, asked, site, console)


def judge_plan(
    packages: Sequence[LockedPackage], request: Request, old: Manifest | None, console: Console
) -> None:
    """Tell what a build would tell of packages that were solved; raises as that."""
    default = request.site.mpi.default if uses_mpi(packages) else NONE
    kind = request.mpi or _before(old) or default
    judged(Choice(kind=kind), packages, [], request, console)


def chosen(
    kind: str,
    places: MpiPlaces,
    base: Callable[[], BaseSystem | None],
    console: Console,
    *,
    asked: bool,
) -> Choice:
    """:param base: what it stands on, ``None`` for the host.

    :param asked: by the user: what only the site wants and this machine has not is told, and left.
    :raises ToolError: what was asked for cannot be had.
    """
    try:
        return choose(kind, places, os.environ, base() if kind == HOST else None)
    except ToolError as error:
        if asked:
            raise
        console.warning(f"{error.what} ({error.where}): programs get none of the host's")
        return Choice()


def image_files(image: Path, unsquashfs: Path, scratch: Path, console: Console) -> InImage:
    """An image, to be looked into for libraries and other files."""
    with console.step(f"Listing what is in {image.name}"):
        tree = read_tree(image, unsquashfs=unsquashfs, scratch=scratch, console=console)
    return InImage(tree=tree)


def yielding(
    choice: Choice, own: Sequence[str], asked: str | None, site: Site, console: Console
) -> Choice:
    """The choice where an MPI inside (``own``) would come before the host's: that one, then.

    :raises InputError: the host's was asked for.
    """
    if choice.kind != HOST or not own:
        return choice
    what = f"an MPI inside would come before this machine's: {', '.join(own)}"
    if asked:
        raise InputError(what, where="--mpi host", hint=f"do without it ({_WITHOUT_OWN})")
    console.warning(f"{what}. So it is used. Better do without it ({_WITHOUT_OWN})")
    return of_container(site.mpi)


def yielding_to_open_mpi(
    found: Sequence[str], asked: str | None, site: Site, console: Console
) -> Choice:
    """The choice where programs are for Open MPI alone (``found``): that one.

    :raises InputError: the host's was asked for.
    """
    if asked:
        raise InputError(
            f"{', '.join(found)}: {_WHY_NOT_OPEN_MPI}",
            where="--mpi host",
            hint=f"{_INSTEAD_OF_OPEN_MPI}; or use it: --mpi container",
        )
    tell_open_mpi(found, console)
    return of_container(site.mpi)


def tell_open_mpi(found: Iterable[str], console: Console) -> None:
    """Warn of one. :param found: what it is or where."""
    if names := ", ".join(found):
        console.warning(f"{names}: {_WHY_NOT_OPEN_MPI}. Instead: {_INSTEAD_OF_OPEN_MPI}")


def libraries_in(tree: Path) -> list[str]:
    """MPI's libraries in an environment, that of Open MPI left out; paths below it."""
    found = []
    for folder, _, names in os.walk(tree):
        for name in names:
            abi = abi_of(name) if name.startswith("libmpi") else None
            if abi and abi.name != OPEN_MPI:
                found.append(str(Path(folder, name).relative_to(tree)))
    return sorted(found)
