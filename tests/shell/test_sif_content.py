"""What lies in an image of ``containerize build``, run as a runtime does: sourced by a shell."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from wrapper.models import Activation, Guarded
from wrapper.sif import content as sif_content

HOSTILE = 'it\'s $HOME `id` "x" \\ *\nnext'


def sourced(
    text: str, tmp_path: Path, shell: str, before: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The environment after sourcing the activation script."""
    script = tmp_path / "activate.sh"
    script.write_text(text)
    done = subprocess.run(
        [shell, "-c", f". '{script}' && exec env -0"],
        env={"PATH": "/usr/bin:/bin", "HOME": "/home/me", **(before or {})},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return dict(item.split("=", 1) for item in done.stdout.split("\0") if item)


@pytest.mark.parametrize("shell", ["bash", "dash"])
def test_the_environment_is_active(tmp_path: Path, shell: str) -> None:
    activation = Activation(
        assign={"CONDA_PREFIX": "/containerize", "HOSTILE": HOSTILE, "EMPTY": ""},
        prepend={"XDG_DATA_DIRS": "/containerize/share", "NEW_PATH": HOSTILE},
        default=(Guarded(guards=("A", "B"), assign={"A": "1", "B": HOSTILE}),),
        unset=("GONE",),
    )
    text = sif_content.activation_script(activation, "/containerize", {})
    before = {"XDG_DATA_DIRS": "/usr/share", "GONE": "x", "CONDA_PREFIX": "/host/conda"}
    env = sourced(text, tmp_path, shell, before)
    assert env["PATH"] == "/containerize/bin:/usr/bin:/bin"
    assert env["CONDA_PREFIX"] == "/containerize"
    assert env["HOSTILE"] == env["NEW_PATH"] == env["B"] == HOSTILE
    assert env["XDG_DATA_DIRS"] == "/containerize/share:/usr/share"
    assert env["EMPTY"] == env["GONE"] == ""
    assert env["WITH_CONDA"] == env["WITH_CONDA_VENV"] == env["WITH_VENV"] == "true"
    assert env["PYTHONNOUSERSITE"] == "1"


@pytest.mark.parametrize("shell", ["bash", "dash"])
def test_what_the_user_set_stays(tmp_path: Path, shell: str) -> None:
    activation = Activation(default=(Guarded(guards=("A",), assign={"A": "1"}),))
    inherited = {"PYTHONPATH": "/opt/it's", "VIRTUAL_ENV": "/opt/venv"}
    text = sif_content.activation_script(activation, "/containerize", inherited)
    before = {"A": "mine", "PYTHONNOUSERSITE": "", "PYTHONPATH": "/mine"}
    env = sourced(text, tmp_path, shell, {**before, "VIRTUAL_ENV": "/opt/venv"})
    assert env["A"] == "mine" and env["PYTHONNOUSERSITE"] == ""
    assert env["PYTHONPATH"] == "/mine" and env["VIRTUAL_ENV"] == ""
    base = sourced(text, tmp_path, shell, {"PYTHONPATH": "/opt/it's"})
    assert base["PYTHONPATH"] == "", "the base image's own Python path reaches no further"


def test_dynamic_scripts_are_run_by_bash(tmp_path: Path) -> None:
    dynamic = tmp_path / "dynamic.sh"
    dynamic.write_text(sif_content.dynamic_script())
    script = tmp_path / "a b.sh"
    script.write_text(
        'echo "a word for the user"\nexport HERE="${BASH_SOURCE[0]} $$"\nunset GONE\n'
        'export LINES_OF="a\nb"\nexport SAME=same\nlocal_only=1\n'
    )
    done = subprocess.run(
        ["bash", dynamic, script],
        env={"PATH": "/usr/bin:/bin", "GONE": "x", "SAME": "same"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == "a word for the user\n"
    env = sourced(done.stdout, tmp_path, "bash", {"GONE": "x"})
    assert env["HERE"].startswith(f"{script} ")
    assert env["LINES_OF"] == "a\nb" and env["GONE"] == ""
    assert "SAME" not in env and "local_only" not in env


def test_a_script_that_is_dynamic_is_named(tmp_path: Path) -> None:
    activation = Activation(scripts=("/containerize/etc/it's.sh",))
    text = sif_content.activation_script(activation, "/containerize", {})
    assert (
        "eval \"$(/bin/bash /.containerize/dynamic.sh '/containerize/etc/it'\"'\"'s.sh')\"" in text
    )


def test_the_runscript_runs_programs(tmp_path: Path) -> None:
    script = tmp_path / "runscript"
    script.write_text(sif_content.runscript())
    done = subprocess.run(
        ["sh", script, "printf", "%s|", "a b", "", "*"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "a b||*|"
    shell = subprocess.run(
        ["sh", script], input="echo $0 $((1+1))", capture_output=True, text=True, check=True
    )
    assert shell.stdout.endswith("2\n")


def test_labels_and_metadata_keep_the_base() -> None:
    labels = sif_content.labels({"org.base": "1", "x": "old"}, {"x": "new"})
    assert json.loads(labels) == {"org.base": "1", "x": "new"}
    texts = {sif_content.LABELS: labels, sif_content.ACTIVATE: "A", sif_content.RUNSCRIPT: "R"}
    base = '{"data": {"attributes": {"deffile": "d", "environment": {"a": "b"}}}, "type": "t"}'
    attributes = json.loads(sif_content.inspect_metadata(base, texts))["data"]["attributes"]
    assert attributes["deffile"] == "d" and attributes["runscript"] == "R"
    assert attributes["environment"] == {"a": "b", f"/{sif_content.ACTIVATE}": "A"}
    assert attributes["labels"]["x"] == "new"


@pytest.mark.parametrize("damaged", ["", "[]", "{", '{"data": 3}'])
def test_damaged_metadata_of_a_base_counts_as_none(damaged: str) -> None:
    texts = {sif_content.LABELS: "{}", sif_content.ACTIVATE: "A", sif_content.RUNSCRIPT: "R"}
    text = sif_content.inspect_metadata(damaged, texts)
    assert json.loads(text)["data"]["attributes"]["runscript"] == "R"
