"""What lies in an image of ``containerize build``, run as a runtime does: sourced by a shell."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import pytest

from tests.activation import (
    activation,
    appends,
    copies,
    defaults,
    dynamic,
    prepends,
    recorded,
    sets,
    unsets,
)
from wrapper.gpu import Setting, Settings
from wrapper.images.sif import content as sif_content
from wrapper.manifest import MpiRecord

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
    script = recorded(
        *(prepends("XDG_DATA_DIRS", "/containerize/share"), prepends("NEW_PATH", HOSTILE)),
        *(appends("LAST", HOSTILE), appends("PATH", "/containerize/last")),
        *(sets("B", HOSTILE, "-A"), defaults("A", "1"), unsets("GONE")),
        *(copies("SAVED", "DATA"), sets("DATA", "/containerize/data")),
    )
    given = {"CONDA_PREFIX": "/containerize", "HOSTILE": HOSTILE, "EMPTY": ""}
    text = sif_content.activation_script(activation(script, **given), "/containerize", {})
    before = {"XDG_DATA_DIRS": "/usr/share", "GONE": "x", "CONDA_PREFIX": "/host/conda"}
    before |= {"LAST": "first", "DATA": HOSTILE}
    env = sourced(text, tmp_path, shell, before)
    assert env["PATH"] == "/containerize/bin:/usr/bin:/bin:/containerize/last"
    assert (env["LAST"], env["SAVED"]) == (f"first:{HOSTILE}", HOSTILE)
    assert env["DATA"] == "/containerize/data"
    assert env["CONDA_PREFIX"] == "/containerize"
    assert env["HOSTILE"] == env["NEW_PATH"] == env["B"] == HOSTILE
    assert env["XDG_DATA_DIRS"] == "/containerize/share:/usr/share"
    assert env["EMPTY"] == env["GONE"] == ""
    assert env["WITH_CONDA"] == env["WITH_CONDA_VENV"] == env["WITH_VENV"] == "true"
    assert env["PYTHONNOUSERSITE"] == "1"


@pytest.mark.parametrize("shell", ["bash", "dash"])
def test_what_the_user_set_stays(tmp_path: Path, shell: str) -> None:
    script = recorded(defaults("A", "1"))
    inherited = {"PYTHONPATH": "/opt/it's", "VIRTUAL_ENV": "/opt/venv"}
    text = sif_content.activation_script(activation(script), "/containerize", inherited)
    before = {"A": "mine", "PYTHONNOUSERSITE": "", "PYTHONPATH": "/mine"}
    env = sourced(text, tmp_path, shell, {**before, "VIRTUAL_ENV": "/opt/venv"})
    assert env["A"] == "mine" and env["PYTHONNOUSERSITE"] == ""
    assert env["PYTHONPATH"] == "/mine" and env["VIRTUAL_ENV"] == ""
    base = sourced(text, tmp_path, shell, {"PYTHONPATH": "/opt/it's"})
    assert base["PYTHONPATH"] == "", "the base image's own Python path reaches no further"


def test_dynamic_scripts_are_run_by_bash(tmp_path: Path) -> None:
    sourcing = tmp_path / "dynamic.sh"
    sourcing.write_text(sif_content.dynamic_script())
    script = tmp_path / "a b.sh"
    script.write_text(
        'echo "a word for the user"\nexport HERE="${BASH_SOURCE[0]} $$"\nunset GONE\n'
        'export LINES_OF="a\nb"\nexport SAME=same\nlocal_only=1\nexport QUOTES=" it\\\'s"\n'
    )
    done = subprocess.run(
        ["bash", sourcing, "", tmp_path / "none.sh", "1", script],
        env={"PATH": "/usr/bin:/bin", "GONE": "x", "SAME": "same"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == "a word for the user\n"
    env = sourced(done.stdout, tmp_path, "bash", {"GONE": "x"})
    assert env["HERE"].startswith(f"{script} ")
    assert env["LINES_OF"] == "a\nb" and env["GONE"] == "" and env["QUOTES"] == " it\\'s"
    assert "\\ " not in done.stdout, "the runtime's interpreter takes a backslash for one"
    assert "SAME" not in env and "local_only" not in env


def test_the_users_variables_are_brought_back_where_they_are_asked_for(tmp_path: Path) -> None:
    """The runtime puts them aside; ``tests/e2e/test_sif.py`` has a real one."""
    script = recorded(copies("SAVED", "DATA"), sets("DATA", "/d"), defaults("A", "1"), unsets("U"))
    text = sif_content.activation_script(activation(script), "/containerize", {})
    aside = "DATA=it's $HOME\\u000A*\nU=u\nBASH_FUNC_x%%=() { :; }\nOTHER=o\nPATH=/host"
    env = sourced(text, tmp_path, "bash", {"__exported_env__": aside, "A": "image"})
    assert (env["SAVED"], env["DATA"], env["A"]) == ("it's $HOME\n*", "/d", "image")
    assert env["U"] == "", "by which the runtime knows what is to be removed"
    assert "OTHER" not in env and env["PATH"].startswith("/containerize/bin:/usr/bin")
    assert "U" not in sourced(text, tmp_path, "dash")


@pytest.mark.parametrize("shell", ["bash", "dash"])
@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({}, ["1", "/it's.sh", "", "/b.sh", "", "/c.sh"]),
        ({"B": ""}, ["1", "/it's.sh", "1", "/b.sh", "1", "/c.sh"]),
        ({"E": ""}, ["1", "/it's.sh", "", "/b.sh", "1", "/c.sh"]),
        ({"E": "x"}, ["1", "/it's.sh", "", "/b.sh", "", "/c.sh"]),
    ],
)
def test_scripts_are_sourced_where_they_have_to_be(
    tmp_path: Path, shell: str, env: dict[str, str], words: list[str]
) -> None:
    scripts = (
        dynamic("/it's.sh"),
        recorded(sets("B", "recorded"), path="/b.sh", unless=("A", "B")),
        recorded(sets("C", "recorded"), path="/c.sh", unless_empty=("E",), after=(1,)),
        recorded(sets("D", "recorded"), path="/d.sh"),
    )
    text = sif_content.activation_script(activation(*scripts), "/containerize", {})
    fake = tmp_path / "bash"
    fake.write_text("#!/bin/sh\nshift; printf 'export WORDS=\"'; printf '%s|' \"$@\"; echo '\"'\n")
    fake.chmod(0o755)
    seen = sourced(text.replace("/bin/bash /.cont", f"{fake} /.cont"), tmp_path, shell, env)
    assert seen["WORDS"].split("|")[:-1] == words
    given = {name: seen.get(name) == "recorded" for name in "BCD"}
    assert given == {"B": words[2] == "", "C": words[4] == "", "D": True}
    assert not [name for name in seen if name.startswith("_cw")]


@pytest.mark.parametrize("shell", ["bash", "dash"])
def test_the_hosts_mpi_comes_first_where_its_root_is_bound(
    tmp_path: Path, shell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sif_content, "HOST_ROOT", f"{tmp_path}/it's")
    mpi = MpiRecord(kind="host", directory="mpi-1", library="/libmpi.so.12", variables={"A": "^b"})
    script = recorded(prepends("LD_LIBRARY_PATH", "/containerize/lib"))
    text = sif_content.activation_script(activation(script), "/containerize", {}, mpi=mpi)
    env = sourced(text, tmp_path, shell, {"LD_LIBRARY_PATH": "/base"})
    assert (env["LD_LIBRARY_PATH"], env.get("A")) == ("/containerize/lib:/base", None)
    (tmp_path / "it's").mkdir()
    (tmp_path / "it's/libmpi.so.12").touch()
    env = sourced(text, tmp_path, shell, {"LD_LIBRARY_PATH": "/base"})
    assert env["LD_LIBRARY_PATH"] == "/.containerize/mpi-1:/containerize/lib:/base"
    assert env["A"] == "^b"
    assert sourced(text, tmp_path, shell, {"A": ""})["A"] == ""
    own = MpiRecord(kind="container", variables={"A": "^b"})
    text = sif_content.activation_script(activation(), "/containerize", {}, mpi=own)
    env = sourced(text, tmp_path, shell)
    assert env["A"] == "^b" and "LD_LIBRARY_PATH" not in env


def test_without_scripts_to_source_no_bash_is_needed() -> None:
    text = sif_content.activation_script(activation(recorded(sets("A", "1"))), "/c", {})
    assert "/bin/bash" not in text


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


# -- where GPUs are ------------------------------------------------------------------------------
def test_caches_of_gpu_programs_are_the_jobs_own(tmp_path: Path) -> None:
    """bash knows UID, as the runtime's interpreter does."""
    (tmp_path / "kfd").touch()
    names = [("A_CACHE", "{cache}/a", ""), ("NET", "hsn", str(tmp_path / "hsn0")), ("X", "1", "")]
    settings = [
        Setting(name=name, value=value, where=where, why="", source="", read=date(2026, 1, 1))
        for name, value, where in names
    ]
    text = sif_content.activation_script(
        activation(),
        "/containerize",
        {},
        gpu=Settings(
            device=str(tmp_path / "kfd"),
            cache=str(tmp_path),
            folders=("a", "a/b"),
            settings=tuple(settings),
        ),
    )
    job = {"__exported_env__": "SLURM_JOB_ID=12\nX=mine"}
    env = sourced(text, tmp_path, "bash", job)
    cache = tmp_path / f"containerize.{os.getuid()}.12"
    assert env["A_CACHE"] == f"{cache}/a" and (cache / "a/b").is_dir()
    assert cache.stat().st_mode & 0o777 == 0o700
    assert "NET" not in env and env["X"] == "mine"
    (cache / "a/b").rmdir()
    assert "A_CACHE" in sourced(text, tmp_path, "bash", job) and (cache / "a/b").is_dir()
    cache.chmod(0o777)  # somebody else may have been at it
    (cache / "a/b").rmdir()
    (cache / "a").rmdir()
    victim = tmp_path / "victim"
    victim.mkdir()
    (cache / "a").symlink_to(victim)
    (tmp_path / "hsn0").touch()
    env = sourced(text, tmp_path, "bash", job)
    assert "A_CACHE" not in env and env["NET"] == "hsn"
    assert not list(victim.iterdir())
    (tmp_path / "kfd").unlink()
    assert not {"A_CACHE", "NET"} & sourced(text, tmp_path, "bash", job).keys()


