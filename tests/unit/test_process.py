"""Programs that a build starts: what they see, where their output goes, how they end."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from wrapper import process
from wrapper.console import Console
from wrapper.errors import Interrupted, ToolError
from wrapper.process import ToolFailed, base_environment, capture, processors, run

ENV = {"PATH": "/usr/bin:/bin"}


def shell(script: str, console: Console, **options: Callable[[str], bool]) -> None:
    run(["/bin/sh", "-c", script], console=console, env=ENV, **options)


@pytest.fixture
def log(console: Console, tmp_path: Path) -> Iterator[Path]:
    console.open_log(tmp_path / "log")
    yield tmp_path / "log"
    console.close_log()


# -- output --------------------------------------------------------------------------------------
def test_both_streams_go_to_the_log_in_order(console: Console, log: Path) -> None:
    shell("echo one; echo two >&2; printf three", console)
    assert log.read_text().splitlines() == [
        "+ /bin/sh -c echo one; echo two >&2; printf three",
        "one",
        "two",
        "three",
    ]


def test_output_may_be_any_bytes(console: Console, log: Path) -> None:
    shell(r"printf 'a\377b\r50%%\rdone\n'", console)
    assert log.read_text().splitlines()[1:] == [r"a\xffb", "50%", "done"]


def test_a_watcher_sees_every_line_and_keeps_some_from_the_log(console: Console, log: Path) -> None:
    seen: list[str] = []

    def on_line(line: str) -> bool:
        seen.append(line)
        return line.startswith("hide")

    shell("echo show; echo hide; echo more", console, on_line=on_line)
    assert seen == ["show\n", "hide\n", "more\n"]
    assert log.read_text().splitlines()[1:] == ["show", "more"]


def test_there_is_nothing_to_read(console: Console, log: Path) -> None:
    shell("cat; echo end", console)
    assert log.read_text().splitlines()[1:] == ["end"]


def test_arguments_and_environment_are_exactly_those_given(console: Console, log: Path) -> None:
    run(["/usr/bin/printf", "<%s>", "", "a b", "$x"], console=console, env={})
    run(["/usr/bin/env"], console=console, env={"ONLY": "this"})
    assert "<><a b><$x>" in log.read_text()
    assert log.read_text().splitlines()[-1] == "ONLY=this"


# -- failures ------------------------------------------------------------------------------------
@pytest.mark.parametrize("status", [1, 7, 126])
def test_a_failure_tells_its_status_and_its_last_lines(
    console: Console, log: Path, status: int
) -> None:
    with pytest.raises(ToolFailed) as caught:
        shell(f"seq 1 30; exit {status}", console)
    assert isinstance(caught.value, ToolError)
    assert caught.value.what == f"sh ended with status {status}"
    assert caught.value.status == status
    assert caught.value.detail.split() == [str(number) for number in range(16, 31)]
    assert len(log.read_text().splitlines()) == 31


def test_hidden_lines_are_not_in_the_error(console: Console) -> None:
    with pytest.raises(ToolFailed) as caught:
        shell("echo 50; echo why; exit 1", console, on_line=lambda line: line == "50\n")
    assert caught.value.detail == "why"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_death_by_a_signal_has_a_negative_status(console: Console, number: int) -> None:
    with pytest.raises(ToolFailed) as caught:
        shell(f"echo last; ulimit -c 0; kill -{int(number)} $$", console)
    assert (caught.value.status, caught.value.detail) == (-number, "last")


def test_a_missing_program_is_named(console: Console, tmp_path: Path) -> None:
    with pytest.raises(ToolFailed, match="cannot start /no/where: No such file") as caught:
        run(["/no/where"], console=console, env={})
    assert caught.value.status == 127
    (tmp_path / "data").touch()
    with pytest.raises(ToolFailed, match="Permission denied"):
        run([tmp_path / "data"], console=console, env={})


# -- interruptions -------------------------------------------------------------------------------
def living(marker: Path) -> list[int]:
    """Processes whose numbers a script wrote down and that have not ended."""
    numbers = [int(word) for word in marker.read_text().split()]
    return [number for number in numbers if _state(number) not in (None, "Z")]


def _state(pid: int) -> str | None:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return None


@pytest.mark.parametrize(
    "grandchild",
    ["sleep 60", "trap '' TERM; while :; do sleep 0.05; done"],
    ids=["plain", "deaf to SIGTERM"],
)
@pytest.mark.parametrize("error", [Interrupted(signal.SIGTERM), ValueError("a bug")])
def test_an_interruption_ends_the_child_and_all_below_it(
    console: Console, tmp_path: Path, error: BaseException, grandchild: str
) -> None:
    marker = tmp_path / "numbers"
    marker.touch()

    def on_line(_line: str) -> bool:
        raise error

    script = (
        f"({grandchild}) & echo $! >>'{marker}'; echo $$ >>'{marker}'; echo ready; wait; sleep 60"
    )
    with pytest.raises(type(error)):
        shell(script, console, on_line=on_line)
    assert len(marker.read_text().split()) == 2
    deadline = time.monotonic() + 5
    while living(marker) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert living(marker) == []


def test_a_signal_while_waiting_ends_the_child(console: Console, tmp_path: Path) -> None:
    marker = tmp_path / "numbers"

    def interrupt(_number: int, _frame: object) -> None:
        raise Interrupted(signal.SIGTERM)

    def on_line(_line: str) -> bool:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        return True

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(Interrupted):
            shell(f"echo $$ >'{marker}'; echo begun; sleep 60", console, on_line=on_line)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert living(marker) == []


def test_a_program_that_was_started_a_moment_ago_is_ended_too() -> None:
    """A signal may come before it is among those that are known to run."""
    child = subprocess.Popen(["/bin/sleep", "60"], start_new_session=True)
    assert child.pid in process.children()
    process.end_all([child.pid])
    assert child.wait(10) == -signal.SIGTERM


def test_ctrl_c_at_the_terminal_does_not_reach_the_child(console: Console, log: Path) -> None:
    """It has a session of its own: we hear of it first and end it in good order."""
    shell("cut -d' ' -f6 /proc/self/stat", console)
    assert int(log.read_text().splitlines()[-1]) != os.getsid(0)


# -- short questions -----------------------------------------------------------------------------
def test_an_answer_is_what_is_not_said_besides() -> None:
    assert capture(["/bin/sh", "-c", "echo a; echo b >&2; cat"], env=ENV) == "a\n"


def test_a_failed_question_has_the_answer_as_its_detail() -> None:
    with pytest.raises(ToolFailed, match="/bin/sh failed") as caught:
        capture(["/bin/sh", "-c", "echo why >&2; exit 3"], env=ENV)
    assert (caught.value.status, caught.value.detail) == (3, "why")


def test_a_question_to_nobody() -> None:
    with pytest.raises(ToolFailed, match="cannot run /no/where"):
        capture(["/no/where"], env={})


# -- what programs may see -----------------------------------------------------------------------
PASSED = ["HOME", "PATH", "LANG", "LC_ALL", "TZ", "SSH_AUTH_SOCK", "LD_LIBRARY_PATH"]
PASSED += ["PIP_INDEX_URL", "UV_INDEX", "SSL_CERT_FILE", "GIT_SSH_COMMAND", "CW_X"]
PASSED += ["SINGULARITY_TMPDIR", "SINGULARITYENV_X", "APPTAINER_BIND", "APPTAINERENV_X"]
PASSED += ["APPTAINER_CONFIGDIR", "SINGULARITY_DOCKER_PASSWORD", "APPTAINER_ENCRYPTION_PEM_PATH"]
PASSED += ["http_proxy", "HTTPS_PROXY", "No_Proxy", "all_proxy", "ftp_proxy"]
HELD_BACK = ["PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "CONDA_PREFIX", "CONDARC", "LD_PRELOAD"]
HELD_BACK += ["PIP_TARGET", "PIP_PREFIX", "PIP_USER", "PIP_REQUIRE_VIRTUALENV", "UV_PYTHON"]
HELD_BACK += [
    "APPTAINER_CLEANENV",
    "SINGULARITY_CONTAIN",
    "APPTAINER_NET",
    "APPTAINER_X",
    "APPTAINER",
]
HELD_BACK += ["BASH_ENV", "BASH_FUNC_module%%", "SLURM_NTASKS", "R_LIBS", "PS1", "MY_HOME"]


@pytest.mark.parametrize("name", PASSED)
def test_what_a_build_needs_is_inherited(name: str) -> None:
    assert base_environment({name: "x"}) == {name: "x"}


@pytest.mark.parametrize("name", HELD_BACK)
def test_what_would_make_builds_differ_is_not(name: str) -> None:
    assert base_environment({name: "x"}) == {}


def test_a_handler_that_python_did_not_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "getsignal", lambda _number: None)
    with process.interruptible_after():
        pass


def test_a_build_takes_its_share_of_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    for available, used in ((1, 1), (8, 8), (128, 16)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _pid, n=available: set(range(n)))
        assert processors() == used
