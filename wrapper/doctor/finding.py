"""What a check finds, and running checks so that none hangs or ends the others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from wrapper import process
from wrapper.errors import ContainerizeError, reason

OK, WARNING, FAILED = "ok", "warning", "failed"
_SECONDS = 20.0
_GRACE_SECONDS = 8.0  # SIGTERM and SIGKILL to what a check started


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the report.

    :ivar what: what was looked at. :ivar state: :data:`OK`, :data:`WARNING` (works, or works for
        now) or :data:`FAILED`. :ivar detail: what was found. :ivar hint: what to do, empty where
        all is well.
    """

    what: str
    state: str
    detail: str
    hint: str = ""

    @property
    def line(self) -> str:
        """All of it in one line."""
        text = f"{self.what}: {self.detail}"
        if self.hint:
            text += f"; to do: {self.hint}"
        return " ".join(line.strip() for line in text.splitlines())  # a path may have two blanks


def ok(what: str, detail: str) -> Finding:
    return Finding(what=what, state=OK, detail=detail)


def warning(what: str, detail: str, hint: str) -> Finding:
    return Finding(what=what, state=WARNING, detail=detail, hint=hint)


def failed(what: str, detail: str, hint: str) -> Finding:
    return Finding(what=what, state=FAILED, detail=detail, hint=hint)


def not_started(what: str, detail: str, owner: str) -> Finding:
    """A finding where nothing was started, because ``owner`` could have put anything there."""
    return ok(what, f"{detail}not started: belongs to {owner} (--start starts it)")


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing to look at.

    :ivar look: returns its findings; none where there is nothing to say. What it raises becomes a
        finding too. :ivar seconds: how long it may take.
    """

    what: str
    look: Callable[[], Sequence[Finding]]
    seconds: float = _SECONDS


def examine(checks: Sequence[Check]) -> Iterator[Finding]:
    """Look at one thing after the other. Never raises; each check has its time.

    A check runs in a thread of its own: a file system that does not answer holds it for ever, and
    cannot be interrupted. It is left behind then.
    """
    for check in checks:
        found: list[Finding] = []
        thread = threading.Thread(target=_look, args=(check, found), daemon=True)
        thread.start()
        thread.join(check.seconds)
        if thread.is_alive():
            process.end_all()
            thread.join(_GRACE_SECONDS)
            found = [
                failed(
                    check.what,
                    f"no answer within {check.seconds:.0f} s",
                    "a file system or the node hangs: try again, then on another node",
                )
            ]
        yield from found


def _look(check: Check, found: list[Finding]) -> None:
    try:
        found += check.look()
    except ContainerizeError as error:
        detail = f"{error.what} ({error.where})" if error.where else error.what
        if error.detail:
            detail += f": {reason(error)}"
        found.append(failed(check.what, detail, error.hint or "see 'containerize info'"))
    except OSError as error:
        detail = f"{error.strerror or error}: {error.filename}"
        found.append(failed(check.what, detail, "check that it is there and that you may read it"))
    except Exception as error:  # damaged data: nothing may end the other checks
        detail = f"cannot be examined: {type(error).__name__}: {error}"
        found.append(failed(check.what, detail, "it is damaged: restore it or build anew"))
