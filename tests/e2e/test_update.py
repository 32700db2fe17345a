"""``update``, ``rollback``, ``list``, ``prune``: generations and the one switch between them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.account import Account
from tests.e2e.conftest import CONDA, UMBRELLA, Builder, Installation, entries, environment_text
from wrapper.errors import ExitCode


def change(installation: Installation, *arguments: str | Path) -> str:
    """Run an update that must succeed; what it said."""
    account = installation.account
    done = account.run(CONDA, "update", installation.prefix, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stderr


def current(installation: Installation) -> int:
    return int((installation.prefix / "current").readlink().name)


def has(installation: Installation, module: str) -> bool:
    code = f"import importlib.util as u; print(u.find_spec({module!r}) is not None)"
    return installation.python(code) == "True\n"


@pytest.fixture
def base(me: Account, build: Builder, request: pytest.FixtureRequest) -> Installation:
    """An installation of one test's own."""
    return build(me, request.node.name, "python", "demo-noarch")


@pytest.fixture
def everyones(account: Account, build: Builder) -> Installation:
    """The same for every account."""
    return build(account, "to-update", "python", "demo-noarch")


def env(installation: Installation, channel: Path, *specs: str) -> Path:
    return installation.account.file("changed.yml", environment_text(channel, *specs))


def test_an_update_adds_removes_and_lists(everyones: Installation, channel: Path) -> None:
    base = everyones
    more = env(base, channel, "python", "demo-noarch", "demo-tool", "demo-activate")
    said = change(base, more)
    assert "+ demo-tool" in said and "2 added (demo-activate, demo-tool)" in said
    assert current(base) == 2
    inside = base.manifest["install_path"]
    assert base.account.ok(base.program("demo-tool")).strip() == inside
    activated = "import os; print(os.environ['DEMO_ACTIVATE_HOME'])"
    assert base.python(activated) == f"{inside}/share/demo\n"

    said = change(base, env(base, channel, "python", "demo-tool"))
    assert "- demo-noarch" in said
    assert not has(base, "demo_noarch")
    assert not base.program("demo-noarch").exists()
    assert entries(base.prefix / "bin") >= {"python3", "demo-tool", "list-packages"}

    listed = base.account.ok(UMBRELLA, "list", base.prefix).splitlines()
    assert [line.startswith("*") for line in listed] == [False, False, True]
    history = json.loads(base.account.ok(UMBRELLA, "list", base.prefix, "--json"))
    assert [entry["number"] for entry in history] == [1, 2, 3]


def test_rollback_and_prune(base: Installation, channel: Path) -> None:
    account = base.account
    change(base, env(base, channel, "python", "demo-tool"))
    account.ok(UMBRELLA, "rollback", base.prefix)
    assert current(base) == 1
    assert has(base, "demo_noarch") and not base.program("demo-tool").exists()
    account.ok(UMBRELLA, "rollback", base.prefix, "2")
    assert not has(base, "demo_noarch") and base.program("demo-tool").exists()
    account.ok(UMBRELLA, "prune", base.prefix, "--keep", "1")
    assert entries(base.prefix / ".generations") == {"2"}
    refused = account.run(UMBRELLA, "rollback", base.prefix)
    assert refused.returncode == ExitCode.PREFIX
    assert "no generation before this one" in refused.stderr
    missing = account.run(UMBRELLA, "rollback", base.prefix, "9")
    assert "there is no generation 9" in missing.stderr


def test_an_update_keeps_what_it_does_not_name(me: Account, build: Builder) -> None:
    account = me
    account.file("kept.env", "KEPT=yes\n")
    account.file("extra.sh", 'cd "$env_root"; printf "#!/bin/sh\\necho x\\n" >x; chmod +x x\n')
    options = ("--environ", "kept.env", "--post-install", "extra.sh", "-w", "x")
    done = build(account, "keeps", "python", "demo-noarch", options=options)
    account.file("again.env", "MORE=too\n")
    change(done, "--environ", "again.env")
    code = "import os; print(os.environ['KEPT'], os.environ['MORE'])"
    assert done.python(code) == "yes too\n"
    assert account.ok(done.program("x")) == "x\n"
    assert has(done, "demo_noarch")


