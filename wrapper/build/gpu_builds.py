"""Builds for NVIDIA's GPUs on a base image for AMD's, and for which ROCm the others are."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from packaging.markers import Marker, UndefinedEnvironmentName

from wrapper import rocm
from wrapper.build.inputs import Inputs
from wrapper.console import Console
from wrapper.errors import InputError
from wrapper.models import Base, Site
from wrapper.packages import LockedPackage

_VERSION = re.compile(r"==\s*(\d[\w.!-]*)|-(\d[\w.]*)(?:\+|%2B)")


@dataclass(frozen=True, kw_only=True)
class Named:
    """A package that a file names: ``told`` is a version or a line, ``where`` it stands."""

    name: str
    told: str
    build: str = ""
    where: str = ""


@dataclass(frozen=True, kw_only=True)
class Target:
    """AMD's GPUs that an environment is for.

    :ivar why: it is for them, for a sentence. :ivar rocm: the base's, or the newest that builds
        here can use; empty where neither is known. :ivar gpu: their architecture, likewise.
    """

    why: str
    rocm: str
    gpu: str


def target(base: Base, site: Site) -> Target | None:
    """What the base image or, where that is the host or has no ROCm, the site says of GPUs."""
    kind = site.gpus.kind
    gpu = kind if kind.startswith("gfx") else ""
    if base.rocm:
        return Target(why=f"{base.name} has ROCm {base.rocm}", rocm=base.rocm, gpu=gpu)
    if gpu:
        release = rocm.newest_build(rocm.driver_release(os.environ))
        return Target(why=f"{site.name} has AMD's ({gpu})", rocm=release, gpu=gpu)
    return None


def require_amd(inputs: Inputs, base: Base, site: Site) -> None:
    """:raises InputError: files name builds for NVIDIA's GPUs, and base or site have AMD's."""
    amd = target(base, site)
    if amd is None:
        return
    wrong = [one for one in named(inputs) if rocm.for_nvidia(one.name, one.told, one.build)]
    if not wrong:
        return
    names = list(dict.fromkeys(one.name for one in wrong))
    others = f" (as are {len(names) - 1} more)" if len(names) > 1 else ""
    hint, lines = _instead(amd, {one.name: _plain(one.told) for one in wrong})
    raise InputError(
        f"{names[0]} is for NVIDIA's GPUs{others}, and {amd.why}",
        where=wrong[0].where,
        hint=hint,
        detail="\n".join(lines),
    )


def tell_builds(
    packages: Sequence[LockedPackage], base: Base, site: Site, console: Console
) -> None:
    """Warn of what was installed and cannot use the GPUs, or only a part of the base."""
    driver = rocm.driver_release(os.environ)
    amd = target(base, site)
    wrong = {
        p.canonical: _plain(p.version)
        for p in packages
        if rocm.for_nvidia(p.canonical, p.version, p.build)
    }
    if amd and wrong:
        plain = {p.canonical: p.version for p in packages if not _release(p)}
        hint, lines = _instead(amd, {**plain, **wrong})  # a plain torch needs them
        shown = f": {', '.join(map(repr, lines))}" if lines else ""
        console.warning(f"{next(iter(wrong))} is for NVIDIA's GPUs, and {amd.why}; {hint}{shown}")
    for package in packages:
        release = _release(package)
        if release and base.rocm and release != ".".join(base.rocm.split(".")[:2]):
            console.warning(
                f"{package.name} {package.version} brings ROCm {release}, and may not use the "
                f"libraries and the network plugin of {base.name}, which has {base.rocm}"
            )
        if why := rocm.misfit(release, driver):
            console.warning(f"{package.name} is for ROCm {release}: {why}")


def _release(package: LockedPackage) -> str:
    return rocm.release_of(package.canonical, package.version)


def _instead(amd: Target, packages: dict[str, str]) -> tuple[str, list[str]]:
    """What to do, and lines to write, where builds for this ROCm are known."""
    lines = rocm.lines_for(amd.rocm, packages, amd.gpu)
    if not lines:
        which = f"ROCm {amd.rocm}".rstrip()
        return f"leave it out, or name its build for {which} and the index that has it", []
    return "leave out what is NVIDIA's and write these lines instead (a lock: make it anew)", lines


def named(inputs: Inputs) -> Iterator[Named]:
    """Packages that are named with a version; of an env.yml's own, the solver knows the base."""
    for one in inputs.requirements.packages:
        if one.name and _counts(one.marker):
            yield Named(name=one.name, told=one.text.partition(";")[0], where=one.where)
    for lock in inputs.requirements.locks:
        for table in lock.packages:
            if _counts(str(table.get("marker", ""))):
                told = str(table.get("version", ""))
                yield Named(name=table["name"], told=told, where=str(lock.where))
    environment = inputs.environment
    of_environment = (environment.locked or ()) if environment else ()
    where = str(environment.source) if environment else ""
    for package in of_environment:
        yield Named(name=package.canonical, told=package.version, build=package.build, where=where)
    for package in inputs.locked:
        yield Named(name=package.canonical, told=package.version, where="requirements.lock")


def _plain(told: str) -> str:
    """The version in a line, or of a version, without its local part; empty where there is none."""
    if re.fullmatch(r"\d[\w.!+-]*", told):
        return told.partition("+")[0]
    match = _VERSION.search(told)
    return (match[1] or match[2]).partition("+")[0] if match else ""


def _counts(marker: str) -> bool:
    """Whether a marker holds here; one that asks for more than the machine does not."""
    try:
        return not marker or Marker(marker).evaluate()
    except (ValueError, UndefinedEnvironmentName):  # what is no marker; an extra
        return False
