"""A build as a job: what is estimated, what the script says, what becomes of the job."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.conftest import Program
from wrapper.commands import build_job as module
from wrapper.commands.build_job import build_job, estimate, slurm_time
from wrapper.commands.jobscript import Batch, JobRequest
from wrapper.commands.submit import submit, submit_and_wait
from wrapper.console import Console
from wrapper.errors import ExitCode, InputError, Interrupted, ToolError
from wrapper.models import Site
from wrapper.partitions import Shape
from wrapper.process import CommandFailed
from wrapper.site_profile import Partition

BUILD = ("conda-containerize", "new", "--prefix", "my env", "env.yml")
PLAN = {"download_size": 2_000_000_000, "installed_size_estimate": 8_000_000_000, "pip": []}
DISK = Site(tmpdir=Path("/local/me"))
BATCH = Batch(name="x", options=("--time=1",), lines=("true",))


# -- estimates -----------------------------------------------------------------------------------
def test_what_a_build_needs_follows_from_its_dry_run() -> None:
    told = estimate(PLAN, BUILD, DISK)
    assert told.scratch == 11_600_000_000
    assert (told.memory, told.in_memory) == (2 * 2**30, False)
    # 15 minutes, 400 s to fetch and 800 s to work, in whole quarters of an hour.
    assert slurm_time(told.time) == "00:45:00"
    assert told.as_lines() == [
        "2G of memory, 00:45:00 of time, 11.6 GB of scratch",
        "2.0 GB to download, about 8.0 GB unpacked",
    ]


@pytest.mark.parametrize(
    ("program", "download", "installed", "scratch", "memory"),
    [  # what builds used, see docs/jobs.md
        ("conda-containerize", 19_038_225, 76_152_900, 64e6, 160e6),
        ("conda-containerize", 82_738_992, 330_955_968, 318e6, 255e6),
        ("pip-containerize", 130_319_345, 521_277_380, 873e6, 181e6),
    ],
)
def test_an_estimate_is_above_what_builds_used_and_not_far(
    program: str, download: int, installed: int, scratch: float, memory: float
) -> None:
    plan = {"download_size": download, "installed_size_estimate": installed}
    told = estimate(plan, (program, "new"), DISK)
    assert scratch <= told.scratch <= 2 * scratch
    solving = 450e6  # with an index of the size of conda-forge's
    assert max(memory, solving) <= told.memory <= 5 * solving


def test_an_estimate_where_most_sizes_are_unknown() -> None:
    sizes = [149_000_000 // 20] * 20 + [None] * 36
    plan = {"download_size": 149_000_000, "installed_size_estimate": 596_000_000}
    told = estimate(
        {**plan, "packages": [{"size": size} for size in sizes]}, ("pip-containerize", "new"), DISK
    )
    assert 6.0e9 <= told.scratch <= 2 * 6.0e9


def test_packages_of_unknown_size_count_as_the_others() -> None:
    sizes = [10, None, 30, None]
    plan = {"download_size": 40, "packages": [{"size": size} for size in sizes]}
    told = estimate({**plan, "installed_size_estimate": 160}, ("pip-containerize", "new"), DISK)
    assert told.scratch == 216 + 2 * 480  # twice the mean each: 120 bytes to download, 480 unpacked
    assert told.why.endswith("(2 of 4 packages have no size in their index: a guess)")
    nothing = {"download_size": 0, "installed_size_estimate": 0, "packages": [{"size": None}] * 2}
    assert estimate(nothing, ("pip-containerize", "new"), DISK).scratch == 72e6 + 2 * 160e6
    changes = [{"size": 40, "kind": "changed"}, {"size": 0, "kind": "removed"}]
    plan = {**plan, "changes": changes, "installed_size_estimate": 160}
    assert estimate(plan, ("pip-containerize", "update"), DISK).scratch == 72 + 2 * 160


@pytest.mark.parametrize(
    ("words", "site", "variable", "in_memory"),
    [
        (BUILD, Site(tmpdir=Path("/tmp/me")), "", True),
        (BUILD, DISK, "/dev/shm/x", True),
        ((*BUILD, "--tmpdir=/scratch/x"), Site(), "/tmp", False),
        ((*BUILD, "--tmpdir", "/tmp/x"), DISK, "", True),
    ],
)
def test_scratch_counts_as_memory_where_it_may_be_that(
    words: tuple[str, ...],
    site: Site,
    variable: str,
    in_memory: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CW_BUILD_TMPDIR", variable)
    told = estimate(PLAN, words, site)
    assert told.in_memory is in_memory
    assert told.memory == 2 * 2**30 + (told.scratch if in_memory else 0)


def test_what_is_not_known_is_said() -> None:
    assert "a guess" in estimate(None, ("wrap-install", "x"), DISK).why
    assert "pip packages are not in it" in estimate({**PLAN, "pip": ["torch"]}, BUILD, DISK).why


# -- the script ----------------------------------------------------------------------------------
@pytest.fixture
def planned(program: Program, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The programs that build, which answer a dry run only."""
    answer = f"echo '{json.dumps(PLAN)}'; echo '[ WARNING ] {{x}}' >&2"
    said = f'case "$*" in *--dry-run*--json*) {answer};; *nothing*) exit 4;; *) exit 99;; esac'
    path = program(
        "conda-containerize", f'case "$*" in *bad*) echo no such >&2; exit 4;; esac\n{said}'
    )
    monkeypatch.setattr(sys, "executable", str(path.with_name("python")))
    return path


def asked(**changes: object) -> JobRequest:
    return replace(JobRequest(command=BUILD, shape=Shape(tasks=0), site=DISK), **changes)  # type: ignore[arg-type]


