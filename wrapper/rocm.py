"""Which ROCm user spaces an AMD GPU driver serves.

AMD guarantees two releases before and after the driver's own ("User and kernel-space support
matrix" of its documentation). Releases are counted by position, across major versions: a driver of
6.0 serves 5.6 to 6.2. From 6.4 on AMD names a year instead, which is about the same or wider.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

DRIVER_VARIABLE = "CONTAINERIZE_ROCM_DRIVER"
RELEASES = (
    *("5.0", "5.1", "5.2", "5.3", "5.4", "5.5", "5.6", "5.7"),
    *("6.0", "6.1", "6.2", "6.3", "6.4", "7.0", "7.1", "7.2"),
)
_REACH = 2
# What /sys/module/amdgpu/version says of AMD's packaged drivers: their own numbers, in releases of
# ROCm. Drivers that come with the kernel say nothing there.
_MODULES = {
    **{"5.16": "5.2", "6.0": "5.5", "6.1": "5.6", "6.2": "5.7", "6.3": "6.0"},
    **{"6.7": "6.1", "6.8": "6.2", "6.10": "6.3", "6.12": "6.4"},
    **{"30.10": "7.0", "30.20": "7.1", "30.30": "7.2"},
}


def driver_release(environ: Mapping[str, str], root: Path = Path("/")) -> str:
    """The ROCm release of this machine's driver, empty where it has none or it is not known.

    ``CONTAINERIZE_ROCM_DRIVER`` says it where nodes differ: login nodes have no GPUs.
    """
    if named := environ.get(DRIVER_VARIABLE):
        return named
    try:
        module = (root / "sys/module/amdgpu/version").read_text()
    except OSError:
        return ""
    match = re.match(r"\d+\.\d+", module)
    return _MODULES.get(match[0], "") if match else ""


def window(driver: str) -> tuple[str, ...]:
    """ROCm releases that a driver serves, oldest first; none where the driver is not known."""
    release = _minor(driver)
    if release not in RELEASES:
        return ()
    at = RELEASES.index(release)
    return RELEASES[max(0, at - _REACH) : at + _REACH + 1]


def fits(rocm: str, driver: str) -> bool | None:
    """Whether an image's ROCm is in the driver's window; ``None`` where one is not known."""
    served = window(driver)
    return _minor(rocm) in served if served and rocm else None


def _minor(version: str) -> str:
    match = re.match(r"\d+\.\d+", version)
    return match[0] if match else ""
