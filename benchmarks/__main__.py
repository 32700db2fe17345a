"""``make bench``: build the numpy + scipy environment, measure, print the table.

Exit status 1 where a promise of docs/performance.md is not kept. ``ARGS='--rounds 5'`` for a
quick look.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import builds, compression, lumi, reading, sif, updates
from benchmarks.measure import BIN, Row, command, hear_all_signals, peak_memory, side_by_side
from wrapper import settings as site
from wrapper.runtime.binds import host_binds
from wrapper.runtime.runtime import EXEC_FLAGS, find_runtime
from wrapper.util.removal import remove_tree

REPOSITORY = Path(__file__).parents[1]
COMMANDS = (
    *("conda-containerize", "pip-containerize", "wrap-container", "wrap-install"),
    "containerize",
)
CONCURRENT = 32


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=40, help="of the start-up measurement")
    parser.add_argument(
        "--no-sif", action="store_true", help="leave the base of 3 GB out: 12 GB, some minutes"
    )
    parser.add_argument(
        "--big", action="store_true", help="only updates of an environment of 3 GB: 12 GB of disk"
    )
    parser.add_argument(
        "--plots", action="store_true", help="the same of smaller ones too, drawn into docs/"
    )
    given = parser.parse_args()
    hear_all_signals()
    work = Path(tempfile.mkdtemp(prefix="containerize-bench-"))
    os.environ["CONTAINERIZE_CACHE_DIR"] = str(work / "cache")
    try:
        if given.big or given.plots:
            picture = REPOSITORY / "docs/updates.svg" if given.plots else None
            found = updates.rows(work / "updates", max(2, given.rounds // 8), picture)
        else:
            found = _rows(work, given.rounds)
        kept = [_print(row) for row in found]
        if not (given.no_sif or given.big or given.plots):
            rounds = max(5, given.rounds // 2)
            kept += [_print(row) for row in sif.rows(work, work / "env.yml", rounds)]
    finally:
        remove_tree(work)
    sys.exit(0 if all(kept) else 1)


def _print(row: Row) -> bool:
    """Say a figure as soon as it is known; returns whether the promise is kept."""
    mark = "MISSED" if not row.kept else "ok" if row.limit < math.inf else "no promise"
    print(f"{row.what:<44} {row.value:>10}  against {row.against:<34} {mark}", flush=True)
    return row.kept


def _rows(work: Path, rounds: int) -> Iterator[Row]:
    file = work / "env.yml"
    channel = (REPOSITORY / ".cache/channel").as_uri()
    file.write_text(f"channels: ['{channel}']\ndependencies: [python, numpy, scipy]\n")
    prefix = work / "env"
    new: list[str | Path] = [BIN / "conda-containerize", "new", "-q", "--prefix"]
    memory = peak_memory([*new, prefix, file], os.environ)  # also fills the cache
    yield from _starts(prefix, rounds)
    yield from lumi.rows(work, new, file, rounds)
    yield from builds.rows(work, file, max(3, rounds // 8))
    yield from compression.rows(work, new, file, rounds)
    yield from reading.rows(work, new, file, rounds // 4)
    yield Row(
        what="peak memory of a build",
        value=f"{memory / 1e6:.0f} MB",
        against="600 MB",
        figure=memory,
        limit=600e6,
    )
    for name in COMMANDS:
        taken = side_by_side({name: command([BIN / name, "--help"], os.environ)}, 10)[name]
        yield Row(
            what=f"{name} --help",
            value=f"{taken.median():.2f} s",
            against="0.2 s",
            figure=taken.median(),
            limit=0.2,
        )


def _starts(prefix: Path, rounds: int) -> Iterator[Row]:
    shim: list[str | Path] = [prefix / "bin/python3", "-c", "pass"]
    bare: list[str | Path] = [*bare_line(prefix)]
    env = dict(os.environ)
    behind_bash: list[str | Path] = ["/bin/bash", "-p", "-c", 'exec "$@"', "bash", *bare]
    lines = {"shim": shim, "bare": bare, "bash": behind_bash}
    for copies, limit, count in ((1, 1.05, rounds), (CONCURRENT, 1.1, max(3, rounds // 8))):
        jobs = {name: command(line, env, copies) for name, line in lines.items()}
        taken = {name: found.median() for name, found in side_by_side(jobs, count).items()}
        ratio, bash = taken["shim"] / taken["bare"], taken["bash"] / taken["bare"]
        yield Row(
            what=f"start of python3 -c pass, {copies} at once",
            value=f"{ratio:.3f} x",
            against=f"bare line ({taken['bare']:.3f} s; a bash alone {bash:.3f} x)",
            figure=ratio,
            limit=limit,
        )


def bare_line(prefix: Path) -> list[str]:
    """The runtime's own line with the same image and binds as the shim's."""
    generation = (prefix / "current").resolve()
    binds = ",".join([*host_binds(), f"{generation}/_bin:{prefix}/bin"])
    runtime = str(find_runtime(os.environ, site.load(os.environ)).path)
    image = str(generation / "img.sqfs")
    line = [runtime, "-s", "exec", *EXEC_FLAGS, "--home", os.environ["HOME"], "-B", binds, image]
    return [*line, str(prefix / "bin/python3"), "-c", "pass"]


if __name__ == "__main__":
    start = time.perf_counter()
    main()
