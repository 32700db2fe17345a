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
from wrapper.container import BuildContainer
from wrapper.errors import InputError, ScriptError, ToolError
from wrapper.installation import Installation
from wrapper.models import LockedPackage

_OLDEST = (3, 7)  # first with hash-based .pyc
_QUESTION = "import sys; print(sys.executable); print('%d.%d.%d' % sys.version_info[:3])"


@dataclass(frozen=True, kw_only=True)
class Interpreter:
    """A Python on the host: the path by which it was found, and its version."""

    path: Path
    version: str


@dataclass(kw_only=True)
class PipBuild(Installation):
    """:ivar interpreter: of the base; it stays there and is used by its path. ``None`` where the
    container of a base image is still to be asked.

    :ivar locked: packages of a lock. :ivar system_site: whether the interpreter's own packages
        (Cray's numpy and mpi4py) are seen.
    """

    kind = "pip"
    interpreter: Interpreter | None = None
    locked: tuple[LockedPackage, ...] = ()
    system_site: bool = False

    def populate(self, container: BuildContainer) -> None:
        if self.interpreter is None:
            self.interpreter = find_interpreter_inside(container)
        if self.previous is None:
            options = ["--without-pip"]
            options += ["--system-site-packages"] if self.system_site else []
            python = self.interpreter
            with self.console.step(f"Making a virtual environment of Python {python.version}"):
                container.run(
                    [str(python.path), "-m", "venv", *options, self.install_path],
                    what=f"making a virtual environment with {python.path}",
                )
        self.install_pip(container, self.locked)

    def known_pip(self) -> list[LockedPackage]:
        return [*super().known_pip(), *self.locked]

    def own_variables(self) -> dict[str, str]:
        return {"VIRTUAL_ENV": self.install_path}

    def required_program(self) -> str:
        return "" if self.base.image or not self.interpreter else str(self.interpreter.path)

    def write_lock(self, packages: Sequence[LockedPackage]) -> None:
        from wrapper.spec.requirements import write_requirements_lock

        write_requirements_lock(packages, self.staging.directory / "requirements.lock")
        # The prefix is a virtual environment too: bin/python3 finds its packages by this file.
        shutil.copyfile(self.tree / "pyvenv.cfg", self.staging.directory / "pyvenv.cfg")

    def own_facts(self) -> dict[str, Any]:
        python = self.interpreter
        assert python is not None
        return {
            "interpreter": {"path": str(python.path), "version": python.version},
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
    answer = process.capture([path, "-c", _QUESTION], env=process.base_environment(environ))
    return _interpreter(*answer.split("\n")[:2])


def find_interpreter_inside(container: BuildContainer) -> Interpreter:
    """The ``python3`` of a base image: what a user of the image gets by that name.

    :raises InputError: it has none, or too old a one.
    """
    answer: list[str] = []

    def on_line(line: str) -> bool:
        answer.append(line.rstrip("\n"))
        return True

    try:
        container.run(
            ["python3", "-c", _QUESTION],
            what="asking the base image for its Python",
            on_line=on_line,
        )
    except ScriptError as error:
        raise InputError(
            "the base image has no python3 on its PATH",
            where=container.image,
            hint="choose a base image with Python, or use conda-containerize, which brings its own",
            detail=error.detail,
        ) from None
    return _interpreter(*answer[-2:])


def _interpreter(executable: str, version: str) -> Interpreter:
    if tuple(map(int, version.split(".")[:2])) < _OLDEST:
        raise ToolError(
            f"Python {version} is too old", where=executable, hint="use Python 3.7 or newer"
        )
    return Interpreter(path=Path(executable), version=version)
