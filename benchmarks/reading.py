"""What the order of files in an image is worth: a cold import, and what it reads."""

from __future__ import annotations

import ctypes
import math
import mmap
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Job, Row, command, side_by_side
from wrapper.console import human_size

_CODE = "import numpy, scipy.linalg, scipy.sparse, scipy.optimize, scipy.signal, scipy.stats"
_TIMED = f"import time; start = time.perf_counter(); {_CODE}; print(time.perf_counter() - start)"
_UPDATES = 10
_DROP = Path("/proc/sys/vm/drop_caches")  # 3: contents of files, directories and inodes (proc(5))
_FORGETS_ALL = os.access(_DROP, os.W_OK)


def rows(work: Path, new: list[str | Path], file: Path, rounds: int) -> Iterator[Row]:
    """:param new: the line that builds ``file``'s environment, but for its prefix and the file."""
    tools = Path(new[0]).parent
    names = ("as built", "in order", "updated")
    prefixes = {name: work / f"reading-{name.replace(' ', '-')}" for name in names}
    for name, prefix in prefixes.items():
        command([*new, prefix, file], os.environ)()
        if name != "as built":
            profile: list[str | Path] = [tools / "containerize", "profile", "-q", prefix]
            command([*profile, "--", "python3", "-c", _CODE], os.environ)()
    more = work / "reading.yml"
    more.write_text(file.read_text().replace("scipy]", "scipy, demo-tool, demo-noarch]"))
    for number in range(_UPDATES):
        update: list[str | Path] = [tools / "conda-containerize", "update", "-q"]
        update += ["--keep", "1", prefixes["updated"], more if number % 2 == 0 else file]
        command(update, os.environ)()
    plain = work / "reading-plain"
    image = (prefixes["as built"] / "current/img.sqfs").resolve()
    subprocess.run(["unsquashfs", "-q", "-n", "-d", plain, image], check=True)
    python = next(plain.glob("containerize-*/bin/python3"))
    jobs = {
        name: _import(prefix / "bin/python3", _image(prefix)) for name, prefix in prefixes.items()
    }
    jobs["plain"] = _import(python, plain)
    taken = {name: found.median() for name, found in side_by_side(jobs, max(5, rounds)).items()}
    # Only root can drop a tree's directories and inodes; those of an image go with its mount.
    against_plain = 1.1 if _FORGETS_ALL else math.inf
    for name, other, limit in (
        ("in order", "as built", 0.9),
        ("updated", "in order", 1.1),
        ("in order", "plain", against_plain),
    ):
        ratio = taken[name] / taken[other]
        yield Row(
            what=f"cold import, {name}",
            value=f"{ratio:.3f} x",
            against=f"{other} ({taken[other]:.3f} s)",
            figure=ratio,
            limit=limit,
        )
    yield from _reads({name: _image(prefix) for name, prefix in prefixes.items()}, jobs)


def _image(prefix: Path) -> Path:
    return (prefix / "current/img.sqfs").resolve()


def _import(python: Path, place: Path) -> Job:
    """Seconds of an import when nothing of ``place``, an image or a tree, is in memory."""
    files = [place] if place.is_file() else [p for p in place.rglob("*") if p.is_file()]

    def job() -> float:
        for path in files:
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        if _FORGETS_ALL:
            _DROP.write_text("3")
        return float(subprocess.check_output([python, "-c", _TIMED]))

    return job


def _reads(images: dict[str, Path], jobs: dict[str, Job]) -> Iterator[Row]:
    """What of the images is in memory afterwards: bytes, and regions one after the other."""
    found = {}
    for name, image in images.items():
        jobs[name]()
        found[name] = resident(image)
    size, regions = found["as built"]
    for name in ("in order", "updated"):
        own_size, own_regions = found[name]
        yield Row(
            what=f"read of the image, {name}",
            value=f"{own_size / size:.3f} x",
            against=f"as built ({human_size(size)}, {regions} regions; {own_regions})",
            figure=own_size / size,
            limit=0.9,
        )


def resident(path: Path) -> tuple[int, int]:
    """Bytes of a file that are in memory, and in how many runs of pages (mincore(2))."""
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as view:
        pages = -(-len(view) // mmap.PAGESIZE)
        flags = (ctypes.c_ubyte * pages)()
        first = ctypes.c_char.from_buffer(view)
        place, size = ctypes.c_void_p(ctypes.addressof(first)), ctypes.c_size_t(len(view))
        failed = ctypes.CDLL(None).mincore(place, size, flags)
        del first, place  # else the file cannot be unmapped
        if failed:
            raise OSError(f"mincore: {path}")
        there = [bool(flag & 1) for flag in flags]
    runs = sum(now and not before for before, now in zip([False, *there], there, strict=False))
    return sum(there) * mmap.PAGESIZE, runs
