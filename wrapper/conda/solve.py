"""What has to be installed for what was asked for, beside what is there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from wrapper import installed, trust
from wrapper.base_python.packages import BasePackage, conflict
from wrapper.base_python.session import Reuse
from wrapper.conda.install import split
from wrapper.conda.resolve import resolve
from wrapper.console import Console
from wrapper.errors import SolveError
from wrapper.models import Base, EnvironmentSpec, Resolution
from wrapper.requests import Request

if TYPE_CHECKING:
    from rattler import PrefixRecord

# Unpacked packages against their archives: measured 3.2 on numpy + scipy; and their .pyc.
UNPACKED_RATIO = 4.0


def solve(
    asked: EnvironmentSpec,
    request: Request,
    *,
    base: Base,
    reuse: Reuse | None,
    cache: Path,
    preferred: Sequence[PrefixRecord],
    console: Console,
) -> Resolution:
    """The packages of an environment, without those that the base has.

    :param preferred: records to keep where the request allows it. :param console: is told what they
        are trusted by, where that is little. :raises InputError: hashes are required and missing.
    :raises ContainerizeError: see :func:`wrapper.conda.resolve.resolve`.
    """
    pinned = installed.records_in(reuse.python.records) if reuse else []
    try:
        resolution = resolve(
            asked,
            cache=cache,
            base=base,
            site=request.site,
            preferred=preferred,
            pinned=pinned,
            platform=request.platform,
        )
    except SolveError as error:
        fixed = re.findall(r"(\S+) (\S+) is locked", error.detail) if reuse else []
        if not fixed:
            raise
        packages = [BasePackage(name=name, version=version) for name, version in fixed]
        raise conflict(packages, error.detail) from None
    if reuse:
        resolution = _missing(resolution, reuse, pinned, asked.source)
    if request.require_hashes:
        trust.require_hashes(resolution.records, asked.source)
    for warning in trust.conda_warnings(resolution, locked=asked.locked is not None):
        console.warning(warning)
    return resolution


def _missing(
    resolution: Resolution, reuse: Reuse, pinned: Sequence[PrefixRecord], source: Path
) -> Resolution:
    """What is to be added to the base's packages; the others are taken from it.

    :raises SolveError: a lock has another version of one.
    """
    there = {record.name.normalized: record for record in pinned}
    taken, missing = split(resolution.records, pinned)
    for record in missing:
        name = record.name.normalized
        if other := there.get(name):
            package = BasePackage(name=name, version=f"{other.version} {other.build}")
            raise conflict([package], f"{source} has {name} {record.version} {record.build}")
    reuse.take_conda(record.name.normalized for record in taken)
    return replace(resolution, records=tuple(missing))
