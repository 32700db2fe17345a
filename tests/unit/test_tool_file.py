"""Tools' files in Tykky's format, and YAML that only looks like a file of ours."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from wrapper import yaml_nodes
from wrapper.console import Console
from wrapper.errors import InputError
from wrapper.inputs import read_pip_inputs, ready
from wrapper.models import NewPipRequest, Site
from wrapper.spec.tykky import ToolFile, parse_tool


def test_a_single_value_is_a_list_of_one(tmp_path: Path) -> None:
    (tmp_path / "vars.sh").write_text("A=1\n")
    text = (
        f"wrapper_paths: 5\nextra_envs: [{{filenames: {tmp_path}/vars.sh}}]\npost_install: make\n"
    )
    tool = parse_tool(text, tmp_path / "tool.yml")
    assert tool.wrapper_paths == ("5",)
    assert tool.variables == {"A": "1"}
    assert tool.post_install == ("make",)


@pytest.mark.parametrize("text", ["a: " + "[" * 5000, "a: " + "{b: " * 5000])
def test_endless_nesting_is_told(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match="nested too deeply"):
        yaml_nodes.compose(text, tmp_path / "deep.yml")


@pytest.mark.parametrize("asked", [{"extras": ("plot",)}, {"groups": ("test",)}])
def test_parts_of_a_project_need_one(tmp_path: Path, asked: dict[str, tuple[str]]) -> None:
    path = tmp_path / "requirements.txt"
    path.write_text("numpy\n")
    request = NewPipRequest(prefix=tmp_path / "p", requirements=(path,), **asked)
    with pytest.raises(InputError, match="names a part of a pyproject"):
        read_pip_inputs(request, Console(-1))


@pytest.mark.parametrize("kind", ["socket", "device"])
def test_inputs_that_are_no_files_to_read(tmp_path: Path, kind: str) -> None:
    path = Path("/dev/zero")
    if kind == "socket":
        path = tmp_path / "socket"
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(path))
    request = NewPipRequest(prefix=tmp_path / "p", requirements=(path,), site=Site(tmpdir=tmp_path))
    told = pytest.raises(InputError, match=f"{path.name} (cannot be read|is longer)")
    with told, ready(request, ToolFile()):
        pass