@pytest.mark.parametrize("there", ["a", "z/y"])
def test_every_folder_that_is_missing_is_made(tmp_path: Path, there: str) -> None:
    gpu = Settings(device="/dev/null", cache=str(tmp_path), folders=("a", "z/y"))
    cache = tmp_path / f"containerize.{os.getuid()}"
    cache.mkdir(mode=0o700)
    (cache / there).mkdir(parents=True)
    sourced(sif_content.activation_script(activation(), "/c", {}, gpu=gpu), tmp_path, "bash")
    assert (cache / "a").is_dir() and (cache / "z/y").is_dir()


def test_an_image_that_sets_all_places_itself_needs_none(tmp_path: Path) -> None:
    gpu = Settings(device="/dev/null", cache=str(tmp_path))
    assert sourced(sif_content.activation_script(activation(), "/c", {}, gpu=gpu), tmp_path, "bash")


def test_runscripts_are_on_path_after_the_environment(tmp_path: Path) -> None:
    text = sif_content.activation_script(activation(), "/containerize", {}, scripts=True)
    path = sourced(text, tmp_path, "dash")["PATH"]
    assert path == "/containerize/bin:/usr/bin:/bin:/runscripts"


def test_run_goes_by_the_bases_entry_point(tmp_path: Path) -> None:
    entry = tmp_path / "its entry"
    entry.write_text('#!/bin/sh\nSET=1 exec "$@"\n')
    entry.chmod(0o755)
    script = tmp_path / "runscript"
    script.write_text(sif_content.runscript((str(entry),)))
    words = ["sh", script, "sh", "-c", 'echo "$SET $1"', "-", "a b"]
    assert subprocess.check_output(words, text=True) == "1 a b\n"
    assert sif_content.runscript(("/.singularity.d/runscript",)) == sif_content.runscript()
