"""What can go wrong, as a user is told it: what happened, where, what to do now.

Every error that a user's input or machine can cause is a :class:`ContainerizeError`. The command
line turns it into three lines and an exit code; anything else that is raised is a bug of ours.
"""

from __future__ import annotations

import errno
import re
from enum import IntEnum
from pathlib import Path


class ExitCode(IntEnum):
    """Exit status by kind of failure; documented for users in ``docs/errors.md``."""

    BUG = 1
    USAGE = 2  # click's own
    INPUT = 3
    SOLVE = 4
    CHANNEL = 5
    PACKAGE = 6
    SCRIPT = 7
    PREFIX = 8
    SPACE = 9
    TOOL = 10
    BUSY = 11
    CHECKS = 12
    INTERRUPTED = 130  # 128 + SIGINT
    TERMINATED = 143  # 128 + SIGTERM


class ContainerizeError(Exception):
    """A failure with its message for the user.

    :param what: one line: what happened.
    :param where: the place: a file (with its line), a path, a channel.
    :param hint: one line: what to do now.
    :param detail: text of another program, shown whole (a solver's explanation, last log lines).
    """

    code = ExitCode.BUG

    def __init__(
        self, what: str, *, where: str | Path | None = None, hint: str = "", detail: str = ""
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = None if where is None else str(where)
        self.hint = hint
        self.detail = detail


class InputError(ContainerizeError):
    """An input file or an option's value is wrong."""

    code = ExitCode.INPUT


class SolveError(ContainerizeError):
    """The requested packages do not exist or do not fit together."""

    code = ExitCode.SOLVE


class ChannelError(ContainerizeError):
    """A channel or a registry cannot be reached or read."""

    code = ExitCode.CHANNEL


class PackageError(ContainerizeError):
    """A package file is missing, damaged, or not the one its hash names."""

    code = ExitCode.PACKAGE


class ScriptError(ContainerizeError):
    """A program that ran inside the container for the build failed."""

    code = ExitCode.SCRIPT


class PrefixError(ContainerizeError):
    """The installation directory cannot be used as asked."""

    code = ExitCode.PREFIX


class SpaceError(ContainerizeError):
    """A file system is full, or has too little room to begin."""

    code = ExitCode.SPACE


class ToolError(ContainerizeError):
    """A program that the build needs is missing, too old, or failed."""

    code = ExitCode.TOOL


class BusyError(ContainerizeError):
    """Another build holds the installation directory."""

    code = ExitCode.BUSY


class ChecksFailed(ContainerizeError):
    """``containerize doctor`` found something that does not work."""

    code = ExitCode.CHECKS


class Interrupted(BaseException):
    """SIGINT, SIGTERM or SIGHUP arrived.

    A batch system sends SIGTERM at the end of a job's time, a closed terminal SIGHUP.

    Derived from ``BaseException`` so that no ``except Exception`` on the way swallows it.

    :ivar what: the user is told; who knows better on the way says so.
    """

    what = "interrupted, nothing was changed"

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.code = 128 + signal_number


def means_no_space(error: OSError | str) -> bool:
    """Whether an error, or what a program or library says of one, is a full disk or quota."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    text = str(error)
    return bool(re.search(r"no space left|quota exceeded|\bos error (28|122)\b", text, re.I))


def no_room_for_image(image: Path, detail: str = "") -> SpaceError:
    """The error where an image, or its tree, does not fit into the directory it is to be in."""
    return SpaceError(
        "no room left for the image",
        where=image.parent,
        hint="free some space or quota there, or choose another directory",
        detail=detail,
    )


NO_LOOP_DEVICE = (
    "each image that the kernel mounts takes a loop device until its program ends: start fewer at "
    "once, or ask the administrators for 'shared loop devices = yes' (docs/admins.md)"
)
"""What to do where a node has none left."""


def means_no_loop_device(text: str) -> bool:
    """Whether a runtime says that an image cannot be mounted for want of a loop device."""
    return "no loop devices available" in text


def no_loop_device(what: str, runtime: Path, detail: str) -> ToolError:
    """The error for it: it may be otherwise in a moment, and says nothing of the image."""
    return ToolError(
        f"no loop device of this node is free: {what}",
        where=runtime,
        hint=NO_LOOP_DEVICE,
        detail=detail,
    )


def start_hint(refusal: str, otherwise: str) -> str:
    """What to do where a runtime refused to start a container, by its words."""
    return NO_LOOP_DEVICE if means_no_loop_device(refusal) else otherwise


def reason(error: ContainerizeError) -> str:
    """Of what a program said, the line that tells why it failed: the error, else the last."""
    said = re.sub(r"\x1b\[[\d;]*m", "", error.detail)  # the runtimes' starters print colours always
    lines = [line for line in said.splitlines() if line.strip()]
    told = [line for line in lines if re.match(r"\[ ERROR \]|FATAL|ERROR\s*:", line)]
    return (told or lines[-1:] or [error.what])[0].removeprefix("[ ERROR ] ")
