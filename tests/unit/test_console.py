"""What the user sees, and what the log keeps."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import re
import time
from pathlib import Path

import pytest

from wrapper.console import Console, counted, human_size, piecewise, shortened, visible
from wrapper.errors import SpaceError


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def messages(console: Console) -> None:
    console.info("an [info]")
    console.warning("a warning")
    console.error("an error")
    console.log("a line\n")
    with console.step("A step"):
        pass


def plain(text: str) -> list[str]:
    return re.sub(r"\d+\.\d s", "N s", text).splitlines()


def test_plain_lines_one_a_message(console: Console, screen: io.StringIO) -> None:
    messages(console)
    assert plain(screen.getvalue()) == [
        "[ INFO ] an [info]",
        "[ WARNING ] a warning",
        "[ ERROR ] an error",
        "[ INFO ] A step: N s",
    ]


def test_quiet_shows_only_what_matters(screen: io.StringIO) -> None:
    messages(Console(-1, screen))
    assert plain(screen.getvalue()) == ["[ WARNING ] a warning", "[ ERROR ] an error"]


def test_verbose_shows_the_log_as_well(screen: io.StringIO) -> None:
    messages(Console(1, screen))
    assert plain(screen.getvalue())[3:] == ["a line", "begin: A step", "[ INFO ] A step: N s"]


@pytest.mark.parametrize("verbosity", [-1, 0, 1])
def test_the_log_has_everything_however_quiet(
    screen: io.StringIO, tmp_path: Path, verbosity: int
) -> None:
    console = Console(verbosity, screen)
    console.open_log(tmp_path / "log")
    assert console.log_path == tmp_path / "log"
    messages(console)
    console.log("b\udcff")
    console.close_log()
    console.info("later")
    assert plain((tmp_path / "log").read_text()) == [
        "[ INFO ] an [info]",
        "[ WARNING ] a warning",
        "[ ERROR ] an error",
        "a line",
        "begin: A step",
        "[ INFO ] A step: N s",
        "b\\xff",
    ]


def test_every_line_is_in_the_log_at_once(console: Console, tmp_path: Path) -> None:
    console.open_log(tmp_path / "log")
    console.log("now")
    assert (tmp_path / "log").read_text() == "now\n"
    console.close_log()


def test_a_step_that_fails_is_not_said_to_be_done(console: Console, screen: io.StringIO) -> None:
    with pytest.raises(ValueError, match="x"), console.step("A step"):
        raise ValueError("x")
    assert screen.getvalue() == ""


def test_a_step_that_takes_no_time_may_be_untold(console: Console, screen: io.StringIO) -> None:
    with console.step("A step", least=60.0):
        pass
    assert screen.getvalue() == ""


def test_steps_add_up_to_what_the_command_took(
    screen: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Time between steps is told with the next one, and none is told twice."""
    clock = itertools.count()  # each look at it is a second later
    monkeypatch.setattr("time.monotonic", lambda: float(next(clock)))
    console = Console(stream=screen)
    with console.step("Whole"), console.step("Part"):
        time.monotonic()
    with console.step("Untold", least=60.0):
        time.monotonic()
    with console.step("Last"):
        pass
    total, told = console.seconds, screen.getvalue()
    assert [line.split()[3].strip(":") for line in told.splitlines()] == ["Part", "Whole", "Last"]
    assert sum(map(float, re.findall(r"([0-9.]+) s", told))) == total - 1


def test_progress_needs_no_terminal(console: Console) -> None:
    with console.step("A step") as advance:
        advance(1, 2)
        advance(0, 0)


def test_a_terminal_gets_colour(tmp_path: Path) -> None:
    terminal = Terminal()
    console = Console(stream=terminal)
    console.open_log(tmp_path / "log")
    console.error("an error")
    console.close_log()
    assert terminal.getvalue() == "\033[31m[ ERROR ]\033[0m an error\n"
    assert (tmp_path / "log").read_text() == "[ ERROR ] an error\n"


def test_a_terminal_gets_a_bar_and_brackets_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    console = Console(stream=terminal)
    with console.step("A step") as advance:
        advance(1, 2)
        console.warning("numpy[all] [bold]x")
    assert "numpy[all] [bold]x" in terminal.getvalue()
    assert "A step" in terminal.getvalue()


def test_a_terminal_is_told_what_a_step_is_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    console = Console(stream=terminal)
    console.now("before")
    with console.step("A step"):
        console.now("numpy[all] (16.9 MB)")
    console.now("after")
    assert "A step: numpy[all] (16.9 MB)" in terminal.getvalue()
    assert "before" not in terminal.getvalue() and "after" not in terminal.getvalue()


