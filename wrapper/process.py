"""The only module that starts programs.

Programs get an argv list (no shell reads it), no standard input, an environment made of an
allow-list, and a session of their own: Ctrl-C reaches us first, and we end them in good order.
Their output goes to the log; when one fails, its last lines are in the error.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from wrapper.console import Console
from wrapper.errors import ToolError

_KEPT_LINES = 15
_GRACE_SECONDS = 3.0
_MOST_PROCESSORS = 16  # a login node is shared

# What a child may inherit. Everything else of the user's environment (PYTHONPATH, PIP_TARGET,
# CONDA_*, LD_PRELOAD…) would make a build depend on who runs it.
_INHERITED = (
    "HOME",
    "USER",
    "LOGNAME",
    "PATH",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TERM",
    "TZ",
    "SSH_AUTH_SOCK",
    "SLURM_JOB_ID",
    "LD_LIBRARY_PATH",
)
_INHERITED_PREFIXES = ("PIP_", "UV_", "SSL_CERT_", "GIT_", "SINGULARITY", "APPTAINER", "CW_")
_INHERITED_ANY_CASE = ("http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy")
_FORBIDDEN = ("PIP_TARGET", "PIP_PREFIX", "PIP_USER", "PIP_REQUIRE_VIRTUALENV", "UV_PYTHON")


def base_environment(source: Mapping[str, str]) -> dict[str, str]:
    """The part of ``source`` that a program of the build may see."""
    return {
        name: value
        for name, value in source.items()
        if name not in _FORBIDDEN
        and (
            name in _INHERITED
            or name.startswith(_INHERITED_PREFIXES)
            or name.lower() in _INHERITED_ANY_CASE
        )
    }


def processors() -> int:
    """Processors that a build may use: this process's share of the node, at most 16."""
    return min(len(os.sched_getaffinity(0)), _MOST_PROCESSORS)


def run(
    argv: Sequence[str | Path],
    *,
    console: Console,
    env: Mapping[str, str],
    on_line: Callable[[str], bool] | None = None,
) -> None:
    """Run a program to its end, its output (both streams, in order) in the log.

    :param on_line: sees every line of output first; true means it is not for the log.
    :raises ToolError: the program is missing or ends with a status other than 0; ``detail`` holds
        its last lines and ``status`` its exit status (negative: the signal that ended it).
    """
    words = [os.fspath(word) for word in argv]
    console.log("+ " + " ".join(words))
    last: deque[str] = deque(maxlen=_KEPT_LINES)
    try:
        child = subprocess.Popen(
            words,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
            encoding="utf-8",
            errors="backslashreplace",
        )
    except OSError as error:
        raise ToolFailed(f"cannot start {words[0]}: {error.strerror}", status=127) from error
    try:
        assert child.stdout is not None
        for line in child.stdout:
            if not (on_line and on_line(line)):
                last.append(line.rstrip("\n"))
                console.log(line)
        status = child.wait()
    except BaseException:
        _end(child)
        raise
    finally:
        assert child.stdout is not None
        child.stdout.close()
    if status:
        name = Path(words[0]).name
        raise ToolFailed(
            f"{name} ended with status {status}", status=status, detail="\n".join(last)
        )


def capture(argv: Sequence[str | Path], *, env: Mapping[str, str]) -> str:
    """Standard output of a short program (a version question).

    :raises ToolError: it is missing or fails.
    """
    words = [os.fspath(word) for word in argv]
    try:
        done = subprocess.run(
            words,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolFailed(f"cannot run {words[0]}: {error}", status=127) from error
    text = (done.stdout + done.stderr).decode("utf-8", "backslashreplace")
    if done.returncode:
        raise ToolFailed(f"{words[0]} failed", status=done.returncode, detail=text.strip())
    return text


class ToolFailed(ToolError):
    """A program ended with a status other than 0, which is ``status``."""

    def __init__(self, what: str, *, status: int, detail: str = "") -> None:
        super().__init__(what, detail=detail)
        self.status = status


def _end(child: subprocess.Popen[str]) -> None:
    """SIGTERM to the child's whole process group, and SIGKILL to what is left of it."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=_GRACE_SECONDS)


def process_start(pid: int) -> str | None:
    """Boot and start time of a process, which tell it from a later one of the same number."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    return f"{boot} {fields[19]}"  # field 22 of proc(5) stat: starttime, in clock ticks


def process_exists(pid: int) -> bool:
    """Whether there is such a process, also where /proc hides those of other users."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True
