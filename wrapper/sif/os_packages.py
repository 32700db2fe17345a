"""Packages of the base image's own system, added by its own package manager.

The runtime builds a definition file for that. Without root it can where ``proot`` is on PATH
(SingularityCE from 3.11 on: "Unprivileged PRoot Builds" of its user guide), and Apptainer where
users may have namespaces. Names are checked first, and quoted.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from wrapper import process
from wrapper.console import Console
from wrapper.errors import InputError, ScriptError, ToolError
from wrapper.process import ToolFailed
from wrapper.runtime import Runtime, runtime_places

_COMMANDS: Mapping[str, tuple[str, ...]] = {
    "zypper": (
        "zypper --non-interactive install --no-recommends {names}",
        "zypper clean --all",
    ),
    "apt-get": (
        "export DEBIAN_FRONTEND=noninteractive",
        "apt-get update",
        "apt-get install --yes --no-install-recommends {names}",
        "apt-get clean",
        "rm -rf /var/lib/apt/lists/*",
    ),
    "dnf": ("dnf install --assumeyes --setopt=install_weak_deps=False {names}", "dnf clean all"),
    "microdnf": ("microdnf install -y --setopt=install_weak_deps=0 {names}", "microdnf clean all"),
    "apk": ("apk add --no-cache {names}",),
}
# What all of them allow in the name of a package, with a version or an architecture.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._:=~@-]*")
_NAMESPACES = Path("/proc/sys/user/max_user_namespaces")


def check_names(names: Sequence[str]) -> None:
    """:raises InputError: a name cannot be that of a package."""
    for name in names:
        if not _NAME.fullmatch(name):
            raise InputError(
                f"'{name}' cannot be the name of a package",
                where="--os-package",
                hint="name packages of the base image's system",
            )


def require_builder(runtime: Runtime, environ: Mapping[str, str]) -> None:
    """Whether the runtime can build from a definition file here.

    :raises ToolError: it cannot; the hint says what to load.
    """
    if os.getuid() == 0 or shutil.which("proot", path=environ.get("PATH")):
        return
    if runtime.name == "apptainer" and _namespaces_allowed():
        return
    raise ToolError(
        f"{runtime.name} cannot add packages of the system: proot is not on PATH",
        where="--os-package",
        hint="load the module that has it (on LUMI systools or PRoot), or choose a base image that "
        "has these packages",
    )


def _namespaces_allowed() -> bool:
    try:
        return int(_NAMESPACES.read_text()) > 0
    except (OSError, ValueError):
        return False


def definition(image: Path, manager: str, names: Sequence[str]) -> str:
    """The definition file that adds packages to ``image``.

    :param manager: the program of the image, as :mod:`wrapper.image.facts` finds it.
    :raises InputError: there is none that we know.
    """
    if manager not in _COMMANDS:
        raise InputError(
            "the base image has no package manager that is known",
            where=image,
            hint=f"choose one with {', '.join(_COMMANDS)}",
        )
    words = shlex.join(names)
    lines = [f"    {line.format(names=words)}" for line in ("set -e", *_COMMANDS[manager])]
    return "\n".join(["Bootstrap: localimage", f"From: {image}", "", "%post", *lines, ""])


def add_packages(
    image: Path,
    target: Path,
    *,
    manager: str,
    names: Sequence[str],
    runtime: Runtime,
    scratch: Path,
    console: Console,
) -> None:
    """Build the SIF ``target``: ``image`` and the packages. Unpacks and packs all of it.

    :raises ScriptError: the packages cannot be installed.
    """
    file = scratch / "packages.def"
    file.write_text(definition(image, manager, names))
    with console.step(f"Adding {', '.join(names)} to the base image"):
        try:
            process.run(
                [runtime.path, "build", target, file],
                console=console,
                env={**process.base_environment(os.environ), **runtime_places(scratch)},
            )
        except ToolFailed as error:
            raise ScriptError(
                f"{manager} in the base image cannot install {', '.join(names)}",
                where="--os-package",
                hint="its last lines are below, all of them in the log",
                detail=error.detail,
            ) from None
