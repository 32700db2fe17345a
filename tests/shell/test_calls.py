"""A call arrives as it was made: arguments, streams, status, signals, one process."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.conftest import require
from tests.shell.conftest import (
    Install,
    Prefix,
    can_trace,
    ended_by,
    environment,
    write_program,
)

HOSTILE = [
    b"",
    b" ",
    b"a b",
    b"'",
    b'"',
    b"*",
    b"?",
    b"~",
    b"$HOME",
    b"$(touch pwned)",
    b"`touch pwned`",
    b"\\",
    b"a\nb",
    b"\n",
    b"\t",
    "é".encode(),
    b"--",
    b"-n",
    b"-c",
    b"!!",
    b"{a,b}",
    b"a=b",
    b"#",
    b";",
    b"&",
    b"|",
    b"%s",
]


def test_arguments_arrive_byte_for_byte(prefix: Prefix) -> None:
    call = prefix.run(*HOSTILE)
    assert call.command == (os.fsencode(prefix.program()), *HOSTILE)
    assert not (prefix.out / "pwned").exists()


def test_the_line_is_the_runtimes_options_the_image_and_the_path_it_was_called_by(
    prefix: Prefix,
) -> None:
    call = prefix.run("x")
    words = [os.fsdecode(word) for word in call.argv]
    assert words[:7] == [
        *(str(prefix.runtime), "-s", "exec", "--no-home", "--no-mount=tmp,cwd"),
        *("--home", "/home/someone"),
    ]
    assert words[7] == "-B"
    assert words[9:] == [f"{prefix.root}/.generations/1/img.sqfs", str(prefix.program()), "x"]


def test_a_home_with_spaces_stays_one_word(prefix: Prefix) -> None:
    call = prefix.run(env={"HOME": "/home/a b*"})
    assert call.argv[call.argv.index(b"--home") + 1] == b"/home/a b*"


@pytest.mark.parametrize("status", [0, 1, 7, 126, 127, 255])
def test_the_exit_status_is_the_programs(install: Install, status: int) -> None:
    prefix = install(then=f"exit {status}\n")
    assert prefix.call(prefix.program()).status == status


def test_standard_streams_are_the_programs(install: Install) -> None:
    prefix = install(then="/bin/cat; echo error >&2\n")
    call = prefix.call(prefix.program(), stdin=b"in\0put\xff")
    assert (call.stdout, call.stderr) == (b"in\0put\xff", "error\n")


def test_the_shim_becomes_the_runtime(prefix: Prefix) -> None:
    with subprocess.Popen(
        [prefix.program()], env=environment(), cwd=prefix.out, stdin=subprocess.DEVNULL
    ) as child:
        assert child.wait(30) == 0
    assert int((prefix.out / "pid").read_text()) == child.pid


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGKILL])
def test_signals_reach_the_program(install: Install, number: signal.Signals) -> None:
    prefix = install(then="echo ready; exec /bin/sleep 60\n")
    with subprocess.Popen(
        [prefix.program()], env=environment(), cwd=prefix.out, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        child.send_signal(number)
        assert child.wait(30) == ended_by(number)


def test_the_working_directory_is_kept(prefix: Prefix, tmp_path: Path) -> None:
    place = tmp_path / "a b*"
    place.mkdir()
    assert prefix.run(cwd=place).cwd == place


def test_a_working_directory_reached_through_a_link_keeps_its_name(
    prefix: Prefix, tmp_path: Path
) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "link"
    link.symlink_to("real")
    call = prefix.run(cwd=link, env={"PWD": str(link)})
    assert call.cwd == tmp_path / "real"
    assert call.variable("PWD") == str(link)


@pytest.mark.parametrize("shell", ["bash", "sh"])
def test_a_shim_that_is_sourced_leaves_the_shell_as_it_is(prefix: Prefix, shell: str) -> None:
    """``source DIR/bin/aws_bash_completer`` must not end in an exec."""
    script = '. "$1"; echo "$? $(set | grep -c "^_cw_")"'
    call = prefix.call(shell, "-c", script, shell, prefix.program("tool"))
    assert not call.started
    assert call.stdout == b"1 0\n"
    assert "cannot be sourced" in call.stderr and len(call.stderr.splitlines()) == 3
    if shell == "bash":
        assert f"source <('{prefix.root}/bin/_debug_exec' cat" in call.stderr


# -- processes -----------------------------------------------------------------------------------
def traced(prefix: Prefix, *words: str | Path, **options: object) -> list[str]:
    """Names of the system calls, up to the runtime's start, that make processes or programs."""
    trace = prefix.out / "trace"
    before = [
        str(shutil.which("strace")),
        "-f",
        "-qq",
        "-o",
        trace,
        "-e",
        "trace=execve,fork,vfork,clone,clone3",
    ]
    call = prefix.call(*words, before=before, **options)  # type: ignore[arg-type]
    assert call.started, call.stderr
    calls = re.findall(r"^\d+ +(\w+)\((?:\"([^\"]*)\")?", trace.read_text(), re.M)
    names: list[str] = []
    for name, path in calls:
        names.append(name)
        if path == str(prefix.runtime):
            return names
    pytest.fail(f"the runtime does not appear in {calls}")


@pytest.fixture
def strace() -> None:
    require(can_trace(), "strace")


ONLY_THE_TWO = ["execve", "execve"]


def test_nothing_is_started_before_the_runtime(strace: None, prefix: Prefix) -> None:
    assert traced(prefix, prefix.program(), "x") == ONLY_THE_TWO


@pytest.mark.parametrize(
    ("directory", "path"),
    [("bin", "./python3"), ("", "bin/python3"), ("bin", "../bin/tool"), ("bin", "././tool")],
)
def test_nothing_is_started_for_a_relative_path(
    strace: None, prefix: Prefix, directory: str, path: str
) -> None:
    assert traced(prefix, path, cwd=prefix.root / directory) == ONLY_THE_TWO


def test_nothing_is_started_for_a_prefix_behind_a_link(
    strace: None, prefix: Prefix, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(prefix.root)
    assert traced(prefix, tmp_path / "link/bin/python3") == ONLY_THE_TWO


def test_nothing_is_started_for_a_virtual_environments_python(
    strace: None, prefix: Prefix, tmp_path: Path
) -> None:
    folder = tmp_path / "venv/bin"
    folder.mkdir(parents=True)
    (folder / "python3").symlink_to(prefix.program())
    (folder / "python").symlink_to("python3")
    assert traced(prefix, folder / "python") == ONLY_THE_TWO


def test_nothing_is_started_for_settings_of_every_kind(
    strace: None, prefix: Prefix, tmp_path: Path
) -> None:
    (tmp_path / "bash_env").write_text("/bin/true\n")
    env = {
        "BASH_ENV": str(tmp_path / "bash_env"),
        "SINGULARITY_BIND": "/usr/lib,/etc:/c:ro,/no/such",
        "LD_LIBRARY_PATH": "/lib",
        "BASH_FUNC_x%%": "() { /bin/true; }",
    }
    assert traced(prefix, prefix.program(), env=env) == ONLY_THE_TWO


def test_what_few_calls_need_is_not_read_by_the_others(prefix: Prefix) -> None:
    program = prefix.program()
    head, mark, _ = program.read_text().partition("\n#!/bin/bash")
    assert mark
    program.unlink()
    write_program(program, f"{head}\n")
    assert prefix.run("x").command == (os.fsencode(program), b"x")
    call = prefix.call(program, "x", env={"CONTAINERIZE_RUNTIME": "/gone"})
    assert (call.status, call.started) == (1, False)
    assert "is being replaced" in call.stderr and "call it again" in call.stderr
