"""Which ROCm user spaces an AMD GPU driver serves.

AMD states it in a table, which is ``rocm.toml`` here: no rule gives it. Until ROCm 6.4 it was two
releases before and after the driver's own, since then about a year in both directions.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wrapper.util import toml

DRIVER_VARIABLE = "CONTAINERIZE_ROCM_DRIVER"
_DATA = Path(__file__).with_suffix(".toml")
# How packages write it: 6.3.60300 is that of ROCm 6.3.
_PACKAGED = re.compile(r"\d+\.\d+\.(\d)(\d\d)\d\d\b")


def driver_release(environ: Mapping[str, str], root: Path = Path("/")) -> str:
    """This machine's driver as AMD calls it (``6.3``, ``30.30``), empty where none tells.

    ``CONTAINERIZE_ROCM_DRIVER`` says it where nodes differ: login nodes have no GPUs. It may be the
    release of ROCm that the driver came with, too. Drivers that come with the kernel say nothing.
    What is not known is given as it is.
    """
    if named := environ.get(DRIVER_VARIABLE):
        release = _minor(named) or named
        return _drivers("released").get(release, release)
    try:
        module = (root / "sys/module/amdgpu/version").read_text().strip()
    except OSError:
        return ""
    if packaged := _PACKAGED.match(module):
        return f"{packaged[1]}.{int(packaged[2])}"
    minor = _minor(module)
    numbered = minor in _windows() and int(minor.partition(".")[0]) >= 30
    return minor if numbered else _drivers("modules").get(minor, module)


def window(driver: str) -> tuple[str, ...]:
    """ROCm releases that a driver serves, oldest first; none where the driver is not known."""
    return _windows().get(_minor(driver), ())


def fits(rocm: str, driver: str) -> bool | None:
    """Whether an image's ROCm is in the driver's window; ``None`` where one is not known."""
    served = window(driver)
    if not (served and rocm):
        return None
    if _minor(rocm) in served:
        return True
    known = any(_minor(rocm) in window for window in _windows().values())
    return False if known or _numbers(rocm) < _numbers(served[0]) else None


def misfit(rocm: str, driver: str) -> str:
    """Why a ROCm may not run on a driver, as the end of a sentence; empty where it does, and where
    there is no driver or no ROCm.
    """
    if not (rocm and driver) or fits(rocm, driver):
        return ""
    served = window(driver)
    if not served:
        return f"it is not known what the driver {driver} serves"
    serves = f"the driver {driver} serves {served[0]} to {served[-1]}"
    if fits(rocm, driver) is None:
        return f"that release is not known, {serves} as far as is known"
    return serves


@functools.cache
def _data() -> dict[str, Any]:
    return toml.loads(_DATA.read_text(encoding="utf-8"))


def _drivers(table: str) -> dict[str, str]:
    """A table of the data whose values are drivers, as AMD calls them."""
    found: dict[str, str] = _data()[table]["drivers"]
    return found


@functools.cache
def _windows() -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for matrix in reversed(_data()["matrices"]):
        found |= {driver: tuple(served) for driver, served in matrix["drivers"].items()}
    return found


def _minor(version: str) -> str:
    match = re.match(r"\d+\.\d+", version)
    return match[0] if match else ""


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, _minor(version).split("."))) if _minor(version) else ()
