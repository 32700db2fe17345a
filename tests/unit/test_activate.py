"""What activation scripts do, told from environments before and after them."""

from __future__ import annotations

import io
import json
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from wrapper.activate import (
    Effect,
    Probe,
    _combine,
    activation_scripts,
    classify,
    conda_variables,
    package_variables,
    record_activation,
    sentinel,
)
from wrapper.console import Console
from wrapper.container import BuildContainer
from wrapper.models import Activation, Guarded

Env = Mapping[str, str]
ONE = {"HOME": "/home-a", "PATH": "/env/bin:/usr/bin"}
TWO = {"HOME": "/home-b", "PATH": "/env/bin:/other/bin:/usr/bin"}


def probe(
    sets: Env | None = None,
    *,
    unsets: Sequence[str] = (),
    other: Env | None = None,
    preset: Mapping[str, Env] | None = None,
    start: Env | None = None,
) -> Probe:
    """A script that sets and unsets the same everywhere, but for ``other`` and ``preset``.

    :param other: what it sets in the other world. :param preset: variable -> what it sets where
        that variable had a value before. :param start: variables that both worlds begin with.
    """
    sets = sets or {}
    before, other_before = {**ONE, **(start or {})}, {**TWO, **(start or {})}

    def after(env: Env, values: Env) -> dict[str, str]:
        return {name: v for name, v in {**env, **values}.items() if name not in unsets}

    presets = {
        name: after({**before, name: sentinel(name)}, (preset or {}).get(name, sets))
        for name in {*sets, *unsets}
    }
    return Probe(
        before=before,
        after=after(before, sets),
        other_before=other_before,
        other_after=after(other_before, sets if other is None else other),
        preset=presets,
    )


def effect(
    assign: Env | None = None,
    prepend: Env | None = None,
    unset: tuple[str, ...] = (),
    guards: tuple[str, ...] = (),
) -> Effect:
    return Effect(
        assign=dict(assign or {}), prepend=dict(prepend or {}), unset=unset, guards=guards
    )


# -- one script ----------------------------------------------------------------------------------
def test_a_script_that_does_nothing() -> None:
    assert classify(probe()) == effect()


def test_a_value_set_whatever_was_there_is_an_assignment() -> None:
    assert classify(probe({"A": "1", "B": ""})) == effect(assign={"A": "1", "B": ""})


def test_an_assignment_may_replace_what_all_worlds_have() -> None:
    assert classify(probe({"A": "2"}, start={"A": "1"})) == effect(assign={"A": "2"})


def test_a_value_set_only_where_there_was_none_is_a_default() -> None:
    got = classify(probe({"A": "1"}, preset={"A": {}}))
    assert got == effect(assign={"A": "1"}, guards=("A",))


def test_one_variable_can_guard_several() -> None:
    got = classify(probe({"CERT": "/c", "CERT_SET": "1"}, preset={"CERT": {}}))
    assert got == effect(assign={"CERT": "/c", "CERT_SET": "1"}, guards=("CERT",))


def test_a_value_put_before_what_was_there_is_prepended() -> None:
    paths = {"PATH": f"/x:{ONE['PATH']}"}
    got = classify(
        probe(
            paths,
            other={"PATH": f"/x:{TWO['PATH']}"},
            preset={"PATH": {"PATH": f"/x:{sentinel('PATH')}"}},
        )
    )
    assert got == effect(prepend={"PATH": "/x"})


@pytest.mark.parametrize("alone", ["/x:/y", "/x:/y:"])
def test_a_value_is_prepended_also_where_nothing_was_there(alone: str) -> None:
    got = classify(probe({"A": alone}, preset={"A": {"A": f"/x:/y:{sentinel('A')}"}}))
    assert got == effect(prepend={"A": "/x:/y"})


def test_what_is_gone_in_all_worlds_is_unset() -> None:
    assert classify(probe(unsets=["A"], start={"A": "1"})) == effect(unset=("A",))


