"""The only module that starts programs.

Programs get an argv list (no shell reads it), no standard input, an environment made of an
allow-list, and a session of their own: Ctrl-C reaches us first, and we end them in good order.
Their output goes to the log; when one fails, its last lines are in the error.
"""

from __future__ import annotations

import codecs
import contextlib
import fnmatch
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from wrapper.console import Console
from wrapper.errors import ExitCode, ToolError

_KEPT_LINES = 15
_GRACE_SECONDS = 3.0
_ANSWER_SECONDS = 60.0
TIMED_OUT = 124  # as timeout(1) says it
# What interrupts a command: Ctrl-C, a batch system at the end of a job's time, a closed terminal.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_running: set[int] = set()  # process groups
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
_INHERITED_PREFIXES = ("PIP_", "UV_", "SSL_CERT_", "GIT_", "CW_")
RUNTIME_SETTINGS = "BIND|BINDPATH|CACHEDIR|LOCALCACHEDIR|TMPDIR|CONFIGDIR|CONFIG_FILE|ENCRYPTION_*"
"""What a container may take from the user's ``SINGULARITY_NAME`` and ``APPTAINER_NAME``, as
patterns of a shell. Others (``CLEANENV``, ``CONTAIN``, ``NET``…) are meant for other containers."""
_PULL_SETTINGS = "DOCKER_*|AUTH_FILE|NOHTTPS|NO_HTTPS|LIBRARY|DISABLE_CACHE"
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
            or _is_for_runtime(name)
        )
    }


def _is_for_runtime(name: str) -> bool:
    family, _, setting = name.partition("_")
    if family in ("SINGULARITY", "APPTAINER"):
        patterns = f"{RUNTIME_SETTINGS}|{_PULL_SETTINGS}".split("|")
        return any(fnmatch.fnmatchcase(setting, pattern) for pattern in patterns)
    return family in ("SINGULARITYENV", "APPTAINERENV")


def processors() -> int:
    """Processors that a build may use: this process's share of the node, at most 16."""
    return min(len(os.sched_getaffinity(0)), _MOST_PROCESSORS)


def run(
    argv: Sequence[str | Path],
    *,
    console: Console,
    env: Mapping[str, str],
    cwd: Path | None = None,
    on_line: Callable[[str], bool] | None = None,
) -> None:
    """Run a program to its end, its output (both streams, in order) in the log.

    :param cwd: its directory, if not ours.
    :param on_line: sees every line of output first; true means it is not for the log.
    :raises ToolError: the program is missing or ends with a status other than 0; ``detail`` holds
        its last lines and ``status`` its exit status (negative: the signal that ended it).
    """
    words = [os.fspath(word) for word in argv]
    console.log("+ " + " ".join(words))
    child = _start(words, env, cwd)
    output = _Output(child, console, on_line)
    output.start()
    _running.add(child.pid)
    try:
        status = child.wait()
        output.join(_GRACE_SECONDS)
        if output.is_alive():  # something that it left behind holds the pipe: it ends too
            _end(child)
            output.join(_GRACE_SECONDS)
        if output.failure:
            raise output.failure
    except BaseException:
        _end(child)
        output.join(_GRACE_SECONDS)
        raise
    finally:
        _running.discard(child.pid)
        if not output.is_alive():
            output.stream.close()
    if status:
        raise ToolFailed(
            f"{Path(words[0]).name} ended with status {status}",
            status=status,
            hint="its last lines are below, all of them in the log" if output.last else "",
            detail="\n".join(output.last),
        )


