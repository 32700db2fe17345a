"""The notice that keeps pip and uv from changing an installation, in PEP 668's format."""

from __future__ import annotations

import configparser
from pathlib import Path

import pytest

from wrapper.pip.managed import put_notice, take_notice_away

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