def test_post_install_scripts_may_call_package_managers(base: Installation, channel: Path) -> None:
    base.account.file(
        "managers.sh",
        f"conda install -y demo-tool --channel {channel.as_uri()}\n"
        "mamba remove -y demo-noarch\n"
        "conda list | grep demo-tool\n"
        "! conda frobnicate\n"
        "command -v pip uv\n",
    )
    change(base, "--post-install", "managers.sh")
    assert base.account.ok(base.program("demo-tool")).startswith("/containerize-")
    assert not has(base, "demo_noarch")
    listed = base.account.ok(base.program("list-packages"))
    assert "demo-tool" in listed and "demo-noarch" not in listed
    assert "demo-tool" in (base.prefix / "current/conda-lock.yml").read_text()


def test_a_changed_module_is_compiled_anew(base: Installation) -> None:
    """An unchecked .pyc of the old source would be believed."""
    text = "VALUE = {}\n"
    base.account.file("first.sh", f"echo '{text.format(1)}' > $env_root/lib/python3.11/m_x.py\n")
    base.account.file("second.sh", f"echo '{text.format(2)}' > $env_root/lib/python3.11/m_x.py\n")
    change(base, "--post-install", "first.sh")
    assert base.python("import m_x; print(m_x.VALUE)") == "1\n"
    change(base, "--post-install", "second.sh")
    assert base.python("import m_x; print(m_x.VALUE)") == "2\n"


def test_dry_run_shows_the_changes_and_makes_none(base: Installation, channel: Path) -> None:
    file = env(base, channel, "python", "demo-tool")
    before = entries(base.prefix / ".generations")
    out = base.account.ok(CONDA, "update", base.prefix, file, "--dry-run")
    assert "+ demo-tool" in out and "- demo-noarch" in out
    plan = base.account.ok(CONDA, "update", base.prefix, file, "--dry-run", "--json")
    assert {c["name"]: c["kind"] for c in json.loads(plan)["changes"]} == {
        "demo-tool": "added",
        "demo-noarch": "removed",
    }
    assert entries(base.prefix / ".generations") == before


def test_running_programs_keep_their_generation(base: Installation, channel: Path) -> None:
    """A program that imports lazily through ten updates never sees another's files."""
    account = base.account
    code = (
        "import sys, time, importlib, demo_noarch\n"
        "print('ready', flush=True)\n"
        "for line in sys.stdin:\n"
        "    for name in list(sys.modules):\n"
        "        if name.startswith(('demo_noarch', 'email', 'xml')): del sys.modules[name]\n"
        "    import demo_noarch, email.mime.text, xml.dom.minidom\n"
        "    print(demo_noarch.__file__, flush=True)\n"
    )
    argv = account.argv([base.program("python3"), "-u", "-c", code])
    with subprocess.Popen(
        argv,
        env=account.environment(),
        cwd=account.work,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdin is not None and child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        with_it = env(base, channel, "python", "demo-noarch")
        without = account.file("without.yml", environment_text(channel, "python"))
        for number in range(10):
            change(base, without if number % 2 == 0 else with_it)
            child.stdin.write("again\n")
            child.stdin.flush()
            assert "demo_noarch" in child.stdout.readline()
        busy = account.run(UMBRELLA, "prune", base.prefix, "--keep", "1")
        assert "generation 1 is kept: programs on this node use it" in busy.stderr
        child.stdin.close()
        assert child.wait(30) == 0
    account.ok(UMBRELLA, "prune", base.prefix, "--keep", "1")
    assert entries(base.prefix / ".generations") == {"11"}


def test_a_failing_update_changes_nothing(base: Installation, channel: Path) -> None:
    def state() -> tuple[set[str], set[str], str]:
        return (
            entries(base.prefix / ".generations"),
            entries(base.prefix / "bin"),
            str((base.prefix / "current").readlink()),
        )

    before = state()
    account = base.account
    account.file("bad.sh", "exit 3\n")
    for arguments, code in (
        ((env(base, channel, "no-such-package"),), ExitCode.SOLVE),
        (("--post-install", "bad.sh"), ExitCode.SCRIPT),
        (("nowhere.yml",), ExitCode.INPUT),
        (("-w", "no/such/path"), ExitCode.INPUT),
    ):
        done = account.run(CONDA, "update", base.prefix, *arguments)
        assert done.returncode == code, done.stderr
        assert state() == before
    assert base.python("print(1)") == "1\n"


def test_variables_of_environ_files_stay(me: Account, build: Builder, channel: Path) -> None:
    me.file("stays.env", "STAYS=yes\n")
    done = build(me, "stays", "python", options=("--environ", "stays.env"))
    change(done, me.file("stays2.yml", environment_text(channel, "python", "demo-tool")))
    assert done.python("import os; print(os.environ['STAYS'])") == "yes\n"


def test_a_newer_format_is_refused(base: Installation) -> None:
    manifest = base.prefix / "current/manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format": 99}))
    for command in ([UMBRELLA, "list"], [UMBRELLA, "rollback"], [CONDA, "update"]):
        done = base.account.run(*command, base.prefix)
        assert done.returncode == ExitCode.PREFIX and "newer containerize" in done.stderr


