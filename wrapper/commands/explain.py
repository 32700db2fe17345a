"""``containerize inspect --settings``: what programs of an installation are told, and why."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from wrapper import gpu, layout, runscripts
from wrapper.gpu import CACHE, Setting, Use
from wrapper.images.sif.record import RECORD, read_sif_manifest
from wrapper.manifest import Manifest, read_manifest
from wrapper.mpi.abis import reason
from wrapper.runtime.host_program import HOST_BIND
from wrapper.util import foreign


def explain(target: Path, environ: Mapping[str, str]) -> str:
    """A text about each variable that an installation or a SIF sets.

    :param environ: the user's variables, which win. :raises PrefixError: it is none of ours.
    """
    manifest = (read_sif_manifest if target.is_file() else read_manifest)(target)
    base = manifest.base
    use = Use.of(base.on(Path(base.path)), manifest.packages, manifest.site)
    if target.is_file():  # its script says the same in another form
        chosen = manifest.gpu or gpu.NONE
        arrays = {"gpu_device": [chosen.device], "gpu_cache": [chosen.cache], "runscripts": ["1"]}
        settings = list(chosen.settings)
    else:
        arrays = _arrays(target / layout.CURRENT / layout.ENV)
        settings = list(map(_explained, arrays.get("gpu", ())))
    since = f"since generation {manifest.generation}, {manifest.created[:10]}"
    lines = [*_on_gpus(settings, arrays, environ, since), *_left_out(use, environ)]
    lines += _of_mpi(manifest, environ, since)
    lines += _always(manifest, arrays, since)
    return "\n".join(lines or ["no program is told anything but what packages' scripts say"])


def _on_gpus(
    settings: list[Setting], arrays: Mapping[str, list[str]], environ: Mapping[str, str], since: str
) -> Iterator[str]:
    if not settings:
        return
    yield f"On nodes with {arrays['gpu_device'][0]}, where nobody has set them ({since}):"
    place = f"{arrays['gpu_cache'][0]}/containerize.UID.JOB.NODE"
    for setting in settings:
        where = f"  (where there is {setting.where})" if setting.where else ""
        yield f"\n{setting.name}={setting.value.replace(CACHE, place)}{where}"
        yield from _why(setting)
        if setting.name in environ:
            yield f"  now     your own value counts: {environ[setting.name]}"


def _left_out(use: Use, environ: Mapping[str, str]) -> Iterator[str]:
    for number, setting in enumerate(gpu.left_out(use)):
        if number == 0:
            yield "\nNot set, though recipes do:"
        yield f"\n{setting.name}"
        yield from _why(setting)
        if setting.name in environ:
            yield f"  now     your environment has it ({environ[setting.name]}), and that counts"


def _of_mpi(manifest: Manifest, environ: Mapping[str, str], since: str) -> Iterator[str]:
    mpi = manifest.mpi
    if mpi and mpi.directory:
        place = f"DIR/{layout.GENERATIONS}/{manifest.generation}/{mpi.directory}"
        if manifest.form:
            place = f"/{RECORD}/{mpi.directory} where {HOST_BIND} is bound"
        yield f"\nLD_LIBRARY_PATH begins with {place} ({since})"
        yield "  why     this machine's MPI is to come before any other"
    for number, (name, value) in enumerate(mpi.variables.items() if mpi else ()):
        if number == 0:
            yield f"\nFor MPI, where nobody has set them ({since}):"
        yield f"\n{name}={value}"
        why, source = reason(name, value)
        yield f"  why     {why}"
        if source:
            yield f"  source  {source}"
        if name in environ:
            yield f"  now     your own value counts: {environ[name]}"


def _always(manifest: Manifest, arrays: Mapping[str, list[str]], since: str) -> Iterator[str]:
    """Values of the user's variables may be secrets: names do."""
    users = [*manifest.variables]
    told = [pair.partition("=")[0] for pair in arrays.get("always", ())]
    of_site = [name for name in told if name not in users]
    if users or of_site:
        yield f"\nAt every start ({since}):\n"
    if users:
        yield f"{' '.join(users)}\n  why     asked for when it was built"
    if of_site:
        yield f"{' '.join(of_site)}\n  why     settings of the site {manifest.site}".rstrip()
    if arrays.get("runscripts"):
        yield f"\n{' '.join(f'{name}=true' for name in runscripts.NO_OPS)}"
        yield "  why     job scripts call it to activate other images; here nothing is left to do"


def _why(setting: Setting) -> Iterator[str]:
    yield f"  why     {setting.why}"
    if setting.source:
        yield f"  source  {setting.source}, read {setting.read}"


def _explained(text: str) -> Setting:
    """One of an environment file, ``FILE NAME=VALUE``, with its reason."""
    where, _, pair = text.partition(" ")
    name, _, value = pair.partition("=")
    where = "" if where == "/" else where
    reason = gpu.known(name, value)
    if reason is None:
        reason = Setting(name=name, value=value, where=where, why="of an earlier version")
    return replace(reason, where=where)


def _arrays(path: Path) -> dict[str, list[str]]:
    """The assignments in an environment file, whose values are quoted for a shell."""
    text = foreign.read_bytes(path).decode("utf-8", "surrogateescape")
    found = {}
    for name, value in re.findall(r"^_cw_(\w+)=(.*(?:\n(?!_cw_).*)*)", text, re.M):
        inner = value.strip()
        found[name] = shlex.split(inner[1:-1] if inner.startswith("(") else inner)
    return found
