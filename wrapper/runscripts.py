"""``/runscripts``: programs beside an environment's own that start its Python in a job of Slurm.

Names and places are those of LUMI's container modules, so that job scripts go on working.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wrapper.images.tree import ImageTree

DIRECTORY = "runscripts"
"""In the root of the container, and in a generation, where that has them."""
NAMES = ("conda-python-distributed", "conda-python-simple", "get-master", "torchrun-distributed")
# Job scripts for images of LUMI's and cotainr's making call "$WITH_CONDA" before a program.
NO_OPS: Mapping[str, str] = dict.fromkeys(("WITH_CONDA", "WITH_CONDA_VENV", "WITH_VENV"), "true")


def of_image(tree: ImageTree) -> tuple[str, ...]:
    """What an image has in a ``/runscripts`` of its own, over which ours are not bound.

    Those of an image of ours are none: newer ones take their place.
    """
    names = [path.rpartition("/")[2] for path in tree.matching(rf"/{DIRECTORY}/[^/]+")]
    return () if {*NAMES} <= {*names} else tuple(names)


def programs(own: Collection[str] = ()) -> dict[str, str]:
    """Name -> path inside. :param own: see :func:`of_image`; then those of ours that are in it."""
    return {name: f"/{DIRECTORY}/{name}" for name in NAMES if not own or name in own}


def write(parent: Path) -> None:
    """Make the directory with the scripts, one file with all names."""
    directory = parent / DIRECTORY
    directory.mkdir(mode=0o755)
    first = directory / NAMES[0]
    first.write_text((files("wrapper") / "templates/runscripts.sh").read_text())
    first.chmod(0o755)
    for name in NAMES[1:]:
        (directory / name).hardlink_to(first)
