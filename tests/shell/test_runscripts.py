"""``/runscripts``: what ranks of a job are told, by the variables that Slurm gives them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from wrapper import runscripts

# Prints what a program is told and called with; as the Python that the scripts find.
TOLD = ("MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE", "RANK", "LOCAL_RANK", "ROCR_VISIBLE_DEVICES",
        "CUDA_VISIBLE_DEVICES")  # fmt: skip
PYTHON = f"""#!{sys.executable} -IS
import json, os, sys
told = {{name: os.environ[name] for name in {TOLD} if name in os.environ}}
print(json.dumps([told, sys.argv[1:]]))
"""
# The second of two nodes, and its third task, as Slurm describes it.
STEP = {
    "SLURM_JOB_ID": "1234567",
    "SLURM_STEP_ID": "0",
    "SLURM_JOB_NODELIST": "nid[005020-005030]",
    "SLURM_STEP_NODELIST": "nid[005023-005024]",
    "SLURM_NTASKS": "8",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
    "SLURM_PROCID": "6",
    "SLURM_LOCALID": "2",
    "SLURM_NODEID": "1",
    "SLURMD_NODENAME": "nid005024",
}


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    """The directory of the scripts, with a Python beside them."""
    runscripts.write(tmp_path)
    python = tmp_path / "runscripts/python3"
    python.write_text(PYTHON)
    python.chmod(0o755)
    return tmp_path / "runscripts"


def run(
    script: Path, *args: str, env: Mapping[str, str] = STEP
) -> subprocess.CompletedProcess[str]:
    plain = {"PATH": "/usr/bin:/bin"}
    return subprocess.run(
        [script, *args], env={**plain, **env}, capture_output=True, text=True, check=False
    )


def told(script: Path, *args: str, env: Mapping[str, str] = STEP) -> dict[str, str]:
    """What the program is told; it must start."""
    done = run(script, *args, env=env)
    assert done.returncode == 0, done.stderr
    variables: dict[str, str] = json.loads(done.stdout)[0]
    return variables


# -- the first host ------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("hosts", "first"),
    [
        ("nid[005023]", "nid005023"),
        ("nid[005023-005030]", "nid005023"),
        ("nid[005023-005030,005040]", "nid005023"),
        ("nid[005023,005030]", "nid005023"),
        ("rack[1-2]n[01-04]", "rack1n01"),
        ("cn-[01-03]-gpu", "cn-01-gpu"),
        ("plain", "plain"),
        ("n1.site.org,n2.site.org", "n1.site.org"),
        ("a[08-09],b", "a08"),
        ("login-1,nid[1-3]", "login-1"),
    ],
)
def test_the_first_host_of_every_kind_of_list(scripts: Path, hosts: str, first: str) -> None:
    assert run(scripts / "get-master", hosts).stdout == f"{first}\n"
    assert (
        told(scripts / "conda-python-distributed", env={**STEP, "SLURM_STEP_NODELIST": hosts})[
            "MASTER_ADDR"
        ]
        == first
    )


@pytest.mark.parametrize(
    "hosts", ["", "nid[", "nid]", "nid[]", "nid[1", "nid[a-b]", "a,,b", ",a", "a,", "a b", "$(id)",
              "nid[1-2-3]", "nid[5-3]", "nid[[1]]", "é", "a\nb"]
)  # fmt: skip
def test_what_is_no_list_is_one_clear_error(scripts: Path, hosts: str) -> None:
    done = run(scripts / "get-master", hosts)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("[ ERROR ] ") and done.stderr.count("[ ERROR ]") == 1
    assert "to do:" in done.stderr


def test_without_a_list_it_is_the_steps_or_the_jobs(scripts: Path) -> None:
    assert run(scripts / "get-master").stdout == "nid005023\n"
    job = {name: value for name, value in STEP.items() if name != "SLURM_STEP_NODELIST"}
    assert run(scripts / "get-master", env=job).stdout == "nid005020\n"


def test_a_list_of_a_large_job_is_read_at_once(scripts: Path) -> None:
    hosts = ",".join(f"nid[{n:06}-{n + 3:06}]" for n in range(0, 6000, 6))
    assert run(scripts / "get-master", hosts).stdout == "nid000000\n"


# -- what ranks are told -------------------------------------------------------------------------
def test_a_rank_knows_its_place(scripts: Path) -> None:
    assert told(scripts / "conda-python-distributed") == {
        "MASTER_ADDR": "nid005023",
        "MASTER_PORT": "24567",
        "WORLD_SIZE": "8",
        "RANK": "6",
        "LOCAL_RANK": "2",
    }


def test_arguments_arrive_as_they_are(scripts: Path) -> None:
    words = ["-u", "x y.py", "", "$HOME", "*", "--gpu"]
    for name in ("conda-python-distributed", "conda-python-simple"):
        assert json.loads(run(scripts / name, *words).stdout)[1] == words


def test_two_jobs_and_two_steps_have_ports_of_their_own(scripts: Path) -> None:
    others = [{}, {"SLURM_JOB_ID": "1234568"}, {"SLURM_STEP_ID": "1"}, {"SLURM_JOB_ID": "0099999"}]
    ports = [
        int(told(scripts / "conda-python-distributed", env={**STEP, **other})["MASTER_PORT"])
        for other in others
    ]
    assert len(set(ports)) == len(ports)
    assert all(10000 <= port < 30000 for port in ports)


def test_the_users_own_master_wins(scripts: Path) -> None:
    own = {"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "1"}
    found = told(scripts / "conda-python-distributed", env={**STEP, **own, "RANK": "77"})
    assert {name: found[name] for name in own} == own
    assert found["RANK"] == "6"  # a fact: all would have the one of the job script


def test_outside_slurm_it_is_the_only_rank(scripts: Path) -> None:
    done = run(scripts / "conda-python-distributed", env={})
    found = json.loads(done.stdout)[0]
    assert (found["WORLD_SIZE"], found["RANK"], found["MASTER_ADDR"]) == ("1", "0", "127.0.0.1")
    assert not done.stderr


def test_one_task_of_many_without_srun_is_told(scripts: Path) -> None:
    """It would wait for the others for ever."""
    batch = {name: value for name, value in STEP.items() if "STEP" not in name}
    done = run(scripts / "conda-python-distributed", "x.py", env=batch)
    assert done.returncode == 2 and "srun" in done.stderr
    alone = told(scripts / "conda-python-distributed", env={**batch, "SLURM_NTASKS": "1"})
    assert (alone["WORLD_SIZE"], alone["MASTER_ADDR"]) == ("1", "127.0.0.1")


@pytest.mark.parametrize(
    "name",
    [
        *("SLURM_NODEID", "SLURM_STEP_TASKS_PER_NODE", "SLURM_LOCALID", "SLURM_PROCID"),
        *("SLURM_STEP_NUM_TASKS", "SLURM_GPUS_ON_NODE"),
    ],
)
@pytest.mark.parametrize("value", ["a[$(touch '{}')]", "-1", "1x", "0x4"])
def test_what_is_no_number_is_one_clear_error(
    scripts: Path, tmp_path: Path, name: str, value: str
) -> None:
    """bash's arithmetic would run commands in it."""
    file = tmp_path / "ran"
    script = "torchrun" if name == "SLURM_GPUS_ON_NODE" else "conda-python"
    env = {**STEP, "SLURM_STEP_TASKS_PER_NODE": "1(x2)", name: value.format(file)}
    done = run(scripts / f"{script}-distributed", env={**env, "ROCR_VISIBLE_DEVICES": "0,1"})
    assert done.returncode == 2 and done.stderr.count("[ ERROR ]") == 1, done.stderr
    assert name in done.stderr and not file.exists()


