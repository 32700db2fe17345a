"""What building and updating NumPy and SciPy cost, against the parts of a build alone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from benchmarks import floor
from benchmarks.measure import BIN, Row, command, side_by_side
from tests.index import write_wheel
from tests.runtimes import strict_path
from wrapper.images.compression import wanted
from wrapper.images.format import read_format


def rows(work: Path, file: Path, rounds: int) -> Iterator[Row]:
    """With the runtime at hand, and with one that starts no zstd, as SingularityCE.

    :param work: a directory for all that is made. :param file: the environment's.
    """
    yield from _rows(work, file, rounds)
    strict, path = work / "strict", os.environ["PATH"]
    strict.mkdir()
    os.environ["PATH"] = strict_path(strict)
    try:
        yield from _rows(strict, file, rounds)
    finally:
        os.environ["PATH"] = path


def _rows(work: Path, file: Path, rounds: int) -> Iterator[Row]:
    prefix = work / "again"

    def build() -> float:
        shutil.rmtree(prefix, ignore_errors=True)
        argv: list[str | Path] = [BIN / "conda-containerize", "new", "-q", "--prefix", prefix, file]
        return command(argv, os.environ)()

    more = work / "more.yml"
    more.write_text(file.read_text().replace("scipy]", "scipy, demo-tool]"))
    changing = work / "changing"
    command([BIN / "conda-containerize", "new", "-q", "--prefix", changing, file], os.environ)()

    write_wheel(work, "alpha", "1.0")
    installing = work / "install.sh"
    installing.write_text(f"pip install --no-index --find-links {work} alpha\n")

    def change(*what: str | Path) -> float:
        argv = [BIN / "conda-containerize", "update", "-q", changing, *what]
        seconds = command(argv, os.environ)()
        back: list[list[str | Path]] = [["rollback", changing], ["prune", "--keep", "1", changing]]
        for words in back:
            command([BIN / "containerize", *words, "-q"], os.environ)()
        return seconds

    def update() -> float:
        return change(more)

    def script() -> float:
        return change("--post-install", installing)

    image = read_format(changing / "current/img.sqfs")
    parts = floor.jobs(work, file, wanted(image.compressors[0])[0])  # as the runtime here starts it
    changes = {"update": update, "script": script}
    taken = side_by_side({"build": build, **changes, **parts}, rounds, in_order=True)
    medians = {name: benchmark.median() for name, benchmark in taken.items()}
    total = sum(medians[name] for name in parts)
    detail = " + ".join(f"{name} {medians[name]:.1f}" for name in parts)
    yield Row(
        what=f"warm build of numpy + scipy ({image.compressors[0]})",
        value=f"{medians['build'] / total:.2f} x",
        against=f"{detail} s",
        figure=medians["build"] / total,
        limit=1.3,
    )
    promises = (
        ("update", "that adds a small package", 0.5),
        ("script", "by a script with pip", 0.7),
    )
    for name, how, limit in promises:
        yield Row(
            what=f"update {how} ({image.compressors[0]})",
            value=f"{medians[name] / medians['build']:.2f} x",
            against=f"new, {medians['build']:.1f} s",
            figure=medians[name] / medians["build"],
            limit=limit,
        )
