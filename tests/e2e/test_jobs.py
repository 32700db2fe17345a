"""Modules and batch scripts of an installation, with stand-ins for Slurm."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.measure import Peak, peak_memory
from tests.account import Account
from tests.e2e.conftest import BIN, UMBRELLA, Installation, environment_text
from wrapper.commands.build_job import estimate
from wrapper.models import Site

# Runs the words that are no options; hands a script to a shell, as a job whose number is 7.
SRUN = 'while [[ $1 = -* ]]; do shift; done; exec "$@"'
SBATCH = 'echo 7; exec bash "${@: -1}" >containerize-7.log 2>&1'


def slurm(account: Account) -> dict[str, str]:
    """Variables of an account that has ``srun`` and ``sbatch``."""
    directory = account.work / "slurm"
    if not directory.exists():
        account.directory("slurm")
        for name, text in (("srun", SRUN), ("sbatch", SBATCH)):
            account.file(f"slurm/{name}", f"#!/bin/bash\n{text}\n").chmod(0o755)
    return {"PATH": f"{directory}:{account.path}", "CONTAINERIZE_SITE": "local"}


def test_a_job_runs_the_installations_programs(small: Installation) -> None:
    account, env = small.account, slurm(small.account)
    command = ("python3", "-c", "import sys; print(sys.argv[1:])", "it's $HOME")
    text = account.ok(UMBRELLA, "jobscript", small.prefix, "--", *command, env=env)
    script = account.file("job.sh", text)
    assert account.ok("bash", script, env=env) == '["it\'s $HOME"]\n'


def test_a_build_as_a_job_ends_with_its_status_and_its_log(small: Installation) -> None:
    account, env = small.account, slurm(small.account)
    build = ("wrap-install", "--prefix", account.work / "none", "-w", "bin", "/no/such/place")
    done = account.run(UMBRELLA, "jobscript", "--build", "--submit", "--", *build, env=env)
    log = (account.work / "containerize-7.log").read_text()
    assert "/no/such/place" in log and log.rstrip().splitlines()[-1] in done.stderr
    assert done.returncode == account.run(BIN / build[0], *build[1:]).returncode == 3
    assert "the job ended with status 3" in done.stderr and "a guess" in done.stderr


def test_a_build_uses_what_is_estimated_and_not_far_less(me: Account, channel: Path) -> None:
    file = me.file("estimated.yml", environment_text(channel, "python", "numpy"))
    scratch, prefix = me.directory("scratch"), me.work / "estimated"
    words = ("conda-containerize", "new", "--prefix", str(prefix), str(file))
    plan = json.loads(me.ok(BIN / words[0], *words[1:], "--dry-run", "--json"))
    told = estimate(plan, words, Site(tmpdir=scratch))
    argv = [BIN / words[0], *words[1:], "--nocache", "--tmpdir", scratch]
    with Peak(scratch) as peak:
        memory = peak_memory(me.argv(argv), me.environment())
    assert peak.most <= told.scratch <= 3 * peak.most
    assert memory <= told.memory


def test_builds_work_with_a_sites_binds_that_are_not_there(account: Account) -> None:
    """The module of bindings names Slurm's directory, which is on compute nodes."""
    source = account.directory("tool/bin").parent
    account.file("tool/bin/hello", "#!/bin/sh\necho hello\n").chmod(0o755)
    env = {"SINGULARITY_BIND": f"/var/spool/no-slurmd,{account.work}:/mnt"}
    prefix = account.work / "bound"
    words = ("--prefix", prefix, "-w", "bin", source)
    done = account.run(BIN / "wrap-install", *words, env=env)
    assert done.returncode == 0, done.stderr
    assert "/var/spool/no-slurmd is to be bound, and is not there" in done.stderr
    assert account.ok(prefix / "bin/hello") == "hello\n"


def test_a_module_offers_the_installations_programs(small: Installation) -> None:
    account = small.account
    file = account.work / "modules/small"
    account.ok(UMBRELLA, "modulefile", small.prefix, "--output", file)
    told = [line for line in file.read_text().splitlines() if line.startswith("set places")]
    assert told == [f'set places [list "{small.prefix}"]']
    assert account.ok(UMBRELLA, "modulefile", small.prefix, "--tcl") == file.read_text()
    again = account.run(UMBRELLA, "modulefile", small.prefix, "--output", file)
    assert (again.returncode, [*file.parent.iterdir()]) == (0, [file])
