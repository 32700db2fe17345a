"""Which programs of a tree get shims."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from wrapper.errors import InputError

# Names that a shell user can type as they stand. Others would work, but are a mistake or a trick.
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.+@%=\[][A-Za-z0-9_.+@%=:,~\[\]-]*")

_LONGEST_CHAIN = 8  # of links


def programs(tree: Path, directory: str = "bin") -> tuple[dict[str, str], list[str]]:
    """Programs of one directory of the tree.

    :param directory: path below ``tree``.
    :returns: name -> path below the tree, and the names left out because no user could type them.
    """
    found: dict[str, str] = {}
    skipped: list[str] = []
    folder = tree / directory
    if not folder.is_dir():
        return found, skipped
    for entry in sorted(folder.iterdir(), key=lambda path: path.name):
        if entry.name.startswith(".") or not _is_program(entry):
            continue
        if is_plain_name(entry.name):
            found[entry.name] = f"{directory}/{entry.name}"
        else:
            skipped.append(entry.name)
    return found, skipped


def is_plain_name(name: str) -> bool:
    """Whether a shim may have this name: no spaces, quotes, ``$``, newline or leading dash."""
    return bool(_PLAIN_NAME.fullmatch(name))


def check_wrapper_paths(paths: Iterable[str]) -> None:
    """:raises InputError: a ``-w`` path could not become a shim, whatever the environment holds."""
    for path in paths:
        parts = Path(path).parts
        if not parts or ".." in parts or not is_plain_name(parts[-1]) or "\n" in path:
            raise InputError(
                f"{path!r} cannot be wrapped",
                where="--wrapper-paths",
                hint="name programs or directories of the environment; no spaces, quotes, '$' "
                "or leading dashes in the names",
            )


def wrapped(
    tree: Path, install_path: str, paths: Sequence[str], *, own: bool = False
) -> tuple[dict[str, str], list[str]]:
    """Programs for ``-w`` paths: of the whole directory where one is named. Of two of one name the
    later counts.

    :param paths: relative to the environment, or absolute inside the container.
    :param own: first those of ``bin``, whether or not a path names it.
    :returns: name -> path below the tree, and what the user is to be warned of.
    :raises InputError: a path does not exist, or holds no program.
    """
    found, unnamed = programs(tree) if own else ({}, [])
    warnings: list[str] = []
    for path in paths:
        relative = path.removeprefix(install_path).strip("/")
        target = tree / relative
        if target.is_dir():
            inside, skipped = programs(tree, relative)
        else:
            inside, skipped = {target.name: relative} if _is_program(target) else {}, []
        if not inside:
            raise InputError(
                f"'{path}' is no program and no directory with programs in the environment",
                where="--wrapper-paths",
                hint=f"paths are relative to the environment ({install_path} in the container)",
            )
        unnamed += skipped
        for name, program in inside.items():
            if found.get(name, program) != program:
                warnings.append(f"{name} is {program}; {found[name]} is left out")
            found[name] = program
    if unnamed:
        names = ", ".join(map(repr, dict.fromkeys(unnamed)))
        warnings.append(f"no shims for programs with such names: {names}")
    return found, warnings


def _is_program(path: Path) -> bool:
    try:
        status = path.stat()
    except OSError:
        # A link, also by way of others, to a path that exists only in the container: on trust.
        for _ in range(_LONGEST_CHAIN):
            if not path.is_symlink():
                return False
            if path.readlink().is_absolute():
                return True
            path = path.parent / path.readlink()
        return False
    return stat.S_ISREG(status.st_mode) and bool(status.st_mode & stat.S_IXUSR)
