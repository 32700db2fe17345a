"""What a request's files say: every one is read once, and checked, before anything is made."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from wrapper import inputs as spec
from wrapper import layout, shimmed_programs, trust
from wrapper.base_python.packages import LOCK_NOTE
from wrapper.conda.channels import DEFAULTS, choose
from wrapper.console import Console
from wrapper.errors import InputError, PrefixError, ToolError
from wrapper.inputs.files import InputFile, InputFiles, encoding_of
from wrapper.inputs.kinds import refuse_condas, refuse_others
from wrapper.inputs.left_out import left_out, require_left_out
from wrapper.inputs.pip_lock import parse_requirements_lock
from wrapper.inputs.project import FILE_NAME as PROJECT
from wrapper.inputs.project import passed_over, project_lines
from wrapper.inputs.pylock import PyLock, is_pylock, is_uv_lock, parse_pylock
from wrapper.inputs.requirements import (
    NO_ISOLATION,
    REQUIRE_HASHES,
    Requirements,
    read_requirements,
    repositories,
)
from wrapper.inputs.tykky import ToolFile, parse_tool
from wrapper.inputs.variables import parse_variables
from wrapper.manifest import Manifest, Values
from wrapper.models import EnvironmentSpec
from wrapper.packages import LockedPackage
from wrapper.pip.config import uv_settings
from wrapper.pip.uv_lock import as_pylock
from wrapper.requests import (
    NewPipRequest,
    R,
    Request,
    SifRequest,
    UpdatePipRequest,
    UpdateRequest,
    WrapContainerRequest,
)

_PROJECTS = (PROJECT, "uv.lock")
_NO_SHELL = re.compile(
    r"#!.*[/ \t]((?:python|pypy|perl|ruby|Rscript|node|lua|julia|t?csh|fish)[\d.]*)(?!\S)"
)
_HEAD = 500  # characters of a lock in which it is said what it is


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """All that the files of a request say.

    :ivar environment: with the channels to search; ``None`` without an environment file.
    :ivar requirements: what pip is to install, :ivar pip_lines: the same as it was written.
    :ivar locked: pip packages of locks, to be installed as they are. :ivar left_out: packages that
        these locks say they lack, and that have to come from elsewhere: canonical name ->
        ``NAME==VERSION``.
    :ivar variables: to be set at run time, :ivar environ: those of them from ``--environ``.
    :ivar pre_install: scripts, in order; so :ivar post_install:. :ivar files: all that was read.
    """

    environment: EnvironmentSpec | None = None
    requirements: Requirements = field(default_factory=Requirements)
    pip_lines: tuple[str, ...] = ()
    locked: tuple[LockedPackage, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)
    pre_install: tuple[InputFile, ...] = ()
    post_install: tuple[InputFile, ...] = ()
    files: tuple[InputFile, ...] = ()

    @property
    def directory(self) -> Path:
        """Where relative paths start that neither requirements nor scripts are part of."""
        return self.environment.directory.absolute() if self.environment else Path.cwd()


def read_tool(path: Path | None, modes: Sequence[str], console: Console) -> ToolFile:
    """Read a tool's file in Tykky's format, an empty one where there is none.

    :param modes: those that the command can do. :raises InputError: it is for another command.
    """
    if path is None:
        return ToolFile()
    tool = parse_tool(spec.read_text(path), path, modes)
    for warning in tool.warnings:
        console.warning(warning)
    return tool


def completed(request: R, tool: ToolFile) -> R:
    """The request with what a tool's file adds; the command line has the last word."""
    files = [tool.requirements] if tool.requirements else []
    request = replace(
        request,
        wrapper_paths=_with_more(request.wrapper_paths, tool),
        variables=tool.variables,
        requirements=(*request.requirements, *files),
        environment=request.environment or tool.environment,
        pre_install=(*tool.pre_install, *request.pre_install),
        post_install=(*tool.post_install, *request.post_install),
    )
    if isinstance(request, NewPipRequest):
        return replace(request, system_site=request.system_site or tool.system_site)
    return request