def test_numbers_with_zeros_in_front_are_decimal(scripts: Path) -> None:
    env = {**STEP, "SLURM_PROCID": "08", "SLURM_LOCALID": "09", "SLURM_NODEID": "01"}
    found = told(scripts / "conda-python-distributed", env=env)
    assert (found["RANK"], found["LOCAL_RANK"]) == ("8", "9")


def test_ranks_report_where_they_are(scripts: Path) -> None:
    done = run(
        scripts / "conda-python-distributed", env={**STEP, "ROCR_VISIBLE_DEVICES": "0,1,2,3"}
    )
    cores = sorted(os.sched_getaffinity(0))
    assert done.stderr.startswith(f"Rank 6 of 8 --> nid005024, processors {cores[0]}")
    assert done.stderr.endswith("; GPU 2\n")


# -- GPUs ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("changes", "own"),
    [
        ({"ROCR_VISIBLE_DEVICES": "0,1,2,3"}, "2"),
        ({"ROCR_VISIBLE_DEVICES": "4,5,6,7"}, "6"),
        ({"ROCR_VISIBLE_DEVICES": "0,1"}, "0"),  # four tasks share two
        ({"ROCR_VISIBLE_DEVICES": "3"}, "3"),  # --gpus-per-task has chosen
        ({"ROCR_VISIBLE_DEVICES": "0,1,2,3", "SLURM_STEP_TASKS_PER_NODE": "4,1"}, "0,1,2,3"),
        ({"ROCR_VISIBLE_DEVICES": "0,1,2,3", "SLURM_STEP_TASKS_PER_NODE": "1,4"}, "2"),
        ({"ROCR_VISIBLE_DEVICES": "0,1,2,3", "CONTAINERIZE_GPUS": "all"}, "0,1,2,3"),
    ],
)
@pytest.mark.parametrize("kind", ["ROCR", "CUDA"])
def test_a_rank_gets_one_of_the_gpus_that_its_task_sees(
    scripts: Path, changes: dict[str, str], own: str, kind: str
) -> None:
    env = {name.replace("ROCR", kind): value for name, value in {**STEP, **changes}.items()}
    found = told(scripts / "conda-python-distributed", env=env)
    assert found[f"{kind}_VISIBLE_DEVICES"] == own
    assert len([name for name in found if name.endswith("_DEVICES")]) == 1


