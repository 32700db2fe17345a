"""Updates of large environments against building them anew; made here, of noise and of modules.

What an update takes should depend on what changes, not on how large the environment is.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rattler.index import index_fs

from benchmarks.measure import Job, Peak, Row, command, side_by_side
from benchmarks.sif import CONTAINERIZE
from tests.channel.condapkg import Package, write_package
from tests.images import system_files
from tests.index import write_files_wheel, write_wheel
from wrapper.models import Site
from wrapper.runtime.runtime import find_runtime

CONDA_CONTAINERIZE = CONTAINERIZE.with_name("conda-containerize")
CHANNEL = Path(__file__).parents[1] / ".cache/channel"
SIZE = 3_200_000_000
"""Bytes of the environment of which the table tells, unpacked."""
_LIBRARIES, _LIBRARY_SIZE = 21, 100_000_000  # conda packages of SIZE
_WHEELS, _WHEEL_SIZE = 200, 4_000_000  # pip packages of SIZE
_SMALLER = (300_000_000, 1_000_000_000)  # drawn, too
_HEADERS, _MODULES = 1000, 100  # small files of each
_MOST = 0.25

_KINDS = {
    "script": ("by a script that installs with pip", _MOST),
    "replaced": ("that replaces a pip package", _MOST),
    "conda": ("that adds a conda package", _MOST),
    "any": ("by any other script", 1.0),  # all of the image is unpacked for it
}


@dataclass(frozen=True, kw_only=True)
class Material:
    """Input files. :ivar file: of the environment; :ivar more: with a conda package more.

    :ivar back, other: requirements files with one package in its two versions, the first of which
    the environment has. :ivar script: installs a further package; :ivar any: does something else.
    """

    file: Path
    more: Path
    back: Path
    other: Path
    script: Path
    any: Path


def rows(work: Path, rounds: int, picture: Path | None) -> Iterator[Row]:
    """Rows of the table, of an environment of :data:`SIZE`.

    :param picture: an SVG file to draw, of smaller ones too.
    """
    material = make(work / "material", SIZE)
    installation = _Installation(work / "large", material)
    yield from installation.temporary_files()
    medians = installation.medians(rounds)
    for kind, (how, most) in _KINDS.items():
        yield _row(how, medians[kind], medians["new"], most)
    shutil.rmtree(installation.root)
    yield from _sif_rows(work / "sif", material, rounds)
    if picture:
        shutil.rmtree(work)
        smaller = {size: _measured(work, size, rounds) for size in _SMALLER}
        draw({**smaller, SIZE: medians}, picture)


def _measured(work: Path, size: int, rounds: int) -> dict[str, float]:
    material = make(work / "material", size)
    found = _Installation(work / "large", material).medians(rounds)
    shutil.rmtree(work)
    return found


def draw(found: Mapping[int, Mapping[str, float]], picture: Path) -> None:
    """What ``new`` and each kind of update take, by the size of the environment.

    :param found: seconds of each, by size in bytes.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams.update({"svg.hashsalt": "containerize", "svg.fonttype": "none"})
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    names = {"new": "all built anew"} | {kind: f"update {how}" for kind, (how, _) in _KINDS.items()}
    for kind, name in names.items():
        seconds = [medians[kind] for medians in found.values()]
        axes.plot([size / 1e9 for size in found], seconds, marker="o", label=name)
    axes.set(xlabel="size of the environment, unpacked (GB)", ylabel="seconds", ylim=0, xlim=0)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(picture, metadata={"Date": None})


def _row(how: str, seconds: float, new: float, most: float) -> Row:
    return Row(
        what=f"update {how}",
        value=f"{seconds / new:.2f} x",
        against=f"all built anew, {new:.1f} s",
        figure=seconds / new,
        limit=most,
    )


def make(root: Path, size: int) -> Material:
    """Packages for an environment of NumPy, SciPy and ``size`` bytes, with all that it is told.

    Two thirds are conda packages with a library and headers each, a third pip packages with a
    library and modules each. Libraries are noise in hexadecimal digits: half of it can be
    compressed, as of CUDA's.
    """
    noise = random.Random(0)  # noqa: S311 - noise
    channel, wheels = root / "channel", root / "wheels"
    wheels.mkdir(parents=True)
    share = size / SIZE
    conda = [f"bulk-{number}" for number in range(round(_LIBRARIES * share))]
    for name in conda:
        _write_conda_package(channel, name, noise)
    asyncio.run(index_fs(channel, write_zst=False, write_shards=False))
    pip = [f"part{number}" for number in range(round(_WHEELS * share))]
    for name in pip:
        _write_part(wheels, name, "1.0", noise)
    _write_part(wheels, pip[0], "2.0", noise)
    write_wheel(wheels, "alpha", "1.0")

    options = ["--no-index", f"--find-links {wheels}"]
    lines = [*options, *(f"{name}==1.0" for name in pip)]
    section = "- pip:\n" + "".join(f"  - {line}\n" for line in lines)

    def write(name: str, text: str) -> Path:
        (root / name).write_text(text)
        return root / name

    def environment(name: str, *more: str) -> Path:
        packages = "".join(f"- {it}\n" for it in ("python", "numpy", "scipy", *conda, *more))
        channels = f"channels: ['{channel.as_uri()}', '{CHANNEL.as_uri()}']\n"
        return write(name, f"{channels}dependencies:\n{packages}{section}")

    def requirements(name: str, line: str) -> Path:
        return write(name, "".join(f"{it}\n" for it in (*options, line)))

    return Material(
        file=environment("env.yml"),
        more=environment("more.yml", "demo-tool"),
        back=requirements("back.txt", f"{pip[0]}==1.0"),
        other=requirements("other.txt", f"{pip[0]}==2.0"),
        script=write("install.sh", f"pip install {' '.join(options)} alpha\n"),
        any=write("any.sh", "date > $env_root/built\n"),
    )


