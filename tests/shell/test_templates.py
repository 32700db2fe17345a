"""The other shell files, and what all of them have in common."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import pytest

from tests.conftest import require
from tests.shell.conftest import environment, write_program
from wrapper.activation.watched import read_run
from wrapper.prefix import shims

TEMPLATES = Path(str(files("wrapper") / "templates"))
SCRIPTS = sorted(TEMPLATES.glob("*.sh"))


def shellcheck() -> str:
    beside = Path(sys.executable).with_name("shellcheck")
    found = str(beside) if beside.exists() else shutil.which("shellcheck")
    require(bool(found), "shellcheck")
    return str(found)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_the_raw_template_passes_shellcheck(path: Path) -> None:
    done = subprocess.run([shellcheck(), path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_a_rendered_shim_is_valid_bash_without_tokens(tmp_path: Path) -> None:
    text = shims.shim(Path('/it\'s "a" $(x) `y` }/__FLAGS__'), Path("/run } ' time"))
    path = write_program(tmp_path / "shim", text)
    done = subprocess.run(["/bin/bash", "-n", path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "__PREFIX__" not in text and "__RUNTIME__" not in text


# -- probe.sh ------------------------------------------------------------------------------------
def probe(folder: Path, *texts: str, env: Mapping[str, str] | None = None) -> list[dict[str, str]]:
    """Run probe.sh on scripts; the environment before the first and after each it got to."""
    scripts = [write_program(folder / f"script {n}.sh", text) for n, text in enumerate(texts)]
    out = folder / "o ut"
    pairs = [name + b"=" + value + b"\0" for name, value in environment(env).items()]
    Path(f"{out}.start").write_bytes(b"".join(pairs))
    words = ("/bin/bash", "--noprofile", "--norc", TEMPLATES / "probe.sh", out, *scripts)
    subprocess.run(words, env={}, cwd=folder, check=False, timeout=30)
    states: list[dict[str, str]] = []
    while (path := Path(f"{out}.{len(states)}")).exists():
        items = (os.fsdecode(item).partition("=") for item in path.read_bytes().split(b"\0"))
        states.append({name: value for name, _, value in items if name})
    return states


def test_the_probe_records_the_environment_after_every_script(tmp_path: Path) -> None:
    states = probe(tmp_path, "export A=1\n", "export A=$A$A B=$'x\\ny'; unset HOME\n")
    assert [state.get("A") for state in states] == [None, "1", "11"]
    assert [state.get("HOME") for state in states] == ["/home/someone", "/home/someone", None]
    assert states[2]["B"] == "x\ny"


def test_a_script_that_breaks_things_does_not_break_the_probe(tmp_path: Path) -> None:
    breaks = "PATH=/nowhere; set -- x y; cd /; read line; return 7\n"
    states = probe(tmp_path, breaks, "export A=1\n")
    assert states[2]["A"] == "1"
    assert states[2]["PATH"] == "/nowhere"


def test_a_script_that_ends_its_shell_leaves_no_state(tmp_path: Path) -> None:
    assert len(probe(tmp_path, "export A=1\n", "exit 0\n", "export A=2\n")) == 2


def test_the_probe_records_all_commands_as_they_are_and_as_they_run(tmp_path: Path) -> None:
    """Of functions, subshells, sourced files and "eval" too; what is not reached is not there."""
    (tmp_path / "more.sh").write_text('echo "$A" >/dev/null\n')
    script = (
        'f() { local b=$1; g=$(echo "$b" | tr x y); }\nA="1\t2"\nf "x $A"\n. ./more.sh\n'
        "eval 'export C=$A'\nif [ -n \"$D\" ]; then whoami; fi\n> made\n"
    )
    probe(tmp_path, script)
    run = read_run(tmp_path / "o ut", 1)
    texts = [text for _, text in run.texts]
    for text in (
        "local b=$1",
        'echo "$b"',
        "tr x y",
        'echo "$A" > /dev/null',
        "export C=$A",
        "> made",
    ):
        assert text in texts
    assert {shell for shell, text in run.texts if text == "tr x y"} != {0}
    assert run.executed is not None
    for words in (("f", "x 1\t2"), ("tr", "x", "y"), (".", "./more.sh"), ("export", "C=1\t2")):
        assert words in run.executed
    assert not [text for text in texts if "whoami" in text or "probe" in text]
    assert "f" in run.functions and {"A", "C", "g"} <= run.variables and "b" not in run.variables


# -- run-active.sh -------------------------------------------------------------------------------
def run_active(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    path = write_program(folder / "user script.sh", script)
    argv: list[str | Path] = ["/bin/bash", TEMPLATES / "run-active.sh", folder / "en v", path]
    return subprocess.run(
        argv, env=environment(), capture_output=True, text=True, check=False, timeout=30
    )


def test_a_users_script_sees_the_activated_environment(tmp_path: Path) -> None:
    folder = tmp_path / "en v/etc/conda/activate.d"
    write_program(folder / "a.sh", "export A=1; set -- x y\n")
    write_program(folder / "b.sh", "export A=$A$A; false\n")
    write_program(folder / "c.fish", "export A=wrong\n")
    done = run_active(tmp_path, 'echo "$A $#"\n')
    assert (done.returncode, done.stdout) == (0, "11 0\n")


def test_a_users_script_ends_at_its_first_failing_command(tmp_path: Path) -> None:
    done = run_active(tmp_path, "echo one; (exit 5); echo two\n")
    assert (done.returncode, done.stdout) == (5, "one\n")


# -- own-cache.sh --------------------------------------------------------------------------------
def own_cache(directory: Path, meant: Path, *words: str) -> subprocess.CompletedProcess[str]:
    status = meant.stat()
    argv = ["/bin/bash", str(TEMPLATES / "own-cache.sh"), str(directory)]
    argv += [f"{status.st_dev}:{status.st_ino}", "env", "stat", "--", *words]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def test_a_program_starts_with_the_directory_that_was_meant(tmp_path: Path) -> None:
    done = own_cache(tmp_path, tmp_path, "printf", "<%s>", "a b", "--", "$x")
    assert (done.returncode, done.stdout, done.stderr) == (0, "<a b><--><$x>", "")


def test_no_program_starts_with_another_directory(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "link").symlink_to(tmp_path)
    for place in ("theirs", "link", "missing"):
        done = own_cache(tmp_path / place, tmp_path, "echo", "started")
        assert (done.returncode, done.stdout) == (1, ""), place
        assert "another directory in the place of yours" in done.stderr
