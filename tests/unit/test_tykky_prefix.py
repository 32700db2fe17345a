"""Reading installations of Tykky: what they say, and what is wrong with them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wrapper.errors import PrefixError
from wrapper.prefix.tykky_prefix import read_tykky_prefix

ROOT = "/LUMI_TYKKY_x1y2z3w"
PROGRAMS = {
    "python": f"{ROOT}/miniforge/envs/env1/bin//python",
    "tool": f"{ROOT}/extra/tool",
    "a": f"{ROOT}/extra/a",
}


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """An installation of ``conda-containerize``."""
    for name in ("bin", "_bin"):
        (tmp_path / name).mkdir()
    for name in ("container.sif", "img.sqfs"):
        (tmp_path / name).touch()
    for name, path in PROGRAMS.items():
        (tmp_path / "_bin" / name).symlink_to(path)
    common(tmp_path)
    return tmp_path


def common(prefix: Path, *lines: str, root: str = ROOT, image: str = "SQFS_IMAGE=img.sqfs") -> None:
    head = ["#!/bin/bash", "CONTAINER_IMAGE=container.sif", f"INSTALLATION_PATH={root}", image]
    (prefix / "common.sh").write_text("\n".join([*head, *lines]) + "\n")


def test_what_it_says(prefix: Path) -> None:
    found = read_tykky_prefix(prefix)
    assert (found.image_root, found.image) == (ROOT, prefix / "img.sqfs")
    assert found.container == prefix.resolve() / "container.sif"
    assert not found.isolated
    assert found.programs == {name: os.path.normpath(path) for name, path in PROGRAMS.items()}
    assert found.environment == f"{ROOT}/miniforge/envs/env1"


def test_the_environment_is_where_python_is_or_most_programs(prefix: Path) -> None:
    (prefix / "_bin/python").unlink()
    assert read_tykky_prefix(prefix).environment == ROOT
    for name in ("b", "c"):
        (prefix / "_bin" / name).symlink_to(f"{ROOT}/soft/bin/{name}")
    assert read_tykky_prefix(prefix).environment == f"{ROOT}/soft"


def test_a_container_of_its_own(prefix: Path) -> None:
    common(prefix, "export _CW_IS_ISOLATED=yes")
    assert read_tykky_prefix(prefix).isolated
    common(prefix, "export _CW_IS_ISOLATED=no", image="")
    found = read_tykky_prefix(prefix)
    assert found.isolated and found.image is None


def test_a_shared_container_is_found(
    prefix: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    shared = tmp_path_factory.mktemp("shared") / "base.sif"
    shared.touch()
    (prefix / "container.sif").unlink()
    (prefix / "container.sif").symlink_to(shared)
    assert read_tykky_prefix(prefix).container == shared.resolve()


def test_variables_are_taken_as_they_are_or_not_at_all(prefix: Path) -> None:
    lines = {
        "PLAIN": "value",
        "EMPTY": "",
        "SPACES": "'a  b'",
        "DOUBLE": '"a b"',
        "SINGLE": "'$HOME `x`'",
        "HOME_TOO": '"$HOME/x"',
        "COMMAND": "$(date)",
        "TWO": "a; rm -rf x",
        "OPEN": "'a",
        "PAIR": "'a'$x'b'",
    }
    own = ["export SINGULARITYENV_PATH=x", "export _CW_IN_CONTAINER=Yes", "export PATH=x"]
    text = [f"export {name}={value}" for name, value in lines.items()]
    common(prefix, *own, *text, "  export INDENTED=x", "export PLAIN=later")
    found = read_tykky_prefix(prefix)
    assert found.variables == {
        **{"PLAIN": "later", "EMPTY": "", "SPACES": "a  b", "DOUBLE": "a b"},
        "SINGLE": "$HOME `x`",
    }
    assert found.computed == ("HOME_TOO", "COMMAND", "TWO", "OPEN", "PAIR")


@pytest.mark.parametrize("gone", ["bin", "common.sh"])
def test_other_directories_are_none(prefix: Path, gone: str) -> None:
    (prefix / gone).rename(prefix / "elsewhere")
    with pytest.raises(PrefixError, match="no installation of Tykky"):
        read_tykky_prefix(prefix)


@pytest.mark.parametrize("gone", ["_bin", "img.sqfs", "container.sif"])
def test_broken_ones_are_told(prefix: Path, gone: str) -> None:
    (prefix / gone).rename(prefix / "elsewhere")
    with pytest.raises(PrefixError, match=f"broken: {gone}"):
        read_tykky_prefix(prefix)


@pytest.mark.parametrize("root", ["/a,b", "relative", "/a:b", "/$x", "/"])
def test_a_path_that_no_bind_can_name_is_refused(prefix: Path, root: str) -> None:
    common(prefix, root=root)
    with pytest.raises(PrefixError):
        read_tykky_prefix(prefix)
