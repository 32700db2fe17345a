"""Running coroutines so that a signal ends them in good order."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")
_CANCEL_SECONDS = 3.0


def run_async(coroutine: Coroutine[Any, Any, T]) -> T:
    """``asyncio.run`` in a thread of its own, while this one waits.

    An exception that a signal raises here (:class:`~wrapper.errors.Interrupted`) cancels the
    coroutine. Raised inside the event loop, it would leave the loop broken.
    """
    done: Future[T] = Future()
    running: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any] | None]] = Future()

    async def main() -> T:
        running.set_result((asyncio.get_running_loop(), asyncio.current_task()))
        return await coroutine

    def work() -> None:
        try:
            done.set_result(asyncio.run(main()))
        except BaseException as error:  # handed on to the waiting thread
            done.set_exception(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        return done.result()
    except BaseException:
        if not done.done():
            loop, task = running.result()
            assert task is not None
            with contextlib.suppress(RuntimeError):  # it ended just now
                loop.call_soon_threadsafe(task.cancel)
            thread.join(_CANCEL_SECONDS)
        raise
