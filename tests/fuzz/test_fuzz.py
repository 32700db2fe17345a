"""Two thousand broken inputs for every reader; ``make fuzz`` for more."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.account import REPOSITORY
from tests.fuzz import __main__ as fuzz
from tests.fuzz.readers import READERS
from wrapper.errors import InputError

COUNT = 2000


@pytest.mark.parametrize("name", READERS)
def test_a_reader_answers_with_a_value_or_an_error_of_ours(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", name, "--count", str(COUNT)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _spin(_: Path) -> None:
    end = time.process_time() + 2
    while time.process_time() < end:
        pass


def _refuse(path: Path) -> None:
    raise InputError("no", where=path)


def test_a_reader_that_breaks_its_promise_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fuzz, "SECONDS", 0.2)
    with fuzz.timed():
        assert fuzz.outcome(_refuse, tmp_path / "x", b"") == ""
        assert "IndexError" in fuzz.outcome(lambda path: path.read_bytes()[0], tmp_path / "x", b"")
        assert "more than 0 s" in fuzz.outcome(_spin, tmp_path / "x", b"")
