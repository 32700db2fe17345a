"""What a request's files say: every one is read and checked before anything is made."""

from __future__ import annotations

import contextlib
import itertools
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from wrapper import removal, spec, tree, workspace
from wrapper.conda.channels import choose
from wrapper.console import Console
from wrapper.errors import InputError, ToolError
from wrapper.models import (
    EnvironmentSpec,
    LockedPackage,
    NewPipRequest,
    Request,
    SifRequest,
    Site,
    UpdatePipRequest,
    UpdateRequest,
    WrapContainerRequest,
)
from wrapper.reuse.packages import LOCK_NOTE
from wrapper.spec.kinds import refuse_condas
from wrapper.spec.pip_lock import parse_requirements_lock
from wrapper.spec.project import FILE_NAME as PROJECT
from wrapper.spec.project import project_lines
from wrapper.spec.requirements import NO_ISOLATION, read_requirements, repositories
from wrapper.spec.tykky import ToolFile, parse_tool

_HEAD = 500  # characters of a lock in which it is said what it is
_COPY_NAMES = {
    "environment": "env.yml",
    "environ": "environ",
    "requirements": "requirements.txt",
    "pre_install": "pre-install.sh",
    "post_install": "post-install.sh",
}


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


@contextlib.contextmanager
def ready(request: Any, tool: ToolFile) -> Iterator[Any]:
    """The request with what the tool's file adds, and all its files regular ones.

    What comes through a pipe (``<(…)``, ``/dev/stdin``) can be read only once: such files are
    copied into a directory that goes when the block ends, and so are scripts and variables that
    the tool's file holds itself.
    """
    with contextlib.ExitStack() as stack:
        copies = _Copies(request.site, stack)
        added = _from_tool(request, tool, copies)
        for name in ("environment", "environ"):
            path = added.get(name, getattr(request, name, None))
            if path and copies.needed(path):
                added[name] = copies.add(name, spec.read_bytes(path))
        for name in ("requirements", "pre_install", "post_install"):
            paths = added.get(name, getattr(request, name, ()))
            if any(map(copies.needed, paths)):
                added[name] = tuple(
                    copies.add(name, spec.read_bytes(path)) if copies.needed(path) else path
                    for path in paths
                )
        if isinstance(request, Request):
            added["copies"] = copies.made
        yield replace(request, **added)


class _Copies:
    """A directory for copies, made when the first one is."""

    def __init__(self, site: Site, stack: contextlib.ExitStack) -> None:
        self._site, self._stack = site, stack
        self.made: Path | None = None

    @staticmethod
    def needed(path: Path) -> bool:
        return path.exists() and not path.is_file() and not path.is_dir()

    def add(self, what: str, content: bytes) -> Path:
        if self.made is None:
            self.made = workspace.private_directory(self._site)
            self._stack.callback(removal.remove_marked, self.made)
        names = (f"{number}{_COPY_NAMES[what]}" for number in ("", *range(2, 1000)))
        path = next(p for p in (self.made / name for name in names) if not p.exists())
        path.write_bytes(content)
        return path


def _from_tool(request: Any, tool: ToolFile, copies: _Copies) -> dict[str, Any]:
    """Fields that the tool's file adds; what the command line says has the last word."""
    added: dict[str, Any] = {
        "prefix": request.prefix or tool.prefix,
        "wrapper_paths": tuple(dict.fromkeys((*request.wrapper_paths, *tool.wrapper_paths))),
    }
    if isinstance(request, Request):
        for name in ("pre_install", "post_install"):
            scripts = _scripts(name, getattr(tool, name), copies)
            added[name] = (*scripts, *getattr(request, name))
        added["environment"] = request.environment or tool.environment
        files = [tool.requirements] if tool.requirements else []
        added["requirements"] = (*request.requirements, *files)
    if isinstance(request, NewPipRequest):
        added["system_site"] = request.system_site or tool.system_site
    if tool.variables:
        given = spec.read_variables(request.environ) if request.environ else {}
        lines = [f"{n}={v}" for n, v in {**tool.variables, **given}.items()]
        added["environ"] = copies.add("environ", "\n".join([*lines, ""]).encode())
    return added


def _scripts(what: str, entries: Sequence[Path | str], copies: _Copies) -> list[Path]:
    """Files as they are, lines between them as files of their own."""
    found: list[Path] = []
    for inline, group in itertools.groupby(entries, key=lambda entry: isinstance(entry, str)):
        if inline:
            found.append(copies.add(what, "".join(f"{line}\n" for line in group).encode()))
        else:
            found += [Path(path) for path in group]
    return found


def incomplete(tool_file: Path | None, what: str, line: str) -> InputError:
    """The error where a tool's file (``advanced``) lacks the ``line`` that says ``what``."""
    return InputError(f"the file does not say {what}", where=tool_file, hint=f"add '{line}'")


def require_something(request: UpdateRequest | UpdatePipRequest) -> None:
    """:raises InputError: an update names nothing that it could change."""
    given = (*request.files, *request.wrapper_paths, request.compression, request.base_image)
    if not any(given):
        raise InputError(
            "nothing to do: the update names nothing that changes",
            where=request.prefix,
            hint="give a new environment or requirements file, a script, --environ or -w; "
            "to remove old generations: containerize prune",
        )


