"""Two builders of one installation: who holds it, and what becomes of a dead builder's lock."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from wrapper.errors import BusyError, PrefixError
from wrapper.prefix.checks import check_new
from wrapper.util import lock as module
from wrapper.util import owner as whose
from wrapper.util.cache import draft
from wrapper.util.lock import lock_path, locked
from wrapper.util.owner import process_start


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    return tmp_path / "env"


@pytest.fixture
def dead_process() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen(["/bin/true"]) as child:
        child.wait()
    return child.pid


@pytest.fixture
def living_process() -> Iterator[int]:
    with subprocess.Popen(["/bin/sleep", "60"]) as child:
        yield child.pid
        child.kill()


def write_lock(prefix: Path, age: float = 0, **changes: object) -> Path:
    """A lock of this host and of now, with changes; ``age`` in seconds."""
    record = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": "then",
        "since": "2024-01-01 12:00:00",
        **changes,
    }
    path = lock_path(prefix)
    path.write_text(json.dumps(record))
    touched = time.time() - age
    os.utime(path, (touched, touched))
    return path


def assert_busy(prefix: Path) -> BusyError:
    with pytest.raises(BusyError) as caught, locked(prefix):
        pass
    assert caught.value.where == str(prefix)
    assert str(lock_path(prefix)) in caught.value.hint
    return caught.value


def assert_free(prefix: Path) -> None:
    """It can be had, and nothing is left behind."""
    with locked(prefix):
        assert json.loads(lock_path(prefix).read_text())["pid"] == os.getpid()
    assert list(prefix.parent.iterdir()) == []


def test_a_lock_is_beside_the_prefix_while_it_is_held(prefix: Path) -> None:
    with locked(prefix):
        assert [path.name for path in prefix.parent.iterdir()] == [".env.lock"]
    assert list(prefix.parent.iterdir()) == []


def test_a_lock_goes_when_the_block_fails(prefix: Path) -> None:
    with pytest.raises(KeyboardInterrupt), locked(prefix):
        raise KeyboardInterrupt
    assert list(prefix.parent.iterdir()) == []


def test_the_second_holder_is_told_who_has_it_since_when(prefix: Path) -> None:
    with locked(prefix):
        record = json.loads(lock_path(prefix).read_text())
        error = assert_busy(prefix)
        assert lock_path(prefix).exists()
    assert error.what == (
        f"another build is at work there: process {os.getpid()} on {socket.gethostname()}, "
        f"since {record['since']}"
    )
    assert_free(prefix)


def test_two_prefixes_do_not_disturb_each_other(tmp_path: Path) -> None:
    with locked(tmp_path / "one"), locked(tmp_path / "two"):
        assert len(list(tmp_path.iterdir())) == 2


# -- dead or alive -------------------------------------------------------------------------------
def test_a_dead_process_of_this_host_holds_nothing(prefix: Path, dead_process: int) -> None:
    write_lock(prefix, pid=dead_process)
    assert_free(prefix)


def test_a_later_process_of_the_same_number_is_another(prefix: Path, living_process: int) -> None:
    write_lock(prefix, pid=living_process, started="another boot 123")
    assert_free(prefix)


def test_a_living_process_of_this_host_holds_it_however_old(
    prefix: Path, living_process: int
) -> None:
    write_lock(prefix, age=1e6, pid=living_process, started=process_start(living_process))
    assert f"process {living_process} on" in assert_busy(prefix).what


def test_a_process_that_proc_hides_counts_as_living(
    prefix: Path, living_process: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mounted with hidepid, /proc does not show other users' processes."""
    write_lock(prefix, pid=living_process, started="boot 1")

    def hidden(pid: int) -> str | None:
        return None if pid == living_process else process_start(pid)

    monkeypatch.setattr(whose, "process_start", hidden)
    assert_busy(prefix)
    write_lock(prefix, age=301, pid=living_process, started="boot 1")
    assert_free(prefix)


