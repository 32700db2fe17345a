"""Stand-ins for the outside world: programs that answer, users without powers, a quiet console."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from wrapper.console import Console
from wrapper.process import SIGNALS
from wrapper.util.removal import remove_tree

NOBODY = 65534

Program = Callable[..., Path]


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """A command that switches ignores signals from then on, and so would all that starts later."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Make a fake program: ``program("apptainer", "echo apptainer version 1.4.5")``."""

    def make(name: str, script: str, directory: Path | None = None) -> Path:
        path = (directory or tmp_path / "programs") / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    return make


@pytest.fixture
def screen() -> io.StringIO:
    """What the user sees of :func:`console`."""
    return io.StringIO()


@pytest.fixture
def console(screen: io.StringIO) -> Console:
    """A console that writes to ``screen``."""
    return Console(stream=screen)


def names(directory: Path) -> set[str]:
    """Names in a directory."""
    return {path.name for path in directory.iterdir()}


def dead_owner(**changes: object) -> dict[str, object]:
    """The mark of a process of this host that has ended, with changes."""
    with subprocess.Popen(["/bin/true"]) as child:
        child.wait()
    return {"host": socket.gethostname(), "pid": child.pid, "started": "x", **changes}


def left_behind(root: Path, owner: object = None) -> Path:
    """A marked directory whose process was killed, with something in it."""
    root.mkdir(mode=0o700, parents=True)
    (root / "sub").mkdir()
    (root / "sub/file").touch()
    (root / "owner.json").write_text(json.dumps(dead_owner() if owner is None else owner))
    return root


@contextlib.contextmanager
def without_powers() -> Iterator[None]:
    """For the block, be someone whom permissions bind: root becomes nobody, others stay."""
    if os.getuid() != 0:
        yield
        return
    real = os.getresuid(), os.getresgid()
    os.setresgid(NOBODY, NOBODY, 0)
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)
        os.setresgid(*real[1])
        os.setresuid(*real[0])


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A directory that every user can reach and write to, which pytest's own are not."""
    place = Path(tempfile.mkdtemp(prefix="test-containerize-"))
    place.chmod(0o1777)
    yield place
    remove_tree(place)


@pytest.fixture
def umask() -> Iterator[Callable[[int], int]]:
    """``os.umask``, set back at the end."""
    before = os.umask(0o022)
    os.umask(before)
    yield os.umask
    os.umask(before)
