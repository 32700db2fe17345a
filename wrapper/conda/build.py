"""Building a conda environment: solve, fetch, link, pip."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from wrapper import installed, removal, trust, workspace
from wrapper.activation.record import conda_variables
from wrapper.console import Console, counted
from wrapper.container import BuildContainer
from wrapper.credentials import public_url
from wrapper.errors import InputError, SolveError
from wrapper.installation import Installation
from wrapper.models import (
    Base,
    EnvironmentSpec,
    LockedPackage,
    Request,
    Resolution,
)
from wrapper.packed import Packed
from wrapper.pip.interpreter import Interpreter, from_base
from wrapper.reuse.packages import BasePackage, conflict
from wrapper.reuse.python import connect, disconnect, make_environment, offer_programs
from wrapper.reuse.taken import Reuse

if TYPE_CHECKING:
    from rattler import PrefixRecord, RepoDataRecord

# Unpacked packages against their archives: measured 3.2 on numpy + scipy; and their .pyc.
UNPACKED_RATIO = 4.0
_COMPILED_RATIO = 0.8
_IMAGE_RATIO = 1.2


@dataclass(kw_only=True)
class CondaBuild(Installation):
    kind = "conda"
    resolution: Resolution | None = field(default=None, init=False)

    def prepare(self) -> None:
        """Solve. :raises InputError: the base has no glibc. :raises SolveError: no solution."""
        if self.base.virtual_packages.get("__glibc") == "":
            raise InputError(
                f"the base image {self.base.name} has no glibc, which conda's packages need",
                where=self.base.image,
                hint="choose an image of a common distribution, or pip-containerize",
            )
        self.resolution = self._solve()

    def take_changing(self) -> Packed | None:
        from wrapper.conda.install import split

        if self.resolution is None:
            return super().take_changing()
        old = installed.conda_records(self._old_records())
        staying, fresh = split(self.resolution.records, old)
        going = [record for record in old if record not in staying]
        # Another Python concerns all modules.
        new_python = any(record.name.normalized == "python" for record in (*going, *fresh))
        if new_python:
            return None
        shared = {str(file) for record in staying for file in record.files}
        gone = {str(file) for record in going for file in record.files} - shared
        return self.take(gone)

    def populate(self, container: BuildContainer) -> None:
        if self.reuse and self.previous is None:
            make_environment(container, self.reuse.python)
        disconnect(self.tree)
        archives = self._link(self.resolution) if self.resolution else []
        if self.reuse:
            connect(container, self.reuse.python, self.install_path)
        self._run_post_link(container, archives)
        self.install_pip(container, self._pip_locked())
        if self.reuse:
            offer_programs(container, self.reuse.python)

    def sizes(self) -> Mapping[str, int]:
        from wrapper.conda.resolve import sizes

        return sizes(self.resolution.records) if self.resolution else {}

    def known_pip(self) -> list[LockedPackage]:
        return [*super().known_pip(), *self._pip_locked()]

    def _pip_locked(self) -> tuple[LockedPackage, ...]:
        """Pip packages of locks: of the environment's, and of those that were given beside it."""
        of_environment = self.resolution.pip_locked if self.resolution else ()
        return (*of_environment, *self.inputs.locked)

    def channels(self) -> Sequence[str]:
        if self.resolution:
            return self.resolution.channels
        asked = self.inputs.environment
        named = self.request.channels or (asked.channels if asked else ())
        return named or super().channels()

    def advice(self) -> str:
        return (
            f"{super().advice()}\n\n"
            "To add packages for yourself, make a virtual environment on top of it:\n"
            f"{self.staging.prefix}/bin/python3 -m venv --system-site-packages VENV\n"
            "VENV/bin/pip install NAME"
        )

    def own_variables(self) -> dict[str, str]:
        return conda_variables(self.install_path)

    def python_below(self) -> Interpreter | None:
        return from_base(self.reuse.python, "") if self.reuse else None

    def write_lock(self, packages: Sequence[LockedPackage], left: Sequence[LockedPackage]) -> None:
        from wrapper.spec.lockfile import write_lock

        write_lock(
            packages,
            [public_url(url) for url in self.channels()],
            self.staging.directory / "conda-lock.yml",
            {name: value for name, value in self.variables.items() if name not in self.environ()},
            left,
        )
        if self.reuse:
            self.reuse.annotate(self.staging.directory / "conda-lock.yml")

    def _solve(self) -> Resolution | None:
        asked = self.inputs.environment
        if asked is None:  # an update that leaves the conda packages
            return None
        from wrapper.conda.resolve import as_locked

        if self.previous:
            self.unpack_previous(self.space.records, f"{self.install_path}/conda-meta")
        present = installed.conda_records(self._old_records())
        with self.console.step("Solving"):
            resolution = solve(
                asked,
                self.request,
                base=self.base,
                reuse=self.reuse,
                cache=self.space.cache,
                preferred=present,
                console=self.console,
            )
        if self.previous:
            self.resolution = resolution
            before = installed.conda_packages(self._old_records())
            self.tell_changes(before, [*map(as_locked, resolution.records)])
        return resolution

    def _old_records(self) -> Path:
        """A directory like the tree, with the old packages' records and nothing else."""
        return self.space.records / self.install_path.lstrip("/")

    def _check_room(self, download: int, *, fetched: bool = False) -> None:
        """Whether there is room for packages of so many bytes, ``fetched``: once unpacked."""
        ratio = _COMPILED_RATIO if fetched else 1 + UNPACKED_RATIO
        needed = round(download * ratio)
        workspace.require_space(self.space.root, needed, "the build", workspace.MORE_ROOM)
        workspace.require_space(
            self.staging.root,
            self.old("image", {"size": 0})["size"] + round(download * _IMAGE_RATIO),
            "the image",
            "free some space there, or choose another place",
        )

    def _link(self, resolution: Resolution) -> Sequence[RepoDataRecord]:
        """Fetch and link what is missing; returns it."""
        from wrapper.conda.fetch import fetch
        from wrapper.conda.install import link_packages, split
        from wrapper.conda.resolve import sizes

        present = installed.conda_records(self.tree)
        staying, fresh = split(resolution.records, present)
        self._check_room(sum(sizes(fresh).values()))
        number = counted(len(fresh), "package")
        with self.console.step(f"Fetching and checking {number}") as advance:
            archives = fetch(
                fresh, cache=self.space.cache, unpacked=self.space.unpacked, advance=advance
            )
        # A lock tells no sizes: now they are known.
        self._check_room(sum(archive.size or 0 for archive in archives), fetched=True)
        with self.console.step("Linking") as advance:
            link_packages(
                archives,
                staying=staying,
                installed=present,
                urls={record.name.normalized: public_url(record.url) for record in fresh},
                tree=self.tree,
                install_path=self.install_path,
                unpacked=self.space.unpacked,
                advance=advance,
                base=self.reuse.python.records if self.reuse else None,
            )
            # The tree's files then have one name each, and a .pyc is changed in place.
            removal.remove_tree(self.space.unpacked)
        return archives

    def _run_post_link(self, container: BuildContainer, archives: Sequence[RepoDataRecord]) -> None:
        from wrapper.scripts import post_link_jobs, run_post_link

        if post_link_jobs(self.tree, self.install_path, archives):
            self.unpack_rest()
        messages = run_post_link(container, archives)
        if messages:
            self.console.info(messages)


