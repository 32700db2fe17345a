"""``containerize doctor``: lines, limits, exit codes; nothing hangs, nothing is raised."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import pytest
from click.testing import CliRunner, Result

from tests.unit.conftest import Program, names, without_powers
from wrapper import doctor as package
from wrapper import process
from wrapper.cli import common
from wrapper.cli.umbrella import containerize
from wrapper.console import Console
from wrapper.doctor import finding as module
from wrapper.doctor.finding import FAILED, OK, Check, Finding, examine, failed, ok, reason, warning
from wrapper.errors import ExitCode, InputError
from wrapper.process import ToolFailed
from wrapper.util.owner import process_exists


# -- findings ------------------------------------------------------------------------------------
def test_a_finding_is_one_line() -> None:
    assert ok("bash", "5.2").line == "bash: 5.2"
    assert warning("a", "two\nlines", "do\n this").line == "a: two lines; to do: do this"
    assert ok("a", "my  env").line == "a: my  env", "a path is told as it is"


@pytest.mark.parametrize(
    ("detail", "told"),
    [
        ("FATAL:   no room\nmore\n", "FATAL:   no room"),
        ("[ ERROR ] it has gone\n  where:  there\n  to do:  this", "it has gone"),
        ("first\nlast\n\n", "last"),
        ("\x1b[91mERROR  : no namespace\n\x1b[0m", "ERROR  : no namespace"),
        ("", "x failed"),
    ],
)
def test_of_a_programs_words_the_telling_line(detail: str, told: str) -> None:
    assert reason(ToolFailed("x failed", status=1, detail=detail)) == told


# -- checks --------------------------------------------------------------------------------------
def look_at(raised: Exception) -> Finding:
    def look() -> Sequence[Finding]:
        raise raised

    (found,) = examine([Check(what="it", look=look)])
    return found


def test_errors_become_findings() -> None:
    known = look_at(InputError("no image", where="/x", hint="name one"))
    assert known == failed("it", "no image (/x)", "name one")
    system = look_at(PermissionError(13, "Permission denied", "/x"))
    assert (system.state, system.detail) == (FAILED, "Permission denied: /x")
    bug = look_at(KeyError("base"))
    assert bug.state == FAILED and "KeyError: 'base'" in bug.detail and bug.hint


def test_checks_go_on_after_one_that_fails() -> None:
    found = examine(
        [
            Check(what="a", look=lambda: [ok("a", "x")]),
            Check(what="b", look=lambda: {}["key"]),
            Check(what="c", look=lambda: [ok("c", "x"), ok("d", "x")]),
        ]
    )
    assert [(f.what, f.state) for f in found] == [("a", OK), ("b", FAILED), ("c", OK), ("d", OK)]


def test_a_check_that_hangs_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_GRACE_SECONDS", 0.1)
    release = threading.Event()
    try:
        hung = Check(what="it", look=lambda: [ok("it", str(release.wait(60)))], seconds=0.1)
        begin = time.monotonic()
        one, two = examine([hung, Check(what="next", look=lambda: [ok("next", "")])])
        assert time.monotonic() - begin < 5
    finally:
        release.set()
    assert (one.state, two.state) == (FAILED, OK)
    assert "no answer within" in one.detail


def test_a_program_that_hangs_is_ended(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    script = f"echo $$ >{mark}; sleep 60 & wait"
    hung = Check(
        what="it", look=lambda: [ok("it", process.capture(["sh", "-c", script], env={}))], seconds=1
    )
    (found,) = examine([hung])
    assert found.state == FAILED
    assert not process_exists(int(mark.read_text()))


# -- the command ---------------------------------------------------------------------------------
@pytest.fixture(autouse=True)
def stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands end this test and not this process, and leave its signals alone."""

    def leave(code: int) -> NoReturn:
        raise SystemExit(int(code))

    monkeypatch.setattr(common, "_leave", leave)
    monkeypatch.setattr(signal, "signal", lambda *_: None)