def completed_container(request: WrapContainerRequest, tool: ToolFile) -> WrapContainerRequest:
    """The same for ``wrap-container``, which installs nothing."""
    paths = _with_more(request.wrapper_paths, tool)
    return replace(request, wrapper_paths=paths, variables=tool.variables)


def _with_more(paths: Sequence[str], tool: ToolFile) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*paths, *tool.wrapper_paths)))


def incomplete(tool_file: Path | None, what: str, line: str) -> InputError:
    """The error where a tool's file (``advanced``) lacks the ``line`` that says ``what``."""
    return InputError(f"the file does not say {what}", where=tool_file, hint=f"add '{line}'")


def require_something(request: Request) -> None:
    """:raises InputError: an update names nothing that it could change."""
    scripts = (*request.pre_install, *request.post_install)
    given = (*request.files, *scripts, *request.variables, *request.wrapper_paths)
    if not (given or request.compression or request.base_image or request.mpi or request.others):
        raise InputError(
            "nothing to do: the update names nothing that changes",
            where=request.prefix,
            hint="give a new environment or requirements file, a script, --environ or -w; "
            "to remove old generations: containerize prune",
        )


def read(request: Request | WrapContainerRequest, console: Console) -> Inputs:
    """Read and check every input file, and tell what there is to say about them.

    :raises InputError: one is missing or wrong. :raises ToolError: one needs git, which is missing.
    """
    reading = _Reading(console)
    if isinstance(request, WrapContainerRequest):
        return reading.result(request)
    shimmed_programs.check_wrapper_paths(request.wrapper_paths)
    _check_sections(request)
    reading.environment_file(request)
    for path in request.requirements:
        reading.requirements_file(path, request)
    reading.built_late(request.no_isolation)
    if request.require_hashes:
        reading.require_hashes()
    reading.require_left_out(request)
    reading.tell()
    return reading.result(request)