def test_nobody_else_is(console: Console, screen: io.StringIO) -> None:
    with console.step("A step"):
        console.now("numpy")
    assert "numpy" not in screen.getvalue()


def test_a_title_is_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    """A closing tag without its opening one ended the command."""
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    with Console(stream=terminal).step("Copying [/x] [red]\x1b]0;title\x07.sif"):
        pass
    assert "Copying [/x] [red]\\x1b]0;title\\x07.sif" in terminal.getvalue()


# -- what would steer a terminal -----------------------------------------------------------------
STEERING = [
    ("\x1b[2Jcleared", "\\x1b[2Jcleared"),
    ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
    ("fine\rgone", "fine\\x0dgone"),
    ("\x9b31m", "\\x9b31m"),
    ("a\x00b\x7fc\x08d", "a\\x00b\\u007fc\\x08d"),
    ("\u202etxt.exe", "\\u202etxt.exe"),
    ("caf\udce9", "caf\\xe9"),
    ("\ud800", "\\ud800"),
    ("two\nlines and é 漢 …", "two\nlines and é 漢 …"),
]


@pytest.mark.parametrize(("text", "shown"), STEERING)
@pytest.mark.parametrize("kind", ["plain", "bar"])
def test_text_from_anywhere_steers_no_terminal(
    text: str, shown: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = Terminal()
    console = Console(1, terminal)
    console.open_log(tmp_path / "log")
    with console.step("A step") if kind == "bar" else contextlib.nullcontext():
        console.info(text)
        console.log(text)
        console.error(text, [text])
    console.close_log()
    assert visible(f"\t{text}") == f"\t{shown}"
    assert terminal.getvalue().count(shown) == 4
    assert f"\033[34m[ INFO ]\033[0m {shown}" in terminal.getvalue(), "our colours stay"
    assert (tmp_path / "log").read_text().count(shown) == 3


def test_json_stays_json() -> None:
    data = {"".join(map(chr, range(0x2100))): "text"}
    assert json.loads(visible(json.dumps(data))) == data


# -- a full disk -----------------------------------------------------------------------------------
FULL = Path("/dev/full")


@pytest.mark.parametrize("copy", [False, True])
def test_a_log_that_cannot_be_written_ends_the_work_once(
    copy: bool, console: Console, screen: io.StringIO, tmp_path: Path
) -> None:
    console.open_log(tmp_path / "log" if copy else FULL)
    if copy:
        console.copy_log(FULL)
    with pytest.raises(SpaceError, match="the log cannot be written: No space left") as caught:
        console.info("first")
    assert caught.value.where == str(FULL)
    console.info("second")
    console.error("third")
    console.close_log()
    assert screen.getvalue() == "[ INFO ] first\n[ INFO ] second\n[ ERROR ] third\n"


def test_the_last_word_is_told_where_the_log_is_full(console: Console, screen: io.StringIO) -> None:
    console.open_log(FULL)
    console.error("this", ["  where:  there"])
    assert screen.getvalue() == "[ ERROR ] this\n  where:  there\n"


def test_what_is_done_is_done_whatever_becomes_of_the_log(
    console: Console, screen: io.StringIO
) -> None:
    console.open_log(FULL)
    console.log_may_fail()
    with console.step("Switching"):
        pass
    assert "[ INFO ] Switching" in screen.getvalue()


def test_messages_that_cannot_be_written_are_no_reason_to_stop(tmp_path: Path) -> None:
    """As where a batch system writes them to a file, on a disk that is full."""
    with FULL.open("w") as stream:
        console = Console(stream=stream)
        console.open_log(tmp_path / "log")
        console.info("x")
        console.error("y", ["z"])
        console.close_log()
        with pytest.raises(OSError):
            stream.flush()
        assert (tmp_path / "log").read_text() == "[ INFO ] x\n[ ERROR ] y\n"
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # so that it can be closed


def test_messages_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    Console().info("x")
    assert capsys.readouterr() == ("", "[ INFO ] x\n")


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (95_800_000, "95.8 MB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (1_500_000_000, "1.5 GB"),
        (2.5e12, "2.5 TB"),
        (5e15, "5000.0 TB"),
    ],
)
def test_sizes_for_people(size: float, text: str) -> None:
    assert human_size(size) == text


def test_many_are_shortened_and_pieces_add_up() -> None:
    assert shortened("abcd") == "a, b, c and 1 more" and shortened("abc") == "a, b, c"
    told: list[tuple[float, float]] = []
    add = piecewise(lambda done, total: told.append((done, total)), 5)
    add(2)
    add(3)
    assert told == [(2, 5), (5, 5)]


def test_one_is_not_many() -> None:
    assert [counted(n, "package") for n in (0, 1, 2)] == ["0 packages", "1 package", "2 packages"]
