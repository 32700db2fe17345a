"""An installation survives what can happen to an update: SIGKILL and full disks, at every step."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from operator import methodcaller
from pathlib import Path

import pytest

from tests.account import Account
from tests.e2e.conftest import (
    CONDA,
    PIP,
    UMBRELLA,
    Builder,
    Installation,
    change,
    current,
    entries,
    environment_text,
    has,
    needs_root,
    seen,
    small_file_system,
)
from tests.index import write_wheel
from tests.killed import KILLS
from tests.steps import at_step, filling
from wrapper.errors import ExitCode

ACCOUNTS = 2 if os.getuid() == 0 else 1
KINDS = 4  # at a time, at a step, in the switch, right after it
TURNS = KILLS // KINDS
STEPS = 12  # about as many as an update has


def test_a_killed_update_leaves_the_old_or_the_new(
    account: Account, build: Builder, channel: Path
) -> None:
    """SIGKILL at begins of steps, at times spread over the whole update, around the switch.

    Each account has moments of its own.
    """
    done = build(account, "killed", "python", "demo-noarch", "demo-postlink")
    files = [
        account.file("one.yml", environment_text(channel, "python", "demo-noarch", "demo-tool")),
        account.file("two.yml", environment_text(channel, "python", "demo-noarch")),
    ]
    tmp = account.directory("killed-tmp")
    start = time.monotonic()
    change(done, files[0], "--tmpdir", str(tmp))
    whole = time.monotonic() - start
    outcomes = set()
    for moment in _moments(account):
        before = current(done)
        _killed_update(done, files[runs(done, "demo-tool")], tmp, whole, moment)
        after = current(done)
        outcomes.add(after > before)
        assert before <= after <= before + 2, "at most a switch, and a number left out before it"
        odd = (done.prefix / "current/packages.txt").read_text().count("demo-tool ")
        assert has(done, "demo_noarch")
        assert runs(done, "demo-tool") == bool(odd)
    assert outcomes == {True, False}
    change(done, files[runs(done, "demo-tool")], "--tmpdir", str(tmp))
    assert [n for n in entries(tmp) if n.startswith("containerize-")] == []
    assert [n for n in entries(done.prefix.parent) if "killed." in n and n.startswith(".")] == []
    assert not [n for n in entries(done.prefix / ".generations") if not n.isdigit()]
    shims = entries(done.prefix / "bin") - {"_debug_exec", "_debug_shell", "list-packages"}
    assert shims == entries(done.prefix / "current/_bin") - {".lib"}  # outside after export-sources


def runs(installation: Installation, name: str) -> bool:
    program = installation.program(name)
    return program.exists() and installation.account.run(program).returncode == 0


def _moments(account: Account) -> list[tuple[int, int]]:
    """The kind and the turn of each kill that is this account's."""
    first = 0 if account.uid is None else 1
    return [(kind, turn) for turn in range(first, TURNS, ACCOUNTS) for kind in range(KINDS)]


def _killed_update(
    done: Installation, file: Path, tmp: Path, whole: float, moment: tuple[int, int]
) -> None:
    """Begin an update and kill it: at a time, at a step, in the switch, right after the switch."""
    account, (kind, turn) = done.account, moment
    output = account.work / "killed.log"
    link = (done.prefix / "current").readlink()
    start = time.monotonic()
    with output.open("wb") as stream:
        child = subprocess.Popen(
            account.argv([CONDA, "update", done.prefix, file, "--tmpdir", tmp, "-v"]),
            env=account.environment(),
            cwd=account.work,
            stderr=stream,
            start_new_session=True,
        )

    def due() -> bool:
        if kind == 0:
            return time.monotonic() - start >= whole * turn / TURNS
        if kind == 1:
            return output.read_bytes().count(b"begin:") > turn * STEPS // TURNS
        if kind == 2:
            return b"begin: Switching" in output.read_bytes()
        return (done.prefix / "current").readlink() != link

    while child.poll() is None and not due():
        time.sleep(0.0005)
    if kind == 2:
        time.sleep(0.002 * (turn % 10))
    child.kill()
    child.wait(30)


# -- each way to change one ------------------------------------------------------------------------
BUILT = ("Byte-compiling", "Recording the", "Starting it once")
WAYS: dict[str, tuple[tuple[str | Path, ...], tuple[str, ...]]] = {
    "pip in a script": (
        (PIP, "update", "{prefix}", "--post-install", "pip.sh", "--tmpdir", "{tmp}", "-v"),
        ("Running the post", "Packing what", "Writing the image", "Unpacking what changes", *BUILT),
    ),
    "a script": (
        (PIP, "update", "{prefix}", "--post-install", "other.sh", "--tmpdir", "{tmp}", "-v"),
        ("Finding what changed", "Switching", "Packing what", "Running the post", *BUILT),
    ),
    "a replaced package": (
        (PIP, "update", "{prefix}", "-r", "newer.txt", "--tmpdir", "{tmp}", "-v"),
        ("Unpacking what is replaced", "Writing the image", "Installing pip", "Resolving", *BUILT),
    ),
    "repack": (
        (UMBRELLA, "repack", "{prefix}", "--compression", "gzip:1", "--tmpdir", "{tmp}", "-v"),
        ("Packing with", "Switching", *BUILT[2:]),
    ),
    "profile": (
        (UMBRELLA, "profile", "{prefix}", "--tmpdir", "{tmp}", "-v", "--", "python3", "-c", "0"),
        ("Recording what", "Writing the image", "Switching", *BUILT[2:]),
    ),
}
"""By what an installation changes: the line, and its steps, the most delicate first."""


