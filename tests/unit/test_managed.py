"""The notice that keeps pip and uv from changing an installation, in PEP 668's format."""

from __future__ import annotations

import configparser
import subprocess
import sys
from pathlib import Path

import pytest

from wrapper.pip.externally_managed import put_notice, put_pip, take_notice_away

ADVICE = "The image of /p/50% off is read-only.\n\nTo change it:\nupdate 'it' = [now]"


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A standard library, and directories that look like one."""
    library = tmp_path / "lib/python3.11"
    library.mkdir(parents=True)
    (library / "os.py").touch()
    (tmp_path / "lib/python3.1").symlink_to("python3.11")
    (tmp_path / "lib/python3.9/site-packages").mkdir(parents=True)
    return library


def notices(tree: Path) -> list[Path]:
    return sorted(tree.rglob("EXTERNALLY-MANAGED"))


def test_it_is_read_as_it_was_meant(tmp_path: Path, library: Path) -> None:
    put_notice(tmp_path, ADVICE)
    assert notices(tmp_path) == [library / "EXTERNALLY-MANAGED"]
    parser = configparser.ConfigParser(interpolation=None)  # as pip reads it
    parser.read(library / "EXTERNALLY-MANAGED")
    assert parser["externally-managed"]["Error"] == ADVICE


def test_it_goes_without_a_trace(tmp_path: Path, library: Path) -> None:
    put_notice(tmp_path, ADVICE)
    take_notice_away(tmp_path)
    take_notice_away(tmp_path)
    assert notices(tmp_path) == []


def test_one_that_a_package_brought_stays(tmp_path: Path, library: Path) -> None:
    (library / "EXTERNALLY-MANAGED").write_text("[externally-managed]\nError=distribution's\n")
    put_notice(tmp_path, ADVICE)
    take_notice_away(tmp_path)
    assert "distribution's" in (library / "EXTERNALLY-MANAGED").read_text()


def test_a_tree_without_python_gets_none(tmp_path: Path) -> None:
    put_notice(tmp_path, ADVICE)
    assert notices(tmp_path) == []


# -- a program of the name pip ---------------------------------------------------------------------
@pytest.fixture
def without_pip(tmp_path: Path) -> Path:
    """A virtual environment that has none."""
    line = [sys.executable, "-m", "venv", "--without-pip", tmp_path / "ve"]
    subprocess.run(line, check=True)
    return tmp_path / "ve"


def call(program: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *words], check=False, text=True, capture_output=True)


def test_where_there_is_no_pip_that_is_said(without_pip: Path) -> None:
    put_pip(without_pip, str(without_pip), ADVICE)
    for name in ("pip", "pip3"):
        done = call(without_pip / "bin" / name, "list")
        assert done.returncode == 1
        assert "has no pip" in done.stderr and ADVICE in done.stderr
    take_notice_away(without_pip)
    assert not list((without_pip / "bin").glob("pip*"))


def test_a_pip_that_python_sees_is_called(without_pip: Path) -> None:
    put_pip(without_pip, str(without_pip), ADVICE)
    module = next(without_pip.glob("lib/python3*/site-packages")) / "pip/__main__.py"
    module.parent.mkdir()
    module.write_text("import sys; print('pip itself', sys.argv[1:])")
    assert call(without_pip / "bin/pip", "list", "-v").stdout == "pip itself ['list', '-v']\n"


def test_a_pip_that_is_there_stays(without_pip: Path) -> None:
    (without_pip / "bin/pip").write_text("its own")
    put_pip(without_pip, str(without_pip), ADVICE)
    take_notice_away(without_pip)
    assert (without_pip / "bin/pip").read_text() == "its own"


def test_an_environment_without_python_gets_no_pip(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    put_pip(tmp_path, str(tmp_path), ADVICE)
    assert not list((tmp_path / "bin").iterdir())
