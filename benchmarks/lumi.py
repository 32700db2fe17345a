"""A start with all that LUMI's profile brings: an image with ROCm, the machine's MPI, GPUs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Row, command, side_by_side
from tests.images import system_files, write_files
from wrapper import settings as site
from wrapper.gpu import AMD, Use, settings_for
from wrapper.runtime.runtime import find_runtime

_MPICH = Path(__file__).parents[1] / ".cache/mpich"
_IMAGE = "lumi-multitorch-bench.sif"  # by its name the profile knows what it needs
# What the shim hands to the runtime: its words, and its variables.
_RECORDER = """\
#!/bin/bash
printf '%s\\0' "$@" >'{place}/words'
cat "/proc/$$/environ" >'{place}/variables'
"""


def rows(work: Path, new: list[str | Path], file: Path, rounds: int) -> Iterator[Row]:
    """:param new: the line that builds ``file``'s environment, but for its prefix and the file."""
    runtime = find_runtime(os.environ, site.load(os.environ)).path
    profile = {"CONTAINERIZE_SITE": "lumi", "CONTAINERIZE_RUNTIME": str(runtime)}
    sandbox = write_files(system_files(work / "rocm"), {"opt/rocm/.info/version": "6.4.0-1\n"})
    subprocess.run([runtime, "-s", "build", work / _IMAGE, sandbox], check=True)
    prefix = work / "lumi"
    mpi = {"LD_LIBRARY_PATH": f"{_MPICH}/abi:{_MPICH}/lib"}
    line = [*new, prefix, file, "--base-image", work / _IMAGE, "--mpi", "host"]
    command(line, {**os.environ, **profile, **mpi})()
    _with_gpus(prefix)
    shim: list[str | Path] = [prefix / "bin/python3", "-c", "pass"]
    bare, variables = _handed_on(shim, runtime, work / "recorded")
    jobs = {"shim": command(shim, os.environ), "bare": command(bare, variables)}
    taken = {name: found.median() for name, found in side_by_side(jobs, rounds).items()}
    ratio = taken["shim"] / taken["bare"]
    yield Row(
        what="start with all of LUMI's profile",
        value=f"{ratio:.3f} x",
        against=f"bare line ({taken['bare']:.3f} s)",
        figure=ratio,
        limit=1.08,
    )


def _with_gpus(prefix: Path) -> None:
    """Let this machine be one with AMD's GPUs to the shims."""
    env = prefix / "current/env"
    device = settings_for(Use(gpu=AMD, rocm="6.4")).device
    text = env.read_bytes().decode(errors="surrogateescape")  # some of its bytes are an image's
    assert f"_cw_gpu_device={device}\n" in text and "_cw_mpi=mpi-" in text
    text = text.replace(f"_cw_gpu_device={device}\n", "_cw_gpu_device=/dev/null\n")
    env.write_bytes(text.encode(errors="surrogateescape"))


def _handed_on(
    shim: list[str | Path], runtime: Path, place: Path
) -> tuple[list[str | Path], dict[str, str]]:
    """The line that a shim ends in, and the variables that it has then."""
    place.mkdir()
    recorder = place / runtime.name  # by which the shim goes
    recorder.write_text(_RECORDER.format(place=place))
    recorder.chmod(0o755)
    subprocess.run(shim, env={**os.environ, "CONTAINERIZE_RUNTIME": str(recorder)}, check=True)
    words = (place / "words").read_text().split("\0")[:-1]
    pairs = (place / "variables").read_text().split("\0")[:-1]
    variables = dict(pair.split("=", 1) for pair in pairs)
    return [runtime, *words], {n: v for n, v in variables.items() if n != "CONTAINERIZE_RUNTIME"}
