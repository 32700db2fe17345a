"""Conda packages: solve, fetch, link, pip.

Only who builds such an environment imports this: rattler and conda-lock take their time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from wrapper import installed, layout
from wrapper.activation.record import conda_variables
from wrapper.base_python.environment import connect, disconnect, make_environment, offer_programs
from wrapper.build.incremental import IncrementalTree
from wrapper.build.scripts import post_link_jobs, run_post_link
from wrapper.build.source import Source
from wrapper.conda.channels import local_directories
from wrapper.conda.fetch import fetch
from wrapper.conda.install import link_packages, split
from wrapper.conda.resolve import as_locked, sizes
from wrapper.conda.solve import UNPACKED_RATIO, solve
from wrapper.console import counted
from wrapper.credentials import public_url
from wrapper.errors import InputError
from wrapper.inputs.lockfile import write_lock
from wrapper.models import EnvironmentSpec, Interpreter, Resolution
from wrapper.packages import LockedPackage
from wrapper.pip.interpreter import from_base
from wrapper.runtime.container import BuildContainer
from wrapper.util import disk, removal

if TYPE_CHECKING:
    from rattler import RepoDataRecord

_COMPILED_RATIO = 0.8  # .pyc of unpacked packages, against their archives
_IMAGE_RATIO = 1.2


@dataclass(kw_only=True)
class CondaSource(Source):
    """Packages that are solved or locked, and pip packages after them.

    :ivar resolution: what is to be there in the end; ``None`` in an update that leaves it.
    """

    kind = "conda"
    resolution: Resolution | None = field(default=None, init=False)

    # -- the steps -------------------------------------------------------------------------------
    def places(self) -> list[Path]:
        return local_directories(self.channels(), self.context.inputs.directory)

    def prepare(self, tree: IncrementalTree) -> None:
        """Solve. :raises InputError: the base has no glibc. :raises SolveError: no solution."""
        base, asked = self.context.base, self.context.inputs.environment
        if base.virtual_packages.get("__glibc") == "":
            raise InputError(
                f"the base image {base.name} has no glibc, which conda's packages need",
                where=base.image,
                hint="choose an image of a common distribution, or pip-containerize",
            )
        if asked:  # else an update leaves the conda packages
            self.resolution = self._solve(asked, tree)
        self._end_if_unchanged(tree)

    def _solve(self, asked: EnvironmentSpec, tree: IncrementalTree) -> Resolution:
        context = self.context
        if context.previous:
            tree.image.unpack_previous(context.space.records, f"{context.install_path}/conda-meta")
        with context.console.step("Solving"):
            resolution = solve(
                asked,
                context.request,
                base=context.base,
                reuse=context.reuse,
                cache=context.space.cache,
                preferred=installed.conda_records(self._old_records()),
                console=context.console,
            )
        if context.previous:
            before = installed.conda_packages(self._old_records())
            after = [*map(as_locked, resolution.records)]
            tree.tell_changes(before, after, sizes(resolution.records))
        return resolution

    def _end_if_unchanged(self, tree: IncrementalTree) -> None:
        """:raises Unchanged: what was solved is there, and pip is asked for nothing."""
        before = self.context.old.channels if self.context.old else ()
        if self.resolution and tuple(map(public_url, self.resolution.channels)) != before:
            tree.note_change()  # scripts and further updates take packages from other places
        if not self.pip(tree).asked(self.known_pip()):
            tree.end_if_unchanged()

    def _old_records(self) -> Path:
        """A directory like the tree, with the old packages' records and nothing else."""
        return self.context.space.records / self.context.install_path.lstrip("/")

    def gone(self, tree: IncrementalTree) -> set[str] | None:
        if self.resolution is None:
            return set()
        old = installed.conda_records(self._old_records())
        staying, fresh = split(self.resolution.records, old)
        going = [record for record in old if record not in staying]
        # Another Python concerns all modules.
        if any(record.name.normalized == "python" for record in (*going, *fresh)):
            return None
        shared = {str(file) for record in staying for file in record.files}
        return {str(file) for record in going for file in record.files} - shared

    def populate(self, container: BuildContainer, tree: IncrementalTree) -> None:
        context, reuse = self.context, self.context.reuse
        if reuse and context.previous is None:
            make_environment(container, reuse.python)
        disconnect(context.tree)
        archives = self._link(self.resolution) if self.resolution else []
        if reuse:
            connect(container, reuse.python, context.install_path)
        self._run_post_link(container, archives, tree)
        self.pip(tree).install(container, self.known_pip(), self.sizes())
        if reuse:
            offer_programs(container, reuse.python)

    def _check_room(self, download: int, *, fetched: bool = False) -> None:
        """Whether there is room for packages of so many bytes, ``fetched``: once unpacked."""
        context = self.context
        ratio = _COMPILED_RATIO if fetched else 1 + UNPACKED_RATIO
        needed = round(download * ratio)
        disk.require_space(context.space.root, needed, "the build", disk.MORE_ROOM)
        disk.require_space(
            context.place.root,
            (context.old.image.size if context.old else 0) + round(download * _IMAGE_RATIO),
            "the image",
            "free some space there, or choose another place",
        )

    def _link(self, resolution: Resolution) -> Sequence[RepoDataRecord]:
        """Fetch and link what is missing; returns it."""
        context, space = self.context, self.context.space
        present = installed.conda_records(context.tree)
        staying, fresh = split(resolution.records, present)
        self._check_room(sum(sizes(fresh).values()))
        number = counted(len(fresh), "package")
        with context.console.step(f"Fetching and checking {number}") as advance:
            archives = fetch(fresh, cache=space.cache, unpacked=space.unpacked, advance=advance)
        # A lock tells no sizes: now they are known.
        self._check_room(sum(archive.size or 0 for archive in archives), fetched=True)
        with context.console.step("Linking") as advance:
            link_packages(
                archives,
                staying=staying,
                installed=present,
                urls={record.name.normalized: public_url(record.url) for record in fresh},
                tree=context.tree,
                install_path=context.install_path,
                unpacked=space.unpacked,
                advance=advance,
                base=context.reuse.python.records if context.reuse else None,
            )
            # The tree's files then have one name each, and a .pyc is changed in place.
            removal.remove_tree(space.unpacked)
        return archives

    def _run_post_link(
        self,
        container: BuildContainer,
        archives: Sequence[RepoDataRecord],
        tree: IncrementalTree,
    ) -> None:
        if post_link_jobs(self.context.tree, self.context.install_path, archives):
            tree.unpack_rest()
        if messages := run_post_link(container, archives):
            self.context.console.info(messages)

    # -- the record ------------------------------------------------------------------------------
    def sizes(self) -> Mapping[str, int]:
        return sizes(self.resolution.records) if self.resolution else {}

    def known_pip(self) -> Sequence[LockedPackage]:
        """Those of locks: of the environment's, and of those that were given beside it."""
        of_environment = self.resolution.pip_locked if self.resolution else ()
        return (*of_environment, *super().known_pip())

    def solved(self) -> Sequence[LockedPackage]:
        records = self.resolution.records if self.resolution else ()
        return (*map(as_locked, records), *self.known_pip())

    def channels(self) -> Sequence[str]:
        if self.resolution:
            return self.resolution.channels
        asked = self.context.inputs.environment
        named = self.context.request.channels or (asked.channels if asked else ())
        return named or super().channels()

    def write_lock(self, packages: Sequence[LockedPackage], left: Sequence[LockedPackage]) -> None:
        context, lock = self.context, self.context.place.directory / layout.CONDA_LOCK
        environ = context.environ()
        variables = {name: it for name, it in context.variables.items() if name not in environ}
        channels = [public_url(url) for url in self.channels()]
        write_lock(packages, channels, lock, variables, left)
        if context.reuse:
            context.reuse.annotate(lock)

    # -- what the target has to know -------------------------------------------------------------
    def own_variables(self) -> dict[str, str]:
        return conda_variables(self.context.install_path)

    def python_below(self) -> Interpreter | None:
        return from_base(self.context.reuse.python, "") if self.context.reuse else None

    def advice(self) -> str:
        return (
            f"{super().advice()}\n\n"
            "To add packages for yourself, put them into a directory of yours on top of it:\n"
            f"containerize extend {self.context.place.prefix} --to MYDIR\n"
            "MYDIR/bin/pip install NAME"
        )
