"""What an environment brings into an image besides itself: activation, runscript, labels.

Text and data only. The files lie in ``/.singularity.d``, where both runtimes look for them; the
variables of ``env/*.sh`` are set for ``exec``, ``run`` and ``shell`` alike, in the order of the
files' names: the base's are 01 to 91, those of apps 94 and 95, the runtime's own 99.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files

from wrapper import runscripts
from wrapper.activation.model import Activation, ActivationScript, VariableChange
from wrapper.gpu import CACHE, NONE, Settings
from wrapper.images.sif.record import RECORD
from wrapper.manifest import MpiRecord
from wrapper.runtime.host_program import HOST_ROOT
from wrapper.util import foreign

ACTIVATE = ".singularity.d/env/96-containerize.sh"
RUNSCRIPT = ".singularity.d/runscript"
LABELS = ".singularity.d/labels.json"
DYNAMIC = ".containerize/dynamic.sh"
# What the base image may have set for a Python of its own; it would reach into ours.
FOREIGN = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")


def activation_script(
    activation: Activation,
    install_path: str,
    inherited: Mapping[str, str],
    *,
    gpu: Settings = NONE,
    mpi: MpiRecord | None = None,
    scripts: bool = False,
) -> str:
    """The text of :data:`ACTIVATE`.

    :param install_path: the environment, inside. :param inherited: variables of :data:`FOREIGN` as
        the base image sets them; a user's own values stay. :param gpu: what is set where GPUs are.
    :param mpi: whose MPI programs get. :param scripts: whether the image has ``/runscripts``.
    """
    lines = [_template("sif-activate.sh")]
    lines += [
        f'if [ "${{{name}-}}" = {shlex.quote(value)} ]; then export {name}=; fi'
        for name, value in inherited.items()
    ]
    lines += [f"export {name}={value}" for name, value in runscripts.NO_OPS.items()]
    lines += [_assignment(name, value) for name, value in activation.assign.items()]
    lines.append(f'export PATH={shlex.quote(f"{install_path}/bin")}"${{PATH:+:$PATH}}"')
    if scripts:
        lines.append(f'export PATH="$PATH:/{runscripts.DIRECTORY}"')
    lines += _scripts(activation)
    lines += _on_gpus(gpu)
    lines += _of_mpi(mpi) if mpi else ()
    # A user's ~/.local must not change what the image imports, unless they say so.
    lines.append('if [ -z "${PYTHONNOUSERSITE+x}" ]; then export PYTHONNOUSERSITE=1; fi')
    return "\n".join(lines) + "\n"


def _on_gpus(gpu: Settings) -> Iterator[str]:
    """As the shim does it. What makes and checks the directory are programs of the image, which may
    have none: then caches are where they are by default, and so where it is not the user's alone.
    Nothing is made in it before that is known: links of another user lead anywhere.
    """
    if not gpu.device:
        return
    names = "|".join(setting.name for setting in gpu.settings)
    folders = " ".join(f'"$_cw_cache/{folder}"' for folder in gpu.folders)
    yield f'if [ -e {shlex.quote(gpu.device)} ] && [ -n "${{UID-}}" ]; then'
    yield f"_cw_recall '|SLURM_JOB_ID|SLURMD_NODENAME|{names}|'"
    yield "_cw_cache=$UID${SLURM_JOB_ID:+.$SLURM_JOB_ID}${SLURMD_NODENAME:+.$SLURMD_NODENAME}"
    yield "case $_cw_cache in *[!A-Za-z0-9._-]*) _cw_cache=$UID ;; esac"
    yield f'_cw_cache={shlex.quote(gpu.cache)}"/containerize.$_cw_cache"'
    yield 'if [ ! -e "$_cw_cache" ] && [ ! -L "$_cw_cache" ]; then'
    yield '/bin/mkdir -m 700 "$_cw_cache" 2>/dev/null || :'
    yield "fi"
    yield '_cw_found="$(/usr/bin/stat -c "%u %a %F" "$_cw_cache" 2>/dev/null)" || :'
    yield '[ "$_cw_found" = "$UID 700 directory" ] || _cw_cache='
    if missing := " || ".join(f'[ ! -d "$_cw_cache/{folder}" ]' for folder in gpu.folders):
        yield f'if [ -n "$_cw_cache" ] && {{ {missing}; }}; then'
        yield f"/bin/mkdir -p -m 700 {folders} 2>/dev/null || _cw_cache="
        yield "fi"
    for setting in gpu.settings:
        value = shlex.quote(setting.value)
        tests = [f'[ -z "${{{setting.name}+x}}" ]']
        if setting.value.startswith(CACHE):
            tests.append('[ -n "$_cw_cache" ]')
            value = f'"$_cw_cache"{shlex.quote(setting.value.removeprefix(CACHE))}'
        if setting.where:
            tests.append(f"[ -e {shlex.quote(setting.where)} ]")
        yield f"if {' && '.join(tests)}; then export {setting.name}={value}; fi"
    yield "fi"


def _of_mpi(mpi: MpiRecord) -> Iterator[str]:
    """The host's comes before any other where the host's root is bound: on another machine, or
    without that bind, the links to it lead nowhere, and the image is as it was.
    """
    if mpi.directory:
        yield f"if [ -e {shlex.quote(HOST_ROOT + mpi.library)} ]; then"
        folder = shlex.quote(f"/{RECORD}/{mpi.directory}")
        yield f'export LD_LIBRARY_PATH={folder}"${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"'
    if mpi.variables:
        yield f"_cw_recall '|{'|'.join(mpi.variables)}|'"
    for name, value in mpi.variables.items():
        yield f'if [ -z "${{{name}+x}}" ]; then export {name}={shlex.quote(value)}; fi'
    if mpi.directory:
        yield "fi"


def _assignment(name: str, value: str) -> str:
    return f"export {name}={shlex.quote(value) if value else ''}"


def _scripts(activation: Activation) -> Iterator[str]:
    """What the packages' scripts do: what is recorded of them, and after that they themselves.

    Which ones are to be sourced is asked before anything is changed.
    """
    if asked := _asked(activation):
        yield f"_cw_recall '|{'|'.join(asked)}|'"
    flags = {}  # of those that may be
    for number, script in enumerate(activation.scripts):
        if script.why:
            flags[number] = "1"
        elif condition := _condition(script):
            flags[number] = f'"$_cw_{number}"'
            yield f"_cw_{number}=; if {condition}; then _cw_{number}=1; fi"
    for number, script in enumerate(activation.scripts):
        changes = [_change(change) for change in script.changes]
        if number in flags and changes:
            changes = [f"if [ -z {flags[number]} ]; then", *changes, "fi"]
        yield from changes
    if flags:
        words = [f"{flag} {shlex.quote(activation.scripts[n].path)}" for n, flag in flags.items()]
        any_of = "".join(flags.values()).replace('""', "")
        yield f"if [ -n {any_of} ]; then _cw_recall all"
        yield f'eval "$(/bin/bash /{DYNAMIC} {" ".join(words)})"'
        yield "fi"


def _asked(activation: Activation) -> list[str]:
    """Variables of the user that decide what is done."""
    names: set[str] = set()
    for script in activation.scripts:
        names |= {change.where[1:] for change in script.changes if change.where}
        names |= {change.name for change in script.changes if change.kind == "-"}
        names |= {*script.unless, *script.unless_empty}
    return sorted(names - {"PATH"})  # of which the image has its own


def _condition(script: ActivationScript) -> str:
    """When a script is sourced that is not always."""
    words = [f"${{{name}+x}}" for name in script.unless] + [f"$_cw_{n}" for n in script.after]
    tests = [f'[ -n "{"".join(words)}" ]'] if words else []
    tests += [f'[ "${{{name}+x}}${{{name}-}}" = x ]' for name in script.unless_empty]
    return " || ".join(tests)


def _change(change: VariableChange) -> str:
    name, value = change.name, shlex.quote(change.value)
    match change.kind:
        case "=":
            text = _assignment(name, change.value)
        case "<":
            text = f'export {name}={value}"${name}"'
        case ">":
            text = f'export {name}="${name}"{value}'
        case "&":
            text = f'export {name}="${change.value}"'
        case "-":
            text = f'if [ -n "${{{name}+x}}" ]; then export {name}=; fi'
    if not change.where:
        return text
    test = "-n" if change.where[0] == "+" else "-z"
    return f'if [ {test} "${{{change.where[1:]}-}}" ]; then {text}; fi'


def runscript(entry_point: Sequence[str] = ()) -> str:
    """The text of :data:`RUNSCRIPT`. :param entry_point: of the base image, to start all with."""
    text = _template("sif-runscript.sh")
    if not entry_point or entry_point == (f"/{RUNSCRIPT}",):  # which this one replaces
        return text
    return text.replace("exec ", f"exec {shlex.join(entry_point)} ")


def dynamic_script() -> str:
    """The text of :data:`DYNAMIC`."""
    return _template("sif-dynamic.sh")


def _template(name: str) -> str:
    return (files("wrapper") / "templates" / name).read_text()


def labels(base: Mapping[str, str], own: Mapping[str, str]) -> str:
    """The text of :data:`LABELS`: the base image's, and ours."""
    return json.dumps({**base, **own}, indent=1) + "\n"


def inspect_metadata(base: str, texts: Mapping[str, str]) -> str:
    """The JSON object from which ``inspect`` takes what it shows, without starting the image.

    :param base: text of the base's own, or empty. :param texts: our files by path.
    """
    data = foreign.json_object(base)
    inner = _part(data, "data")
    attributes = _part(inner, "attributes")
    attributes["environment"] = {
        **_part(attributes, "environment"),
        f"/{ACTIVATE}": texts[ACTIVATE],
    }
    attributes |= {"labels": foreign.json_object(texts[LABELS]), "runscript": texts[RUNSCRIPT]}
    return json.dumps({**data, "data": {**inner, "attributes": attributes}, "type": "container"})


def _part(data: Mapping[str, object], key: str) -> dict[str, object]:
    value = data.get(key)
    return dict(value) if isinstance(value, dict) else {}