def _write_conda_package(channel: Path, name: str, noise: random.Random) -> None:
    prefix = channel.parent / "stage"
    headers = prefix / "include" / name
    headers.mkdir(parents=True)
    for number in range(_HEADERS):
        text = f"#define NAME_{number} {noise.random()}\n" * 60
        (headers / f"{number}.h").write_text(text)
    (prefix / "lib").mkdir()
    (prefix / f"lib/lib{name}.so.1").write_text(noise.randbytes(_LIBRARY_SIZE // 2).hex())
    write_package(Package(name=name, version="1.0"), prefix, channel)
    shutil.rmtree(prefix)


def _write_part(wheels: Path, name: str, version: str, noise: random.Random) -> None:
    files = {f"{name}/{number}.py".replace("/0.", "/__init__."): "" for number in range(_MODULES)}
    for number, path in enumerate(files):
        function = f"def value_{number}(x):\n    return x * {noise.random()} + {number}\n\n\n"
        files[path] = f'"""Of {name} {version}."""\n\n' + function * 40
    files[f"{name}/library.so"] = noise.randbytes(_WHEEL_SIZE // 2).hex()
    write_files_wheel(wheels, name, version, files)


class _Installation:
    """Two installations of an environment: one is built again and again, one is updated."""

    def __init__(self, root: Path, material: Material) -> None:
        root.mkdir(parents=True)
        self.root, self._material = root, material
        self._anew, self._changing = root / "anew", root / "changing"
        self._new(self._changing)()  # also fills the cache
        self._words: dict[str, list[str | Path]] = {
            "script": ["--post-install", material.script],
            "replaced": ["-r", material.other],
            "conda": [material.more],
            "any": ["--post-install", material.any],
        }

    def temporary_files(self) -> Iterator[Row]:
        """How many each kind of update makes, at most."""
        image = (self._changing / "current/img.sqfs").stat().st_size
        for kind, (how, _) in _KINDS.items():
            if kind == "any":
                continue
            peak = Peak(self.root / f"tmp-{kind}")
            with peak:
                self._update(kind, ["--tmpdir", peak.directory])()
            change = _WHEEL_SIZE if kind == "replaced" else 0
            yield _space_row(f"update {how}", peak.most, change, image)

    def medians(self, rounds: int) -> dict[str, float]:
        jobs = {kind: self._update(kind, []) for kind in _KINDS}
        taken = side_by_side({"new": self._new(self._anew), **jobs}, rounds, warm=True)
        return {kind: benchmark.median() for kind, benchmark in taken.items()}

    def _new(self, prefix: Path) -> Job:
        words: Sequence[str | Path] = ["new", "-q", "--prefix", prefix, self._material.file]

        def job() -> float:
            shutil.rmtree(prefix, ignore_errors=True)
            return command([CONDA_CONTAINERIZE, *words], os.environ)()

        return job

    def _update(self, kind: str, options: Sequence[str | Path]) -> Job:
        prefix = self._changing
        words = ["update", "-q", *options, prefix, *self._words[kind]]

        def job() -> float:
            seconds = command([CONDA_CONTAINERIZE, *words], os.environ)()
            command([CONTAINERIZE, "rollback", "-q", prefix], os.environ)()
            command([CONTAINERIZE, "prune", "-q", "--keep", "1", prefix], os.environ)()
            return seconds

        return job


def _sif_rows(work: Path, material: Material, rounds: int) -> Iterator[Row]:
    """The same of a SIF: one package is replaced, and put back the next time."""
    work.mkdir()
    base = _base(work / "base")
    anew, changing = work / "anew.sif", work / "changing.sif"
    line: list[str | Path] = [CONTAINERIZE, "build", "-q"]

    def new(image: Path) -> Job:
        options: list[str | Path] = ["--force", image, "--base-image", base]
        return command([*line, *options, "--conda-env", material.file], os.environ)

    new(changing)()
    versions = [material.other, material.back]

    def update(*options: str | Path) -> float:
        versions.reverse()
        words: list[str | Path] = ["--update", *options, changing, "-r", versions[1]]
        return command([*line, *words], os.environ)()

    peak = Peak(work / "tmp")
    with peak:
        update("--tmpdir", peak.directory)
    yield _space_row("update of a SIF", peak.most, _WHEEL_SIZE, changing.stat().st_size)
    taken = side_by_side({"new": new(anew), "update": update}, rounds, warm=True)
    yield _row("of a SIF", taken["update"].median(), taken["new"].median(), _MOST)


def _base(root: Path) -> Path:
    """A base image with 0.3 GB that hardly can be compressed."""
    sandbox, image = system_files(root), root.with_suffix(".sif")
    noise = random.Random(0)  # noqa: S311 - noise
    for number in range(4):
        (sandbox / f"usr/lib/{number}").write_bytes(noise.randbytes(70_000_000))
    runtime = str(find_runtime(os.environ, Site()).path)
    subprocess.run([runtime, "-s", "build", image, sandbox], check=True)
    shutil.rmtree(sandbox)
    return image


def _space_row(what: str, most: int, change: int, image: int) -> Row:
    allowed = 2 * change + 0.1 * image
    return Row(
        what=f"temporary files, {what}",
        value=f"{most / 1e6:.0f} MB",
        against=f"{allowed / 1e6:.0f} MB",
        figure=most,
        limit=allowed,
    )
