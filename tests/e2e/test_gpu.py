"""Programs on many GPUs: ranks that a real Slurm starts, with stand-ins for the devices, meet."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.account import Account
from tests.archive import write_archive
from tests.e2e.conftest import BIN, PIP, SLURM, UMBRELLA, Installation, open_directory
from tests.index import write_files_wheel

CONTAINER = BIN / "wrap-container"
# Ranks send their number to the first, which sends the sum to all when the other job is there too.
MEET = """
import json, os, socket, struct, sys, time
rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
place = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
number = struct.Struct("i")
if rank == 0:
    with socket.create_server(place) as server:
        others = [server.accept()[0] for _ in range(world - 1)]
    os.mkdir(f"{sys.argv[1]}/{os.environ['SLURM_JOB_ID']}")
    for _ in range(600):
        if len(os.listdir(sys.argv[1])) == 2:
            break
        time.sleep(0.1)
    else:
        sys.exit("the other job does not come")
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
names = ("SLURM_JOB_ID", "MASTER_PORT", "ROCR_VISIBLE_DEVICES", "TRITON_CACHE_DIR")
job, port, gpu, cache = (os.environ[name] for name in names)
told = [rank, total, job, port, gpu, list(os.sched_getaffinity(0)), cache]
os.write(1, json.dumps([*told, sys.executable, *sys.argv[2:]]).encode() + b"\\n")  # in one piece
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


def test_ranks_of_two_jobs_meet_each_other(torch: Installation, cluster: dict[str, str]) -> None:
    """At one moment, on the same nodes. Tasks of the first see all GPUs that it has on the node."""
    account, program = torch.account, torch.program("conda-python-distributed")
    file, together = account.file("meet.py", MEET), account.directory("together")
    asked = ("--gpus-per-node=4", "--gpus-per-task=1")
    started = [
        subprocess.Popen(
            account.argv(
                [SLURM / "srun", "-N2", "-n8", "--overcommit", gpus, program, file, together, "a b"]
            ),
            env=account.environment(cluster),
            cwd=account.work,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for gpus in asked
    ]
    uid = os.getuid() if account.uid is None else account.uid
    gpus, caches = set(), set()
    ports: dict[str, str] = {}
    for out, err in [job.communicate(timeout=120) for job in started]:
        ranks = sorted(map(json.loads, out.splitlines()))
        assert [rank[:2] for rank in ranks] == [[rank, sum(range(8))] for rank in range(8)], err
        for rank, _, job, port, gpu, processors, cache, *words in ranks:
            node = f"127.0.0.{1 + rank // 4}"
            place = f"{account.work}/caches/containerize.{uid}.{job}.{node}"
            assert (cache, words) == (f"{place}/triton", [str(torch.program("python3")), "a b"])
            assert len(processors) == 1, "it is bound"
            line = f"Rank {rank} of 8 --> {node}, processors {processors[0]}; GPU {gpu}\n"
            assert line in err
            gpus.add((node, gpu))
            assert ports.setdefault(job, port) == port
            caches.add(Path(place))
    assert len(gpus) == 16, "each rank has its own"
    assert len(set(ports.values())) == len(started)
    assert len(caches) == 4
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