def read_inputs(request: Request, console: Console) -> EnvironmentSpec:
    """Read and check every input file before anything is made.

    :returns: the environment file's content, with what other files and options add to it.
    """
    tree.check_wrapper_paths(request.wrapper_paths)
    asked = EnvironmentSpec(source=Path.cwd() / "-")
    if request.environment:
        asked = spec.read_spec(request.environment)
        if request.copies and request.environment.is_relative_to(request.copies):
            asked = replace(asked, base=Path.cwd())
    for path in request.files:
        spec.read_text(path)
    for note in asked.notes:
        console.info(note)
    for warning in asked.warnings:
        console.warning(warning)
    variables = read_environ(request)
    lines, places = asked.pip_lines, asked.pip_places
    _check_requirements(lines, asked.directory, asked.source, console, places)
    for path in request.requirements:
        _check_requirements([f"-r {path}"], Path.cwd(), path, console)
    channels = asked.channels
    if request.environment:
        channels, said = choose(asked, request.channels, request.site)
        for note in said:
            console.info(note)
    return replace(
        asked,
        channels=channels,
        pip_lines=(*asked.pip_lines, *(f"-r {path.absolute()}" for path in request.requirements)),
        variables={**asked.variables, **variables},
    )


def _check_requirements(
    lines: Sequence[str],
    directory: Path,
    source: Path,
    console: Console,
    places: Sequence[str] = (),
) -> None:
    """Read requirements as a build will, so that a mistake is told before anything is made."""
    wanted = read_requirements(lines, directory.absolute(), str(source), places)
    for note in wanted.notes:
        console.info(note)
    for warning in wanted.warnings:
        console.warning(warning)
    for repository in repositories(wanted.packages)[:1]:
        _check_git(repository.where)


def _check_git(where: str) -> None:
    if not shutil.which("git"):
        raise ToolError(
            "a package comes from a git repository, and there is no git on PATH",
            where=where,
            hint="load the module that has it, or install git",
        )


def check_reuse(request: Request) -> None:
    """Whether what is to be reused is named, for a new environment.

    :raises InputError: there is no base image, or a lock needs one whose packages are reused.
    """
    if request.reuse_base and not request.base_image:
        raise InputError(
            "--reuse-base needs a base image whose packages are to be reused",
            where="--reuse-base",
            hint="name it with --base-image",
        )
    for path in request.files:
        if not request.reuse_base and f"\n{LOCK_NOTE} " in spec.read_text(path)[:_HEAD]:
            raise InputError(
                f"{path.name} holds only what was added to the packages of a base image",
                where=path,
                hint="build with --base-image and --reuse-base; its first lines say on which",
            )


def read_environ(request: Request | WrapContainerRequest) -> dict[str, str]:
    """Variables of the ``--environ`` file, none without one. :raises InputError: it is wrong."""
    return spec.read_variables(request.environ) if request.environ else {}


def merged_variables(
    request: UpdateRequest | UpdatePipRequest | SifRequest,
    asked: Mapping[str, str],
    old: Mapping[str, Any],
) -> dict[str, str]:
    """Variables after an update: ``asked`` ones, and those of the manifest ``old`` that stay.

    A new environment file says its variables anew; those of --environ files stay.
    """
    environ = read_environ(request)
    if request.replaces_variables:
        return {**asked, **old.get("environ", {}), **environ}
    return {**old.get("variables", {}), **asked}


def read_pip_inputs(request: NewPipRequest | UpdatePipRequest, console: Console) -> dict[str, Any]:
    """Read and check the inputs of a pip build; fields of a :class:`PipBuild`."""
    tree.check_wrapper_paths(request.wrapper_paths)
    for path in request.files:
        spec.read_text(path)
    _check_sections(request)
    locked: list[LockedPackage] = []
    lines: list[str] = []
    for path in request.requirements:
        refuse_condas(spec.read_text(path), path)
        lock = parse_requirements_lock(spec.read_text(path), path)
        if lock is not None:
            locked += lock
        else:
            more = [f"-r {path.absolute()}"]
            if path.name == PROJECT:
                more = list(project_lines(path, request.extras, request.groups))
            _check_requirements(more, Path.cwd(), path, console)
            lines += more
    lines += [f"{NO_ISOLATION} {name}" for name in request.no_isolation]
    if any(package.url.startswith("git+") for package in locked):
        _check_git(str(request.requirements[0]))
    return {
        "directory": Path.cwd(),
        "pip_lines": tuple(lines),
        "locked": tuple(locked),
        "variables": read_environ(request),
        "system_site": request.system_site,
    }


def _check_sections(request: NewPipRequest | UpdatePipRequest) -> None:
    """:raises InputError: a part of a project is asked for, and there is no project."""
    option = "--extra" if request.extras else "--group" if request.groups else ""
    if option and PROJECT not in {path.name for path in request.requirements}:
        raise InputError(
            f"{option} names a part of a {PROJECT}, and none is given",
            where=option,
            hint=f"name the {PROJECT}; in a requirements file write NAME[EXTRA]",
        )
