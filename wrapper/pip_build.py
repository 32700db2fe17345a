"""Building a virtual environment for the Python on PATH, from pip requirements."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wrapper import process
from wrapper.build import Build
from wrapper.container import BuildContainer
from wrapper.errors import ToolError
from wrapper.models import LockedPackage

_OLDEST = (3, 7)  # first with hash-based .pyc


@dataclass(frozen=True, kw_only=True)
class Interpreter:
    """A Python on the host: the path by which it was found, and its version."""

    path: Path
    version: str


@dataclass(kw_only=True)
class PipBuild(Build):
    """:ivar interpreter: of the host; it stays there and is used by its path.

    :ivar locked: packages of a lock. :ivar system_site: whether the interpreter's own packages
        (Cray's numpy and mpi4py) are seen.
    """

    kind = "pip"
    interpreter: Interpreter
    locked: tuple[LockedPackage, ...] = ()
    system_site: bool = False

    def populate(self, container: BuildContainer) -> None:
        if self.previous is None:
            options = ["--without-pip"]
            options += ["--system-site-packages"] if self.system_site else []
            with self.console.step(f"Making a virtual environment of Python {self.version}"):
                container.run(
                    [str(self.interpreter.path), "-m", "venv", *options, self.install_path],
                    what=f"making a virtual environment with {self.interpreter.path}",
                )
        self.install_pip(container, self.locked)

    def known_pip(self) -> list[LockedPackage]:
        return [*super().known_pip(), *self.locked]

    @property
    def version(self) -> str:
        return self.interpreter.version

    def own_variables(self) -> dict[str, str]:
        return {"VIRTUAL_ENV": self.install_path}

    def required_program(self) -> str:
        return str(self.interpreter.path)

    def write_lock(self, packages: Sequence[LockedPackage]) -> None:
        from wrapper.spec.requirements import write_requirements_lock

        write_requirements_lock(packages, self.staging.directory / "requirements.lock")
        # The prefix is a virtual environment too: bin/python3 finds its packages by this file.
        shutil.copyfile(self.tree / "pyvenv.cfg", self.staging.directory / "pyvenv.cfg")

    def own_facts(self) -> dict[str, Any]:
        return {
            "interpreter": {"path": str(self.interpreter.path), "version": self.version},
            "system_site_packages": self.system_site,
        }


def find_interpreter(environ: Mapping[str, str]) -> Interpreter:
    """The first ``python3`` (or ``python``) on PATH, but for the one that runs containerize.

    :raises ToolError: there is none, it is too old, or it is itself a wrapped program.
    """
    own = Path(sys.prefix) / "bin"
    search = os.pathsep.join(
        folder
        for folder in environ.get("PATH", "").split(os.pathsep)
        if folder and Path(folder).absolute() != own
    )
    found = shutil.which("python3", path=search) or shutil.which("python", path=search)
    if not found:
        raise ToolError("no python3 on PATH", hint="load the module of the Python to build on")
    path = Path(found).absolute()
    if (path.parent.parent / "current" / "env").exists():
        raise ToolError(
            "the Python on PATH is itself a wrapped program, which cannot be built on",
            where=path,
            hint="take that installation's bin directory out of PATH for the build",
        )
    code = "import sys; print(sys.executable); print('%d.%d.%d' % sys.version_info[:3])"
    answer = process.capture([path, "-c", code], env=process.base_environment(environ))
    executable, version = answer.split("\n")[:2]
    if tuple(map(int, version.split(".")[:2])) < _OLDEST:
        raise ToolError(f"Python {version} is too old", where=path, hint="use Python 3.7 or newer")
    return Interpreter(path=Path(executable), version=version)
