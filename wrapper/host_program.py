"""Programs of the host in a container that has another system, or none: no shell, another libc."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from wrapper import process

HOST_ROOT = "/.containerize-host"
"""Where the host's root has to be bound for such programs."""


def host_program(name: str) -> list[str]:
    """The words that run a program of the host (a name on PATH, or a path) inside.

    Its loader and libraries are the host's too, whatever libc the image has.
    """
    program = shutil.which(name)
    assert program is not None, f"no {name} on this host"
    loaders = sorted(Path("/lib64").glob("ld-linux-*.so.*"))
    folders = {str(Path(library).parent) for library in _libraries(program)}
    libraries = ":".join(f"{HOST_ROOT}{folder}" for folder in sorted(folders))
    loader = f"{HOST_ROOT}{loaders[0].resolve()}"
    return [loader, "--library-path", libraries, f"{HOST_ROOT}{Path(program).resolve()}"]


def _libraries(program: str) -> list[str]:
    answer = process.capture(["ldd", program], env=process.base_environment(os.environ))
    return [str(Path(path).resolve()) for path in re.findall(r"=> (/\S+)", answer)]
