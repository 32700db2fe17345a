"""Commands that something happens to when a step of theirs begins."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.account import Account

_LONGEST = 300.0  # seconds


def at_step(
    account: Account,
    line: Sequence[str | Path],
    step: str,
    act: Callable[[subprocess.Popen[str]], None],
) -> tuple[int, str]:
    """Run a line with ``-v``, and act when ``step`` begins; its status and what it said."""
    said = []
    with subprocess.Popen(
        account.argv(line),
        env=account.environment(),
        cwd=account.work,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stderr is not None
        hung = threading.Timer(_LONGEST, child.kill)
        hung.start()
        for text in child.stderr:
            said.append(text)
            if text.startswith(f"begin: {step}"):
                act(child)
        hung.cancel()
    assert f"begin: {step}" in "".join(said)
    return child.returncode, "".join(said)


def filling(account: Account, line: Sequence[str | Path], step: str, full: Path) -> tuple[int, str]:
    """Run a line; when ``step`` begins, fill the file system before anything else happens.

    With a file ``filler`` in the directory ``full``, which the caller removes.
    """

    def fill(child: subprocess.Popen[str]) -> None:
        child.send_signal(signal.SIGSTOP)
        with (
            (full / "filler").open("wb", buffering=0) as file,
            contextlib.suppress(OSError),  # no room is left
        ):
            while True:
                file.write(bytes(1 << 20))
        child.send_signal(signal.SIGCONT)

    return at_step(account, line, step, fill)