DYNAMIC = {
    "the value depends on the world": probe({"A": "/home-a"}, other={"A": "/home-b"}),
    "other variables in another world": probe({"A": "1"}, other={"B": "1"}),
    "more variables in another world": probe({"A": "1"}, other={"A": "1", "B": "1"}),
    "the value depends on the old one": probe({"A": "1"}, preset={"A": {"A": "2"}}),
    "appended": probe({"A": "1"}, preset={"A": {"A": f"{sentinel('A')}:1"}}),
    "prepended, but otherwise where unset": probe(
        {"A": "/default"}, preset={"A": {"A": f"/x:{sentinel('A')}"}}
    ),
    "prepends what depends on the world": probe(
        {"PATH": f"/x:{ONE['PATH']}"}, other={"PATH": f"/y:{TWO['PATH']}"}
    ),
    "prepends only to what is set": probe(
        {"PATH": f"/x:{ONE['PATH']}"},
        other={"PATH": f"/x:{TWO['PATH']}"},
        preset={"PATH": {"PATH": "/x"}},
    ),
    "a default beside a prepend": probe(
        {"A": "1", "B": "/x"}, preset={"A": {}, "B": {"A": "1", "B": f"/x:{sentinel('B')}"}}
    ),
    "a default that does not guard all": probe(
        {"A": "1", "B": "1"}, preset={"A": {"B": "1"}, "B": {"A": "1"}}
    ),
    "an exported function": probe({"BASH_FUNC_f%%": "() { :; }"}),
    "the shell ended": Probe(
        before=ONE, after={}, other_before=TWO, other_after=dict(TWO), preset={}
    ),
    "the shell ended in another world": Probe(
        before=ONE, after=dict(ONE), other_before=TWO, other_after={}, preset={}
    ),
}


@pytest.mark.parametrize("kind", DYNAMIC)
def test_what_depends_on_the_moment_is_left_to_the_moment(kind: str) -> None:
    assert classify(DYNAMIC[kind]) is None


# -- all together --------------------------------------------------------------------------------
def combine(*probes: Probe) -> Activation:
    return _combine({"CONDA_PREFIX": "/env"}, [f"s{n}" for n in range(len(probes))], probes)


def prepending(name: str, value: str, **start: str) -> Probe:
    before = f":{start[name]}" if name in start else ""
    return probe(
        {name: value + before}, preset={name: {name: f"{value}:{sentinel(name)}"}}, start=start
    )


def test_without_effects_the_fixed_variables_remain() -> None:
    assert combine(probe()) == Activation(assign={"CONDA_PREFIX": "/env"})


def test_scripts_add_up() -> None:
    got = combine(
        probe({"A": "1"}),
        probe({"B": "/b"}, preset={"B": {}}),
        prepending("C", "/c"),
        probe(unsets=["D"], start={"D": "1"}),
        DYNAMIC["appended"],
    )
    assert got == Activation(
        assign={"CONDA_PREFIX": "/env", "A": "1"},
        default=(Guarded(guards=("B",), assign={"B": "/b"}),),
        prepend={"C": "/c"},
        unset=("D",),
        scripts=("s4",),
    )


def test_a_later_script_prepends_before_an_earlier() -> None:
    got = combine(prepending("A", "/1"), prepending("A", "/2", A="/1"))
    assert got.prepend == {"A": "/2:/1"}


def test_a_later_script_prepends_to_an_earlier_assignment() -> None:
    got = combine(probe({"A": "/1"}), prepending("A", "/2", A="/1"))
    assert (got.assign["A"], got.prepend) == ("/1", {"A": "/2"})


def test_a_later_assignment_replaces_what_was_prepended() -> None:
    got = combine(prepending("A", "/1"), probe({"A": "/2"}, start={"A": "/1"}))
    assert (got.assign["A"], got.prepend) == ("/2", {})


def test_a_later_assignment_replaces_an_unset() -> None:
    got = combine(probe(unsets=["A"], start={"A": "1"}), probe({"A": "2"}))
    assert (got.assign["A"], got.unset) == ("2", ())


def test_a_later_unset_replaces_an_assignment() -> None:
    got = combine(probe({"A": "1"}), probe(unsets=["A"], start={"A": "1"}))
    assert ("A" in got.assign, got.unset) == (False, ("A",))


