"""Packages of the base image's own system, added by its own package manager.

The runtime builds a definition file for that. Without root it can where ``proot`` is on PATH
(SingularityCE from 3.11 on: "Unprivileged PRoot Builds" of its user guide), and Apptainer where
users may have namespaces. Names are checked first, and quoted.

apt gives up its rights while it downloads; where the build has one user only, it cannot, and needs
none: hence ``APT::Sandbox::User`` (measured with Apptainer's namespaces).
"""

from __future__ import annotations

import functools
import os
import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from wrapper import process
from wrapper.base.debian import current_archive
from wrapper.console import Console
from wrapper.credentials import public_url
from wrapper.errors import (
    ContainerizeError,
    InputError,
    ScriptError,
    ToolError,
    means_no_space,
)
from wrapper.process import ToolFailed
from wrapper.runtime.host_program import is_static
from wrapper.runtime.runtime import Runtime
from wrapper.util import toml
from wrapper.util.disk import no_room

_managers = functools.partial(toml.beside, __file__)
# What all of them allow in the name of a package, with a version or an architecture.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._:=~@-]*")
_BEGUN = "containerize: the package manager begins"
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


def require_builder(
    runtime: Runtime, environ: Mapping[str, str], modules: Mapping[str, str]
) -> None:
    """Whether the runtime can build from a definition file here.

    :param modules: of the site, by what they hold.
    :raises ToolError: it cannot; the hint says what to load.
    """
    if os.getuid() == 0:
        return
    named = modules.get("proot")
    load = f"module load {named}" if named else "load the module that has it"
    if proot := shutil.which("proot", path=environ.get("PATH")):
        _require_static(Path(proot), load if named else "PRoot's own releases are")
        return
    if runtime.name == "apptainer" and _namespaces_allowed():
        return
    raise ToolError(
        f"{runtime.name} cannot add packages of the system: proot is not on PATH",
        where="--os-package",
        hint=f"{load}, or choose a base image that has these packages",
    )


def _require_static(proot: Path, which: str) -> None:
    """SingularityCE starts PRoot inside the image, where this host's loader and libraries are not.

    Source: its user guide, "Unprivileged PRoot Builds". Debian's package is dynamic.

    :param which: where there is a static one.
    """
    if not is_static(proot):
        raise ToolError(
            "proot is linked dynamically: it does not start inside an image",
            where=proot,
            hint=f"put a static one first on PATH ({which}), or choose a base image that has these "
            "packages",
        )


def _namespaces_allowed() -> bool:
    try:
        return int(_NAMESPACES.read_text()) > 0
    except (OSError, ValueError):
        return False


def definition(image: Path, manager: str, names: Sequence[str], archive: str = "") -> str:
    """The definition file that adds packages to ``image``.

    :param manager: the program of the image, as :mod:`wrapper.base.facts` finds it.
    :param archive: Debian's, for an image that names none.
    :raises InputError: there is none that we know.
    """
    if manager not in _managers():
        raise InputError(
            "the base image has no package manager that is known",
            where=image,
            hint=f"choose one with {', '.join(_managers())}",
        )
    words = {"names": shlex.join(names), "archive": shlex.quote(archive)}
    script = ("set -e", f"echo '{_BEGUN}'", *_managers()[manager]["script"].splitlines())
    lines = [f"    {line.format(**words)}" for line in script]
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

    :raises ScriptError: the packages cannot be installed. :raises ToolError: the runtime cannot
        build from a definition file here.
    """
    file = scratch / "packages.def"
    archive = current_archive(os.environ) if manager == "apt-get" else ""
    if archive != public_url(archive):  # the definition becomes a part of the image
        archive = ""
    file.write_text(definition(image, manager, names, archive))
    begun = False

    def is_begin(line: str) -> bool:
        nonlocal begun
        begun = begun or line.strip() == _BEGUN
        return False

    with console.step(f"Adding {', '.join(names)} to the base image"):
        try:
            process.run(
                runtime.build_argv(target, file),
                console=console,
                env=runtime.environment(scratch),
                on_line=is_begin,
            )
        except ToolFailed as error:
            raise _explained(error, f"{manager} in the base image", names, runtime, begun) from None


def _explained(
    error: ToolFailed, manager: str, names: Sequence[str], runtime: Runtime, begun: bool
) -> ContainerizeError:
    """A failed build as its cause: no room, no way to build here, the packages."""
    if means_no_space(error.detail):
        return no_room("no room to add packages to the base image", "--os-package", error.detail)
    if not begun:
        return ToolError(
            f"{runtime.name} cannot build from a definition file here",
            where="--os-package",
            hint="it takes root with all capabilities, proot, or user namespaces: build as another "
            "user or on another machine, or choose a base image that has these packages",
            detail=error.detail,
        )
    return ScriptError(
        f"{manager} cannot install {', '.join(names)}",
        where="--os-package",
        hint="its last lines are below, all of them in the log",
        detail=error.detail,
    )
