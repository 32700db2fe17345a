"""What the user sees, and what the log keeps."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

from wrapper.console import Console, counted, human_size


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
        "b\\udcff",
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


def test_one_is_not_many() -> None:
    assert [counted(n, "package") for n in (0, 1, 2)] == ["0 packages", "1 package", "2 packages"]