def pip_installation(account: Account, prefix: Path) -> Installation:
    """One with alpha 1.0, and in the account's directory what the lines name."""
    wheels = account.directory("wheels")
    for name, version in (("alpha", "1.0"), ("alpha", "2.0"), ("beta", "1.0")):
        write_wheel(wheels, name, version)
    account.file("pip.sh", f"pip install --no-index --find-links {wheels} beta\n")
    account.file("other.sh", "date +%N >$env_root/moment\n")
    for name, version in (("older", "1.0"), ("newer", "2.0")):
        text = f"--no-index\n--find-links {wheels}\nalpha=={version}\n"
        account.file(f"{name}.txt", text)
    account.ok(PIP, "new", "--prefix", prefix, "older.txt")
    return Installation(prefix=prefix, account=account)


@pytest.fixture(scope="module")
def changing(account: Account, runtime: Path) -> Installation:
    account.directory("changing-tmp")
    return pip_installation(account, account.work / "changing")


@pytest.mark.parametrize("way", WAYS)
def test_each_way_to_change_one_may_be_interrupted(
    account: Account, changing: Installation, way: str
) -> None:
    """By SIGKILL and SIGTERM in turns. Each account has steps of its own."""
    tmp, generations = account.work / "changing-tmp", changing.prefix / ".generations"
    words, steps = WAYS[way]
    line = [str(word).format(prefix=changing.prefix, tmp=tmp) for word in words]
    alpha = "import alpha; print(alpha.VERSION)"
    before, version = seen(changing.prefix), changing.python(alpha)
    first = 0 if account.uid is None else 1
    for turn, step in enumerate(steps[first::ACCOUNTS][: KILLS // 24], [*WAYS].index(way)):
        number = (signal.SIGKILL, signal.SIGTERM)[turn % 2]
        status, said = at_step(account, line, step, methodcaller("send_signal", number))
        ended = (-number if number == signal.SIGKILL else 128 + number,)
        if step == "Switching":  # it ends, or was the last
            ended, before = (*ended, 0), seen(changing.prefix)
        assert status in ended, said
        assert changing.python(alpha) == version
        if number == signal.SIGTERM:
            assert seen(changing.prefix) == before and entries(tmp) == set()
    account.ok(*line)
    changing.python(alpha)
    assert entries(tmp) == set()
    assert not [name for name in entries(generations) if not name.isdigit()]


# -- full disks ----------------------------------------------------------------------------------
FULL_AT = {
    "Unpacking": True,
    "Solving": True,
    "Fetching": True,
    "Linking": True,
    "Running the post-install": True,
    "Byte-compiling": False,  # True: it has to fail there. Nothing is compiled anew here
    "Recording": True,
    "Writing the image": True,
    "Switching": False,
}


@needs_root
def test_a_disk_that_fills_up_changes_nothing(
    me: Account, build: Builder, channel: Path, runtime: Path
) -> None:
    """The file system of the build and of the prefix is full from the beginning of a step on."""
    me.file("more.sh", "head -c 3000000 /dev/urandom >$env_root/more\n")
    with small_file_system(me.work / "full", 400) as full:
        done = build(me, "full/env", "python", "demo-noarch")
        file = me.file("full.yml", environment_text(channel, "python", "demo-tool"))
        options = ["--post-install", "more.sh", "--tmpdir", full, "-v"]
        line = [CONDA, "update", done.prefix, file, *options]
        for step, must_fail in FULL_AT.items():
            code, said = filling(me, line, step, full)
            assert code == ExitCode.SPACE or (code == 0 and not must_fail), said
            assert code == 0 or "no room" in said
            (full / "filler").unlink()
            assert runs(done, "demo-tool") == (current(done) > 1)
            if code == 0:
                me.ok(UMBRELLA, "rollback", done.prefix, "1")
                me.ok(UMBRELLA, "prune", done.prefix, "--keep", "1")
        assert has(done, "demo_noarch")
        change(done, file, "--tmpdir", str(full))
        assert [p for p in full.glob("containerize-*/*") if p.name != "build.log"] == []
        assert [n for n in entries(full) if n.startswith(".env")] == []
        assert not [n for n in entries(done.prefix / ".generations") if not n.isdigit()]


FILLED = {
    "pip in a script": "Packing what",
    "a replaced package": "Unpacking what is replaced",
    "repack": "Packing with",
    "profile": "Writing the image",
}


@needs_root
def test_a_disk_that_fills_up_stops_each_way(me: Account, runtime: Path) -> None:
    with small_file_system(me.work / "filled", 60) as full:
        made = pip_installation(me, full / "env")
        before = seen(made.prefix)
        for way, step in FILLED.items():
            line = [str(word).format(prefix=made.prefix, tmp=full) for word in WAYS[way][0]]
            code, said = filling(me, line, step, full)
            assert code == ExitCode.SPACE and "no room" in said, said
            (full / "filler").unlink()
            assert seen(made.prefix) == before, way
        me.ok(*line)
        assert [p for p in full.glob("containerize-*/*") if p.name != "build.log"] == []
