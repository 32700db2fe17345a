"""rattler's client: the user's logins, and what becomes of a file of them that is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from wrapper.conda.client import channel_client
from wrapper.errors import InputError


def test_without_a_home_it_has_no_logins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/dev/null")
    assert channel_client()


def test_a_broken_file_of_logins_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".rattler").mkdir()
    (tmp_path / ".rattler/credentials.json").write_text("{")
    with pytest.raises(InputError, match="file of logins") as caught:
        channel_client()
    assert str(tmp_path) in caught.value.detail
