"""Building a virtual environment from pip requirements, for a Python that is there or uv's."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wrapper import changes
from wrapper.activation.record import conda_variables
from wrapper.container import BuildContainer
from wrapper.installation import Installation
from wrapper.models import LockedPackage, NewPipRequest, Plan
from wrapper.pip.interpreter import (
    Interpreter,
    Outer,
    bring_interpreter,
    find_inside,
    find_interpreter,
    from_base,
    look_around,
    none_found,
    parse_version,
)
from wrapper.pip.outer import OuterPackages
from wrapper.reuse.packages import BasePython
from wrapper.reuse.python import connect, disconnect, make_environment, offer_programs

_PTH = "containerize-outer.pth"
UNPACKED_RATIO = 4.0  # wheels against what they become: measured 3.4 on numpy


@dataclass(kw_only=True)
class PipBuild(Installation):
    """:ivar interpreter: of the base; it stays there and is used by its path. ``None`` where the
    container of a base image is still to be asked, or uv to bring one.

    :ivar pyver: the version that is wanted, empty for any. :ivar managed: whether uv may bring it.
    :ivar system_site: whether the interpreter's own packages (Cray's numpy and mpi4py) are seen.
    """

    kind = "pip"
    interpreter: Interpreter | None = None
    pyver: str = ""
    managed: bool = False
    system_site: bool = False
    outer: OuterPackages = field(default_factory=OuterPackages, init=False)

    def may_leave_packed(self) -> bool:
        # The programs of a Python of uv's are links to other places of the tree.
        managed = self.interpreter is not None and self.interpreter.managed
        return super().may_leave_packed() and not managed

    def builds_inside(self) -> bool:
        return super().builds_inside() or not all(
            package.isolated for package in self.inputs.locked
        )

    def populate(self, container: BuildContainer) -> None:
        self.make_environment(container)
        self.install_pip(container, self.inputs.locked)
        if self.reuse:
            offer_programs(container, self.reuse.python)

    def make_environment(self, container: BuildContainer) -> None:
        """For a new installation an empty virtual environment, and a managed Python; in any case
        a look at what else it sees.
        """
        if self.reuse:
            self._make_on_base(container, self.reuse.python)
            return
        if self.interpreter is None and self.base.image:
            self.interpreter = find_inside(container, self.pyver, may_miss=self.managed)
        if self.interpreter is None:
            with self.console.step(f"Fetching Python {self.pyver}".rstrip()):
                self.interpreter = bring_interpreter(container, self.pyver)
        around = None
        if self.system_site and not self.python.managed:
            inside = container if self.base.image else None
            around = look_around(self.python, os.environ, inside)
            self.outer = around.packages
        if self.previous is None:
            with self.console.step(f"Making an environment of Python {self.python.version}"):
                self._make_venv(container, around)

    def _make_on_base(self, container: BuildContainer, base: BasePython) -> None:
        self.interpreter = from_base(base, self.pyver)
        if self.previous is None:
            with self.console.step(f"Making an environment of Python {base.version}"):
                make_environment(container, base)
        disconnect(self.tree)
        connect(container, base, base.conda.root if base.conda else "")

    def _make_venv(self, container: BuildContainer, around: Outer | None) -> None:
        # A venv of a venv sees the packages of the outer one's base, not the outer one's.
        sites = around.sites if around and around.is_venv else ()
        options = ["--system-site-packages"] if around and not sites else []
        container.run(
            [str(self.python.path), "-m", "venv", "--without-pip", *options, self.install_path],
            what=f"making a virtual environment with {self.python.path}",
        )
        if sites:
            site = next(container.tree.glob("lib/python3*/site-packages"))
            lines = [f"import site; site.addsitedir({path!r})\n" for path in sites]
            (site / _PTH).write_text("".join(lines))

    def plan(self) -> Plan:
        """What :meth:`run` would change; writes into the build directory only."""
        container = self.container()
        self.unpack()
        before = self.packages_before() or []
        self.look_at_base(container)
        self.make_environment(container)
        locked = self.reuse.missing(self.inputs.locked) if self.reuse else self.inputs.locked
        after = self.with_pip(self.pip_installer(container), before, locked)
        differences = changes.compare(before, after)
        download = sum(change.size for change in differences)
        return Plan(
            packages=tuple(sorted(after, key=lambda package: package.name)),
            changes=tuple(differences) if self.previous else None,
            sizes={},
            pip_lines=(),
            download_size=download,
            installed_size=round(download * UNPACKED_RATIO),
        )

    @property
    def python(self) -> Interpreter:
        """The interpreter, once it is known."""
        assert self.interpreter is not None, "uv has brought it by now"
        return self.interpreter

    def sees_user_site(self) -> bool:
        return self.system_site  # as in every virtual environment, and in Tykky's

    def python_below(self) -> Interpreter:
        return self.python

    def pip_installer(self, container: BuildContainer) -> Any:
        installer = super().pip_installer(container)
        installer.outer = self.outer
        return installer

    def known_pip(self) -> list[LockedPackage]:
        return [*super().known_pip(), *self.inputs.locked]

    def own_variables(self) -> dict[str, str]:
        # No VIRTUAL_ENV: pipenv, poetry and uv would take the image for the project's environment.
        conda = self.reuse.python.conda if self.reuse else None
        return conda_variables(conda.root) if conda else {}

    def required_program(self) -> str:
        return "" if self._is_inside else str(self.python.path)

    def required_library(self) -> str:
        return "" if self._is_inside else str(self.python.library)

    @property
    def _is_inside(self) -> bool:
        """Whether the Python is a part of the image, or of the base image."""
        return self.python.managed or bool(self.base.image)

    def can_be_locked(self, package: LockedPackage) -> bool:
        from wrapper.spec.pip_lock import can_be_locked

        return can_be_locked(package)

    def write_lock(self, packages: Sequence[LockedPackage], left: Sequence[LockedPackage]) -> None:
        from wrapper.spec.pip_lock import write_requirements_lock

        lock = self.staging.directory / "requirements.lock"
        write_requirements_lock(packages, lock, left)
        if self.reuse:
            self.reuse.annotate(lock)

    def own_facts(self) -> dict[str, Any]:
        return {
            "interpreter": self.python.as_record(),
            "system_site_packages": self.system_site,
        }


def choose_python(request: NewPipRequest) -> dict[str, Any]:
    """Fields of a :class:`PipBuild`: a Python on PATH, or the version that uv is to bring.

    :raises ToolError: no Python on PATH fits, and uv may not bring one.
    """
    version = parse_version(request.pyver) if request.pyver else ""
    wanted: dict[str, Any] = {"pyver": version, "managed": request.managed}
    wanted["system_site"] = request.system_site
    if request.base_image:
        return wanted  # its container is asked
    found = find_interpreter(os.environ, version)
    if found is None and not request.managed:
        raise none_found(os.environ, version)
    return {"interpreter": found, **wanted}


def recorded(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a :class:`PipBuild` that an update keeps."""
    return {
        "interpreter": Interpreter.from_record(manifest["interpreter"]),
        "system_site": manifest["system_site_packages"],
    }
