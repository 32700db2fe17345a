from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

import pytest

from wrapper.pip.interpreter import find_interpreter


def test_modules_in_the_current_directory_are_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python3").symlink_to(os.path.realpath(sys.executable))
    (tmp_path / "json.py").write_text("raise SystemExit('the user's own')\n")
    monkeypatch.chdir(tmp_path)
    found = find_interpreter({"PATH": str(tmp_path / "bin")})
    assert found and found.version == platform.python_version()
