"""Two ordinary users of one group: what the one puts in the way of the other, or of root.

Alice builds, Bob is hostile. They share a project's directory (set-group-ID, writable for the
group) and one that everybody can write to (sticky, as /tmp).
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.account import NEIGHBOUR_NAME, USER_NAME, Account, Neighbours
from tests.conftest import require
from tests.e2e.conftest import CONDA, UMBRELLA, entries, environment_text, seen
from tests.index import write_wheel
from wrapper.errors import ExitCode

pytestmark = pytest.mark.root("two users")

Run = subprocess.CompletedProcess[str]
New = Callable[..., Run]
SOON = 20.0  # seconds: a command that hangs never ends
DEAD = {"host": os.uname().nodename, "pid": 999_999_999, "started": "x", "since": "then"}


@pytest.fixture
def alice(neighbours: Neighbours) -> Account:
    return neighbours.alice


@pytest.fixture
def bob(neighbours: Neighbours) -> Account:
    return neighbours.bob


@pytest.fixture
def root(me: Account) -> Account:
    return me


def fresh(parent: Path, mode: int) -> Iterator[Path]:
    """A new directory in a shared one, with the mode and group of that."""
    place = parent / f"place-{time.monotonic_ns()}"
    place.mkdir()
    os.chown(place, -1, parent.stat().st_gid)
    place.chmod(mode)
    yield place
    shutil.rmtree(place)


@pytest.fixture
def project(neighbours: Neighbours) -> Iterator[Path]:
    """Where both may write, and rename what the other made."""
    yield from fresh(neighbours.project, 0o2775)


@pytest.fixture
def public(neighbours: Neighbours) -> Iterator[Path]:
    """Where both may write, but each renames and removes only what is theirs."""
    yield from fresh(neighbours.public, 0o1777)


def shell(account: Account, script: str, cwd: Path) -> str:
    """Run a few lines as an account of a project, whose files its members may change."""
    return account.ok("bash", "-c", f"umask 002; set -e; {script}", cwd=cwd)


def results(alice: Account, place: Path) -> Path:
    """A directory of Alice's with her work in it."""
    shell(alice, "mkdir results; echo precious >results/data", place)
    return place / "results"


def precious(path: Path) -> bool:
    return (path / "data").read_text() == "precious\n"


def told(done: Run, status: int, *words: str) -> None:
    """An error in our form, with its status and these words."""
    assert done.returncode == status, done.stderr
    assert done.stderr.startswith("[ ERROR ] ") and "Traceback" not in done.stderr
    assert "internal error" not in done.stderr
    for word in words:
        assert word in done.stderr, done.stderr


@pytest.fixture
def new(channel: Path, alice: Account) -> New:
    """Run ``conda-containerize new`` as an account, Alice if none is named."""

    def run(prefix: Path, *options: str | Path, account: Account = alice, tmp: Path) -> Run:
        file = account.file("env.yml", environment_text(channel, "demo-sh-only"))
        env = {"CW_BUILD_TMPDIR": str(tmp)}
        return account.run(CONDA, "new", "-q", "--prefix", prefix, file, *options, env=env)

    return run


# -- what builds remove ----------------------------------------------------------------------------
LINKED = "ln -s results containerize-old"
RENAMED = "mv results containerize-old"
MARKS = f"echo {shlex.quote(json.dumps(DEAD))} >results/owner.json"


@pytest.mark.parametrize("trick", [LINKED, RENAMED])
@pytest.mark.parametrize("who", ["alice", "superuser"])
def test_a_directory_among_abandoned_ones(
    *,
    neighbours: Neighbours,
    project: Path,
    trick: str,
    who: str,
    new: New,
    me: Account,
) -> None:
    """Alice lets her group write into it. Of root everybody's files were removed."""
    work = results(neighbours.alice, project)
    shell(neighbours.bob, f"{MARKS}; {trick}", project)
    account = me if who == "superuser" else neighbours.alice
    assert new(project / "env", "--dry-run", account=account, tmp=project).returncode == 0
    assert precious(work if trick == LINKED else project / "containerize-old")


@pytest.mark.parametrize("name", [".env.new-0123abcd", ".env.new-1"])
def test_a_directory_among_staging_directories(
    *,
    alice: Account,
    bob: Account,
    project: Path,
    name: str,
    new: New,
    runtime: Path,
) -> None:
    results(alice, project)
    shell(bob, f"{MARKS}; mv results {name}", project)
    done = new(project / "env", tmp=alice.work)
    assert done.returncode == 0, done.stderr
    assert precious(project / name)


