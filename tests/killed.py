"""A command of ours that gets a signal at one of the changes that it makes to files.

Run as a program, with SIGNAL NUMBER PROGRAM ARGUMENT…: before its change number NUMBER, from 1, the
signal comes; with 0 never, and the last line of standard error says how many changes there are.
What other processes change is not among them.
"""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:  # as a program it has the standard library alone
    from tests.account import Account

KILLS = int(os.environ.get("CONTAINERIZE_TEST_KILLS", "24"))
"""How many there are of an update, for all accounts together; of each smaller command an eighth for
each account."""

_CHANGES = {
    *("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate"),
    *("os.chmod", "os.utime"),
}


def interrupted(
    account: Account, tmp: Path, *line: str | Path
) -> Iterator[tuple[int, subprocess.CompletedProcess[str]]]:
    """Run a line with SIGKILL and SIGTERM in turns, at changes spread over all; each account has
    changes of its own. Yields each signal and what came of it; the first time none, and 0.

    :param tmp: for build directories: those of others count as changes where they are tried.
    """

    def run(number: int, at: int) -> subprocess.CompletedProcess[str]:
        words = (sys.executable, "-I", __file__, str(number), str(at), *line)
        return account.run(*words, env={"TMPDIR": str(tmp)})

    done = run(0, 0)
    assert done.returncode == 0, done.stderr
    yield 0, done
    turns, ended = max(1, KILLS // 8), False
    step = int(done.stderr.split()[-1]) / turns
    first = 1 if account.uid is None else 1 + step / 2
    for turn in range(turns):
        number = (signal.SIGKILL, signal.SIGTERM)[turn % 2]
        done = run(number, int(first + turn * step))
        ended |= done.returncode != 0
        yield number, done
    assert ended, "no signal ended any of them"


def _is_change(event: str, arguments: tuple[object, ...]) -> bool:
    if event == "open" and isinstance(arguments[0], str | bytes):
        flags = arguments[2]
        return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR))
    return event in _CHANGES


def _main(number: int, at: int, program: str) -> None:
    changes = count(1)

    def look(event: str, arguments: tuple[object, ...]) -> None:
        if _is_change(event, arguments) and next(changes) == at:
            os.kill(os.getpid(), number)

    leave = os._exit

    def tell(status: int) -> NoReturn:
        print(next(changes) - 1, file=sys.stderr, flush=True)
        leave(status)

    sys.addaudithook(look)
    if at == 0:
        os._exit = tell
    runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    signal_number, change = map(int, sys.argv[1:3])
    sys.argv = sys.argv[3:]
    _main(signal_number, change, sys.argv[0])
