"""What activation finds in a tree; ``tests/shell/test_activation.py`` runs its scripts."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from wrapper.activation.record import activation_scripts, conda_variables, package_variables
from wrapper.console import Console


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
