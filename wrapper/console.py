"""What the user sees while work goes on, and the log of everything.

What is shown can come from anywhere: a manifest of somebody else, a package, a tool. Characters
that would steer the terminal are written out, and secrets of URLs left out, here and in the log.

On a terminal: progress bars and colour. Otherwise plain lines, one a step. The words
``[ INFO ]``, ``[ WARNING ]`` and ``[ ERROR ]`` are Tykky's, which scripts look for.
All of it goes to standard error; standard output belongs to a command's result.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from wrapper.credentials import public_url
from wrapper.errors import SpaceError

if TYPE_CHECKING:
    from rich.progress import Progress

Advance = Callable[[float, float], None]
"""Called with (done, total) in any one unit; total 0 means unknown."""


def unseen(_done: float, _total: float) -> None:
    """The progress of what is not told."""


def piecewise(advance: Advance, total: float) -> Callable[[float], None]:
    """Progress of what tells pieces: each call adds to what is done."""
    done = 0.0

    def add(piece: float) -> None:
        nonlocal done
        done += piece
        advance(done, total)

    return add


# Control characters but for tabs and line ends, those that change the direction of writing, and
# bytes that are no text.
_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_COLOURS = {"INFO": "\033[34m", "WARNING": "\033[33m", "ERROR": "\033[31m"}


def visible(text: str) -> str:
    """A text that may be seen: without passwords and tokens of URLs (see :func:`public_url`), and
    with what would steer a terminal written out: ``\\x1b[2J`` for ESC ``[2J``.
    """
    return _STEERING.sub(_written_out, public_url(text))


def _written_out(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8
        code -= 0xDC00
    # DEL is the one that JSON has as it is: written so, JSON stays JSON.
    return f"\\x{code:02x}" if code <= 0xFF and code != 0x7F else f"\\u{code:04x}"


class Console:
    """Messages, steps and the log file of one command.

    :param verbosity: -2 only errors, -1 and warnings, 0 and steps, 1 and the output of programs.
    """

    def __init__(self, verbosity: int = 0, stream: TextIO | None = None) -> None:
        self.verbosity = verbosity
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._colours = self._terminal and not os.environ.get("NO_COLOR")  # https://no-color.org
        self._log: TextIO | None = None
        self._copy: TextIO | None = None
        self._progress: Progress | None = None
        self._tell_now: Callable[[str], None] | None = None
        self._log_matters = True
        self._afterwards: list[Callable[[], None]] = []
        self._start = self._told = time.monotonic()
        self.log_path: Path | None = None
        self.log_says_more = False  # than the screen did

    # -- log -------------------------------------------------------------------------------
    def open_log(self, path: Path) -> None:
        """Write everything from now on to ``path`` as well."""
        self._log = path.open("a", encoding="utf-8", errors="backslashreplace")
        self.log_path = path

    def copy_log(self, path: Path) -> None:
        """Write what goes to the log to ``path`` too, a file that stays."""
        self._copy = path.open("a", encoding="utf-8", errors="backslashreplace")

    def close_log(self) -> None:
        log, self._log = self._log, None
        if log:
            with suppress(OSError):  # each line was flushed
                log.close()

    def log_may_fail(self) -> None:
        """From now on a log that cannot be written is no failure: what is done is done."""
        self._log_matters = False

    def log(self, text: str) -> None:
        """A line for the log file only (and for the screen with ``-v``).

        :raises SpaceError: the log cannot be written; so do all methods that write to it, once.
        """
        self.log_says_more |= self.verbosity <= 0
        self._detail(text)

    def _detail(self, text: str) -> None:
        text = visible(text.rstrip("\n"))
        self._record(text)
        if self.verbosity > 0:
            self._print(text)

    # -- messages --------------------------------------------------------------------------
    def info(self, text: str) -> None:
        self._message("INFO", text, show=self.verbosity >= 0)

    def warning(self, text: str) -> None:
        self._message("WARNING", text, show=self.verbosity >= -1)

    def error(self, text: str, more: Iterable[str] = ()) -> None:
        """The last word of a command, with ``more`` lines for the screen; the log may fail."""
        with suppress(SpaceError):
            self._message("ERROR", text, show=True)
        for line in more:
            self._print(visible(line))

    # -- the end ---------------------------------------------------------------------------
    def afterwards(self, work: Callable[[], None]) -> None:
        """Do ``work`` in :meth:`finish`: nobody waits for the result until litter is away."""
        self._afterwards.append(work)

    def finish(self) -> None:
        """What is left to do when the command has said its last word."""
        while self._afterwards:
            self._afterwards.pop(0)()

    def _message(self, level: str, text: str, *, show: bool) -> None:
        text = visible(text)
        self.log_says_more |= not show
        if show:
            colour, reset = (_COLOURS[level], "\033[0m") if self._colours else ("", "")
            self._print(f"{colour}[ {level} ]{reset} {text}")
        self._record(f"[ {level} ] {text}")

    def _record(self, line: str) -> None:
        for file in (self._log, self._copy):
            if file:
                try:
                    file.write(line + "\n")
                    file.flush()
                except OSError as error:
                    self._give_up_logs(error, file.name)

    def _give_up_logs(self, error: OSError, path: str) -> None:
        for file in (self._log, self._copy):
            if file:
                with suppress(OSError):
                    file.close()
        self._log = self._copy = None
        if self._log_matters:
            raise SpaceError(
                f"the log cannot be written: {error.strerror}",
                where=path,
                hint="free some room or quota there, or name another place with --tmpdir",
            ) from None

    def _print(self, line: str) -> None:
        if self._progress:
            # Text of users and programs is no markup: brackets stay brackets.
            self._progress.console.out(line, highlight=False)
            return
        try:
            print(line, file=self._stream, flush=True)
        except BrokenPipeError:
            raise
        except OSError:
            pass  # a full disk, where the messages go to a file: the work matters more

    # -- steps -----------------------------------------------------------------------------
    @contextmanager
    def step(self, title: str, *, least: float = 0.0) -> Iterator[Advance]:
        """Show ``title`` while the body runs; the yielded function moves the bar.

        Its line counts from the end of the step before, so that all of them add up to
        :attr:`seconds`: who waits is told where the time goes.

        :param least: seconds from which on it is worth a line.
        """
        self._detail(f"begin: {title}")
        start = time.monotonic()
        if self._terminal and self.verbosity >= 0:
            with self._bar(title) as advance:
                yield advance
        else:
            yield lambda done, total: None
        end = time.monotonic()
        if end - start >= least:
            before, self._told = self._told, end
            self.info(f"{title}: {end - before:.1f} s")

    def now(self, text: str) -> None:
        """What a step is at, beside its title on a terminal; nothing elsewhere."""
        if self._tell_now:
            self._tell_now(visible(text))

    @property
    def seconds(self) -> float:
        """How long the command has been at work."""
        return time.monotonic() - self._start

    @contextmanager
    def _bar(self, title: str) -> Iterator[Advance]:
        from rich.console import Console as RichConsole
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        rich = RichConsole(file=self._stream)
        what = TextColumn("{task.description}", markup=False)
        columns = (SpinnerColumn(), what, BarColumn())
        with Progress(*columns, TimeElapsedColumn(), console=rich, transient=True) as progress:
            title = visible(title)
            task = progress.add_task(title, total=None)
            self._progress = progress
            self._tell_now = lambda text: progress.update(
                task, description=f"{title}: {text}" if text else title
            )
            try:
                yield lambda done, total: progress.update(task, completed=done, total=total or None)
            finally:
                self._progress = self._tell_now = None


def counted(number: int, word: str) -> str:
    """A number with its word: ``counted(2, "package") == "2 packages"``."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def shortened(names: Sequence[str], most: int = 3) -> str:
    """The first ``most`` of them, and how many more there are: ``a, b, c and 4 more``."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def human_size(size: float) -> str:
    """Bytes as a short text in powers of 1000: ``human_size(95_800_000) == '95.8 MB'``."""
    for unit in ("B", "kB", "MB", "GB"):
        if round(size, 1) < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