def solve(
    asked: EnvironmentSpec,
    request: Request,
    *,
    base: Base,
    reuse: Reuse | None,
    cache: Path,
    preferred: Sequence[PrefixRecord],
    console: Console,
) -> Resolution:
    """The packages of an environment, without those that the base has.

    :param preferred: records to keep where the request allows it. :param console: is told what they
        are trusted by, where that is little. :raises InputError: hashes are required and missing.
    :raises ContainerizeError: see :func:`wrapper.conda.resolve.resolve`.
    """
    from wrapper.conda.resolve import resolve

    pinned = installed.records_in(reuse.python.records) if reuse else []
    try:
        resolution = resolve(
            asked, cache=cache, base=base, site=request.site, preferred=preferred, pinned=pinned
        )
    except SolveError as error:
        fixed = re.findall(r"(\S+) (\S+) is locked", error.detail) if reuse else []
        if not fixed:
            raise
        packages = [BasePackage(name=name, version=version) for name, version in fixed]
        raise conflict(packages, error.detail) from None
    if reuse:
        resolution = _missing(resolution, reuse, pinned, asked.source)
    if request.require_hashes:
        trust.require_hashes(resolution.records, asked.source)
    for warning in trust.conda_warnings(resolution, locked=asked.locked is not None):
        console.warning(warning)
    return resolution


def _missing(
    resolution: Resolution, reuse: Reuse, pinned: Sequence[PrefixRecord], source: Path
) -> Resolution:
    """What is to be added to the base's packages; the others are taken from it.

    :raises SolveError: a lock has another version of one.
    """
    from wrapper.conda.install import split

    there = {record.name.normalized: record for record in pinned}
    taken, missing = split(resolution.records, pinned)
    for record in missing:
        name = record.name.normalized
        if other := there.get(name):
            package = BasePackage(name=name, version=f"{other.version} {other.build}")
            raise conflict([package], f"{source} has {name} {record.version} {record.build}")
    reuse.take_conda(record.name.normalized for record in taken)
    return replace(resolution, records=tuple(missing))
