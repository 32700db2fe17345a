"""Whether a runtime mounts overlay partitions, which is asked with a tiny image."""

from __future__ import annotations

import os
from pathlib import Path

from wrapper import process
from wrapper.console import Console
from wrapper.process import ToolFailed
from wrapper.runtime import Runtime, home_of, host_binds
from wrapper.sif import file as sif
from wrapper.sif.file import NewObject

SEEN = "containerize-overlay"
"""The directory in the upper layer of a trial."""


def trial_layers(root: Path) -> tuple[Path, Path]:
    """The trees of an image and its overlay, to be squashed: new directories below ``root``."""
    bottom, top = root / "bottom", root / "top"
    bottom.mkdir(parents=True)
    (top / SEEN).mkdir(parents=True)
    return bottom, top


def mounts_overlays(
    runtime: Runtime, layers: tuple[Path, Path], *, scratch: Path, console: Console
) -> bool:
    """Start an image with an overlay and see whether that is there.

    :param layers: squashed ones of :func:`trial_layers`, the lower of which has the host's mount
        points. :param scratch: a directory for the image.
    """
    image = scratch / "overlay-trial.sif"
    roles = (sif.PRIMARY, sif.OVERLAY)
    add = [
        NewObject(kind=sif.PARTITION, name="", content=layer, extra=sif.partition(role))
        for layer, role in zip(layers, roles, strict=True)
    ]
    sif.write_sif(image, add)
    command = ["/bin/sh", "-c", f"test -d /{SEEN}"]
    argv = runtime.exec_argv(image, host_binds(), command, cwd=Path("/"), home=home_of(os.environ))
    try:
        process.run(argv, console=console, env=runtime.environment(scratch))
    except ToolFailed:
        return False
    finally:
        image.unlink()
    return True
