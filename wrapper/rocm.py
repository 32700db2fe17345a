"""Which ROCm user spaces an AMD GPU driver serves, and which packages are for it.

AMD states it in a table, which is ``rocm.toml`` here: no rule gives it. Until ROCm 6.4 it was two
releases before and after the driver's own, since then about a year in both directions.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path

from wrapper.util import toml

DRIVER_VARIABLE = "CONTAINERIZE_ROCM_DRIVER"
_data = functools.partial(toml.beside, __file__)
# How packages write it: 6.3.60300 is that of ROCm 6.3.
_PACKAGED = re.compile(r"\d+\.\d+\.(\d)(\d\d)\d\d\b")


# Packages that are ROCm, and names that say for which one they are.
_ITSELF = re.compile(r"rocm(?:-sdk(?:-[\w-]+)?)?")
_NAMED = re.compile(r"-rocm-?(\d)-?(\d)(?:-|$)")
# Packages that are for NVIDIA's GPUs alone, by name, and by version or build.
_NVIDIA = re.compile(
    r"nvidia-[\w-]+-cu\d+|cudatoolkit|cuda-(?:cudart|libraries|nvrtc|runtime|toolkit)\S*"
    r"|[\w-]+-cuda\d+x?"
)
_CUDA_BUILD = re.compile(r"(?:\+|%2B)cu\d+|^cuda\d+", re.I)
_TORCH = {"pytorch": "torch", **{name: name for name in ("torch", "torchaudio", "torchvision")}}


def for_nvidia(name: str, version: str = "", build: str = "") -> bool:
    """Whether a package is for NVIDIA's GPUs alone. :param name: canonical."""
    told = any(_CUDA_BUILD.search(word) for word in (version, build))
    return told or bool(_NVIDIA.fullmatch(name))


def release_of(name: str, version: str) -> str:
    """The ROCm that a package is for or is, empty of others.

    ``torch 2.3.0+rocm6.2.4``, ``rocm-sdk-core 7.14.0``, ``cupy-rocm-5-0``, ``jax-rocm60-plugin``.
    :param name: canonical.
    """
    if _ITSELF.fullmatch(name):
        return _minor(version)
    if match := re.search(r"\+rocm(\d+\.\d+)", version):
        return match[1]
    match = _NAMED.search(name)
    return f"{match[1]}.{match[2]}" if match else ""


def stand_in(name: str) -> str:
    """The package whose modules another one for ROCm brings under its own name (``triton`` of
    ``pytorch-triton-rocm``), empty for none. :param name: canonical.
    """
    found: str = _data()["stand_ins"]["packages"].get(name, "")
    return found


def newest_build(driver: str) -> str:
    """The newest ROCm that a driver serves and that PyTorch has builds for; empty where none is."""
    built = {release for wheels in _data()["wheels"] for release in wheels["releases"]}
    return next((release for release in reversed(window(driver)) if release in built), "")


def lines_for(rocm: str, packages: Mapping[str, str], gpu: str = "") -> list[str]:
    """Lines of a requirements file for PyTorch's builds for a ROCm, none where none are known.

    :param gpu: the GPU's architecture, where it is known.
    :param packages: name (conda's or pip's) -> version without its local part, empty where it is
        not known.
    """
    release = _minor(rocm)
    wanted = {_TORCH[name]: version for name, version in packages.items() if name in _TORCH}
    known = [wheels for wheels in _data()["wheels"] if release in wheels["releases"]]
    if not (known and wanted):
        return []
    index, local = (known[0][key].format(release=release) for key in ("index", "local"))
    lines = [f"--extra-index-url {index}"]
    for name, version in wanted.items():
        exact = f"=={version or 'VERSION'}{local}" if local else ""
        lines.append(f"{name}{known[0]['extra'].format(gpu=gpu or 'gfx90a')}{exact}")
    return lines


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
    return False if known or numbers(rocm) < numbers(served[0]) else None


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


def numbers(version: str) -> tuple[int, ...]:
    """A release of ROCm, major and minor, to be compared; nothing where it is none."""
    return tuple(map(int, _minor(version).split("."))) if _minor(version) else ()