def test_what_is_no_installation_cannot_be_updated(me: Account) -> None:
    for command in ([CONDA, "update"], [UMBRELLA, "list"], [UMBRELLA, "rollback"]):
        done = me.run(*command, me.work)
        assert done.returncode == ExitCode.PREFIX
        assert "no installation" in done.stderr


def test_two_updates_at_once(base: Installation) -> None:
    account = base.account
    account.file("wait.sh", "touch $env_root/w; sleep 6\n")
    first = subprocess.Popen(
        account.argv([CONDA, "update", base.prefix, "--post-install", "wait.sh", "-v"]),
        env=account.environment(),
        cwd=account.work,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert first.stderr is not None
    for line in first.stderr:
        if "begin: Running the post-install" in line:
            break
    second = account.run(CONDA, "update", base.prefix)
    assert second.returncode == ExitCode.BUSY
    assert f"process {first.pid} on {socket.gethostname()}, since 20" in second.stderr
    first.communicate(timeout=60)
    assert first.returncode == 0
    assert current(base) == 2


# -- kills ---------------------------------------------------------------------------------------
KILLS = int(os.environ.get("CONTAINERIZE_TEST_KILLS", "20"))
STEPS = 12  # about as many as an update has


def test_a_killed_update_leaves_the_old_or_the_new(
    account: Account, build: Builder, channel: Path
) -> None:
    """SIGKILL at every step's begin, at times spread over the whole update, around the switch."""
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
    for number in range(KILLS):
        before = current(done)
        _killed_update(done, files[before % 2], tmp, whole, number)
        after = current(done)
        outcomes.add(after > before)
        assert before <= after <= before + 2, "at most a switch, and a number left out before it"
        odd = (done.prefix / "current/packages.txt").read_text().count("demo-tool ")
        assert has(done, "demo_noarch")
        assert runs(done, "demo-tool") == bool(odd)
    assert outcomes == {True, False}
    change(done, files[0], "--tmpdir", str(tmp))
    assert [n for n in entries(tmp) if n.startswith("containerize-")] == []
    assert [n for n in entries(done.prefix.parent) if "killed." in n and n.startswith(".")] == []
    assert not [n for n in entries(done.prefix / ".generations") if not n.isdigit()]
    shims = entries(done.prefix / "bin") - {"_debug_exec", "_debug_shell", "list-packages"}
    assert shims == entries(done.prefix / "current/_bin")


def runs(installation: Installation, name: str) -> bool:
    program = installation.program(name)
    return program.exists() and installation.account.run(program).returncode == 0


def _killed_update(done: Installation, file: Path, tmp: Path, whole: float, number: int) -> None:
    """Begin an update and kill it: at a time, at a step, in the switch, right after the switch."""
    account, turn = done.account, number // 4
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
        if number % 4 == 0:
            return time.monotonic() - start >= whole * number / KILLS
        if number % 4 == 1:
            return output.read_bytes().count(b"begin:") > turn % STEPS
        if number % 4 == 2:
            return b"begin: Switching" in output.read_bytes()
        return (done.prefix / "current").readlink() != link

    while child.poll() is None and not due():
        time.sleep(0.0005)
    if number % 4 == 2:
        time.sleep(0.002 * (turn % 10))
    child.kill()
    child.wait(30)
