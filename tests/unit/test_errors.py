"""Kinds of failure and their exit codes."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from wrapper import errors
from wrapper.errors import ContainerizeError, ExitCode, InputError, Interrupted

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type)
    and issubclass(kind, ContainerizeError)
    and kind is not ContainerizeError
]


def test_every_kind_has_an_exit_code_of_its_own() -> None:
    codes = [kind.code for kind in KINDS]
    assert len(KINDS) == 10
    assert len(set(codes)) == len(codes)


def test_no_code_is_a_shells_or_clicks() -> None:
    taken = {0, ExitCode.BUG, ExitCode.USAGE, *range(126, 256)}
    assert not taken & {kind.code for kind in KINDS}


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, ExitCode.INTERRUPTED), (signal.SIGTERM, ExitCode.TERMINATED)],
)
def test_an_interruption_ends_as_the_signal_would_have(number: int, code: ExitCode) -> None:
    assert Interrupted(number).code == code == 128 + number


def test_no_handler_of_exceptions_swallows_an_interruption() -> None:
    assert not issubclass(Interrupted, Exception)


def test_an_error_says_what_where_and_what_to_do() -> None:
    error = InputError("what", where=Path("/file"), hint="do", detail="text")
    assert (error.what, error.where, error.hint, error.detail) == ("what", "/file", "do", "text")
    assert str(error) == "what"
    assert InputError("what").where is None
