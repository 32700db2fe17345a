"""``conda`` in users' scripts: what it refuses, and what it says then."""

from __future__ import annotations

from pathlib import Path

import pytest

from wrapper.build import conda_in_scripts as command
from wrapper.errors import InputError


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "conda-meta").mkdir()
    monkeypatch.setenv("CONDA_PREFIX", str(tmp_path))
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """The command's exit status; a test must not end as it does."""

    def leave(code: int) -> None:
        raise SystemExit(code)

    monkeypatch.setattr(command.os, "_exit", leave)
    monkeypatch.setattr(command.sys, "argv", ["conda", *words])
    with pytest.raises(SystemExit) as caught:
        command.main()
    return int(caught.value.code or 0)


@pytest.mark.parametrize(
    "words",
    [
        *((), ("update", "--all"), ("create", "-n", "x", "python"), ("activate", "base")),
        *(("config", "--show"), ("clean", "--all", "-y"), ("install",), ("remove",)),
        *(("list", "--explicit"), ("env", "create"), ("env", "update"), ("install", "--dry", "x")),
        ("install", "-p", "/elsewhere", "x"),
    ],
)
def test_anything_else_says_what_is_supported(
    tree: Path,
    words: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, *words) != 0
    said = capfd.readouterr().err
    assert said.startswith("conda: ") and "supported in a build: install" in said
    assert "\n  \n" not in said and "Traceback" not in said


def test_a_missing_file_is_named(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "install", "--file", str(tree / "none.txt")) != 0
    assert f"no such file\n  {tree}/none.txt\n" in capfd.readouterr().err


def test_a_virtual_environment_is_none_of_condas(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """conda's Python would take the place of the one that it stands on."""
    (tree / "pyvenv.cfg").touch()
    with pytest.raises(InputError, match="no conda environment"):
        command._run(["install", "numpy"])


def test_a_name_is_the_environments(tree: Path, capfd: pytest.CaptureFixture[str]) -> None:
    command._run(["list", "-n", "env1"])
    assert capfd.readouterr().out == ""
