"""Which files of a container a program opens, in which order: inotify(7), without privileges.

A process in the container shows its mounts as ``/proc/PID/root``, to whoever may look at it: its
own user, whatever the runtime. Directories are watched there, so what links lead to is seen, what
the loader maps, and what children of the program open.
"""

from __future__ import annotations

import ctypes
import os
import select
import struct
from collections.abc import Callable, Iterable
from pathlib import Path

_OPEN, _OVERFLOW = 0x20, 0x4000  # IN_OPEN, IN_Q_OVERFLOW
_ONLY_DIRECTORY = 0x01000000
_EVENT = struct.Struct("iIII")  # watch, mask, cookie, length of the name
_AT_ONCE = 1 << 16  # bytes of events
_WAIT = 50  # milliseconds


class OpenedFiles:
    """What is opened in directories from now on.

    :ivar paths: below the watched directories, by their names, in order and each once.
    :ivar lost: whether more happened at once than the kernel keeps.
    """

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._handle = self._libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        self._directories: dict[int, str] = {}
        self.paths: dict[str, None] = {}
        self.lost = False
        if self._handle < 0:
            raise _last_error("inotify")

    def __enter__(self) -> OpenedFiles:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)

    def watch(self, above: Path, names: Iterable[str]) -> None:
        """Watch directories with these names below ``above``.

        :raises OSError: one is not there, or more than a user may watch.
        """
        for name in names:
            path = above / name
            mask = _OPEN | _ONLY_DIRECTORY
            number = self._libc.inotify_add_watch(self._handle, os.fsencode(path), mask)
            if number < 0:
                raise _last_error(os.fspath(path))
            self._directories[number] = name

    def follow(self, ended: Callable[[], bool]) -> None:
        """Note what is opened until ``ended`` says so, and what has come by then."""
        poll = select.poll()
        poll.register(self._handle, select.POLLIN)
        last = False
        while not last:
            last = ended()
            while poll.poll(0 if last else _WAIT):
                self._note(os.read(self._handle, _AT_ONCE))

    def _note(self, events: bytes) -> None:
        at = 0
        while at < len(events):
            number, mask, _, length = _EVENT.unpack_from(events, at)
            at += _EVENT.size
            name = os.fsdecode(events[at : at + length].rstrip(b"\0"))
            at += length
            self.lost = self.lost or bool(mask & _OVERFLOW)
            if name and number in self._directories:
                self.paths.setdefault(f"{self._directories[number]}/{name}")


def _last_error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), what)
