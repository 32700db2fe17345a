"""What compressions cost: writing an image, starting it, importing from it for the first time."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Job, Row, command, side_by_side
from wrapper.console import Console, human_size
from wrapper.images.compression import Compression, travelling, wanted
from wrapper.images.squasher import Squasher, find_squasher
from wrapper.models import Site

_IMPORT = "import numpy, scipy.linalg, scipy.sparse, scipy.optimize, scipy.signal, scipy.stats"
_LIMITS = {"lz4": 1.0, "gzip": 1.6}


def rows(work: Path, new: list[str | Path], file: Path, rounds: int) -> Iterator[Row]:
    """:param new: the line that builds ``file``'s environment, but for its prefix and the file."""
    yield from _layers(work / "env/current/img.sqfs", work, max(3, rounds // 8))
    prefixes = {name: work / f"with-{name}" for name in ("zstd", *_LIMITS)}
    refused = [name for name, prefix in prefixes.items() if not _built(new, prefix, name, file)]
    if "zstd" in refused:  # SingularityCE: there is nothing to compare with
        return
    for what, code, count in (("start", "pass", rounds), ("cold import", _IMPORT, rounds // 4)):
        jobs = {name: _evicted(prefix, code) for name, prefix in prefixes.items()}
        taken = side_by_side(jobs, max(5, count))
        zstd = taken["zstd"].median()
        for name, limit in _LIMITS.items():
            ratio = taken[name].median() / zstd
            yield Row(
                what=f"{what} with {name}",
                value=f"{ratio:.3f} x",
                against=f"with zstd ({zstd:.3f} s)",
                figure=ratio,
                limit=limit,
            )


def _built(new: list[str | Path], prefix: Path, name: str, file: Path) -> bool:
    try:
        command([*new[:-1], "--compression", name, new[-1], prefix, file], os.environ)()
    except SystemExit:
        return False
    return True


def _evicted(prefix: Path, code: str) -> Job:
    """A start after which nothing of the image is in memory any more.

    Each start mounts it anew, with caches of its own; what the file has in memory is dropped.
    """
    image = (prefix / "current/img.sqfs").resolve()
    run = command([prefix / "bin/python3", "-c", code], os.environ)

    def job() -> float:
        with image.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return run()

    return job


def _layers(image: Path, work: Path, rounds: int) -> Iterator[Row]:
    """The tree of an image, packed for a SIF and as zstd would."""
    squasher, root = find_squasher(os.environ, Site()), work / "layer"
    squasher.unsquash(image, root, console=Console(-1))
    chosen, zstd = travelling(None), wanted("zstd")[0]
    jobs = {str(item): _squash(squasher, root, work, item) for item in (chosen, zstd)}
    taken = side_by_side(jobs, rounds)
    ratio = taken[str(chosen)].median() / taken[str(zstd)].median()
    size = human_size((work / f"layer-{chosen.name}").stat().st_size)
    other = human_size((work / f"layer-{zstd.name}").stat().st_size)
    yield Row(
        what=f"layer of a SIF ({chosen}, {size})",
        value=f"{ratio:.2f} x",
        against=f"{zstd}, {other} ({taken[str(zstd)].median():.1f} s)",
        figure=ratio,
        limit=2.0,
    )
    shutil.rmtree(root)


def _squash(squasher: Squasher, root: Path, work: Path, compression: Compression) -> Job:
    image = work / f"layer-{compression.name}"

    def job() -> float:
        image.unlink(missing_ok=True)
        start = time.perf_counter()
        squasher.squash(
            root, image, compression=compression, console=Console(-1), advance=lambda *_: None
        )
        return time.perf_counter() - start

    return job
