"""The shell side of an installation, as text: the shim, the environment file, list-packages.

Templates are real shell files with bare-word ``__TOKENS__``; values go in through
:func:`shlex.quote`, all in one pass, so that a value that looks like a token stays a value.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from wrapper import layout, microarch, platforms
from wrapper.activation.model import Activation, ActivationScript
from wrapper.gpu import NONE, Setting, Settings
from wrapper.manifest import MpiRecord
from wrapper.models import HostPrograms, Site
from wrapper.process import RUNTIME_SETTINGS
from wrapper.runtime.binds import (
    NEVER_BOUND,
    OWN_SYSTEM,
    UNBINDABLE,
    UNBINDABLE_NAMES,
    beyond_links,
)
from wrapper.runtime.host_program import HOST_ROOT
from wrapper.runtime.runtime import EXEC_FLAGS
from wrapper.util import foreign

DEBUG_NAMES = ("_debug_exec", "_debug_shell")
LIST_PACKAGES = "list-packages"
OUR_NAMES = {*DEBUG_NAMES, LIST_PACKAGES}


def render(template: str, values: Mapping[str, str]) -> str:
    """A template of :mod:`wrapper.templates` with ``__NAME__`` replaced by quoted values.

    :raises KeyError: the template has a token without a value, or a value has no token.
    """
    text = (files("wrapper") / "templates" / template).read_text()
    used: set[str] = set()

    def quoted(match: re.Match[str]) -> str:
        used.add(match[1])
        return shlex.quote(values[match[1]])

    text = re.sub(r"__([A-Z]+(?:_[A-Z]+)*)__", quoted, text)
    if unused := set(values) - used:
        raise KeyError(f"{template} has no token for {sorted(unused)}")
    return text


def shim(prefix: Path, runtime: Path) -> str:
    """The one shim text of an installation, whatever program it is called as.

    :param prefix: where the installation is (outside). :param runtime: the runtime's program.
    """
    values = {"PREFIX": str(prefix), "RUNTIME": str(runtime), "FLAGS": " ".join(EXEC_FLAGS)}
    values["SETTINGS"] = RUNTIME_SETTINGS
    values |= {"UNBINDABLE": UNBINDABLE, "UNBINDABLE_NAMES": UNBINDABLE_NAMES}
    values |= {"NEVER_BOUND": ",".join(NEVER_BOUND), "LINES": ""}
    values["LINES"] = str(render("shim.sh", values).count("\n"))
    rare = {"HOST_ROOT": HOST_ROOT, "OWN_SYSTEM": ",".join(OWN_SYSTEM)}
    return render("shim.sh", values) + render("shim-rare.sh", rare)


def is_shim(data: bytes) -> bool:
    """Whether a file's content is a shim, also one that another version rendered."""
    return data.startswith(b"#!") and b"\n_cw_built_at=" in data


def is_shim_file(path: Path) -> bool:
    """The same of a file; what is no regular file, or cannot be read, is none."""
    try:
        return is_shim(foreign.read_bytes(path))
    except OSError:
        return False


def list_packages() -> str:
    """The text of ``bin/list-packages``."""
    return render("list-packages.sh", {})


def write_environment(directory: Path, text: str) -> None:
    """Write ``env`` into a generation's directory. What a script sets may be any bytes."""
    (directory / layout.ENV).write_text(text, encoding="utf-8", errors="surrogateescape")


