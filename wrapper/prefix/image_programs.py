"""Wrapping programs of an existing container: no image of ours, only shims into it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wrapper import process
from wrapper.console import Console
from wrapper.errors import InputError, ToolError
from wrapper.images.format import read_format
from wrapper.models import Environment
from wrapper.prefix.home import entries
from wrapper.process import ToolFailed
from wrapper.runtime.host_program import HOST_ROOT, host_program
from wrapper.runtime.runtime import Runtime
from wrapper.shimmed_programs import check_wrapper_paths, is_plain_name

AS_USERS_DO = '${WITH_CONDA-}; exec "$@"'
"""For bash, before a command: job scripts for LUMI's images have it. The variable holds what
activates their conda."""
_WHICH_PYTHON = "import sys; print('found:' + sys.executable)"
_SYSTEM = ("/bin", "/usr/bin")


def check_paths(paths: Sequence[str]) -> None:
    """:raises InputError: a ``-w`` path cannot be one inside an image."""
    check_wrapper_paths(paths)
    for path in paths:
        if not path.startswith("/"):
            raise InputError(
                f"'{path}' is not an absolute path",
                where="--wrapper-paths",
                hint="name paths inside the container: -w /opt/venv/bin",
            )


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What was found in an image.

    :ivar programs: name -> absolute path inside. :ivar venv: see
        :meth:`Looker.virtual_environment`. :ivar environment: see :meth:`Looker.environment`.
    """

    programs: Mapping[str, str]
    venv: str
    has_bash: bool
    environment: Environment | None


@dataclass(frozen=True, kw_only=True)
class Looker:
    """Looks for programs in an image, in a container of it.

    :ivar image: outside. :ivar scratch: for the runtime's temporary files.
    """

    image: Path
    runtime: Runtime
    scratch: Path
    console: Console

    def contents(self, paths: Sequence[str]) -> Contents:
        """What ``-w`` paths lead to, and what is around that; raises as :meth:`programs`."""
        programs = self.programs(paths)
        return Contents(
            programs=programs,
            venv=self.virtual_environment(programs),
            has_bash=self.has_bash(),
            environment=self.environment(programs),
        )

    def programs(self, paths: Sequence[str]) -> dict[str, str]:
        """Programs for ``-w`` paths, of whole directories where one is named.

        :param paths: absolute, inside the image; the first of two programs of one name counts.
        :returns: name -> absolute path inside. :raises InputError: a path is not in the image.
        :raises ToolError: no container starts.
        """
        found: dict[str, str] = {}
        for path in paths:
            listed = self._find(path, "-maxdepth", "1", "-type", "f", "-perm", "/111")
            if not listed:
                raise InputError(
                    f"'{path}' is no program and no directory with programs in the image",
                    where=self.image,
                    hint="paths are absolute inside the container: -w /opt/venv/bin",
                )
            for program in listed:
                name = program.rsplit("/", 1)[-1]
                if not is_plain_name(name):
                    self.console.warning(f"no shim for a program with such a name: {name!r}")
                elif name in found and found[name] != program:
                    self.console.warning(f"{name} is {found[name]}; {program} is left out")
                else:
                    found[name] = program
        return found

    def virtual_environment(self, programs: Mapping[str, str]) -> str:
        """The virtual environment that the wrapped Python belongs to, as ``/opt/venv`` in many
        images; empty where it is none's.
        """
        python = programs.get("python3") or programs.get("python")
        if not python:
            return ""
        root = str(Path(python).parent.parent)
        is_one = self._find(f"{root}/pyvenv.cfg", "-maxdepth", "0", "-type", "f")
        return root if is_one else ""

    def python_paths(self) -> tuple[str, ...]:
        """As a ``-w`` path: the programs beside the ``python3`` that a user of the image gets, or
        that one alone among those of the system.

        :raises InputError: there is none.
        """
        command = ["python3", "-c", _WHICH_PYTHON]
        if self.has_bash():
            command = ["/bin/bash", "-c", AS_USERS_DO, "bash", *command]
        found: list[str] = []
        try:
            self._run(command, found)
            (python,) = found
        except (ToolFailed, ValueError) as error:
            raise InputError(
                "the image has no python3 on its PATH",
                where=self.image,
                hint="name where it has one: -w /opt/venv/bin",
                detail=getattr(error, "detail", ""),
            ) from None
        folder = str(Path(python).parent)
        return (python if folder in _SYSTEM else folder,)

    def has_bash(self) -> bool:
        """Whether the image has the program that puts right what a runtime spoils of a call."""
        return bool(self._find("/bin/bash", "-maxdepth", "0", "-type", "f"))

    def environment(self, programs: Mapping[str, str]) -> Environment | None:
        """What the programs are in: the directory whose ``bin`` has them all, if there is one.

        (The system itself is none: its programs know where their files are.)
        """
        folders = {Path(path).parent for path in programs.values()}
        folder = folders.pop()
        root = folder.parent
        if folders or folder.name != "bin" or str(root) in ("/", "/usr", "/usr/local"):
            return None
        found = self._find(str(root), "-mindepth", "1", "-maxdepth", "1")
        return Environment(root=str(root), entries=entries(Path(path).name for path in found))

    def _find(self, *search: str) -> list[str]:
        """What find(1) finds in the image; nothing where the path is missing. It is the host's own:
        an image may have no shell.
        """
        found: list[str] = []
        try:
            self._run([*host_program("find"), "-L", *search, "-printf", "found:%p\\n"], found)
        except ToolFailed as error:
            if found or "No such file" not in error.detail:
                raise ToolError(
                    "the container cannot be started",
                    where=self.image,
                    hint=self._hint(),
                    detail=error.detail,
                ) from None
        return sorted(found)

    def _run(self, command: Sequence[str], found: list[str]) -> None:
        """Run a command in the image: what lines say after ``found:`` comes into that list.

        :raises ToolFailed: it fails.
        """

        def on_line(line: str) -> bool:
            text = line.rstrip("\n")
            if text.startswith("found:"):
                found.append(text.removeprefix("found:"))
            return text.startswith("found:")

        argv = self.runtime.exec_argv(self.image, [f"/:{HOST_ROOT}"], command)
        env = self.runtime.environment(self.scratch)
        process.run(argv, console=self.console, env=env, on_line=on_line)

    def _hint(self) -> str:
        if "zstd" not in read_format(self.image).compressors:
            return "is it an image that this runtime accepts?"
        word = shlex.quote(str(self.image))
        return f"it is compressed with zstd; one that starts everywhere: containerize repack {word}"
