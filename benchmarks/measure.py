"""Timing of commands against each other.

The machine's speed drifts, so candidates take turns: one run of each, again and again. Values are
kept as pyperf benchmarks, which hold the statistics and can be saved and compared later.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyperf

BIN = Path(sys.executable).parent
"""Where the commands are that are measured."""
Job = Callable[[], float]
"""Does something once and returns the seconds that it took."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the table: a figure, what it is measured against, the promise."""

    what: str
    value: str
    against: str
    figure: float
    limit: float

    @property
    def kept(self) -> bool:
        return self.figure <= self.limit


def side_by_side(
    jobs: Mapping[str, Job], rounds: int, *, in_order: bool = False, warm: bool = False
) -> dict[str, pyperf.Benchmark]:
    """Run the jobs in turns, after one round to warm up unless all is ``warm``.

    Each round has an order of its own, the same ones in each run: what came just before leaves a
    disk busy, or a processor slow, and would do so to the same job each time.

    :param in_order: a job needs what the one before it made.
    """
    values: dict[str, list[float]] = {name: [] for name in jobs}
    orders = random.Random(0)  # noqa: S311 - nothing secret
    for number in range(warm, rounds + 1):
        for name in jobs if in_order else orders.sample([*jobs], len(jobs)):
            seconds = jobs[name]()
            if number:
                values[name].append(seconds)
    return {
        name: pyperf.Benchmark([pyperf.Run(taken, metadata={"name": name}, collect_metadata=False)])
        for name, taken in values.items()
    }


def command(argv: Sequence[str | Path], env: Mapping[str, str], copies: int = 1) -> Job:
    """A job that runs ``copies`` of a command at once, to the end of the last."""
    words = [os.fspath(word) for word in argv]

    def job() -> float:
        start = time.perf_counter()
        children = [
            subprocess.Popen(words, env=env, stdout=subprocess.DEVNULL) for _ in range(copies)
        ]
        statuses = [child.wait() for child in children]
        seconds = time.perf_counter() - start
        if any(statuses):
            raise SystemExit(f"{words} failed: {statuses}")
        return seconds

    return job


def hear_all_signals() -> None:
    """Ignore none, as at a terminal: one that is ignored costs a shim a bash inside."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def peak_memory(argv: Sequence[str | Path], env: Mapping[str, str]) -> int:
    """Bytes that a command and all its descendants hold at most, shared pages counted once.

    The sum of PSS (proc(5), smaps_rollup), looked at every 20 milliseconds.
    """
    child = subprocess.Popen([os.fspath(word) for word in argv], env=env)
    peak = 0
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.02):
            peak = max(peak, sum(map(_pss, _descendants(child.pid))))

    thread = threading.Thread(target=watch)
    thread.start()
    status = child.wait()
    done.set()
    thread.join()
    if status:
        raise SystemExit(f"{argv} failed: {status}")
    return peak


class Peak:
    """The most bytes that are below a directory while the block runs."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        self.directory = directory
        self.most = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.2):
            told = subprocess.run(
                ["du", "-s", "-B1", self.directory], capture_output=True, text=True, check=False
            )
            if words := told.stdout.split():
                self.most = max(self.most, int(words[0]))


def _descendants(root: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            parents.setdefault(parent, []).append(int(entry.name))
    found = [root]
    for pid in found:
        found += parents.get(pid, [])
    return found


def _pss(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0
