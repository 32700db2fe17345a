"""An installation survives what can happen to an update: SIGKILL and full disks, at every step."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from tests.account import Account
from tests.e2e.conftest import (
    CONDA,
    UMBRELLA,
    Builder,
    Installation,
    change,
    current,
    entries,
    environment_text,
    has,
    needs_root,
    small_file_system,
)
from wrapper.errors import ExitCode

KILLS = int(os.environ.get("CONTAINERIZE_TEST_KILLS", "24"))  # of all accounts together
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
        words = [file, "--post-install", "more.sh", "--tmpdir", full, "-v"]
        for step, must_fail in FULL_AT.items():
            code, said = _update_that_fills(done, words, step, full)
            assert f"begin: {step}" in said
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


def _update_that_fills(
    done: Installation, words: Sequence[str | Path], step: str, full: Path
) -> tuple[int, str]:
    """Update; when ``step`` begins, fill the file system before anything else happens."""
    account = done.account
    said = []
    with subprocess.Popen(
        account.argv([CONDA, "update", done.prefix, *words]),
        env=account.environment(),
        cwd=account.work,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stderr is not None
        for line in child.stderr:
            said.append(line)
            if line.startswith(f"begin: {step}"):
                child.send_signal(signal.SIGSTOP)
                _fill(full / "filler")
                child.send_signal(signal.SIGCONT)
    return child.returncode, "".join(said)


def _fill(path: Path) -> None:
    """Write until there is no room left."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1 << 20))