class _Reading:
    """The files of one request while they are read."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.files = InputFiles()
        self.environment: EnvironmentSpec | None = None
        self.requirements = Requirements()
        self._lines: list[str] = []
        self._locked: list[LockedPackage] = []
        self._left_out: dict[str, str] = {}

    def environment_file(self, request: Request) -> None:
        if request.environment is None:
            return
        file = self.files.take(request.environment, "env.yml")
        asked = spec.read_spec(request.environment, lambda _: file.text, request.platform)
        self._left_out |= left_out(file.text)
        if not file.lasts:
            asked = replace(asked, base=Path.cwd())
        for note in asked.notes:
            self._console.info(note)
        for warning in asked.warnings:
            self._console.warning(warning)
        self._add(asked.pip_lines, asked.directory, str(asked.source), asked.pip_places)
        self._lines += asked.pip_lines
        channels, said = choose(asked, request.channels, request.site)
        alone = asked.channels == (DEFAULTS,)  # packages come from elsewhere than the file says
        for note in said:
            (self._console.warning if alone else self._console.info)(note)
        self.environment = replace(asked, channels=channels)

    def requirements_file(self, path: Path, request: Request) -> None:
        """One of ``-r``: a lock of ours, a project's file, or requirements."""
        text = self.files.take(path, "requirements.txt").text
        refuse_others(text, path)
        refuse_condas(text, path)
        lock = parse_requirements_lock(text, path)
        if lock is not None:
            self._locked += lock
            self._left_out |= left_out(text)
            if any(package.url.startswith("git+") for package in lock):
                _check_git(str(path))
            return
        if is_uv_lock(text):
            text = as_pylock(text, path, request.extras, request.groups, self.files.text)
        if is_pylock(text):
            self._add_lock(parse_pylock(text, path, request.extras, request.groups))
            return
        lines = [f"-r {path.absolute()}"]
        if path.name == PROJECT:
            lines = [*project_lines(path, request.extras, request.groups, self.files.text)]
            if warning := passed_over(text):
                self.requirements.warnings.append(f"{path}: {warning}")
        self._add(lines, Path.cwd(), str(path))
        self._lines += lines

    def _add_lock(self, lock: PyLock) -> None:
        self.requirements.locks.append(lock)
        if lock.repositories:
            _check_git(lock.where)

    def built_late(self, names: Sequence[str]) -> None:
        """Packages that an option names: they are built against the others."""
        self._add([f"{NO_ISOLATION} {name}" for name in names], Path.cwd(), NO_ISOLATION)

    def require_hashes(self) -> None:
        """:raises InputError: a lock holds what has no hash."""
        self._add([REQUIRE_HASHES], Path.cwd(), REQUIRE_HASHES)
        without = [one.name for one in self._locked if not (one.sha256 or one.content)]
        without += [name for lock in self.requirements.locks for name in lock.without_hash]
        if without:
            raise InputError(
                f"hashes are required, and there is none of {', '.join(without)}",
                where=REQUIRE_HASHES,
                hint="name archives of these revisions, with their hashes",
            )

    def require_left_out(self, request: Request) -> None:
        """:raises PackageError: nothing can bring what a lock says it lacks."""
        before = isinstance(request, UpdateRequest | UpdatePipRequest) or (
            isinstance(request, SifRequest) and request.update
        )
        asked = self.requirements.packages
        nameless = self.requirements.remote or any(one.name is None for one in asked)
        if before or nameless or request.pre_install or request.post_install:
            return  # the finished tree will tell
        of_environment = (self.environment.locked or ()) if self.environment else ()
        there = {package.canonical for package in (*of_environment, *self._locked)}
        there |= {package["name"] for lock in self.requirements.locks for package in lock.packages}
        require_left_out(self._left_out, {*there, *(one.name for one in asked if one.name)})

    def _add(
        self, lines: Sequence[str], directory: Path, where: str, places: Sequence[str] = ()
    ) -> None:
        read_requirements(
            lines,
            directory.absolute(),
            where,
            places,
            read=self.files.text,
            found=self.requirements,
        )

    def tell(self) -> None:
        for note in self.requirements.notes:
            self._console.info(note)
        warnings = list(self.requirements.warnings)
        if self.requirements:
            settings = {**os.environ, **uv_settings(os.environ)}
            warnings += trust.pip_warnings(self.requirements, settings)
        for warning in warnings:
            self._console.warning(warning)
        for repository in repositories(self.requirements.packages)[:1]:
            _check_git(repository.where)

    def _script(self, what: str, given: Path | str) -> InputFile:
        """A script's file, or the lines of one that a tool's file holds itself."""
        if isinstance(given, Path):
            file = self.files.take(given, f"{what}.sh")
            _ = file.text  # raises where it is none
            if encoding_of(file.content)[1] != "utf-8":
                raise InputError(
                    f"{file.name} is not UTF-8 text, and bash reads no other",
                    where=given,
                    hint="save it as UTF-8",
                )
            _check_interpreter(file)
            return file
        path = Path.cwd() / f"{what}.sh"
        return InputFile(path=path, content=given.encode(), name=path.name, mode=0o600)

    def _scripts(self, what: str, given: Sequence[Path | str]) -> tuple[InputFile, ...]:
        """Files as they are, lines between them as scripts of their own."""
        found: list[InputFile] = []
        for inline, group in itertools.groupby(given, key=lambda one: isinstance(one, str)):
            entries = list(group)
            if inline:
                entries = ["".join(f"{line}\n" for line in entries)]
            found += [self._script(what, entry) for entry in entries]
        return tuple(found)

    def result(self, request: Request | WrapContainerRequest) -> Inputs:
        pre: tuple[InputFile, ...] = ()
        post = pre
        if isinstance(request, Request):
            pre = self._scripts("pre-install", request.pre_install)
            post = self._scripts("post-install", request.post_install)
        environ = dict(request.variables)
        if request.environ:
            file = self.files.take(request.environ, "environ")
            environ |= parse_variables(file.text, request.environ)
            if file.lasts and not file.mode & (stat.S_IRGRP | stat.S_IROTH):
                self._console.warning(
                    f"{request.environ} is closed to others, but whoever may use what is built can "
                    "read the values in it"
                )
        variables = self.environment.variables if self.environment else {}
        inline = [script for script in (*pre, *post) if script not in self.files.all]
        return Inputs(
            environment=self.environment,
            requirements=self.requirements,
            pip_lines=tuple(self._lines),
            locked=tuple(self._locked),
            left_out=self._left_out,
            variables={**variables, **environ},
            environ=environ,
            pre_install=pre,
            post_install=post,
            files=(*self.files.all, *inline),
        )