@pytest.mark.parametrize("age", [0, 250])
def test_another_hosts_young_lock_is_held(prefix: Path, age: float, dead_process: int) -> None:
    write_lock(prefix, age=age, host="elsewhere", pid=dead_process)
    assert assert_busy(prefix).what == (
        f"another build is at work there: process {dead_process} on elsewhere, "
        "since 2024-01-01 12:00:00"
    )


def test_another_hosts_old_lock_is_dead(prefix: Path) -> None:
    write_lock(prefix, age=301, host="elsewhere")
    assert_free(prefix)


GARBAGE = [b"", b"{", b"[]", b"null", b"42", b'"text"', b"\xff\xfe", b'{"host": 1}', b"{}"]


@pytest.mark.parametrize("content", GARBAGE)
def test_a_young_lock_that_cannot_be_read_is_held(prefix: Path, content: bytes) -> None:
    """It may be one that is being written at this moment."""
    lock_path(prefix).write_bytes(content)
    assert "process ? on" in assert_busy(prefix).what


@pytest.mark.parametrize("content", GARBAGE)
def test_an_old_lock_that_cannot_be_read_is_dead(prefix: Path, content: bytes) -> None:
    path = lock_path(prefix)
    path.write_bytes(content)
    os.utime(path, (0, 0))
    assert_free(prefix)


def test_asking_leaves_nothing_beside_the_prefix(prefix: Path) -> None:
    write_lock(prefix, host="elsewhere")
    assert_busy(prefix)
    assert list(prefix.parent.iterdir()) == [lock_path(prefix)]


def test_a_lock_that_another_took_over_meanwhile_is_theirs(
    prefix: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between finding a lock dead and taking it away, a third may have done both already."""
    write_lock(prefix, age=301, host="elsewhere")

    def overtaken(path: Path, _record: object) -> bool:
        monkeypatch.undo()
        path.unlink()
        write_lock(prefix, host="third")
        return True

    monkeypatch.setattr(module, "_is_dead", overtaken)
    assert "on third" in assert_busy(prefix).what
    assert list(prefix.parent.iterdir()) == [lock_path(prefix)]


def test_a_lock_that_was_lost_is_not_removed(prefix: Path) -> None:
    """A builder that was stopped for minutes must not remove its successor's."""
    with locked(prefix):
        path = write_lock(prefix, host="elsewhere")
    assert "elsewhere" in path.read_text()


def test_the_lock_is_touched_while_it_is_held(
    prefix: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_HEARTBEAT_SECONDS", 0.01)
    with locked(prefix):
        path = lock_path(prefix)
        os.utime(path, (0, 0))
        deadline = time.monotonic() + 5
        while path.stat().st_mtime < 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert path.stat().st_mtime > 1


# -- where it can be -----------------------------------------------------------------------------
def deny(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    """As if ``directory`` were not ours to write to (to root, every one is)."""
    access = os.access
    monkeypatch.setattr(os, "access", lambda p, mode: Path(p) != directory and access(p, mode))


def test_below_a_directory_that_is_not_ours_the_lock_is_inside(
    prefix: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix.mkdir()
    deny(monkeypatch, prefix.parent)
    with locked(prefix):
        assert [path.name for path in prefix.iterdir()] == [".lock"]
        check_new(prefix)


def test_a_lock_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    with (
        pytest.raises(
            PrefixError, match="cannot lock the installation: File name too long"
        ) as caught,
        locked(tmp_path / ("x" * 254)),
    ):
        pass
    assert caught.value.where == str(tmp_path)


def test_drafts_of_killed_builders_go(prefix: Path) -> None:
    old, fresh = (draft(lock_path(prefix)) for _ in range(2))
    for path, age in ((old, 7200), (fresh, 1)):
        path.touch()
        os.utime(path, (time.time() - age, time.time() - age))
    with locked(prefix):
        pass
    assert fresh.exists() and not old.exists()
