"""Batch scripts: what a site's profile puts into them, and that a shell reads them as meant."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import require
from tests.images import PRIMARY, SQUASHFS, sif_bytes, squashfs_bytes
from tests.manifests import manifest
from tests.unit.conftest import Program
from wrapper import settings
from wrapper.commands.jobscript import RunRequest, jobscript
from wrapper.console import Console
from wrapper.errors import InputError, PrefixError
from wrapper.manifest import manifest_text
from wrapper.models import Site
from wrapper.partitions import Shape
from wrapper.site_profile import Gpus, Partition

LUMI = settings.load({"CONTAINERIZE_SITE": "lumi"})
COMMAND = ("python", "-u", "train.py", "it's $HOME `id` \\", 'a "b"', "")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    root = tmp_path / "o'd $HOME dir"
    generation = root / ".generations/1"
    generation.mkdir(parents=True)
    mpi = {"kind": "host", "srun": "cray_shasta"}
    (generation / "manifest.json").write_text(manifest_text(manifest(mpi=mpi)))
    (root / "current").symlink_to(".generations/1")
    (root / "bin").mkdir()
    (root / "bin/python").touch(0o755)
    return root


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "lumi-rocm x.sif"
    path.write_bytes(sif_bytes([(PRIMARY, SQUASHFS, squashfs_bytes())]))
    return path


def text_of(target: Path, console: Console | None = None, **asked: Any) -> str:
    """:param asked: fields of the shape, or of the request."""
    shape = {name: asked.pop(name) for name in [*asked] if name in Shape.__annotations__}
    shape = {"tasks": 0, **shape}
    request = RunRequest(
        **{"target": target, "command": COMMAND, "site": LUMI, **asked}, shape=Shape(**shape)
    )
    return jobscript(request, console or Console(-2)).text


def options(text: str) -> dict[str, str]:
    """What sbatch reads: lines of options, up to the first command."""
    found = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            break
        if line.startswith("#SBATCH --"):
            name, _, value = line.removeprefix("#SBATCH --").partition("=")
            found[name] = value
    return found


def started(text: str, program: Program, tmp_path: Path, **environ: str) -> list[str]:
    """What the script starts: the words that ``srun`` gets, and two variables that it sees."""
    show = r'printf "%s\0" "$PATH" "${SINGULARITY_BIND-unset}" "$@"'
    directory = program("srun", show).parent
    run = subprocess.run(
        ["bash", "-e", "-c", text],
        capture_output=True,
        env={"PATH": f"{directory}:{os.defpath}", "HOME": "/nowhere", **environ},
        check=True,
        cwd=tmp_path,
    )
    assert run.stderr == b""
    return os.fsdecode(run.stdout).split("\0")[:-1]


# -- the script of the field ---------------------------------------------------------------------
def test_four_nodes_of_a_machine_with_masks(target: Path, program: Program, tmp_path: Path) -> None:
    text = text_of(target, nodes=4, gpus=8, time="00:10:00", account="project_465000001")
    assert options(text) == {
        "job-name": "train",
        "partition": "standard-g",
        "nodes": "4",
        "gpus-per-node": "8",
        "ntasks-per-node": "8",
        "mem": "480G",
        "time": "00:10:00",
        "account": "project_465000001",
        "output": "%x-%j.out",
    }
    path, _, mpi, masks, *words = started(text, program, tmp_path)
    assert path.startswith(f"{target}/bin:")
    assert (mpi, words) == ("--mpi=cray_shasta", [*COMMAND])
    listed = masks.removeprefix("--cpu-bind=mask_cpu:").split(",")
    cores = [[n for n in range(64) if int(mask, 16) >> n & 1] for mask in listed]
    firsts = (49, 57, 17, 25, 1, 9, 33, 41)  # core 0 of each complex is left out
    assert cores == [[*range(first, first + 7)] for first in firsts]


@pytest.mark.parametrize("gpus", [1, 2, 8])
def test_a_part_of_the_gpus_has_a_part_of_the_masks_and_the_node(target: Path, gpus: int) -> None:
    text = text_of(target, gpus=gpus, partition="dev-g")
    assert text.count("0x") == gpus
    assert "exclusive" in options(text)


def test_one_task_of_many_gpus_has_their_cores_and_no_mask(target: Path) -> None:
    text = text_of(target, gpus=4, tasks=1, partition="small-g")
    assert "0x" not in text and "exclusive" not in options(text)
    assert options(text)["cpus-per-task"] == "28"
    assert "srun --mpi=cray_shasta --cpus-per-task=28 python" in text  # not from sbatch any more


def test_a_given_word_wins(target: Path) -> None:
    text = text_of(target, gpus=8, mpi="pmi2", memory="60G", tasks=2, cpus=3, partition="small-g")
    told = options(text)
    assert (told["mem"], told["cpus-per-task"], told["ntasks-per-node"]) == ("60G", "3", "2")
    assert "srun --mpi=pmi2 " in text and "cray" not in text


def test_without_a_profile_it_says_what_is_asked(target: Path) -> None:
    text = text_of(target, nodes=2, gpus=3, partition="own", site=Site())
    assert options(text) == {
        "job-name": "train",
        "partition": "own",
        "nodes": "2",
        "gpus-per-node": "3",
        "ntasks-per-node": "3",
        "output": "%x-%j.out",
    }


# -- images --------------------------------------------------------------------------------------
def test_an_image_gets_the_sites_directories_after_the_users(
    image: Path, program: Program, tmp_path: Path
) -> None:
    (there := tmp_path / "there").mkdir()
    site = replace(LUMI, mounts=(str(there), "/no/such"), image_binds={"lumi-*": ("/usr:/x:ro",)})
    text = text_of(image, site=site)
    words = ["singularity", "exec", str(image), *COMMAND]
    _, binds, *said = started(text, program, tmp_path, SINGULARITY_BIND="/a:/b")
    assert (binds, said) == (f"/a:/b,{there},/usr:/x:ro", words)
    _, binds, *_ = started(text, program, tmp_path, SINGULARITY_BIND=f"{there},/c")
    assert binds == f"{there},/c,/usr:/x:ro"
    _, binds, *_ = started(text, program, tmp_path)
    assert binds == f"{there},/usr:/x:ro"


@pytest.mark.parametrize(("kind", "gpus", "nv"), [("sm_90", 1, True), ("sm_90", 0, False)])
def test_an_image_gets_nvidias_libraries(image: Path, kind: str, gpus: int, nv: bool) -> None:
    site = Site(gpus=Gpus(per_node=4, kind=kind), runtime="apptainer")
    assert ("apptainer exec --nv" in text_of(image, gpus=gpus, site=site)) is nv


# -- shells --------------------------------------------------------------------------------------
@pytest.mark.parametrize("site", ["lumi", "roihu", "frontier", "local"])
@pytest.mark.parametrize("kind", ["target", "image"])
def test_scripts_are_clean(
    request: pytest.FixtureRequest, kind: str, site: str, tmp_path: Path
) -> None:
    require(bool(shutil.which("shellcheck")), "shellcheck")
    settled = settings.load({"CONTAINERIZE_SITE": site})
    script = tmp_path / "job.sh"
    script.write_text(text_of(request.getfixturevalue(kind), gpus=1, site=settled))
    for check in (["bash", "-n", str(script)], ["shellcheck", str(script)]):
        run = subprocess.run(check, capture_output=True, text=True, check=False)
        assert (run.stdout, run.stderr) == ("", "")


# -- what cannot be ------------------------------------------------------------------------------
def test_targets_that_are_none_are_told(tmp_path: Path) -> None:
    with pytest.raises(PrefixError):
        text_of(tmp_path)
    (tmp_path / "raw").write_bytes(squashfs_bytes())
    with pytest.raises(InputError, match="no SIF file"):
        text_of(tmp_path / "raw")


def test_a_program_that_is_not_there_is_told(target: Path) -> None:
    console = Console(stream=(screen := io.StringIO()))
    text_of(target, console, command=("pyton", "x.py"))
    assert "no program 'pyton'" in screen.getvalue() and "did you mean python?" in screen.getvalue()


@pytest.mark.parametrize("name", ["account", "partition", "mpi"])
@pytest.mark.parametrize("word", ["a b", "a\n#SBATCH --x", "-x", "$x"])
def test_lines_of_options_hold_plain_words(target: Path, name: str, word: str) -> None:
    with pytest.raises(InputError, match=f"job's {name}"):
        text_of(target, None, site=Site(), **{name: word})


def test_a_record_of_anybody_is_no_code(target: Path) -> None:
    mpi = {"kind": "host", "srun": "pmi2; touch /tmp/x #"}
    record = manifest_text(manifest(mpi=mpi))
    (target / "current/manifest.json").write_text(record)
    with pytest.raises(InputError, match="job's mpi"):
        text_of(target, None, site=Site())


def test_more_gpus_than_a_node_has_are_told_without_partitions(target: Path) -> None:
    with pytest.raises(InputError, match="has 8 GPUs, not 9"):
        text_of(target, gpus=9, site=Site(gpus=Gpus(per_node=8)))


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (("python", "-m", "pkg.mod", "a/my train.py"), "my-train"),
        (("python", "-c", "1"), "python"),
        (("./x y",), "x-y"),
        (("--", "…"), "job"),
    ],
)
def test_a_job_is_called_after_its_script(
    target: Path, command: tuple[str, ...], name: str
) -> None:
    assert options(text_of(target, command=command, site=Site()))["job-name"] == name


def test_other_partitions_that_fit_are_told(target: Path) -> None:
    console = Console(stream=(screen := io.StringIO()))
    site = Site(partitions={"a": Partition(), "b": Partition(time="1:00:00")})
    text_of(target, console, site=site)
    assert "partition a (--partition: b would do too)" in screen.getvalue()
