"""The floor of a build: what its three big parts take, each alone and with nothing around it."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from pathlib import Path

import rattler

from benchmarks.measure import Job
from wrapper.conda.resolve import resolve
from wrapper.console import Console
from wrapper.images.compression import Compression
from wrapper.images.squasher import find_squasher
from wrapper.inputs import read_spec
from wrapper.models import Base, Site
from wrapper.process import processors


def jobs(work: Path, file: Path, compression: Compression) -> dict[str, Job]:
    """Jobs for :func:`benchmarks.measure.side_by_side`, in the order of a build.

    rattler installs from its warm cache; compileall writes the same kind of .pyc for everything;
    mksquashfs has the options of a build. The tree of each round is the next part's input.
    """
    resolution = resolve(read_spec(file), base=Base(), site=Site(), cache=work / "floor-cache")
    records = list(resolution.records)
    tree = work / "floor-tree"
    image = work / "floor.sqfs"

    def install() -> float:
        shutil.rmtree(tree, ignore_errors=True)
        start = time.perf_counter()
        asyncio.run(
            rattler.install(
                records,
                target_prefix=tree,
                cache_dir=work / "floor-cache/pkgs",
                show_progress=False,
                alternative_target_prefix="/containerize-floor",
            )
        )
        return time.perf_counter() - start

    def compile_all() -> float:
        options = ["-q", "-f", "-j", str(processors()), "--invalidation-mode", "unchecked-hash"]
        start = time.perf_counter()
        # Some modules are tests of syntax errors: the status says so and means nothing.
        subprocess.run(
            [tree / "bin/python3", "-m", "compileall", *options, tree / "lib/python3.11"],
            env=dict(os.environ),
            stdout=subprocess.DEVNULL,
            check=False,
        )
        return time.perf_counter() - start

    def squash() -> float:
        image.unlink(missing_ok=True)
        start = time.perf_counter()
        find_squasher(os.environ, Site()).squash(
            tree,
            image,
            compression=compression,
            console=Console(-1),
            advance=lambda *_: None,
        )
        return time.perf_counter() - start

    return {"install": install, "compileall": compile_all, "mksquashfs": squash}
