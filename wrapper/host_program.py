"""Programs of the host in a container that has another system, or none: no shell, another libc."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from wrapper import process
from wrapper.errors import ToolError

HOST_ROOT = "/.containerize-host"
"""Where the host's root has to be bound for such programs."""


def host_program(name: str) -> list[str]:
    """The words that run a program of the host (a name on PATH, or a path) inside.

    Its loader and libraries are the host's too, whatever libc the image has.

    :raises ToolError: the host lacks the program, its loader, or ldd.
    """
    program, loaders = shutil.which(name), sorted(Path("/lib64").glob("ld-linux-*.so.*"))
    if not (program and loaders and shutil.which("ldd")):
        raise ToolError(
            f"{name} of this host cannot be run in an image that has another system",
            where=program or "PATH",
            hint=f"it takes {name}, ldd and the loader in /lib64: install glibc's programs",
        )
    folders = {str(Path(library).parent) for library in _libraries(program)}
    libraries = ":".join(f"{HOST_ROOT}{folder}" for folder in sorted(folders))
    loader = f"{HOST_ROOT}{loaders[0].resolve()}"
    return [loader, "--library-path", libraries, f"{HOST_ROOT}{Path(program).resolve()}"]


def _libraries(program: str) -> list[str]:
    answer = process.capture(["ldd", program], env=process.base_environment(os.environ))
    return [str(Path(path).resolve()) for path in re.findall(r"=> (/\S+)", answer)]
