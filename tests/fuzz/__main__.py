"""``python -m tests.fuzz READER…``: feed readers, each in a process of its own."""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.fuzz.mutate import mutated
from tests.fuzz.readers import READERS
from wrapper.errors import ContainerizeError
from wrapper.images.squashfs.layout import Unsupported

SECONDS = 5.0  # of processor time: other work on the machine does not count
MEMORY = 1 << 30  # bytes more than the process has when it begins


def feed(name: str, first: int, count: int, folder: Path) -> list[str]:
    """Inputs ``first`` to ``first + count`` of a reader; returns what went wrong."""
    reader, path = READERS[name], folder / READERS[name].file
    seeds = reader.seeds()
    path.write_bytes(seeds[0])
    reader.read(path)  # it is good; what the reader imports takes time and memory
    _limit_memory()
    wrong = []
    with timed():
        for number in range(first, first + count):
            data = mutated(random.Random(f"{name} {number}"), seeds)
            if failure := outcome(reader.read, path, data):
                wrong.append(f"{name} {number}: {failure}\n  input: {data[:300]!r}")
    return wrong


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


@contextlib.contextmanager
def timed() -> Iterator[None]:
    """For the block, :func:`outcome` ends what takes too long."""

    def alarm(_number: int, _frame: object) -> None:
        raise TimeoutError(f"more than {SECONDS:.0f} s")

    before = signal.signal(signal.SIGPROF, alarm)
    yield
    signal.signal(signal.SIGPROF, before)


def outcome(read: Callable[[Path], object], path: Path, data: bytes) -> str:
    """Let a reader read; returns how it broke its promise, nothing where it kept it."""
    path.write_bytes(data)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        read(path)
    except (ContainerizeError, Unsupported):
        pass
    except BaseException as error:  # whatever it is
        frames = "".join(traceback.format_tb(error.__traceback__)[-3:])
        return f"{type(error).__name__}: {str(error)[:200]}\n{frames}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("readers", nargs="*", metavar="READER", help=f"of {', '.join(READERS)}")
    parser.add_argument("--count", type=int, default=2000, help="inputs for each (2000)")
    parser.add_argument("--first", type=int, default=0, help="number of the first one (0)")
    asked = parser.parse_args()
    names = asked.readers or list(READERS)
    if len(names) == 1:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            wrong = feed(names[0], asked.first, asked.count, Path(folder))
        print("\n".join(wrong[:20]) or f"{names[0]}: {asked.count} inputs, none broke it")
        return bool(wrong)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        limits = ["--count", str(asked.count), "--first", str(asked.first)]
        words = [[sys.executable, "-m", "tests.fuzz", name, *limits] for name in names]
        return max(pool.map(lambda argv: subprocess.run(argv, check=False).returncode, words))


if __name__ == "__main__":
    sys.exit(main())
