"""A virtual environment from pip requirements, for a Python that is there or uv's."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from wrapper import layout
from wrapper.activation.record import conda_variables
from wrapper.base_python.environment import connect, disconnect, make_environment, offer_programs
from wrapper.base_python.packages import BasePython
from wrapper.build.incremental import IncrementalTree
from wrapper.build.pip_packages import PipPackages
from wrapper.build.source import Source
from wrapper.inputs import pip_lock
from wrapper.manifest import Manifest
from wrapper.models import Interpreter
from wrapper.packages import LockedPackage
from wrapper.pip.interpreter import (
    Outer,
    OuterPackages,
    bring_interpreter,
    find_inside,
    find_interpreter,
    from_base,
    look_around,
    none_found,
    parse_version,
)
from wrapper.requests import NewPipRequest
from wrapper.runtime.container import BuildContainer

_PTH = "containerize-outer.pth"
UNPACKED_RATIO = 4.0  # wheels against what they become: measured 3.4 on numpy


@dataclass(frozen=True, kw_only=True)
class Python:
    """Which Python a virtual environment is for.

    :ivar found: it stays where it is and is used by its path. ``None`` where the container of a
        base image is still to be asked, or uv to bring one.
    :ivar version: that is wanted, empty for any. :ivar managed: whether uv may bring it.
    :ivar sees_outer: whether its own packages (Cray's numpy and mpi4py) are seen.
    """

    found: Interpreter | None = None
    version: str = ""
    managed: bool = False
    sees_outer: bool = False


def choose_python(request: NewPipRequest) -> Python:
    """A Python on PATH, or the version that uv is to bring.

    :raises ToolError: no Python on PATH fits, and uv may not bring one.
    """
    version = parse_version(request.pyver) if request.pyver else ""
    wanted = Python(version=version, managed=request.managed, sees_outer=request.system_site)
    if request.base_image:
        return wanted  # its container is asked
    found = find_interpreter(os.environ, version, sees_outer=request.system_site)
    if found is None and not request.managed:
        raise none_found(os.environ, version)
    return replace(wanted, found=found)


def recorded_python(manifest: Manifest) -> Python:
    """The one that an update keeps."""
    return Python(found=manifest.interpreter, sees_outer=manifest.system_site_packages)


@dataclass(kw_only=True)
class PipSource(Source):
    """:ivar chosen: what is known of the Python beforehand."""

    kind = "pip"
    chosen: Python
    _interpreter: Interpreter | None = field(default=None, init=False)
    _outer: OuterPackages = field(default_factory=OuterPackages, init=False)

    def __post_init__(self) -> None:
        self._interpreter = self.chosen.found

    @property
    def python(self) -> Interpreter:
        """The interpreter, once it is known."""
        assert self._interpreter is not None, "uv has brought it by now"
        return self._interpreter

    # -- the steps -------------------------------------------------------------------------------
    def leaves_packed(self) -> bool:
        # The programs of a Python of uv's are links to other places of the tree.
        managed = self._interpreter is not None and self._interpreter.managed
        isolated = all(package.isolated for package in self.context.inputs.locked)
        return super().leaves_packed() and isolated and not managed

    def populate(self, container: BuildContainer, tree: IncrementalTree) -> None:
        self.make_environment(container)
        self.pip(tree).install(container, self.known_pip(), self.sizes())
        if self.context.reuse:
            offer_programs(container, self.context.reuse.python)

    def make_environment(self, container: BuildContainer) -> None:
        """For a new installation an empty virtual environment, and a managed Python; in any case
        a look at what else it sees.
        """
        context = self.context
        if context.reuse:
            self._make_on_base(container, context.reuse.python)
            return
        if self._interpreter is None:
            self._interpreter = self._find_or_bring(container)
        around = None
        if self.chosen.sees_outer and not self.python.managed:
            inside = container if context.base.image else None
            around = look_around(self.python, os.environ, inside)
            self._outer = around.packages
        if context.previous is None:
            with context.console.step(f"Making an environment of Python {self.python.version}"):
                self._make_venv(container, around)

    def _find_or_bring(self, container: BuildContainer) -> Interpreter:
        version, managed = self.chosen.version, self.chosen.managed
        if self.context.base.image and (found := find_inside(container, version, may_miss=managed)):
            return found
        with self.context.console.step(f"Fetching Python {version}".rstrip()):
            return bring_interpreter(container, version)

    def _make_on_base(self, container: BuildContainer, base: BasePython) -> None:
        self._interpreter = from_base(base, self.chosen.version)
        if self.context.previous is None:
            with self.context.console.step(f"Making an environment of Python {base.version}"):
                make_environment(container, base)
        disconnect(self.context.tree)
        connect(container, base, base.conda.root if base.conda else "")

    def _make_venv(self, container: BuildContainer, around: Outer | None) -> None:
        # A venv of a venv sees the packages of the outer one's base, not the outer one's.
        sites = around.sites if around and around.is_venv else ()
        options = ["--system-site-packages"] if around and not sites else []
        place = self.context.install_path
        container.run(
            [str(self.python.path), "-m", "venv", "--without-pip", *options, place],
            what=f"making a virtual environment with {self.python.path}",
        )
        if sites:
            site = next(container.tree.glob("lib/python3*/site-packages"))
            lines = [f"import site; site.addsitedir({path!r})\n" for path in sites]
            (site / _PTH).write_text("".join(lines))

    def pip(self, tree: IncrementalTree) -> PipPackages:
        return PipPackages(context=self.context, tree=tree, outer=self._outer)

    # -- the record ------------------------------------------------------------------------------
    def can_be_locked(self, package: LockedPackage) -> bool:
        return pip_lock.can_be_locked(package)

    def write_lock(self, packages: Sequence[LockedPackage], left: Sequence[LockedPackage]) -> None:
        lock = self.context.place.directory / layout.PIP_LOCK
        pip_lock.write_requirements_lock(packages, lock, left)
        if self.context.reuse:
            self.context.reuse.annotate(lock)

    def recorded(self, manifest: Manifest) -> Manifest:
        outer = self.chosen.sees_outer
        return replace(manifest, interpreter=self.python, system_site_packages=outer)

    # -- what the target has to know -------------------------------------------------------------
    def own_variables(self) -> dict[str, str]:
        # No VIRTUAL_ENV: pipenv, poetry and uv would take the image for the project's environment.
        conda = self.context.reuse.python.conda if self.context.reuse else None
        return conda_variables(conda.root) if conda else {}

    def python_below(self) -> Interpreter:
        return self.python

    def required_program(self) -> str:
        return "" if self._is_inside else str(self.python.path)

    def required_library(self) -> str:
        return "" if self._is_inside else str(self.python.library)

    @property
    def _is_inside(self) -> bool:
        """Whether the Python is a part of the image, or of the base image."""
        return self.python.managed or bool(self.context.base.image)

    def sees_user_site(self) -> bool:
        return self.chosen.sees_outer  # as in every virtual environment, and in Tykky's