def _start(words: Sequence[str], env: Mapping[str, str], cwd: Path | None) -> subprocess.Popen[str]:
    try:
        return subprocess.Popen(
            words,
            env=dict(env),
            cwd=cwd,
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


class _Output(threading.Thread):
    """Reads what a child writes: into the log, and the last lines for an error."""

    def __init__(
        self,
        child: subprocess.Popen[str],
        console: Console,
        on_line: Callable[[str], bool] | None,
    ) -> None:
        super().__init__(daemon=True)
        assert child.stdout is not None
        self.stream = child.stdout
        self.last: deque[str] = deque(maxlen=_KEPT_LINES)
        self.failure: BaseException | None = None
        self._child, self._console, self._on_line = child, console, on_line

    def run(self) -> None:
        try:
            for line in self.stream:
                if not (self._on_line and self._on_line(line)):
                    self.last.append(line.rstrip("\n"))
                    self._console.log(line)
        except BaseException as error:  # for the waiting thread
            self.failure = error
            _end(self._child)


@contextlib.contextmanager
def conversation(argv: Sequence[str | Path], *, env: Mapping[str, str]) -> Iterator[Conversation]:
    """Run a program and talk to it for the ``with`` block, in lines; what it says in its other
    stream is for the user. It does not outlive the block.

    :raises ToolError: it is missing.
    """
    words = [os.fspath(word) for word in argv]
    try:
        child = subprocess.Popen(
            words,
            env=dict(env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise ToolFailed(f"cannot start {words[0]}: {error.strerror}", status=127) from error
    _running.add(child.pid)
    try:
        yield Conversation(child)
    finally:
        if child.poll() is None:
            _end(child)
        _running.discard(child.pid)
        for stream in (child.stdin, child.stdout):
            with contextlib.suppress(OSError):  # it never read what was said last
                stream.close()  # type: ignore[union-attr]


class Conversation:
    """A running program at the other end of two pipes."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child

    def hear(self) -> str:
        """The next line, empty where it ended without one."""
        assert self._child.stdout
        return self._child.stdout.readline().decode("utf-8", "backslashreplace")

    def say(self, line: str) -> None:
        assert self._child.stdin
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.write(f"{line}\n".encode())
            self._child.stdin.flush()

    def ended(self) -> bool:
        return self._child.poll() is not None

    @property
    def status(self) -> int:
        """Of a program that has ended; negative: the signal that ended it."""
        return self._child.returncode


def capture(
    argv: Sequence[str | Path], *, env: Mapping[str, str], timeout: float = _ANSWER_SECONDS
) -> str:
    """Standard output of a short program (a version question); what it says besides is for errors.

    :param timeout: seconds after which it, and what it started, is ended.
    :raises ToolError: it is missing, fails or does not end.
    """
    words = [os.fspath(word) for word in argv]
    try:
        child = subprocess.Popen(
            words,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise ToolFailed(f"cannot run {words[0]}: {error}", status=127) from error
    _running.add(child.pid)
    try:
        out, err = child.communicate(timeout=timeout)
    except BaseException as error:
        _end(child)
        if isinstance(error, subprocess.TimeoutExpired):
            what = f"{words[0]} gave no answer within {timeout:.0f} s"
            raise ToolFailed(what, status=TIMED_OUT) from None
        raise
    finally:
        _running.discard(child.pid)
        for stream in (child.stdout, child.stderr):
            assert stream is not None
            stream.close()
    if child.returncode:
        detail = (out + err).decode("utf-8", "backslashreplace").strip()
        raise ToolFailed(f"{words[0]} failed", status=child.returncode, detail=detail)
    return out.decode("utf-8", "backslashreplace")


def in_utf8() -> None:
    """Begin this command again in Python's UTF-8 mode where the locale has another encoding.

    Files and programs' output are UTF-8 whatever the locale; names of files are bytes anyway.
    """
    if not sys.flags.utf8_mode and codecs.lookup(sys.getfilesystemencoding()).name != "utf-8":
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])  # noqa: S606


def pass_point_of_no_return(console: Console) -> None:
    """What follows is a switch: "interrupted" shall mean that nothing was changed, and a log that
    cannot be written no longer that it failed.
    """
    console.log_may_fail()
    ignore_signals()


def ignore_signals() -> None:
    """From now on this command cannot be interrupted: what it does must be finished."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def interruptible_after() -> Iterator[None]:
    """Signals are handled after the ``with`` block as before it: the switch in it is not the last
    thing that the command does.
    """
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        if handler is not None:  # None: not set by Python, which cannot set it either
            signal.signal(number, handler)


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    """The umask for the ``with`` block, that of programs too."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def end_all(more: Iterable[int] = ()) -> None:
    """Ask all programs that run now to end, those of other threads too, and those with the process
    groups ``more``; does not wait.
    """
    for group in {*_running, *more}:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGTERM)


def children() -> set[int]:
    """What this process started, be it a moment ago, so that nobody knows of it yet; empty where
    the kernel does not tell (proc(5)).
    """
    found = set[int]()
    for path in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):  # a thread that has ended
            found |= set(map(int, path.read_text().split()))
    return found


class ToolFailed(ToolError):
    """A program ended with a status other than 0, which is ``status``."""

    def __init__(self, what: str, *, status: int, hint: str = "", detail: str = "") -> None:
        super().__init__(what, hint=hint, detail=detail)
        self.status = status


class CommandFailed(ToolError):
    """A command of ours that was started, here or as a job, failed: its ``status`` becomes ours,
    where it is one that we have.
    """

    def __init__(
        self, what: str, *, status: int, where: str | Path, hint: str = "", detail: str = ""
    ) -> None:
        super().__init__(what, where=where, hint=hint, detail=detail)
        if status in {code.value for code in ExitCode}:
            self.code = ExitCode(status)


def _end(child: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    """SIGTERM to the child's whole process group, and SIGKILL to what is left of it."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=_GRACE_SECONDS)
