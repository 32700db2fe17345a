"""Images of ``containerize build`` against cotainr's way, on a synthetic base of 3 GB."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import rattler

from benchmarks.measure import Peak, Row, command, side_by_side
from tests.channel.elf import printing
from tests.images import system_files
from wrapper.conda.resolve import resolve
from wrapper.console import Console
from wrapper.images.compression import EVERYWHERE
from wrapper.images.sif import file as sif
from wrapper.images.sif.file import NewObject
from wrapper.images.squasher import find_squasher
from wrapper.inputs import read_spec
from wrapper.models import Base, Site
from wrapper.runtime.runtime import find_runtime

CONTAINERIZE = Path(sys.executable).with_name("containerize")
_PROGRAM = "/bin/nothing"  # of the base
_BIG, _BIG_SIZE = 40, 70 << 20  # libraries and models: hardly to be compressed
_SMALL, _SMALL_SIZE = 40_000, 6_000  # Python modules, headers


def rows(work: Path, file: Path, rounds: int) -> Iterator[Row]:
    """Rows of the table. ``file`` describes the numpy + scipy environment."""
    base = synthetic_base(work / "synthetic")
    image, theirs_image = work / "image.sif", work / "theirs.sif"
    peak = Peak(work / "tmp")
    line: list[str | Path] = [CONTAINERIZE, "build", "-q", "--force", image, "--base-image", base]
    line += ["--conda-env", file, "--tmpdir", peak.directory]
    with peak:
        command(line, os.environ)()  # also fills the cache
    environment = _tree_size(image)
    yield Row(
        what="temporary files of containerize build",
        value=f"{peak.most / environment:.2f} x",
        against=f"environment of {environment / 1e6:.0f} MB",
        figure=peak.most / environment,
        limit=3.0,
    )
    build = command(line, os.environ)
    ours = min(build() for _ in range(2))
    theirs = min(unpack_and_squash_all(base, file, theirs_image, work) for _ in range(2))
    yield Row(
        what="containerize build on a base of 3 GB",
        value=f"{ours / theirs:.3f} x",
        against=f"sandbox, install, squash ({theirs:.0f} s)",
        figure=ours / theirs,
        limit=0.1,
    )
    runtime = find_runtime(os.environ, Site()).path
    starts = {
        name: command([str(runtime), "exec", str(path), _PROGRAM], os.environ)
        for name, path in (("image", image), ("base", base))
    }
    medians = {name: run.median() for name, run in side_by_side(starts, rounds).items()}
    yield Row(
        what="start of a program in the SIF",
        value=f"{medians['image'] / medians['base']:.3f} x",
        against=f"the base alone ({medians['base']:.3f} s)",
        figure=medians["image"] / medians["base"],
        limit=1.3,
    )


def synthetic_base(root: Path) -> Path:
    """A base image: a small system, 2.9 GB of noise in large files, text in small ones."""
    sandbox = system_files(root)
    program = root / _PROGRAM.lstrip("/")
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_bytes(printing(b""))
    program.chmod(0o755)
    noise = random.Random(0)  # noqa: S311 - noise
    for number in range(_BIG):
        (root / f"opt/big/{number}").parent.mkdir(parents=True, exist_ok=True)
        (root / f"opt/big/{number}").write_bytes(noise.randbytes(_BIG_SIZE))
    for number in range(_SMALL):
        path = root / f"opt/small/{number % 400}/{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((f"name_{number} = {noise.random()}\n" * 300).encode()[:_SMALL_SIZE])
    squashed, image = root.with_suffix(".sqfs"), root.with_suffix(".sif")
    find_squasher(os.environ, Site()).squash(
        sandbox, squashed, compression=EVERYWHERE, console=Console(-1), advance=lambda *_: None
    )
    shutil.rmtree(sandbox)
    primary = NewObject(
        kind=sif.PARTITION, name="", content=squashed, extra=sif.partition(sif.PRIMARY)
    )
    sif.write_sif(image, [primary])
    squashed.unlink()
    return image


def unpack_and_squash_all(base: Path, file: Path, image: Path, work: Path) -> float:
    """cotainr's way: the base as a sandbox, the packages into it, all of it squashed again.

    Without what cotainr does besides (downloading and updating Miniforge, conda's own solver).
    """
    runtime, sandbox = str(find_runtime(os.environ, Site()).path), work / "sandbox"
    cache = work / "floor-cache"
    records = list(resolve(read_spec(file), base=Base(), site=Site(), cache=cache).records)
    shutil.rmtree(sandbox, ignore_errors=True)
    image.unlink(missing_ok=True)
    env = {**os.environ, "APPTAINER_TMPDIR": str(work), "SINGULARITY_TMPDIR": str(work)}
    start = time.perf_counter()
    subprocess.run([runtime, "-s", "build", "--sandbox", sandbox, base], env=env, check=True)
    asyncio.run(
        rattler.install(
            records,
            target_prefix=sandbox / "opt/conda",
            cache_dir=cache / "pkgs",
            show_progress=False,
            alternative_target_prefix="/opt/conda",
        )
    )
    subprocess.run([runtime, "-s", "build", image, sandbox], env=env, check=True)
    seconds = time.perf_counter() - start
    shutil.rmtree(sandbox)
    return seconds


def _tree_size(image: Path) -> int:
    from wrapper.images.sif.record import read_sif_manifest

    return read_sif_manifest(image).tree.size