def _check_interpreter(script: InputFile) -> None:
    """:raises InputError: its first line asks for what reads another language."""
    if match := _NO_SHELL.match(script.text):
        raise InputError(
            f"{script.name} is run by bash, and asks for {match[1]}",
            where=f"{script.path}, line 1",
            hint=f"name a bash script that calls it: {match[1]} FILE",
        )


def _check_git(where: str) -> None:
    if not shutil.which("git"):
        raise ToolError(
            "a package comes from a git repository, and there is no git on PATH",
            where=where,
            hint="load the module that has it, or install git",
        )


def check_reuse(request: Request, inputs: Inputs) -> None:
    """Whether what is to be reused is named, for a new environment.

    :raises InputError: there is no base image, or a lock needs one whose packages are reused.
    """
    if request.reuse_base and not request.base_image:
        raise InputError(
            "--reuse-base needs a base image whose packages are to be reused",
            where="--reuse-base",
            hint="name it with --base-image",
        )
    for file in inputs.files:
        if not request.reuse_base and f"\n{LOCK_NOTE} " in file.text[:_HEAD]:
            raise InputError(
                f"{file.name} holds only what was added to the packages of a base image",
                where=file.path,
                hint="build with --base-image and --reuse-base; its first lines say on which",
            )


def merged_variables(
    request: UpdateRequest | UpdatePipRequest | SifRequest,
    inputs: Inputs,
    old: Manifest | None,
    console: Console,
) -> dict[str, str]:
    """Variables after an update: those of ``inputs``, and those of the manifest ``old`` that stay.

    A new env.yml says its variables anew, those of --environ files stay; a lock, and a list of
    packages, leave all in place.
    """
    before = _values(old, "variables")
    if inputs.environment is None or inputs.environment.locked is not None:
        return {**before, **inputs.variables}
    after = {**inputs.variables, **_values(old, "environ"), **inputs.environ}
    if gone := sorted(before.keys() - after.keys()):
        console.info(f"no longer set, {request.environment} does not name them: {', '.join(gone)}")
    return after


def _values(manifest: Manifest | None, key: Literal["variables", "environ"]) -> dict[str, str]:
    found: Values = getattr(manifest, key) if manifest else {}
    if lost := [name for name, value in found.items() if value is None]:
        raise PrefixError(
            f"the values of its variables have gone: {', '.join(lost)}",
            where=f"{manifest.prefix if manifest else ''}/current/{layout.VARIABLES}",
            hint="bring the file back, or go back to another generation with 'rollback'",
        )
    return {name: value for name, value in found.items() if value is not None}


def _check_sections(request: Request) -> None:
    """:raises InputError: a part of a project is asked for, and there is no project."""
    option = "--extra" if request.extras else "--group" if request.groups else ""
    names = {path.name for path in request.requirements}
    if option and not any(name in _PROJECTS or name.startswith("pylock.") for name in names):
        raise InputError(
            f"{option} names a part of a {PROJECT}, and none is given",
            where=option,
            hint=f"name its {PROJECT} or lock; in a requirements file write NAME[EXTRA]",
        )
