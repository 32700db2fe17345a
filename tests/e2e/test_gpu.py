"""Programs on many GPUs: ranks that start at once, as Slurm starts them, meet over TCP.

Slurm itself is not needed: a task is told of its job by variables, which are what a real one set on
two nodes of a test. A file stands in for the GPU's device.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.account import Account
from tests.archive import write_archive
from tests.e2e.conftest import BIN, PIP, UMBRELLA, Installation, open_directory
from tests.index import write_files_wheel

CONTAINER = BIN / "wrap-container"
# Ranks send their number to the first, which sends the sum to all.
MEET = """
import json, os, socket, struct, sys, time
rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
place = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
number = struct.Struct("i")
if rank == 0:
    with socket.create_server(place) as server:
        others = [server.accept()[0] for _ in range(world - 1)]
    total = sum(number.unpack(other.recv(number.size))[0] for other in others)
    for other in others:
        other.send(number.pack(total))
else:
    for _ in range(600):
        try:
            first = socket.create_connection(place)
            break
        except OSError:
            time.sleep(0.1)
    first.send(number.pack(rank))
    total = number.unpack(first.recv(number.size))[0]
gpu, cache = (os.environ[name] for name in ("ROCR_VISIBLE_DEVICES", "TRITON_CACHE_DIR"))
print(json.dumps([rank, total, gpu, cache, sys.executable, sys.argv[1:]]))
"""


@pytest.fixture(scope="session")
def torch(account: Account, runtime: Path) -> Iterator[Installation]:
    """An environment with what is called PyTorch for ROCm; its disk for caches is ``caches``."""
    with open_directory() as wheels:
        write_files_wheel(wheels, "torch", "2.8.0+rocm6.4", {"torch/__init__.py": ""})
        text = f"--no-index\n--find-links {wheels}\ntorch==2.8.0+rocm6.4\n"
        prefix = account.work / "torch"
        account.ok(PIP, "new", "--prefix", prefix, account.file("torch.txt", text))
    device = account.file("kfd", "")
    (device.parent / "caches").mkdir()
    (device.parent / "caches").chmod(0o777)
    env = prefix / "current/env"
    text = env.read_text().replace("=/dev/kfd", f"={device}")
    env.write_text(text.replace("_gpu_cache=/tmp", f"_gpu_cache={device.parent / 'caches'}"))
    yield Installation(prefix=prefix, account=account)


def free_port() -> int:
    """One of those that jobs get."""
    for port in range(10000, 30000, 7):
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) != 0:
                return port
    pytest.fail("no port is free")


def step(job: int, nodes: int, tasks: int) -> Iterator[dict[str, str]]:
    """What Slurm tells each task of a step, ``tasks`` on each node."""
    hosts = f"127.0.0.[1-{nodes}]"
    for rank in range(nodes * tasks):
        yield {
            "SLURM_JOB_ID": str(job),
            "SLURM_STEP_ID": "0",
            "SLURM_JOB_NODELIST": hosts,
            "SLURM_STEP_NODELIST": hosts,
            "SLURM_STEP_NUM_TASKS": str(nodes * tasks),
            "SLURM_STEP_TASKS_PER_NODE": f"{tasks}(x{nodes})",
            "SLURM_PROCID": str(rank),
            "SLURM_LOCALID": str(rank % tasks),
            "SLURM_NODEID": str(rank // tasks),
            "SLURMD_NODENAME": f"127.0.0.{1 + rank // tasks}",
            "ROCR_VISIBLE_DEVICES": ",".join(map(str, range(tasks))),
        }


def test_ranks_of_two_jobs_meet_each_other(torch: Installation) -> None:
    account, program = torch.account, torch.program("conda-python-distributed")
    first = free_port() - 10000
    jobs = [(first, 2, 4), (first + 1, 1, 2)]
    file = account.file("meet.py", MEET)
    started = {
        (job, rank): subprocess.Popen(
            account.argv([program, "-u", file, "a b"]),
            env=account.environment(env),
            cwd=account.work,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for job, nodes, tasks in jobs
        for rank, env in enumerate(step(job, nodes, tasks))
    }
    ended = {key: process.communicate(timeout=120) for key, process in started.items()}
    caches = set()
    uid = os.getuid() if account.uid is None else account.uid
    for (job, rank), (out, err) in ended.items():
        _, nodes, tasks = jobs[job - first]
        assert out, err
        total = sum(range(nodes * tasks))
        cache = f"{account.work}/caches/containerize.{uid}.{job}"
        found = json.loads(out)
        caches.add(Path(found[3]).parent)
        assert found[3] == f"{cache}.127.0.0.{1 + rank // tasks}/triton"
        assert found[:3] == [rank, total, str(rank % tasks)]
        assert found[4:] == [str(torch.program("python3")), ["a b"]]
        assert re.fullmatch(rf"Rank {rank} of {nodes * tasks} --> .*; GPU {rank % tasks}\n", err)
    assert len(caches) == 3
    assert all({"triton", "miopen"} <= {path.name for path in cache.iterdir()} for cache in caches)


def test_old_job_scripts_find_what_they_call(torch: Installation) -> None:
    script = "$WITH_CONDA; $WITH_VENV && /runscripts/get-master 'nid[005023-005030]'"
    out = torch.account.ok(torch.program("_debug_exec"), "bash", "-c", script)
    assert out == "nid005023\n"
    assert torch.account.ok(torch.program("get-master"), "cn-[01-03]-gpu") == "cn-01-gpu\n"


# -- an image with an entry point ----------------------------------------------------------------
ENTRY = """#!/bin/bash
export ROCR_VISIBLE_DEVICES=${SLURM_LOCALID-none} SAID="$1"
exec "$@"
"""
SAYS = """#!/bin/bash
echo "$ROCR_VISIBLE_DEVICES $SAID $MIOPEN_USER_DB_PATH $WITH_CONDA $RANK" "$@"
"""


def small_system(root: Path) -> None:
    """bash, what it needs, and a ROCm that says its version."""
    told = subprocess.check_output(["ldd", "/bin/bash"], text=True)
    for file in ["/bin/bash", *re.findall(r"(/lib\S+)", told)]:
        (root / file[1:]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, root / file[1:])
    programs = {"opt/entry": ENTRY, "opt/venv/bin/python3": SAYS, "opt/venv/bin/torchrun": SAYS}
    for name, text in {**programs, "opt/rocm/.info/version": "6.2.4-134\n"}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
        (root / name).chmod(0o755)
    for name in ("proc", "sys", "dev", "tmp", "etc"):
        (root / name).mkdir()


def test_programs_of_an_image_start_as_run_starts_them(account: Account, runtime: Path) -> None:
    prefix = account.work / "entry-wrapped"
    env = ["PATH=/opt/venv/bin:/bin", "WITH_CONDA=. /opt/its-own", "MIOPEN_USER_DB_PATH=/its/own"]
    with open_directory() as place:
        small_system(place / "root")
        config = {"Entrypoint": ["/opt/entry"], "Env": env}
        uri = write_archive(place / "root", place / "archive", "docker-archive", config=config)
        done = account.run(CONTAINER, "-w", "/opt/venv/bin", "--prefix", prefix, uri)
    assert done.returncode == 0, done.stderr
    assert "as 'run' of" in done.stderr and "by /opt/entry\n" in done.stderr
    out = account.ok(prefix / "bin/python3", "a b", env={"SLURM_LOCALID": "3"})
    assert out == f"3 {prefix}/bin/python3 /its/own . /opt/its-own  a b\n"
    assert "TRITON_CACHE_DIR" in account.ok(UMBRELLA, "inspect", "--settings", prefix)
    out = account.ok(prefix / "bin/conda-python-distributed", "x.py")
    assert out.endswith(" 0 x.py\n")


def test_an_image_keeps_runscripts_of_its_own(account: Account, runtime: Path) -> None:
    prefix = account.work / "runscripts-wrapped"
    with open_directory() as place:
        small_system(place / "root")
        own = place / "root/runscripts/get-master"
        own.parent.mkdir()
        own.write_text("#!/bin/bash\necho its own\n")
        own.chmod(0o755)
        config = {"Entrypoint": ["/opt/entry"]}
        uri = write_archive(place / "root", place / "archive", "docker-archive", config=config)
        account.ok(CONTAINER, "-w", "/opt/venv/bin", "--prefix", prefix, uri)
    assert account.ok(prefix / "bin/get-master") == "its own\n"
    assert not (prefix / "bin/conda-python-simple").exists()
    env = {"CONTAINERIZE_ENTRY_POINT": "0", "CONTAINERIZE_MINIMAL_BINDS": "1"}
    ls = account.ok(
        prefix / "bin/_debug_exec", "/bin/bash", "-c", "echo /* $SAID", env=env, cwd=Path("/tmp")
    )
    assert "/runscripts" in ls and "/bin/bash" not in ls