def test_prepending_to_what_was_unset_is_an_assignment() -> None:
    got = combine(probe(unsets=["A"], start={"A": "1"}), prepending("A", "/2"))
    assert (got.assign.get("A"), got.prepend, got.unset) == ("/2", {}, ())


def test_what_comes_after_a_default_of_the_same_variable_is_left_to_the_moment() -> None:
    default = probe({"A": "/1"}, preset={"A": {}})
    got = combine(default, prepending("A", "/2", A="/1"))
    assert (got.prepend, got.scripts) == ({}, ("s1",))


def test_what_comes_after_a_dynamic_script_of_the_same_variable_is_too() -> None:
    got = combine(DYNAMIC["the value depends on the world"], probe({"A": "1"}), probe({"B": "1"}))
    assert got.scripts == ("s0", "s1")
    assert got.assign == {"CONDA_PREFIX": "/env", "B": "1"}


def test_a_default_of_what_an_earlier_script_unset_is_too() -> None:
    got = combine(probe(unsets=["A"], start={"A": "1"}), probe({"A": "2"}, preset={"A": {}}))
    assert (got.default, got.unset, got.scripts) == ((), ("A",), ("s1",))


# -- from a tree ---------------------------------------------------------------------------------
def test_what_conda_itself_sets() -> None:
    assert conda_variables("/containerize-1") == {
        "CONDA_PREFIX": "/containerize-1",
        "CONDA_DEFAULT_ENV": "containerize-1",
        "CONDA_SHLVL": "1",
    }


def test_packages_declare_variables_in_order_of_their_files(
    tmp_path: Path, console: Console
) -> None:
    folder = tmp_path / "etc/conda/env_vars.d"
    folder.mkdir(parents=True)
    (folder / "b.json").write_text('{"A": "2", "B": 3}')
    (folder / "a.json").write_text('{"A": "1"}')
    (folder / "a.txt").write_text("no")
    assert package_variables(tmp_path, console) == {"A": "2", "B": "3"}


@pytest.mark.parametrize(
    "name", ["_cw_name", "_cw_self", "a-b", "", "1A", "A B", "A;x", "é", "UID", "BASH_FUNC_ls%%"]
)
def test_a_variable_that_no_shell_can_set_is_left_out(
    name: str, tmp_path: Path, console: Console, screen: io.StringIO
) -> None:
    """A shim's own would break every one of its programs."""
    folder = tmp_path / "etc/conda/env_vars.d"
    folder.mkdir(parents=True)
    (folder / "a.json").write_text(json.dumps({name: "x", "GOOD": "y"}))
    assert package_variables(tmp_path, console) == {"GOOD": "y"}
    assert f"a.json of a package sets '{name}', which cannot be set" in screen.getvalue()


@pytest.mark.parametrize("text", ["", "[]", '"x"', "null", "{", "[" * 100_000])
def test_a_file_that_lists_no_variables_is_left_out(
    text: str, tmp_path: Path, console: Console, screen: io.StringIO
) -> None:
    folder = tmp_path / "etc/conda/env_vars.d"
    folder.mkdir(parents=True)
    (folder / "a.json").write_text(text)
    (folder / "b.json").symlink_to("/dev/zero")
    assert package_variables(tmp_path, console) == {}
    assert screen.getvalue().count("does not list variables") == 2


def test_scripts_are_those_of_bash_in_order(tmp_path: Path) -> None:
    folder = tmp_path / "etc/conda/activate.d"
    folder.mkdir(parents=True)
    for name in ("b.sh", "a.sh", "~c.sh", "a.fish", "A.sh"):
        (folder / name).touch()
    names = [Path(path).name for path in activation_scripts(tmp_path)]
    assert names == ["A.sh", "a.sh", "b.sh", "~c.sh"]
    assert activation_scripts(tmp_path / "none") == []


class HostContainer:
    """Stands in for the build's container: the tree is where it is, programs run on the host."""

    def __init__(self, root: Path) -> None:
        self.console = Console(stream=io.StringIO())
        self.tree = root / "tree"
        self.install_path = str(self.tree)
        self.bash = ["/bin/bash"]
        self.scratch = root / "scratch"
        self.scratch.mkdir()

    def run(self, command: Sequence[str], **_: Any) -> None:
        subprocess.run(command, check=True, cwd=self.scratch, timeout=30)


