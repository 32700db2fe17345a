"""cotainr's lists of systems."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.conftest import Program
from wrapper.errors import InputError
from wrapper.images.sif.systems import base_of, find_systems, read_systems

TEXT = '{"lumi-g": {"base-image": "/appl/rocm.sif"}, "lumi-c": {"base-image": "docker://ubuntu"}}'


def test_systems_are_read(tmp_path: Path) -> None:
    path = tmp_path / "systems.json"
    path.write_text(TEXT)
    systems = find_systems({"CONTAINERIZE_SYSTEMS": str(path), "PATH": ""})
    assert systems == {"lumi-g": "/appl/rocm.sif", "lumi-c": "docker://ubuntu"}
    assert base_of("lumi-g", systems) == "/appl/rocm.sif"


def test_those_of_a_cotainr_on_path(tmp_path: Path, program: Program) -> None:
    (tmp_path / "root/bin").mkdir(parents=True)
    path = program("cotainr", "true", tmp_path / "root/bin")
    (tmp_path / "root/systems.json").write_text(TEXT)
    (tmp_path / "links").mkdir()
    (tmp_path / "links/cotainr").symlink_to(path)
    own = tmp_path / "own.json"
    own.write_text('{"lumi-g": {"base-image": "mine"}}')
    environ = {"PATH": str(tmp_path / "links"), "CONTAINERIZE_SYSTEMS": str(own)}
    assert find_systems(environ) == {"lumi-g": "mine", "lumi-c": "docker://ubuntu"}
    (tmp_path / "root/systems.json").unlink()
    assert find_systems(environ) == {"lumi-g": "mine"}


@pytest.mark.parametrize(
    "text", ["", "[]", '{"a": {}}', '{"a": "b"}', '{"a": {"base-image": 3}}', "{"]
)
def test_wrong_lists(tmp_path: Path, text: str) -> None:
    path = tmp_path / "systems.json"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_systems(path)
    assert caught.value.where == str(path)


def test_a_list_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        find_systems({"CONTAINERIZE_SYSTEMS": str(tmp_path / "none.json")})


@pytest.mark.parametrize(
    ("known", "hint"),
    [
        ({"lumi-g": "x"}, "did you mean lumi-g"),
        ({"mahti": "x"}, "there are mahti"),
        ({}, "CONTAINERIZE_SYSTEMS"),
    ],
)
def test_unknown_systems(known: dict[str, str], hint: str) -> None:
    with pytest.raises(InputError) as caught:
        base_of("lumi-h", known)
    assert hint in caught.value.hint