def environment_file(
    *,
    generation: int,
    install_path: str,
    links: Sequence[str],
    activation: Activation,
    variables: Mapping[str, str],
    site: Site,
    required_program: str = "",
    required_library: str = "",
    mask: str = "",
    image: str = "",
    image_root: str = "",
    mark: str = "",
    layer: bool = False,
    mpi: MpiRecord | None = None,
    venv: bool = False,
    user_site: bool = False,
    no_bash: bool = False,
    compressed: tuple[str, str] = ("", ""),
    runtime: Path = Path("/"),
    gpu: Settings = NONE,
    scripts: bool = False,
    entry_point: Sequence[str] = (),
    level: int = 1,
    host: HostPrograms = HostPrograms(),  # noqa: B008 - frozen
) -> str:
    """The file ``env`` of a generation, which the shim sources: assignments of data, no commands.

    :param links: the skeleton's top-level symlinks, paths inside the container.
    :param variables: set also where activation is switched off (``CW_NO_CONDA_ACTIVATE``).
    :param site: whose binds the container gets, or does without.
    :param required_program: of the host, without which nothing works.
    :param required_library: a directory of the host that is there as long as the program has the
        version of the build.
    :param mask: a path of the host over which the image's environment lies inside.
    :param image: another image to start than the generation's own: it has a system of its own,
        and only directories of the host that no system has are bound.
    :param image_root: the path inside at which the whole of ``img.sqfs`` is bound, where it is
        not the container's root itself (adopted from Tykky).
    :param mark: bytes that its first block has, in hexadecimal, so that a change is seen.
    :param layer: whether ``img.sqfs`` lies over it, at the install path.
    :param mpi: whose libraries come before any others, and whose variables are defaults.
    :param no_bash: whether the image has none, so that nothing can be put right in it.
    :param venv: whether it is a virtual environment, where pip looks for no notice that it must
        not install there.
    :param user_site: whether packages in a user's ``~/.local`` count.
    :param compressed: how, and which image: of those that are mounted the one that the fewest
        runtimes start; absolute or below the generation's directory.
    :param runtime: the program that started it when it was built.
    :param gpu: what is set where GPUs are.
    :param scripts: whether the generation has ``/runscripts``.
    :param entry_point: of the image: words inside to start programs with.
    :param level: of x86-64 processors, see :mod:`wrapper.microarch`.
    :param host: what of the host's programs an image gets.
    """
    scalars = {"generation": str(generation), "install_path": install_path}
    scalars["machine"] = platforms.bash_machine()
    scalars |= {"required_program": required_program, "required_library": required_library}
    scalars |= {"mask": mask, "image": image}
    scalars |= {"image_root": image_root, "layer": "1" if layer else ""}
    scalars["venv"] = "1" if venv else ""
    scalars["user_site"] = "1" if user_site else ""
    scalars["no_bash"] = "1" if no_bash else ""
    arrays: dict[str, Sequence[str]] = {
        "links": links,
        "site_binds": site.binds,
        "excluded": site.exclude_binds,
        "always": _pairs(variables),
        "assign": _pairs(activation.assign),
        "scripts": [script.path for script in activation.scripts],
        "when": [_when(script) for script in activation.scripts],
        "changes": _changes(activation),
    }
    lines = ["# What the shims of this generation need to know; written by the build."]
    lines += _mpi_lines(mpi)
    lines += [f"_cw_{name}={shlex.quote(value)}" for name, value in scalars.items()]
    if image:  # (on the host's system the driver's libraries are at their own paths)
        lines.append("_cw_settings+='|NV|ROCM'")
    if not image and (beyond := beyond_links(links)):  # left out where little is bound
        arrays["beyond"] = beyond
    if host.names:
        lines.append(f"_cw_users={shlex.quote(host.users)}")
        arrays |= {"host_programs": host.names, "beyond": host.binds}
    if processor := microarch.processor(level):
        arrays["processor"] = processor
    if entry_point:
        arrays["entry_point"] = entry_point
    if scripts:
        lines.append("_cw_runscripts=1")
    if gpu.device:
        scalars = {"gpu_device": gpu.device, "gpu_cache": gpu.cache}
        lines += [f"_cw_{name}={shlex.quote(value)}" for name, value in scalars.items()]
        arrays |= {"gpu_folders": gpu.folders, "gpu": list(map(_on_node, gpu.settings))}
    lines += [f"_cw_{name}=({shlex.join(values)})" for name, values in arrays.items()]
    return "\n".join(lines) + "\n" + mark_line(mark) + start_facts(compressed, runtime)


def _mpi_lines(mpi: MpiRecord | None) -> list[str]:
    """The lines of an environment file that are MPI's."""
    lines = [f"_cw_mpi={shlex.quote(mpi.directory if mpi else '')}"]
    if mpi and mpi.variables:
        lines.append(f"_cw_mpi_defaults=({shlex.join(_pairs(mpi.variables))})")
    return lines


def with_mpi(env: str, mpi: MpiRecord) -> str:
    """An environment file with another MPI. (Its lines are first: no value is taken for one.)"""
    env = re.sub(r"(?m)^(_cw_mpi=.*\n)_cw_mpi_defaults=.*\n", r"\1", env, count=1)
    lines = "".join(f"{line}\n" for line in _mpi_lines(mpi))
    return re.sub(r"(?m)^_cw_mpi=.*\n", lambda _: lines, env, count=1)


def _on_node(setting: Setting) -> str:
    """``FILE NAME=VALUE``: on nodes that have the file."""
    return f"{setting.where or '/'} {setting.name}={setting.value}"


def mark_line(mark: str) -> str:
    """The line of an environment file by which a change of the image to start is seen."""
    return f"_cw_image_mark={shlex.quote(_without_zeros(mark))}\n"


def start_facts(compressed: tuple[str, str], runtime: Path) -> str:
    """The last lines of an environment file: the image that the fewest runtimes start.

    :param compressed: how it is compressed, and its name. :param runtime: what started it.
    """
    scalars = {"compression": compressed[0], "compressed": compressed[1]}
    scalars["built_with"] = str(runtime)
    return "".join(f"_cw_{name}={shlex.quote(value)}\n" for name, value in scalars.items())


def _when(script: ActivationScript) -> str:
    """When a script is sourced: ``-`` always; where one of NAME… is set, one of =NAME… is set and
    empty, the script at one of the positions @N… is sourced.
    """
    if script.why:
        return "-"
    empty = [f"={name}" for name in script.unless_empty]
    return " ".join([*script.unless, *empty, *(f"@{number}" for number in script.after)])


def _changes(activation: Activation) -> list[str]:
    """``POSITION CONDITION KIND NAME=VALUE``, see :class:`~wrapper.models.VariableChange`; the
    condition is ``.`` where there is none.
    """
    return [
        f"{number} {change.where or '.'} {change.kind} {change.name}={change.value}"
        for number, script in enumerate(activation.scripts)
        for change in script.changes
    ]


def _without_zeros(mark: str) -> str:
    """Bytes as the shell reads them, which leaves out the zero bytes."""
    return bytes.fromhex(mark).replace(b"\0", b"").decode("utf-8", "surrogateescape")


def _pairs(variables: Mapping[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in variables.items()]
