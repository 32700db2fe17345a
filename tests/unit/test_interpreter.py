from __future__ import annotations

import json
import os
import platform
import sys
import venv
from pathlib import Path

import pytest

from wrapper.errors import ToolError
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


@pytest.fixture
def virtual(tmp_path: Path) -> Path:
    """A virtual environment of the Python that these tests' one stands on."""
    place = tmp_path / "ve"
    venv.create(place, with_pip=False)
    return place


def test_a_virtual_environment_that_is_active_is_not_built_on(virtual: Path) -> None:
    environ = {"PATH": str(virtual / "bin"), "VIRTUAL_ENV": str(virtual)}
    found = find_interpreter(environ)
    assert found and found.path.is_relative_to(sys.base_prefix)
    assert found.version == platform.python_version()
    seen = find_interpreter(environ, sees_outer=True)
    assert seen and seen.path.is_relative_to(virtual)
    of_module = find_interpreter({"PATH": str(virtual / "bin")})
    assert of_module and of_module.path.is_relative_to(virtual)


@pytest.mark.parametrize("sees_outer", [False, True])
def test_one_of_an_installation_is_refused(virtual: Path, tmp_path: Path, sees_outer: bool) -> None:
    base = tmp_path / "installation"
    (base / "bin").mkdir(parents=True)
    (base / "current").mkdir()
    (base / "current/env").touch()
    program = virtual / "bin/python3"
    answer = {"executable": str(program), "version": "3.11.7", "library": "/l", "packages": {}}
    answer |= {"sites": [], "is_venv": True, "base": str(base)}
    program.unlink()
    program.write_text(f"#!/bin/sh\necho '{json.dumps(answer)}'\n")
    program.chmod(0o755)
    with pytest.raises(ToolError, match="itself a wrapped program") as error:
        find_interpreter({"PATH": f"{virtual}/bin:/usr/bin:/bin"}, sees_outer=sees_outer)
    assert error.value.where == str(program) and "deactivate" in error.value.hint