@pytest.fixture
def devices(scripts: Path, tmp_path: Path) -> Path:
    """A node's devices, which the scripts look at instead of this machine's."""
    place = tmp_path / "dev"
    place.mkdir()
    script = scripts / "torchrun-distributed"
    text = script.read_text().replace("/sys/class/kfd/", f"{place}/none/")
    script.write_text(text.replace("/dev/kfd", f"{place}/kfd").replace("/dev/nv", f"{place}/nv"))
    return place


def test_gpus_of_nvidia_that_slurm_does_not_name_are_counted(scripts: Path, devices: Path) -> None:
    for name in ("nvidiactl", *(f"nvidia{number}" for number in range(4))):
        (devices / name).touch()
    assert told(scripts / "conda-python-distributed")["CUDA_VISIBLE_DEVICES"] == "2"
    words = json.loads(run(scripts / "torchrun-distributed", env={}).stdout)[1]
    assert words[words.index("--nproc_per_node") + 1] == "4"


@pytest.mark.parametrize(("device", "own"), [("nvidiactl", "CUDA"), ("kfd", "ROCR")])
def test_of_two_lists_that_of_the_machines_gpus_counts(
    scripts: Path, devices: Path, device: str, own: str
) -> None:
    """A Slurm that nobody told whose the GPUs are sets both."""
    (devices / device).touch()
    both = {"ROCR_VISIBLE_DEVICES": "0,1,2,3", "CUDA_VISIBLE_DEVICES": "0,1,2,3"}
    script = scripts / "conda-python-distributed"
    found = told(script, env={**STEP, **both})
    assert {name: found[name] for name in both} == {**both, f"{own}_VISIBLE_DEVICES": "2"}
    assert run(script, env={**STEP, **both}).stderr.endswith("; GPU 2\n")


def test_python_alone_sees_them_all(scripts: Path) -> None:
    env = {**STEP, "ROCR_VISIBLE_DEVICES": "0,1,2,3"}
    assert told(scripts / "conda-python-simple", env=env) == {"ROCR_VISIBLE_DEVICES": "0,1,2,3"}


# -- torchrun ------------------------------------------------------------------------------------
def test_torchrun_starts_the_ranks_of_its_node(scripts: Path) -> None:
    nodes = {
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_STEP_TASKS_PER_NODE": "1(x2)",
        "SLURM_LOCALID": "0",
        "SLURM_PROCID": "1",
        "SLURM_GPUS_ON_NODE": "8",
    }
    done = run(scripts / "torchrun-distributed", "x.py", "--gpu", env={**STEP, **nodes})
    variables, words = json.loads(done.stdout)
    assert words == [
        *("-m", "torch.distributed.run", "--nnodes", "2", "--nproc_per_node", "8"),
        *("--rdzv_backend", "c10d", "--rdzv_id", "1234567.0"),
        *("--rdzv_endpoint", "nid005023:24567", "x.py", "--gpu"),
    ]
    assert not variables.keys() & {"RANK", "LOCAL_RANK", "WORLD_SIZE"}


@pytest.mark.parametrize("device", ["kfd", "nvidiactl"])
def test_gpus_that_cannot_be_counted_are_told(scripts: Path, devices: Path, device: str) -> None:
    """One rank alone would compute on one of them without a word."""
    (devices / device).touch()
    script = scripts / "torchrun-distributed"
    done = run(script, "x.py", env={})
    assert done.returncode == 2 and "--gpus-per-node" in done.stderr
    assert run(script, "--nproc-per-node=2", "x.py", env={}).returncode == 0
    assert run(script, "x.py", env={"CUDA_VISIBLE_DEVICES": ""}).returncode == 0
    (devices / device).unlink()
    assert run(script, "x.py", env={}).returncode == 0


def test_several_of_it_on_a_node_are_told(scripts: Path) -> None:
    done = run(scripts / "torchrun-distributed", "x.py")
    assert done.returncode == 2 and "--ntasks-per-node=1" in done.stderr


# -- Python --------------------------------------------------------------------------------------
def test_an_active_virtual_environment_comes_first(scripts: Path, tmp_path: Path) -> None:
    python = tmp_path / "venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\necho mine\n")
    python.chmod(0o755)
    env = {"VIRTUAL_ENV": str(tmp_path / "venv")}
    assert run(scripts / "conda-python-simple", env=env).stdout == "mine\n"


def test_else_the_one_on_path(scripts: Path, tmp_path: Path) -> None:
    (scripts / "python3").rename(tmp_path / "python3")
    env = {**STEP, "PATH": str(tmp_path)}  # an image may have no other program
    assert told(scripts / "conda-python-distributed", env=env)["RANK"] == "6"
    done = run(scripts / "conda-python-simple", env={"PATH": "/nowhere"})
    assert done.returncode == 2 and "python3" in done.stderr
