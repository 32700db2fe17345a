"""Coroutines that a signal ends in good order."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator

import pytest

from wrapper.conda.client import run_async
from wrapper.errors import Interrupted


@pytest.fixture
def soon() -> Iterator[None]:
    """An interruption in a tenth of a second."""

    def interrupt(_number: int, _frame: object) -> None:
        raise Interrupted(signal.SIGTERM)

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


async def add(one: int, other: int = 0) -> int:
    await asyncio.sleep(0)
    return one + other


def test_the_result_and_the_exception_are_handed_on() -> None:
    assert run_async(add, 1, other=2) == 3
    with pytest.raises(TypeError):
        run_async(add, 1, other="x")


def test_an_interruption_cancels(soon: None) -> None:
    ended: list[str] = []

    async def wait() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("in good order")

    with pytest.raises(Interrupted):
        run_async(wait)
    assert ended == ["in good order"]


def test_an_interruption_before_it_begins_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_thread: object) -> None:
        raise Interrupted(signal.SIGTERM)

    made: list[str] = []

    async def never() -> None:
        made.append("a coroutine")

    monkeypatch.setattr("threading.Thread.start", interrupted)
    with pytest.raises(Interrupted):
        run_async(never)
    assert made == []
