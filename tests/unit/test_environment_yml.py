"""``env.yml``: what is read, and the place of every mistake."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from wrapper.errors import InputError
from wrapper.inputs import read_spec
from wrapper.inputs.environment import parse_environment
from wrapper.models import EnvironmentSpec

PATH = Path("/data/my env.yml")


def parse(text: str) -> EnvironmentSpec:
    return parse_environment(text, PATH)


def test_everything_that_an_environment_can_say() -> None:
    spec = parse(
        "name: demo\n"
        "prefix: /somewhere\n"
        "channels: [conda-forge, 'https://host/channel', nodefaults]\n"
        "dependencies:\n"
        "  - python=3.11\n"
        "  - bioconda::samtools>=1.9\n"
        "  - 'numpy 1.26.* py311_*'\n"
        "  - pip:\n"
        "    - -r more.txt\n"
        "    - --extra-index-url https://host/simple\n"
        "    - 'requests[socks]==2.0 # why not'\n"
        "variables:\n"
        "  ONE: 1\n"
        '  TWO: "it\'s $HOME"\n'
        "  _3: ''\n"
    )
    assert spec.channels == ("conda-forge", "https://host/channel")
    assert [(s.text, s.line) for s in spec.specs] == [
        ("python=3.11", 5),
        ("bioconda::samtools>=1.9", 6),
        ("numpy 1.26.* py311_*", 7),
    ]
    assert spec.pip_lines == (
        "-r more.txt",
        "--extra-index-url https://host/simple",
        "requests[socks]==2.0 # why not",
    )
    assert spec.pip_places == tuple(f"/data/my env.yml, line {n}" for n in (9, 10, 11))
    assert spec.variables == {"ONE": "1", "TWO": "it's $HOME", "_3": ""}
    assert spec.directory == Path("/data")
    assert spec.warnings == ()
    assert spec.notes == (
        "'name:' of my env.yml is ignored",
        "'prefix:' of my env.yml is ignored",
    )


@pytest.mark.parametrize(("token", "state"), [(None, "not set"), ("", "empty")])
def test_a_channels_token_that_has_gone(
    monkeypatch: pytest.MonkeyPatch, token: str | None, state: str
) -> None:
    monkeypatch.setenv("MY_TOKEN", "secret")
    text = "channels: ['https://host/t/${MY_TOKEN}/channel']\ndependencies: [a]\n"
    assert parse(text).channels == ("https://host/t/secret/channel",)
    if token is None:
        monkeypatch.delenv("MY_TOKEN")
    else:
        monkeypatch.setenv("MY_TOKEN", token)
    with pytest.raises(
        InputError, match=f"needs the variable MY_TOKEN, which is {state}"
    ) as caught:
        parse(text)
    assert caught.value.hint == "export MY_TOKEN before the command"


def test_nodefaults_is_no_channel() -> None:
    assert parse("channels: [nodefaults, x]\ndependencies: [python]\n").channels == ("x",)


def test_a_mistyped_key_is_recognised() -> None:
    with pytest.raises(InputError, match="no 'dependencies:', but 'dependecies:'") as caught:
        parse("channels: [x]\ndependecies:\n  - python\n")
    assert caught.value.where == f"{PATH}, line 2, column 1"
    spec = parse("chanels: [x]\ndependencies: [python]\n")
    assert spec.warnings == (
        f"{PATH}:1: unknown key 'chanels' is ignored; did you mean 'channels'?",
    )


def test_unknown_keys_are_named_with_the_line_of_the_key() -> None:
    spec = parse("dependencies: [python]\nplatforms:\n  - linux-64\ncolour: blue\n")
    assert spec.warnings == (
        f"{PATH}:2: unknown key 'platforms' is ignored",
        f"{PATH}:4: unknown key 'colour' is ignored",
    )


def test_anchors_and_comments_are_yaml_like_all_else() -> None:
    spec = parse("x: &c [main]\nchannels: *c # these\ndependencies:\n- a\n- b # this\n")
    assert spec.channels == ("main",)
    assert [s.text for s in spec.specs] == ["a", "b"]


D = "dependencies:\n"
MISTAKES = [
    # text, message, line, column
    ("a: 1\nb: c: d\n", "not valid YAML: mapping values are not allowed here", 2, 5),
    ("a: [1\nb: 2\n", "not valid YAML: expected ',' or ']'", 2, 2),
    ("a: 'x\n", "not valid YAML: a quote is not closed", 1, 4),
    ("a:\n\t- x\n", "not valid YAML: found character '\\t'", 2, 1),
    ("a: 1\n---\nb: 1\n", "not valid YAML: but found another document", 2, 1),
    ("a: *x\n", "not valid YAML: found undefined alias 'x'", 1, 4),
    ("a: 1\nb: x\x07y\n", "not valid YAML: it contains the character U+0007", 2, 5),
    ("\x00", "not valid YAML: it contains the character U+0000", 1, 1),
    ("- python\n", "not a mapping of keys to values", 1, 1),
    ("python\n", "not a mapping of keys to values", 1, 1),
    ("", "is empty", 1, 1),
    ("# nothing\n", "is empty", 1, 1),
    ("1: x\n", "a key must be a string, found 1", 1, 1),
    ("[a]: x\n", "a key must be a string, found a sequence", 1, 1),
    (D + "- a\n" + D + "- b\n", "'dependencies:' is there twice", 3, 1),
    (D, "no dependencies", 1, 14),
    ("dependencies: []\n", "no dependencies", 1, 15),
    (D + "  - pip:\n    - x\n", "only pip dependencies", 2, 3),
    ("dependencies: python\n", "'dependencies:' must be a list", 1, 15),
    ("dependencies: {a: b}\n", "'dependencies:' must be a list", 1, 15),
    (D + "  - a\n  - 3.11\n", "a dependency must be a string, found 3.11", 3, 5),
    (D + "  - yes\n", "a dependency must be a string, found yes", 2, 5),
    (D + "  - 2024-01-01\n", "a dependency must be a string, found 2024-01-01", 2, 5),
    (D + "  -\n", "a dependency must be a string, found nothing", 2, 4),
    (D + "  - ' '\n", "a dependency must be a string, found nothing", 2, 5),
    (D + "  - a\n    - b\n", "'a - b' looks like two entries in one", 2, 5),
    (D + "  - [a, b]\n", "a dependency must be a string, found a sequence", 2, 5),
    (D + "  - numpy: 1.26\n", "found a mapping with the key 'numpy'", 2, 5),
    (D + "  - a\n  - pip: x\n", "'pip:' must be a list", 3, 10),
    (D + "  - a\n  - pip:\n    - x\n    - 1\n", "a pip requirement must be a string", 5, 7),
    ("channels: x\n" + D + "- a\n", "'channels:' must be a list", 1, 11),
    ("channels:\n  - 1\n" + D + "- a\n", "a channel must be a string, found 1", 2, 5),
    (D + "- a\nvariables: [X]\n", "'variables:' must be a mapping", 3, 12),
    (D + "- a\nvariables:\n  a-b: x\n", "'a-b' cannot be the name", 4, 3),
    (D + "- a\nvariables:\n  é: x\n", "'é' cannot be the name", 4, 3),
    (D + "- a\nvariables:\n  '1a': x\n", "'1a' cannot be the name", 4, 3),
    (D + "- a\nvariables:\n  1: x\n", "a variable's name must be a string", 4, 3),
    (D + "- a\nvariables:\n  A: [x]\n", "the value of 'A' must be one string", 4, 6),
    (D + "- a\nvariables:\n  A: {x: y}\n", "the value of 'A' must be one string", 4, 6),
    (D + '- a\nvariables:\n  A: "x\\0y"\n', "the value of 'A' must be one string", 4, 6),
    (D + '- a\nvariables:\n  A: "\\ud800"\n', "has the character U+D800", 4, 6),
]


@pytest.mark.parametrize(("text", "message", "line", "column"), MISTAKES)
def test_a_mistake_is_told_with_its_place_and_a_way_out(
    text: str, message: str, line: int, column: int
) -> None:
    with pytest.raises(InputError) as caught:
        parse(text)
    assert message in caught.value.what
    assert "\n" not in caught.value.what
    assert caught.value.where == f"{PATH}, line {line}, column {column}"
    assert caught.value.hint


def test_missing_dependencies_are_told_with_the_file() -> None:
    with pytest.raises(InputError, match="has no dependencies") as caught:
        parse("channels: [x]\n")
    assert caught.value.where == str(PATH)


def test_a_byte_order_mark_is_no_character_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "env.yml"
    path.write_bytes(b"\xef\xbb\xbfdependencies: [python]\r\n")
    assert [s.text for s in read_spec(path).specs] == ["python"]


@pytest.mark.parametrize(
    ("selector", "hint"), [("win", "remove the line"), ("linux", "write '- pywin32'")]
)
def test_a_selector_of_anaconda_project(selector: str, hint: str) -> None:
    text = f"dependencies:\n  - python\n  - sel({selector}): pywin32\n"
    with pytest.raises(InputError, match="is a selector") as caught:
        parse_environment(text, Path("env.yml"))
    assert hint in caught.value.hint and caught.value.where == "env.yml, line 3, column 5"


def test_a_selector_of_a_recipe_is_a_comment() -> None:
    text = "dependencies:\n  - python  # [linux]\n  - pywin32  # [win]\n# - x  # [osx]\n"
    (warning,) = parse_environment(text, Path("env.yml")).warnings
    assert warning.startswith("env.yml:3: '# [win]' is a comment here")


@pytest.mark.parametrize(
    ("platform", "line"), [("linux-64", 4), ("linux-aarch64", 3), ("linux-ppc64le", 3)]
)
def test_a_selector_of_the_platform_counts_as_meant(platform: str, line: int) -> None:
    text = "dependencies:\n  - a  # [int64]\n  - b  # [x86_64]\n  - c  # [aarch64]\n"
    warnings = parse_environment(text, Path("env.yml"), platform).warnings
    assert warnings[0].startswith(f"env.yml:{line}: ")
    assert len(warnings) == (2 if platform == "linux-ppc64le" else 1)


def test_extras_are_passed_over_as_conda_does() -> None:
    text = "dependencies:\n  - requests[socks, x]>=2\n  - c::a[b]\n  - n[version='>=1']\n"
    found = parse_environment(text, Path("env.yml"))
    assert [one.text for one in found.specs] == ["requests>=2", "c::a", "n[version='>=1']"]
    assert "env.yml:2: conda passes over the extras of 'requests[socks, x]>=2'" in found.warnings[0]
    assert len(found.warnings) == 2


def test_many_empty_lines_take_no_time() -> None:
    start = time.monotonic()
    assert parse("\n" * 100_000 + "dependencies: [python]\n").specs
    assert time.monotonic() - start < 5, "a minute, where each line is looked at from every one"
