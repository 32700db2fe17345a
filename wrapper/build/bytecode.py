"""Byte-compiling an environment's Python modules, in the container, with its own Python."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from wrapper.console import Advance
from wrapper.process import processors
from wrapper.runtime.container import BuildContainer


def compile_modules(
    container: BuildContainer, advance: Advance, *, image_time: str, lent: str = ""
) -> None:
    """Give every module below ``lib/python3.*`` a ``.pyc`` that needs no look at its source.

    A managed Python's own library, in a directory below ``python``, too.

    Nothing to do where there is no Python. Modules that cannot be compiled are left as they are.

    :param image_time: of all files in an image, seconds since 1970: what an update left alone needs
        no work. :param lent: directory inside the container; a link there is no module of the tree.
    :raises ScriptError: the interpreter itself fails.
    """
    script = str(files("wrapper") / "templates" / "compile.py")
    roots = [container.tree, *sorted((container.tree / "python").glob("*"))]
    for library in [path for root in roots for path in sorted((root / "lib").glob("python3*"))]:
        program = library.parents[1] / "bin" / library.name
        # Some packages link lib/python3.1 to lib/python3.11, and some leave a library without
        # its interpreter behind. (A link may lead to a path that exists only in the container.)
        if library.is_symlink() or not (program.exists() or program.is_symlink()):
            continue
        # A container costs more than a look at the few files that are not packed.
        if lent and not _has_fresh_modules(library, float(image_time), lent):
            continue
        inside = Path(container.install_path, library.relative_to(container.tree))
        container.run(
            [
                str(inside.parents[1] / "bin" / library.name),
                *("-s", "-B", script),
                str(inside),
                str(processors()),
                image_time,
                *([lent] if lent else []),
            ],
            what="byte-compiling",
            env={"PYTHONHASHSEED": "0"},  # sets of strings are marshalled in the order of hashes
            on_line=lambda line: _progress(line, advance),
        )


def _has_fresh_modules(library: Path, image_time: float, lent: str) -> bool:
    """Whether a module is there that is not of the image before, nor a link to what is packed."""
    return any(
        not str(path.readlink()).startswith(f"{lent}/")
        if path.is_symlink()
        else path.stat().st_mtime != image_time
        for path in library.rglob("*.py")
    )


def _progress(line: str, advance: Advance) -> bool:
    words = line.split()
    if len(words) != 2 or words[0] != "compiled":
        return False
    done, _, total = words[1].partition("/")
    advance(float(done), float(total))
    return True
