"""rattler's client for channels, with the logins that the user has, and its coroutines, run so that
a signal ends them in good order.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from typing import TypeVar

from rattler import Client
from rattler.exceptions import AuthenticationStorageError

from wrapper.errors import InputError


def channel_client() -> Client:
    """A client that knows ``~/.netrc`` and what ``rattler auth login`` and ``pixi auth`` keep.

    Where there can be no file of logins (``HOME=/dev/null``), it goes without.

    :raises InputError: there is one, and it is broken.
    """
    try:
        return Client.default_client()
    except AuthenticationStorageError as error:
        if "failed to open" in str(error):
            return Client()
        raise InputError(
            "the file of logins for conda channels cannot be read",
            where="~/.rattler/credentials.json, or what RATTLER_AUTH_FILE names",
            hint="correct it, or remove it and log in again",
            detail=str(error),
        ) from None


# -- coroutines ----------------------------------------------------------------------------------
T = TypeVar("T")
_CANCEL_SECONDS = 3.0


def run_async(
    function: Callable[..., Coroutine[object, object, T]], *args: object, **named: object
) -> T:
    """``asyncio.run`` of what ``function`` returns, in a thread of its own, while this one waits.

    An exception that a signal raises here (:class:`~wrapper.errors.Interrupted`) cancels the
    coroutine. Raised inside the event loop, it would leave the loop broken. The coroutine is made
    in the thread: an interruption before that leaves none behind that nobody awaits.
    """
    done: Future[T] = Future()
    running: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[None] | None]] = Future()

    async def main() -> T:
        running.set_result((asyncio.get_running_loop(), asyncio.current_task()))
        return await function(*args, **named)

    def work() -> None:
        try:
            done.set_result(asyncio.run(main()))
        except BaseException as error:  # handed on to the waiting thread
            done.set_exception(error)

    thread = threading.Thread(target=work, daemon=True)
    try:
        thread.start()
        return done.result()
    except BaseException:
        if thread.is_alive() and not done.done():
            with contextlib.suppress(RuntimeError, NotYet):  # it ended just now, or has not begun
                loop, task = running.result(_CANCEL_SECONDS)
                assert task is not None
                loop.call_soon_threadsafe(task.cancel)
            thread.join(_CANCEL_SECONDS)
        raise