def record(root: Path, *scripts: str | bytes, **variables: str) -> Activation:
    container = HostContainer(root)
    folder = container.tree / "etc/conda/activate.d"
    folder.mkdir(parents=True, exist_ok=True)
    for number, script in enumerate(scripts):
        data = script if isinstance(script, bytes) else script.encode()
        (folder / f"{number}.sh").write_bytes(data)
    return record_activation(cast(BuildContainer, container), variables)


def test_without_scripts_nothing_runs(tmp_path: Path) -> None:
    got = record(tmp_path, MINE="it's")
    assert (got.assign["MINE"], got.scripts) == ("it's", ())


def test_the_users_variables_come_before_those_of_packages(tmp_path: Path) -> None:
    folder = tmp_path / "tree/etc/conda/env_vars.d"
    folder.mkdir(parents=True)
    (folder / "a.json").write_text('{"MINE": "package", "THEIRS": "package"}')
    got = record(tmp_path, MINE="user")
    assert (got.assign["MINE"], got.assign["THEIRS"]) == ("user", "package")


def test_real_scripts_of_every_kind(tmp_path: Path) -> None:
    got = record(
        tmp_path,
        'export ASSIGNED="$MINE/x\'\n" LIBRARIES=/l',
        '[ -n "$GIVEN" ] || export GIVEN=/g',
        'export PATH="/p:$PATH" DATA="/d${DATA:+:$DATA}"',
        "export HERE=$HOME",
        "unset LANG",
        "return 3",
        MINE="/mine",
    )
    assert got.assign["ASSIGNED"] == "/mine/x'\n"
    assert got.assign["LIBRARIES"] == "/l"
    assert got.default == (Guarded(guards=("GIVEN",), assign={"GIVEN": "/g"}),)
    assert got.prepend == {"PATH": "/p", "DATA": "/d"}
    assert got.unset == ("LANG",)
    assert got.scripts == (f"{tmp_path}/tree/etc/conda/activate.d/3.sh",)


def test_a_script_that_ends_its_shell_does_not_end_the_build(tmp_path: Path) -> None:
    got = record(tmp_path, "export A=1", "exit 3")
    assert got.assign["A"] == "1"
    assert [Path(script).name for script in got.scripts] == ["1.sh"]


def test_a_value_may_be_any_bytes(tmp_path: Path) -> None:
    got = record(tmp_path, b"export A=\xff\xfe\n", "export B=1")
    assert (got.assign["A"], got.assign["B"]) == ("\udcff\udcfe", "1")
    assert shlex.quote(got.assign["A"]).encode("utf-8", "surrogateescape") == b"'\xff\xfe'"


def test_an_exported_function_is_sourced_at_run_time(tmp_path: Path) -> None:
    got = record(tmp_path, "f() { echo; }; export -f f")
    assert len(got.scripts) == 1
    assert not [name for name in got.assign if "BASH_FUNC" in name]


def test_a_script_may_use_a_shims_own_names_for_itself(tmp_path: Path) -> None:
    """What it exports under them is not recorded: it is sourced at run time."""
    got = record(tmp_path, "export GOOD=1\n", "export _cw_name=x\n")
    assert got.assign["GOOD"] == "1"
    assert not any(name.startswith("_cw_") for name in got.assign)
    assert [Path(script).name for script in got.scripts] == ["1.sh"]


def test_no_value_of_a_variable_is_a_word_of_a_process(tmp_path: Path) -> None:
    words = "tr '\\0' ' ' </proc/$$/cmdline"
    record(tmp_path, f'export SEEN="$({words})"\n', TOKEN="s3cret")
    files = [path.read_bytes() for path in (tmp_path / "scratch").rglob("*.1")]
    seen = [one for text in files for one in text.split(b"\0") if one.startswith(b"SEEN=")]
    assert any(b"probe.sh" in one for one in seen)
    assert not any(b"s3cret" in one for one in seen)