@pytest.mark.parametrize("who", ["alice", "superuser"])
@pytest.mark.parametrize("command", [("prune", "--keep", "1"), ("rollback",)])
def test_generations_that_are_a_link(
    *, neighbours: Neighbours, project: Path, who: str, command: tuple[str, ...], me: Account
) -> None:
    work = results(neighbours.alice, project)
    manifest = {"format": 1, "created": "x", "image": {"size": 1}, "kind": "conda"}
    script = f"""
        mkdir -m 777 env env/bin; mkdir results/1 results/1/_bin results/2 results/2/_bin
        echo {shlex.quote(json.dumps(manifest))} >results/1/manifest.json
        cp results/1/manifest.json results/2
        ln -s ../results env/.generations; ln -s .generations/2 env/current
    """
    shell(neighbours.bob, script, project)
    account = me if who == "superuser" else neighbours.alice
    words = [str(UMBRELLA), command[0], str(project / "env"), *command[1:]]
    told(account.run(*words), ExitCode.PREFIX)
    assert precious(work) and {"1", "2"} <= entries(work)


# -- where builds work -----------------------------------------------------------------------------
@pytest.mark.parametrize("trick", ["mkdir -m 777 mine", "mkdir mine", "ln -s /tmp mine"])
def test_a_temporary_directory_that_somebody_else_made(
    *, alice: Account, bob: Account, public: Path, trick: str, new: New
) -> None:
    """As /tmp/$USER, whose name everybody knows."""
    shell(bob, trick, public)
    done = new(alice.work / "env", "--dry-run", tmp=public / "mine/builds")
    told(done, ExitCode.INPUT, f"{public}/mine belongs to {NEIGHBOUR_NAME}", "--tmpdir")
    shell(alice, "mkdir -m 700 my-own", public)
    assert new(alice.work / "env", "--dry-run", tmp=public / "my-own/builds").returncode == 0


# -- what is in the way ----------------------------------------------------------------------------
IN_THE_WAY = {
    "pipe": "mkfifo .env.lock",
    "device": "ln -s /dev/zero .env.lock",
    "nowhere": "ln -s nowhere .env.lock",
    "directory": "mkdir .env.lock",
    "dead": f"echo {shlex.quote(json.dumps(DEAD))} >.env.lock",
}


@pytest.mark.parametrize("trick", IN_THE_WAY.values(), ids=IN_THE_WAY.keys())
def test_what_a_stranger_put_in_the_place_of_a_lock(
    *,
    alice: Account,
    bob: Account,
    public: Path,
    trick: str,
    new: New,
    runtime: Path,
) -> None:
    shell(bob, trick, public)
    begin = time.monotonic()
    done = new(public / "env", tmp=alice.work)
    assert time.monotonic() - begin < SOON
    told(done, ExitCode.PREFIX, ".env.lock is in the way", f"ask {NEIGHBOUR_NAME}", "another place")
    assert not (public / "env").exists()


def test_a_strangers_living_lock_is_told_with_its_owner(
    *, alice: Account, bob: Account, public: Path, new: New, runtime: Path
) -> None:
    lock = json.dumps({**DEAD, "host": "elsewhere"})
    shell(bob, f"echo {shlex.quote(lock)} >.env.lock", public)
    done = new(public / "env", tmp=alice.work)
    told(done, ExitCode.BUSY, "on elsewhere", f"ask {NEIGHBOUR_NAME} to remove {public}/.env.lock")


def test_what_a_stranger_left_in_a_prefix_that_is_there(
    *, alice: Account, bob: Account, project: Path, new: New, runtime: Path
) -> None:
    shell(alice, "mkdir env", project)
    shell(bob, "mkdir -p env/.staging/sub", project)
    done = new(project / "env", tmp=alice.work)
    told(done, ExitCode.PREFIX, ".staging is in the way", f"ask {NEIGHBOUR_NAME}")
    assert entries(project / "env") == {".staging"}


# -- installations of somebody else ----------------------------------------------------------------
@pytest.fixture(scope="module")
def bobs(neighbours: Neighbours, channel: Path, runtime: Path) -> Iterator[Path]:
    """An installation of Bob's whose programs, and the interpreter that its manifest names, tell
    who starts them.
    """
    require(shutil.which("setpriv") is not None, "setpriv")
    bob, place = neighbours.bob, neighbours.public / "bobs"
    place.mkdir()
    place.chmod(0o1777)
    bob.owns(place)
    file = bob.file("env.yml", environment_text(channel, "demo-sh-only"))
    prefix = bob.work / "env"
    bob.ok(CONDA, "new", "-q", "--prefix", prefix, file)
    spy = f"#!/bin/sh\nid -un >>{place}/started-by-$(id -u)\necho 3.11.7\n"
    for name in ("bin/python3", "bin/_debug_exec", "spy"):
        (prefix / name).unlink(missing_ok=True)
        (prefix / name).write_text(spy)
        (prefix / name).chmod(0o755)
        bob.owns(prefix / name)
    path = prefix / "current/manifest.json"
    manifest = json.loads(path.read_text())
    manifest["interpreter"] = {"path": str(prefix / "spy"), "version": "3.11.7"}
    manifest["runtime"] = {"name": "apptainer", "version": "1", "path": str(prefix / "spy")}
    manifest["created"] = "\x1b[2J\x1b]0;mine\x07now"
    path.write_text(json.dumps(manifest))
    yield prefix


def started(prefix: Path, neighbours: Neighbours) -> set[str]:
    return {name for name in entries(neighbours.public / "bobs") if name.startswith("started")}


