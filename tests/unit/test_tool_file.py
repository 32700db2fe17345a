"""Tools' files in Tykky's format, and YAML that only looks like a file of ours."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from wrapper.build import inputs
from wrapper.console import Console
from wrapper.errors import InputError
from wrapper.inputs.tykky import parse_tool
from wrapper.models import Site
from wrapper.requests import NewPipRequest
from wrapper.util import yaml_nodes


def test_a_single_value_is_a_list_of_one(tmp_path: Path) -> None:
    (tmp_path / "vars.sh").write_text("A=1\n")
    text = (
        f"wrapper_paths: 5\nextra_envs: [{{filenames: {tmp_path}/vars.sh}}]\npost_install: make\n"
    )
    tool = parse_tool(text, tmp_path / "tool.yml")
    assert tool.wrapper_paths == ("5",)
    assert tool.variables == {"A": "1"}
    assert tool.post_install == ("make",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mode: [conda]", "'mode:' must be a text, found ['conda']"),
        ("mode: foo", "'mode:' must be conda or conda_modify here, found 'foo'"),
        ("mode: venv", "'mode:' must be conda or conda_modify here, found 'venv'"),
        ("env_file: {a: b}", "'env_file:' must be a text"),
        ('installation_prefix: "a\\0b"', "'installation_prefix:' must be a text"),
        ("wrapper_paths: {a: b}", "'wrapper_paths:' must be a text"),
        ("wrapper_paths: [[a, b]]", "'wrapper_paths:' must be a text"),
        ("post_install: [[a]]", "'post_install:' must be a text"),
        ("post_install: [null]", "'post_install:' must be a text"),
        ("post_install: {file: {a: b}}", "'post_install:' must be a text"),
        ("pre_install: [{x: y}]", "'pre_install:' has an entry that has no 'file:'"),
        ("extra_envs: [{name: A, value: [1]}]", "'A' must have one value"),
        ('extra_envs: [{name: A, value: "b\\nC=d"}]', "'A' must have one value in one line"),
        ("extra_envs: [{name: A, value: 1, type: [set]}]", "'A' has the type '['set']'"),
        ("enable_site_packages: maybe", "must be yes or no, found 'maybe'"),
    ],
)
def test_values_that_mean_nothing_are_told_with_their_line(
    tmp_path: Path, text: str, message: str
) -> None:
    file = tmp_path / "tool.yml"
    with pytest.raises(InputError) as caught:
        parse_tool(f"# a tool\n{text}\n", file, ("conda", "conda_modify"))
    assert message in caught.value.what
    assert str(caught.value.where).startswith(f"{file}, line 2, column ")


def test_what_has_no_effect_says_why(tmp_path: Path) -> None:
    text = "num_cpus: 3\nisolate: yes\nwrap_src: x\ncontainer_src: docker://x\ncolour: blue\n"
    (warning,) = parse_tool(text, tmp_path / "tool.yml").warnings
    for said in ("num_cpus (only of a site's file)", "isolate (the whole host is bound; --base-"):
        assert said in warning
    assert "wrap_src (it is named" in warning and "colour (unknown here)" in warning
    assert "container_src" not in warning


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
        inputs.read(request, Console(-1))


@pytest.mark.parametrize("kind", ["socket", "device"])
def test_inputs_that_are_no_files_to_read(tmp_path: Path, kind: str) -> None:
    path = Path("/dev/zero")
    if kind == "socket":
        path = tmp_path / "socket"
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(path))
    request = NewPipRequest(prefix=tmp_path / "p", requirements=(path,), site=Site(tmpdir=tmp_path))
    with pytest.raises(InputError, match=f"{path.name} (cannot be read|is longer)"):
        inputs.read(request, Console(-1))
