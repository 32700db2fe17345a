"""The steps that make the channel's content."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from rattler.index import index_fs

from . import apt, cpython, debian, special, wheels
from .interpreter import Interpreter
from .util import BuildError
from .wheels import Wheel

Job = Callable[[], Path]
Archives = dict[Wheel, Path]


def fill(channel: Path, work: Path) -> None:
    """Write all packages and their repodata.json into the empty directory `channel`.

    `work` keeps the downloads, in `debs` and `wheels`, and gets what is being packed.
    """
    if (os.uname().sysname, os.uname().machine) != ("Linux", "x86_64"):
        raise BuildError("the channel can only be built on x86_64 Linux: it runs what it packs")
    with _step("downloads"):
        archives = _download(work)
    with _step("Python and libraries"):
        interpreter = _stage(work)
    # Python's own package before all that it compiles: while its .pyc files appear, the bytes
    # that it compiles to may be others at every run.
    with _step("packages without extension modules"):
        _in_parallel(_first_jobs(archives, interpreter, work, channel))
    with _step("packages with extension modules"):
        _in_parallel(_extension_jobs(archives, interpreter, work, channel))
    with _step("repodata"):
        _index(channel)


@contextmanager
def _step(label: str) -> Iterator[None]:
    start = time.monotonic()
    yield
    print(f"{label}: {time.monotonic() - start:.1f} s", flush=True)


def _in_parallel(jobs: Sequence[Job]) -> list[Path]:
    """Run `jobs` on all cores, in the order given, and return their results.

    Threads will do: nearly all the time goes to child processes, compression and digests.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda job: job(), jobs))


def _download(work: Path) -> Archives:
    """Get everything, from Debian and PyPI at once; return where the wheels lie."""
    libraries = (deb for library in debian.LIBRARIES for deb in library.debs)
    debs = [*dict.fromkeys((*cpython.DEBS, *cpython.TESTS)), *libraries]
    with ThreadPoolExecutor() as pool:
        from_debian = pool.submit(apt.download, work / "debs", debs, cpython.SOURCE)
        archives = wheels.download(work / "wheels", wheels.read_pins())
        from_debian.result()
    return archives


def _stage(work: Path) -> Interpreter:
    """Unpack and relocate what comes from Debian; return a Python that can run."""
    debs = work / "debs"
    jobs = [partial(debian.stage, library, debs, work) for library in debian.LIBRARIES]
    python, *libraries = _in_parallel([partial(cpython.stage, debs, work), *jobs])
    return Interpreter(
        executable=python / "bin/python3.11", libraries=[prefix / "lib" for prefix in libraries]
    )


def _first_jobs(
    archives: Archives, interpreter: Interpreter, work: Path, channel: Path
) -> list[Job]:
    debs = work / "debs"
    by_name = {wheel.name: wheel for wheel in archives}
    tzdata, certifi = by_name["tzdata"], by_name["certifi"]
    pure = [wheel for wheel in archives if wheels.is_pure(archives[wheel]) and not wheel.data_only]
    return [
        partial(cpython.write, interpreter, debs, work, channel),
        partial(cpython.write_abi, work, channel),
        partial(cpython.write_tests, debs, work, channel),
        *(partial(debian.write, library, debs, work, channel) for library in debian.LIBRARIES),
        *(partial(wheels.write_pure, wheel, archives[wheel], work, channel) for wheel in pure),
        partial(wheels.write_tzdata, tzdata, archives[tzdata], work, channel),
        partial(wheels.write_ca_certificates, certifi, archives[certifi], work, channel),
        *(partial(special.write, recipe, work, channel) for recipe in special.recipes()),
    ]


def _extension_jobs(
    archives: Archives, interpreter: Interpreter, work: Path, channel: Path
) -> list[Job]:
    """The longest job first, so that no core waits for it at the end."""
    extensions = [wheel for wheel in archives if not wheels.is_pure(archives[wheel])]
    extensions.sort(key=lambda wheel: archives[wheel].stat().st_size, reverse=True)
    return [
        partial(wheels.write_extension, wheel, archives[wheel], interpreter, work, channel)
        for wheel in extensions
    ]


def _index(channel: Path) -> None:
    """Write repodata.json of all subdirectories."""
    asyncio.run(index_fs(channel, write_zst=False, write_shards=False))
    shutil.rmtree(channel / ".tmp", ignore_errors=True)  # the indexer's
    for repodata in channel.glob("*/repodata.json"):
        content = json.loads(repodata.read_text())
        for record in content["packages.conda"].values():
            del record["indexed_timestamp"]  # the present: it would differ in every build
        repodata.write_text(json.dumps(content, indent=1, sort_keys=True))