def invoke(monkeypatch: pytest.MonkeyPatch, found: list[Finding], *words: str) -> Result:
    def diagnose(*_: Any, **__: Any) -> Any:
        yield from found

    monkeypatch.setattr(package, "diagnose", diagnose)
    return CliRunner().invoke(containerize, ["doctor", *words])


GOOD, BAD, WORSE = ok("a", "fine"), warning("b", "odd", "look"), failed("c", "gone", "get it")


def test_what_is_sound_ends_with_0(monkeypatch: pytest.MonkeyPatch) -> None:
    result = invoke(monkeypatch, [GOOD, BAD])
    assert result.exit_code == 0
    assert result.stdout == "ok       a: fine\nwarning  b: odd; to do: look\n"


def test_a_failure_has_its_status(monkeypatch: pytest.MonkeyPatch) -> None:
    result = invoke(monkeypatch, [GOOD, BAD, WORSE], "-q")
    assert result.exit_code == ExitCode.CHECKS == 12
    assert result.stdout.splitlines()[-1] == "failed   c: gone; to do: get it"
    assert "ok " not in result.stdout
    assert "1 of 3 checks failed: c" in result.stderr


def test_json_is_json(monkeypatch: pytest.MonkeyPatch) -> None:
    result = invoke(monkeypatch, [GOOD, WORSE], "--json")
    assert json.loads(result.stdout) == [
        {"what": "a", "state": "ok", "detail": "fine", "hint": ""},
        {"what": "c", "state": "failed", "detail": "gone", "hint": "get it"},
    ]
    assert result.exit_code == 12


# -- as a whole ----------------------------------------------------------------------------------
def diagnose(target: Path | None, environ: dict[str, str], console: Console) -> list[Finding]:
    given = {"CONTAINERIZE_SITE": "", **environ}
    return list(package.diagnose(target, deep=True, environ=given, console=console))


def states(found: list[Finding]) -> dict[str, str]:
    return {f.what: f.state for f in found}


def test_a_machine_without_anything(tmp_path: Path, console: Console) -> None:
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    found = states(diagnose(None, {"PATH": "/nowhere", "TMPDIR": str(scratch)}, console))
    assert found["runtime"] == FAILED
    assert "start of a container" not in found, "told once"
    assert names(scratch) == set()


def test_a_broken_runtime(tmp_path: Path, console: Console, program: Program) -> None:
    runtime = program("apptainer", '[ "$1" = --version ] && echo apptainer version 1.4.5 || exit 1')
    program("mksquashfs", 'echo "mksquashfs version 4.6"; [ "$1" = -version ] || touch "$2"')
    environ = {"PATH": str(runtime.parent), "TMPDIR": str(tmp_path)}
    found = states(diagnose(None, environ, console))
    assert found["runtime"] == OK and found["unsquashfs"] == FAILED
    assert found["start of a container"] == FAILED
    assert not {"bind of an image", "overlay partitions"} & set(found), "told once"
    assert names(tmp_path) == {"programs"}


def test_a_wrong_configuration_is_a_finding(tmp_path: Path, console: Console) -> None:
    found = diagnose(None, {"CONTAINERIZE_SITE": str(tmp_path / "none.yml")}, console)
    assert (found[0].what, found[0].state) == ("configuration", FAILED)


@pytest.mark.parametrize("kind", ["nothing", "empty", "file", "closed", "half"])
def test_no_installation_at_all(kind: str, open_place: Path, console: Console) -> None:
    target = open_place / "env"
    if kind == "file":
        target.write_text("text")
    elif kind != "nothing":
        (target / ".generations/1").mkdir(parents=True)
        (target / "current").symlink_to(".generations/1" if kind == "closed" else ".generations/2")
    if kind == "closed":
        target.chmod(0)
    with without_powers():
        found = diagnose(target, {"TMPDIR": str(open_place)}, console)
    assert found[0].state == FAILED and found[0].hint
    assert names(open_place) <= {"env"}
    assert all(f.state != OK for f in found if f.what in ("image", "manifest", "start"))
