"""What a request's files say: every one is read and checked before anything is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from wrapper import spec, tree
from wrapper.console import Console
from wrapper.models import (
    EnvironmentSpec,
    LockedPackage,
    NewPipRequest,
    Request,
    SifRequest,
    UpdatePipRequest,
    UpdateRequest,
    WrapContainerRequest,
)
from wrapper.spec.requirements import parse_requirements_lock, project_lines


def read_inputs(request: Request, console: Console) -> EnvironmentSpec:
    """Read and check every input file before anything is made.

    :returns: the environment file's content, with what other files and options add to it.
    """
    tree.check_wrapper_paths(request.wrapper_paths)
    asked = EnvironmentSpec(source=Path.cwd() / "-")
    if request.environment:
        asked = spec.read_spec(request.environment)
    for path in request.files:
        spec.read_text(path)
    for note in asked.notes:
        console.info(note)
    for warning in asked.warnings:
        console.warning(warning)
    variables = read_environ(request)
    return replace(
        asked,
        pip_lines=(*asked.pip_lines, *(f"-r {path.absolute()}" for path in request.requirements)),
        variables={**asked.variables, **variables},
    )


def read_environ(request: Request | WrapContainerRequest) -> dict[str, str]:
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
    locked: list[LockedPackage] = []
    lines: list[str] = []
    for path in request.requirements:
        lock = parse_requirements_lock(spec.read_text(path), path)
        if lock is not None:
            locked += lock
        elif path.name == "pyproject.toml":
            lines += project_lines(path, request.extras, request.groups)
        else:
            lines.append(f"-r {path.absolute()}")
    return {
        "directory": Path.cwd(),
        "pip_lines": tuple(lines),
        "locked": tuple(locked),
        "variables": read_environ(request),
        "system_site": request.system_site,
    }
