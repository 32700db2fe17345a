"""YAML of strangers: aliases and nesting have limits, and what is refused says where."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from wrapper.errors import InputError
from wrapper.inputs import read_spec, read_text
from wrapper.util import yaml_nodes

PATH = Path("x.yml")


def test_an_alias_stands_for_its_node() -> None:
    root = yaml_nodes.compose("a: &a [1, 2]\nb: *a\nc: {<<: {d: *a}}\n", PATH)
    assert root is not None
    assert yaml_nodes.plain(root, PATH) == {"a": [1, 2], "b": [1, 2], "c": {"d": [1, 2]}}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("\n".join(f"k{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)), 7),
        ("a: &a [*a]\n", 1),
        ("a: 1\nb: &b {c: [*b]}\n", 2),
    ],
)
def test_aliases_that_grow_or_go_round_are_refused(text: str, line: int) -> None:
    if "*a0" in text:
        text = "k0: &a0 [x, x, x, x, x, x, x, x, x]\n" + text
    with pytest.raises(InputError, match="grows without bounds") as caught:
        yaml_nodes.compose(text, PATH)
    assert f"line {line}" in str(caught.value.where)


@pytest.mark.parametrize("text", ["[" * 60_000, "- " * 60_000, "{a: " * 5_000])
def test_nesting_has_a_limit(text: str) -> None:
    with pytest.raises(InputError, match="nested too deeply"):
        yaml_nodes.compose(text, PATH)


def test_a_zero_byte_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "r.txt"
    path.write_bytes(b"numpy\n-r a\0b\n")
    with pytest.raises(InputError, match="zero byte") as caught:
        read_text(path)
    assert caught.value.where == f"{path}, line 2"


def test_blanks_take_no_time(tmp_path: Path) -> None:
    path = tmp_path / "env.yml"
    path.write_text("a" + " " * 60_000 + "x\n")
    begin = time.process_time()
    with pytest.raises(InputError):
        read_spec(path)
    assert time.process_time() - begin < 2, "it took over a minute"


def test_an_escape_for_what_is_no_character_is_told_with_its_place() -> None:
    with pytest.raises(InputError, match=r"has the character U\+D800") as caught:
        yaml_nodes.compose('dependencies:\n- "nu\\ud800mpy"\n', PATH)
    assert caught.value.where == f"{PATH}, line 2, column 3"
