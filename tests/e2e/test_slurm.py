"""Jobs that programs of an installation submit, with a real Slurm of one node."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.account import REPOSITORY, Account
from tests.e2e.conftest import CONDA, Installation, environment_text

CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmdPort={next_port}
SlurmdParameters=config_overrides
PluginDir={plugins}
AuthType=auth/munge
AuthInfo=socket={root}/munge/socket
CredType=cred/munge
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 CPUs=2
PartitionName=all Nodes=ALL Default=YES OverSubscribe=FORCE:4
"""
SITE = "host_programs: [srun, sbatch, squeue, scancel, scontrol]\n"
# A job that calls the program which submits it, by the path that this has for itself.
SUBMIT = """
import subprocess, sys
def out(*words):
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
words = ["sbatch", "--wait", "--parsable", "--output", "job.out", "--wrap"]
number = out(*words, f"srun {sys.executable} -c 'import sys; print(sys.prefix)'")
print(open("job.out").read().strip())
number = out("sbatch", "--parsable", "--wrap", "sleep 60")
print(out("squeue", "--noheader", "--format=%i") == number)
out("scancel", number)
"""


@pytest.fixture(scope="session")
def slurm(account: Account) -> Iterator[dict[str, str]]:
    """Variables by which this account finds its Slurm; `make demo-slurm` unpacks one."""
    unpacked = REPOSITORY / ".cache/slurm"
    path = f"{account.path}:{unpacked}/bin:/usr/sbin"
    found = {
        name: shutil.which(name, path=path)
        for name in ("munged", "slurmctld", "slurmd", "sbatch", "scontrol")
    }
    if missing := [name for name, place in found.items() if place is None]:
        pytest.skip(f"there is no Slurm here: {', '.join(missing)}")
    root = account.directory("slurm-of-one")
    for name in ("munge", "state", "spool"):
        account.directory(f"slurm-of-one/{name}")
    plugins = unpacked / "lib/slurm-wlm"
    port = 20000 + os.getpid() % 20000
    conf = CONF.format(
        root=root,
        host=socket.gethostname().partition(".")[0],
        port=port,
        next_port=port + 1,
        plugins=plugins if plugins.is_dir() else "/usr/lib/x86_64-linux-gnu/slurm-wlm",
        user=account.ok("id", "-un").strip(),
    )
    env = {"SLURM_CONF": str(account.file("slurm-of-one/slurm.conf", conf)), "PATH": path}
    account.ok("bash", "-c", "umask 077; head -c 1024 /dev/urandom >key", cwd=root / "munge")
    files = [f"--{what}={root}/munge/{what.partition('-')[0]}" for what in ("key-file", "socket")]
    files += [f"--{what}={root}/munge/{what}" for what in ("pid-file", "log-file", "seed-file")]
    stepd = [f"-d{unpacked}/bin/slurmstepd"] if plugins.is_dir() else []
    daemons = (
        ["munged", "--foreground", "--force", *files],
        ["slurmctld", "-D"],
        ["slurmd", "-D", "-N", "n1", *stepd],
    )
    log = (root / "log").open("w")
    started = [
        subprocess.Popen(
            account.argv(["sh", "-c", 'umask 022; exec "$@"', "-", *words]),
            env=account.environment(env),
            cwd=root,
            stdout=log,
            stderr=log,
        )
        for words in daemons
    ]
    try:
        for _ in range(100):
            if "idle" in account.run("sinfo", "--noheader", env=env).stdout:
                break
            time.sleep(0.2)
        else:
            pytest.fail((root / "log").read_text())
        yield env
    finally:
        for daemon in reversed(started):
            daemon.terminate()
            daemon.wait(20)
        log.close()


def submits(installation: Installation, slurm: dict[str, str]) -> None:
    told = installation.python(SUBMIT, env=slurm)
    assert told == f"{installation.prefix}\nTrue\n"


def test_jobs_from_inside(slurm: dict[str, str], small: Installation) -> None:
    submits(small, slurm)


def test_jobs_from_an_image_with_a_system_of_its_own(
    slurm: dict[str, str], minimal: Path, account: Account, channel: Path
) -> None:
    """Slurm belongs to a user whom the image does not know, where that is not root."""
    env = {**slurm, "CONTAINERIZE_SITE": str(account.file("host-programs.yml", SITE))}
    file = account.file("on-slurm.yml", environment_text(channel, "python"))
    prefix = account.work / "on-slurm"
    account.ok(CONDA, "new", "--prefix", prefix, "--base-image", minimal, file, env=env)
    submits(Installation(prefix=prefix, account=account), slurm)
