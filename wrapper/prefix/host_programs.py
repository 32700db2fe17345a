"""Programs of the host in a container that has a system of its own: srun, sbatch, ssh and the like.

Each is a script, bound to ``/usr/bin``, that has the host's loader start the host's own with its
libraries. What Slurm's read is bound at its own path: configuration, plug-ins, the sockets of those
who say who one is. They look up the user who runs Slurm, too: ``/etc/passwd`` gets a line more.
"""

from __future__ import annotations

import os
import pwd
import re
import shlex
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from wrapper import layout, process
from wrapper.console import Console
from wrapper.errors import ToolError
from wrapper.models import HostPrograms
from wrapper.prefix.shims import is_shim_file
from wrapper.runtime.binds import OWN_SYSTEM, unbindable
from wrapper.runtime.host_program import HOST_ROOT, host_program, is_static, library_folders

SLURM = ("srun", "sbatch", "salloc", "squeue", "scancel", "sinfo", "scontrol", "sacct")
_SOCKETS = ("/run/munge", "/run/slurm")
_ANSWER_SECONDS = 10.0


def put(
    directory: Path, wanted: Sequence[str], passwd: Callable[[], str], console: Console
) -> HostPrograms:
    """Write the scripts into the ``directory`` of a generation. What is not there is told.

    :param wanted: names on PATH. :param passwd: what the image has as ``/etc/passwd``.
    """
    found, config = _find(wanted, console)
    plugins = [str(p) for place in _plugin_places(config) for p in sorted(place.glob("*.so"))]
    folders = library_folders(plugins) if plugins else set()
    scripts = {}
    for name, path in found.items():
        try:
            words = shlex.join(host_program(path, folders))
            scripts[name] = f'#!/bin/sh\nexec {words} "$@"\n'
        except ToolError:  # a script, which would want the host's shell
            continue
    if missing := [name for name in wanted if name not in scripts]:
        console.warning(f"programs inside cannot call these of this machine: {', '.join(missing)}")
    if not scripts:
        return HostPrograms()
    place = directory / layout.HOST
    place.mkdir()
    for name, text in scripts.items():
        (place / name).write_text(text)
        (place / name).chmod(0o755)
    binds, users = [f"/:{HOST_ROOT}", *_own_places(config)], _users(config, passwd, console)
    return HostPrograms(names=tuple(scripts), binds=tuple(binds), users=users)


def gone(generation: Path) -> list[str]:
    """Names of scripts in a generation whose program is not on the host any more: another version
    of Slurm may lie elsewhere.
    """
    return [script.name for script in _scripts(generation) if not _still_there(script)]


def changed(generation: Path, wanted: Sequence[str]) -> bool:
    """Whether :func:`put` would write other scripts than a generation has."""
    there = {script.name for script in _scripts(generation)}
    found, _ = _find([name for name in wanted if name not in there], Console(-2))
    new = [name for name, path in found.items() if not is_static(Path(path))]
    return bool(there - {*wanted} or new or gone(generation))


def _scripts(generation: Path) -> list[Path]:
    place = generation / layout.HOST
    return sorted(place.iterdir()) if place.is_dir() else []


def _still_there(script: Path) -> bool:
    """Whether what a script starts is on the host; it is not where the script is damaged."""
    try:
        program = shlex.split(script.read_text())[-2]
    except (OSError, ValueError, IndexError):
        return False
    return program.startswith(HOST_ROOT) and Path(program[len(HOST_ROOT) :]).exists()


def _find(wanted: Sequence[str], console: Console) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Programs by name, Slurm's where it answers, and what that says of itself."""
    found = {name: path for name in wanted if (path := _of_host(name))}
    config = _slurm_config(console) if found.keys() & {*SLURM} else {}
    return {n: path for n, path in found.items() if config or n not in SLURM}, config


def _of_host(name: str) -> str:
    """A program on PATH that is no installation's; empty where there is none."""
    found = shutil.which(name)
    return found if found and not is_shim_file(Path(found)) else ""


def _slurm_config(console: Console) -> Mapping[str, str]:
    """What this machine's Slurm says of itself, nothing where it says nothing."""
    env = process.base_environment(os.environ)
    env |= {name: os.environ[name] for name in ("SLURM_CONF",) if name in os.environ}
    try:
        answer = process.capture(["scontrol", "show", "config"], env=env, timeout=_ANSWER_SECONDS)
    except ToolError as error:
        console.warning(f"this machine's Slurm does not answer: {error}")
        return {}
    return dict(re.findall(r"^(\w+)\s*= (.*?)\s*$", answer, re.M))


def _plugin_places(config: Mapping[str, str]) -> list[Path]:
    return [Path(text) for text in config.get("PluginDir", "").split(":") if text]


def _own_places(config: Mapping[str, str]) -> Iterable[str]:
    """Paths that Slurm's programs read, as far as an image has others in their place."""
    file = config.get("SLURM_CONF", "")
    socket = re.search(r"socket=([^,\s]+)", config.get("AuthInfo", ""))
    places = [*([Path(file).parent] if file else []), *_plugin_places(config)]
    places += [Path(socket[1]).parent] if socket else []
    places += map(Path, _SOCKETS if config else ())
    for path in dict.fromkeys(places):
        if f"/{path.parts[1]}" in OWN_SYSTEM and path.is_dir() and not unbindable(path):
            yield str(path)


def _users(config: Mapping[str, str], passwd: Callable[[], str], console: Console) -> str:
    """All of an image's ``/etc/passwd`` with the user who runs Slurm; empty where it has them."""
    match = re.fullmatch(r"([\w.-]+)\((\d+)\)", config.get("SlurmUser", ""))
    if match is None or match[2] == "0":
        return ""
    text, name, number = passwd().rstrip("\n"), match[1], int(match[2])
    if not text:  # one that is written with this line only would have no root
        console.warning(
            f"the image has no users in /etc/passwd: {name}, who runs Slurm, is unknown"
        )
        return ""
    if re.search(rf"(?m)^{re.escape(name)}:[^:]*:{number}:", text):
        return ""
    try:
        group = pwd.getpwuid(number).pw_gid
    except KeyError:
        group = number
    return f"{text}\n{name}:x:{number}:{group}::/nonexistent:/usr/sbin/nologin\n"
