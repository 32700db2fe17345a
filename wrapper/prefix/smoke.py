"""The smoke test of a result: it is started once before it is called finished.

A build runs its programs in a container of another image. Whether the one that it made starts, with
this runtime, its compression and all the binds of its shims, shows only here. Where it does not,
the runtime's own words are in the error, and nothing has appeared.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from wrapper import layout, process
from wrapper.console import Console
from wrapper.errors import ToolError, start_hint
from wrapper.prefix import shims
from wrapper.prefix.generations import program_names
from wrapper.process import ToolFailed
from wrapper.runtime.binds import BIND_VARIABLES, USERS_BINDS
from wrapper.runtime.host_program import HOST_ROOT, host_program
from wrapper.runtime.runtime import Runtime
from wrapper.util.removal import remove_tree

_TEST = "/usr/bin/test"  # of the host, whatever the user has on PATH
_HINT = "what the runtime says is below; see also: containerize doctor"


def start_image(
    image: Path, has: str, *, name: Path, runtime: Runtime, scratch: Path, console: Console
) -> None:
    """Start a container image and see whether the path ``has`` is in it.

    :param name: what the user knows it by. :param scratch: for the runtime's files.
    :raises ToolError: it does not start, or lacks that.
    """
    env = runtime.environment(scratch)
    look = [*host_program(_TEST), "-e", has]
    argv = runtime.exec_argv(image, [f"/:{HOST_ROOT}"], look, environ=env)
    _start(argv, env, has, name=name, runtime=runtime, console=console)


def start_installation(
    generation: Path,
    number: int,
    *,
    prefix: Path,
    own_system: bool,
    runtime: Runtime,
    scratch: Path,
    console: Console,
) -> None:
    """Start a generation that is complete but not in use, by a shim like those it will have.

    :param generation: its directory, wherever that is now. :param prefix: where it will be.
    :param own_system: whether the container has another system than the host's.
    :raises ToolError: it does not start, or its programs are not in it.
    """
    place = Path(tempfile.mkdtemp(prefix="start-", dir=scratch))
    try:
        shim = _prefix_of(place, generation, number, shims.shim(prefix, runtime.path))
        env = _environment(runtime, scratch)
        if own_system:
            env[BIND_VARIABLES[0]] = f"/:{HOST_ROOT}"
        folder = generation / layout.PROGRAMS
        links = [(folder / name).readlink() for name in program_names(folder)]
        has = min((str(link.parent) for link in links if link.is_absolute()), default="/")
        # By bash: programs cannot be run from where temporary files are, on some machines.
        look = host_program(_TEST) if own_system else [_TEST]
        argv = ["/bin/bash", "-p", str(shim), *look, "-e", has]
        _start(argv, env, has, name=prefix, runtime=runtime, console=console)
    finally:
        remove_tree(place)


def _prefix_of(place: Path, generation: Path, number: int, text: str) -> Path:
    """A prefix of links around a generation; returns its one shim."""
    (place / layout.BIN).mkdir()
    (place / layout.GENERATIONS).mkdir()
    (place / layout.GENERATIONS / str(number)).symlink_to(generation)
    (place / layout.CURRENT).symlink_to(f".generations/{number}")
    shim = place / layout.BIN / shims.DEBUG_NAMES[0]
    shim.write_text(text)
    return shim


def _environment(runtime: Runtime, scratch: Path) -> dict[str, str]:
    """Without the user's binds and switches: they are not of the installation."""
    env = runtime.environment(scratch)
    return {name: value for name, value in env.items() if name not in USERS_BINDS}


def _start(
    argv: list[str],
    env: Mapping[str, str],
    has: str,
    *,
    name: Path,
    runtime: Runtime,
    console: Console,
) -> None:
    try:
        process.run(argv, console=console, env=env)
    except ToolFailed as error:
        who = f"{runtime.name} {runtime.version}"
        if error.detail:
            what = f"{who} does not start what was built"
        else:
            what = f"{who} starts what was built, but {has} is not in it"
        hint = start_hint(error.detail, _HINT)
        raise ToolError(what, where=name, hint=hint, detail=error.detail) from None