def test_the_script_builds_with_what_was_estimated(planned: Path, tmp_path: Path) -> None:
    console = Console(stream=(screen := io.StringIO()))
    parts = {"gpu": Partition(gpus=4), "tiny": Partition(memory="1G"), "cpu": Partition(cores=8)}
    site = replace(DISK, partitions=parts, processors=8)
    text = build_job(asked(site=site, account="project_1"), console).text
    assert "estimated: 2G of memory, 00:45:00 of time" in screen.getvalue()
    options = [line for line in text.splitlines() if line.startswith("#SBATCH")]
    assert options == [
        "#SBATCH --job-name=build-conda-containerize",
        "#SBATCH --partition=cpu",
        "#SBATCH --nodes=1",
        "#SBATCH --ntasks-per-node=1",
        "#SBATCH --cpus-per-task=8",
        "#SBATCH --mem=2G",
        "#SBATCH --time=00:45:00",
        "#SBATCH --account=project_1",
        "#SBATCH --signal=B:TERM@120",
        "#SBATCH --output=containerize-%j.log",
    ]
    assert text.splitlines()[-1] == f"exec {planned} new --prefix 'my env' env.yml"
    script = tmp_path / "job.sh"
    script.write_text(text)
    subprocess.run(["bash", "-n", script], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", script], check=True)


def test_a_given_word_wins(planned: Path) -> None:
    shape = Shape(tasks=0, memory="64G", time="2-00", cpus=4)
    text = build_job(asked(shape=shape), Console(-2)).text
    assert "--mem=64G" in text and "--time=2-00\n" in text and "--cpus-per-task=4" in text


def test_a_build_that_would_fail_is_told_before_it_waits(planned: Path) -> None:
    with pytest.raises(CommandFailed, match="would fail") as caught:
        build_job(asked(command=(*BUILD, "bad")), Console(-2))
    assert caught.value.code == ExitCode.SOLVE and "no such" in caught.value.detail


@pytest.mark.parametrize("command", [("ls", "-l"), ("conda-containerize",)])
def test_what_builds_nothing_is_told(command: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="builds nothing"):
        build_job(asked(command=command), Console(-2))


def test_commands_without_a_dry_run_are_not_started(planned: Path) -> None:
    other = planned.rename(planned.with_name("wrap-install"))
    text = build_job(asked(command=("wrap-install", "nothing", "dir")), Console(-2)).text
    assert "a guess" in text and f"exec {other} nothing dir" in text
    assert module.PROGRAMS[-1] == "wrap-install"


# -- Slurm ---------------------------------------------------------------------------------------
@pytest.fixture
def sbatch(program: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Program:
    """Make a ``sbatch`` of this machine, started in an empty directory."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'programs'}:/usr/bin:/bin")
    monkeypatch.chdir(tmp_path)
    return program


def test_without_slurm_submitting_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ToolError, match="no Slurm") as caught:
        submit(BATCH)
    assert "--submit" in str(caught.value.where) and caught.value.hint


def test_a_job_is_known_by_its_number(sbatch: Program, tmp_path: Path) -> None:
    sbatch("sbatch", f'echo hi; cat "$2" >{tmp_path}/got; echo "12;cluster"; echo left >&2')
    assert submit(BATCH) == "12"
    assert (tmp_path / "got").read_text() == BATCH.text


def test_who_stops_waiting_is_told_that_the_job_goes_on(
    sbatch: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_words: object, **given: Any) -> None:
        given["on_line"]("7;cluster")
        raise Interrupted(2)

    monkeypatch.setattr("wrapper.process.run", interrupted)
    sbatch("sbatch", "exit")
    with pytest.raises(Interrupted) as caught:
        submit_and_wait(BATCH, Console(-2))
    assert caught.value.what == "the job goes on; to end it: scancel 7"


@pytest.mark.parametrize("wait", [False, True])
def test_what_slurm_refuses_is_told_in_its_words(sbatch: Program, wait: bool) -> None:
    sbatch("sbatch", 'echo "sbatch: error: invalid partition specified: x" >&2; exit 1')
    with pytest.raises(ToolError, match="does not take") as caught:
        submit_and_wait(BATCH, Console(-2)) if wait else submit(BATCH)
    assert caught.value.detail == "error: invalid partition specified: x"


def test_a_builds_log_is_told_while_it_runs(sbatch: Program, tmp_path: Path) -> None:
    log = tmp_path / "containerize-7.log"
    said = r"[ INFO ] Solving: 1 s\nmore\n[ WARNING ] odd\n[ INFO ] last"
    sbatch("sbatch", f"echo 7; printf '{said}' >{log}; sleep 1.5")
    submit_and_wait(BATCH, Console(stream=(screen := io.StringIO())))
    assert screen.getvalue().splitlines() == [
        f"[ INFO ] job 7, its log: {log}",
        "[ INFO ] Solving: 1 s",
        "[ WARNING ] odd",
        "[ INFO ] last",
    ]


@pytest.mark.parametrize(("status", "code"), [(4, ExitCode.SOLVE), (77, ExitCode.TOOL)])
def test_a_builds_status_is_ours(
    sbatch: Program, tmp_path: Path, status: int, code: ExitCode
) -> None:
    log = tmp_path / "containerize-7.log"
    sbatch("sbatch", f"echo 7; printf '[ INFO ] a\\n[ ERROR ] b\\n  c' >{log}; exit {status}")
    with pytest.raises(CommandFailed, match=f"status {status}") as caught:
        submit_and_wait(BATCH, Console(-2))
    assert (caught.value.code, caught.value.where) == (code, str(log))
    assert caught.value.detail == "[ INFO ] a\n[ ERROR ] b\n  c"
