"""What a shim sets where GPUs are, and the directory that it makes for caches."""

from __future__ import annotations

import os
import subprocess
from datetime import date
from pathlib import Path

import pytest

from tests.conftest import require
from tests.shell.conftest import (
    ORDINARY_USER,
    Prefix,
    can_trace,
    environment,
    write_environment,
)
from tests.shell.test_calls import ONLY_THE_TWO, traced
from wrapper.gpu import Setting, Settings

JOB = {"SLURM_JOB_ID": "123", "SLURMD_NODENAME": "nid005023"}


def setting(name: str, value: str, where: str = "") -> Setting:
    return Setting(name=name, value=value, where=where, why="", source="", read=date(2026, 1, 1))


@pytest.fixture
def gpus(prefix: Prefix, tmp_path: Path) -> Path:
    """The disk of a node with GPUs, which programs of ``prefix`` are told of."""
    node = tmp_path / "node"
    node.mkdir(mode=0o777)
    (node / "kfd").touch()
    settings = (
        setting("MIOPEN_USER_DB_PATH", "{cache}/miopen"),
        setting("TRITON_CACHE_DIR", "{cache}/triton"),
        setting("NCCL_SOCKET_IFNAME", "hsn", f"{node}/hsn0"),
    )
    write_environment(
        prefix.root,
        gpu=Settings(
            device=f"{node}/kfd",
            cache=str(node),
            folders=("miopen", "triton"),
            settings=settings,
        ),
    )
    return node


def test_caches_are_the_jobs_own_on_the_node(prefix: Prefix, gpus: Path) -> None:
    call = prefix.run(env=JOB)
    cache = gpus / f"containerize.{os.getuid()}.123.nid005023"
    assert call.variable("MIOPEN_USER_DB_PATH") == f"{cache}/miopen"
    assert call.variable("TRITON_CACHE_DIR") == f"{cache}/triton"
    for made in (cache, cache / "miopen", cache / "triton"):
        assert made.stat().st_mode & 0o777 == 0o700
    assert not call.stderr


def test_outside_a_job_they_are_the_users(prefix: Prefix, gpus: Path) -> None:
    call = prefix.run(env={"SLURM_JOB_ID": "../../up"})
    assert call.variable("TRITON_CACHE_DIR") == f"{gpus}/containerize.{os.getuid()}.....up/triton"
    call = prefix.run()
    assert call.variable("TRITON_CACHE_DIR") == f"{gpus}/containerize.{os.getuid()}/triton"


def test_without_gpus_nothing_is_set_or_made(prefix: Prefix, gpus: Path) -> None:
    (gpus / "kfd").unlink()
    assert prefix.run(env=JOB).variable("TRITON_CACHE_DIR") is None
    assert not list(gpus.iterdir())


def test_an_interface_is_named_where_it_is(prefix: Prefix, gpus: Path) -> None:
    assert prefix.run().variable("NCCL_SOCKET_IFNAME") is None
    (gpus / "hsn0").touch()
    assert prefix.run().variable("NCCL_SOCKET_IFNAME") == "hsn"


@pytest.mark.parametrize("value", ["eth0", ""])
def test_the_users_own_values_win(prefix: Prefix, gpus: Path, value: str) -> None:
    (gpus / "hsn0").touch()
    own = {"NCCL_SOCKET_IFNAME": value, "SINGULARITYENV_TRITON_CACHE_DIR": "/mine"}
    call = prefix.run(env=own)
    assert call.variable("NCCL_SOCKET_IFNAME") == value
    assert call.variable("TRITON_CACHE_DIR") is None
    assert call.variable("SINGULARITYENV_TRITON_CACHE_DIR") == "/mine"


def test_only_the_first_start_makes_it_and_by_two_processes(prefix: Prefix, gpus: Path) -> None:
    require(can_trace(), "strace")
    first = traced(prefix, prefix.program(), env=JOB)
    assert [len(first), first.count("execve")] == [6, 4], first  # bash, mkdir twice, the runtime
    assert traced(prefix, prefix.program(), env=JOB) == ONLY_THE_TWO


def test_a_directory_of_another_user_is_not_used(prefix: Prefix, gpus: Path) -> None:
    foreign = gpus / f"containerize.{os.getuid()}.123.nid005023"
    foreign.symlink_to(prefix.out)  # also not by a link to one of the user's own
    call = prefix.run(env=JOB)
    assert call.variable("TRITON_CACHE_DIR") is None
    assert "[ WARNING ]" in call.stderr and str(foreign) in call.stderr
    assert not (prefix.out / "triton").exists()


@pytest.mark.skipif(not ORDINARY_USER, reason="only root can give a directory away")
def test_not_even_where_it_could_be_written(prefix: Prefix, gpus: Path) -> None:
    foreign = gpus / f"containerize.{os.getuid()}.123.nid005023"
    (foreign / "triton").mkdir(parents=True)
    for folder in (foreign, foreign / "triton"):
        os.chown(folder, 65534, 65534)
    call = prefix.run(env=JOB)
    assert call.variable("TRITON_CACHE_DIR") is None and str(foreign) in call.stderr
    assert not (foreign / "miopen").exists()


@pytest.mark.parametrize("folder", ["miopen", "triton"])
def test_a_folder_that_is_missing_is_made(prefix: Prefix, gpus: Path, folder: str) -> None:
    cache = gpus / f"containerize.{os.getuid()}"
    cache.mkdir(mode=0o700)
    (cache / folder).mkdir()
    assert prefix.run().variable("TRITON_CACHE_DIR") == f"{cache}/triton"
    assert {path.name for path in cache.iterdir()} == {"miopen", "triton"}


def test_a_folder_that_cannot_be_made_is_told(prefix: Prefix, gpus: Path) -> None:
    cache = gpus / f"containerize.{os.getuid()}"
    cache.mkdir(mode=0o700)
    (cache / "miopen").write_text("in the way")
    call = prefix.run()
    assert call.variable("MIOPEN_USER_DB_PATH") is None and "[ WARNING ]" in call.stderr


def test_a_full_disk_is_told_and_programs_start(prefix: Prefix, gpus: Path) -> None:
    (gpus / f"containerize.{os.getuid()}.123.nid005023").write_text("in the way")
    call = prefix.run(env=JOB)
    assert call.variable("TRITON_CACHE_DIR") is None and "[ WARNING ]" in call.stderr


def test_many_ranks_at_once_do_not_race(prefix: Prefix, gpus: Path) -> None:
    """Whoever of them makes the directory: all find it whole, and none says a word."""
    for job in range(3):
        env = environment({"SLURM_JOB_ID": str(job)})
        started = [
            subprocess.Popen([prefix.program()], env=env, stderr=subprocess.PIPE, cwd=prefix.out)
            for _ in range(32)
        ]
        assert [process.communicate()[1] for process in started] == [b""] * 32
        assert {process.returncode for process in started} == {0}
        cache = gpus / f"containerize.{os.getuid()}.{job}"
        assert {path.name for path in cache.iterdir()} == {"miopen", "triton"}
