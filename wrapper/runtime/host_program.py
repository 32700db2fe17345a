"""Programs of the host in a container that has another system, or none: no shell, another libc."""

from __future__ import annotations

import os
import re
import shutil
import struct
from collections.abc import Collection, Sequence
from pathlib import Path

from wrapper import process
from wrapper.errors import ToolError

HOST_ROOT = "/.containerize-host"
"""Where the host's root has to be bound for such programs."""
HOST_BIND = f"/:{HOST_ROOT}"

_ELF_64 = b"\x7fELF\2"
# Of Elf64_Ehdr: e_ident, e_phoff, e_phentsize, e_phnum; of the program headers' p_type: PT_INTERP.
_ELF_HEADER = struct.Struct("<16s16xQ14xHH")
_LOADER = 3


def host_program(name: str, folders: Collection[str] = ()) -> list[str]:
    """The words that run a program of the host (a name on PATH, or a path) inside.

    Its loader and libraries are the host's too, whatever libc the image has.

    :param folders: more of libraries: of what it loads by name.

    :raises ToolError: the host lacks the program, its loader, or ldd.
    """
    program, loaders = shutil.which(name), sorted(Path("/lib64").glob("ld-linux-*.so.*"))
    if not (program and loaders and shutil.which("ldd")):
        raise ToolError(
            f"{name} of this host cannot be run in an image that has another system",
            where=program or "PATH",
            hint=f"it takes {name}, ldd and the loader in /lib64: install glibc's programs",
        )
    folders = {*folders, *library_folders([program])}
    libraries = ":".join(f"{HOST_ROOT}{folder}" for folder in sorted(folders))
    loader = f"{HOST_ROOT}{loaders[0].resolve()}"
    return [loader, "--library-path", libraries, f"{HOST_ROOT}{Path(program).resolve()}"]


def is_static(program: Path) -> bool:
    """Whether a program needs neither loader nor libraries, and so runs in any image as it is.

    elf(5): a dynamic one names its loader in a program header. What is no ELF file of 64 bits, or
    cannot be read, counts as static: nothing is known of its needs.
    """
    try:
        with program.open("rb") as file:
            header = file.read(_ELF_HEADER.size)
            if len(header) < _ELF_HEADER.size or header[:5] != _ELF_64:
                return True
            offset, size, count = _ELF_HEADER.unpack(header)[1:]
            file.seek(offset)
            table = file.read(size * count)
    except (OSError, ValueError):
        return True
    kinds = (int.from_bytes(table[at : at + 4], "little") for at in range(0, len(table), size or 1))
    return _LOADER not in kinds


def library_folders(files: Sequence[str]) -> set[str]:
    """Where libraries are that these files of the host need. :raises ToolError: one needs none."""
    answer = process.capture(["ldd", *files], env=process.base_environment(os.environ))
    return {str(Path(path).resolve().parent) for path in re.findall(r"=> (/\S+)", answer)}