@pytest.mark.parametrize("who", ["alice", "superuser"])
def test_nothing_of_it_is_started(
    neighbours: Neighbours, bobs: Path, who: str, me: Account
) -> None:
    account = me if who == "superuser" else neighbours.alice
    for command in (("doctor",), ("doctor", "--deep"), ("list",), ("inspect",)):
        done = account.run(UMBRELLA, *command, bobs)
        assert "internal error" not in done.stderr
        if command[0] == "doctor":
            assert f"start: not started: belongs to {NEIGHBOUR_NAME} (--start" in done.stdout
            assert f"Python 3.11.7 then), not started: belongs to {NEIGHBOUR_NAME}" in done.stdout
    assert started(bobs, neighbours) == set()
    if who == "alice":
        done = account.run(UMBRELLA, "doctor", "--start", bobs)
        mark = neighbours.public / "bobs" / f"started-by-{account.uid}"
        assert len(mark.read_text().splitlines()) == 3, "interpreter, and two starts"
        mark.unlink()


def test_its_owner_may_start_it(neighbours: Neighbours, bobs: Path) -> None:
    done = neighbours.bob.run(UMBRELLA, "doctor", bobs)
    assert "not started" not in done.stdout
    mark = neighbours.public / "bobs" / f"started-by-{neighbours.bob.uid}"
    assert mark.exists()
    mark.unlink()


def test_what_it_says_steers_no_terminal(alice: Account, bobs: Path) -> None:
    for command in (("list",), ("doctor",), ("inspect",)):
        done = alice.run(UMBRELLA, *command, bobs)
        assert "\x1b" not in done.stdout + done.stderr and "\x07" not in done.stdout
        assert "x1b[2J" in done.stdout or command == ("inspect",)


@pytest.mark.parametrize("command", [("rollback",), ("prune", "--keep", "1"), ("extend",)])
def test_root_does_not_change_it(me: Account, bobs: Path, command: tuple[str, ...]) -> None:
    done = me.run(UMBRELLA, command[0], bobs, *command[1:])
    told(done, ExitCode.PREFIX, f"belongs to {NEIGHBOUR_NAME}", f"sudo -u {NEIGHBOUR_NAME}")


TRAPS = {
    "pipe": "mkfifo $1",
    "device": "ln -s /dev/zero $1",
    "hole": "truncate -s 1T $1",
    "nested": "head -c 1000000 /dev/zero | tr '\\0' '[' >$1",
}


@pytest.mark.parametrize("trap", TRAPS.values(), ids=TRAPS.keys())
def test_a_manifest_that_is_a_trap(alice: Account, bob: Account, project: Path, trap: str) -> None:
    script = f"mkdir -p env/bin env/.generations/1/_bin; ln -s .generations/1 env/current; {trap}"
    manifest = "env/.generations/1/manifest.json"
    shell(bob, f"set -- {manifest}; {script}", project)
    begin = time.monotonic()
    for command in (("list",), ("inspect",), ("doctor",), ("rollback",), ("prune", "--keep", "1")):
        done = alice.run(UMBRELLA, command[0], project / "env", *command[1:])
        assert "Traceback" not in done.stderr and "internal error" not in done.stderr, done.stderr
        if command[0] not in ("list", "doctor"):
            told(done, ExitCode.PREFIX)
    update = alice.run(CONDA, "update", project / "env", "-r", alice.file("r.txt", "x\n"))
    told(update, ExitCode.PREFIX, "is no installation")
    assert time.monotonic() - begin < SOON + 20


# -- extensions ------------------------------------------------------------------------------------
def test_members_extend_one_installation_each_their_own(
    alice: Account, bob: Account, project: Path, channel: Path
) -> None:
    """Bob uses what is Alice's, but only she changes it: also where he may write."""
    base = project / "base"
    file = alice.file("base.yml", environment_text(channel, "python", "demo-noarch", "pip"))
    alice.ok(CONDA, "new", "-q", "--prefix", base, file)
    wheels = {who: write_wheel(project, f"of{who.name}", "1.0") for who in (alice, bob)}
    for who, wheel in wheels.items():
        wheel.chmod(0o644)
        shell(who, f"{UMBRELLA} extend {base} --to {who.name}", project)
        shell(who, f"{who.name}/bin/pip install -q --no-index {wheel}", project)
    mine = project / "alice"
    for _ in ("as files", "frozen"):
        for who, place in ((alice, mine), (bob, mine), (bob, project / "bob")):
            code = f"import demo_noarch, of{place.name}"
            assert who.run(place / "bin/python", "-c", code).returncode == 0
            other = "import " + ("ofbob" if place == mine else "ofalice")
            assert who.run(place / "bin/python", "-c", other).returncode == 1
        before = seen(mine)
        for words in (["freeze", mine], ["thaw", mine], ["extend", base, "--to", mine]):
            told(bob.run(UMBRELLA, *words), ExitCode.PREFIX, f"belongs to {USER_NAME}")
        assert seen(mine) == before
        shell(alice, f"{UMBRELLA} freeze {mine}", project)
