"""``/runscripts``: programs beside an environment's own that start its Python in a job of Slurm.

Names and places are those of LUMI's container modules, so that job scripts go on working.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path

from wrapper import gpu

DIRECTORY = "runscripts"
"""In the root of the container, and in a generation, where that has them."""
NAMES = ("conda-python-distributed", "conda-python-simple", "get-master", "torchrun-distributed")
# Job scripts for images of LUMI's and cotainr's making call "$WITH_CONDA" before a program.
NO_OPS: Mapping[str, str] = dict.fromkeys(("WITH_CONDA", "WITH_CONDA_VENV", "WITH_VENV"), "true")


def wanted(packages: Iterable[str]) -> bool:
    """Whether an environment with these packages (canonical names) is for such jobs."""
    return gpu.for_many_gpus(packages)


def programs() -> dict[str, str]:
    """Name -> path inside."""
    return {name: f"/{DIRECTORY}/{name}" for name in NAMES}


def write(parent: Path) -> None:
    """Make the directory with the scripts, one file with all names."""
    directory = parent / DIRECTORY
    directory.mkdir(mode=0o755)
    first = directory / NAMES[0]
    first.write_text((files("wrapper") / "templates/runscripts.sh").read_text())
    first.chmod(0o755)
    for name in NAMES[1:]:
        (directory / name).hardlink_to(first)
