"""pip's inputs: our lock of them, and ``pyproject.toml``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from wrapper.errors import InputError
from wrapper.inputs.left_out import left_out
from wrapper.inputs.pip_lock import parse_requirements_lock, write_requirements_lock
from wrapper.inputs.project import project_lines
from wrapper.inputs.requirements import read_requirements
from wrapper.packages import LockedPackage
from wrapper.util import toml

SHA256 = "a" * 64
PATH = Path("/data/requirements.lock")


def package(name: str, version: str = "1.0") -> LockedPackage:
    url = f"https://host/{name}-{version}%2Blocal-py3-none-any.whl"
    return LockedPackage(manager="pip", name=name, version=version, url=url, sha256=SHA256)


# -- locks ---------------------------------------------------------------------------------------
def test_a_lock_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    packages = (package("alpha"), package("beta", "2.1+rocm5.7"))
    write_requirements_lock(packages[::-1], path)
    assert parse_requirements_lock(path.read_text(), path) == packages


def test_names_are_written_as_pip_compares_them(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    write_requirements_lock([package("My_Pkg.x")], path)
    assert path.read_text().splitlines()[1].startswith("my-pkg-x @ https://")


def test_repositories_and_directories_have_lines_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    packages = (
        replace(package("a"), url=f"git+https://host/a@{'1' * 40}", sha256=None),
        replace(package("b"), url=f"git+file:///b@{'2' * 40}#subdirectory=c", sha256=None),
        replace(package("c"), url="file:///data/my%20c", sha256=None, content="c" * 64),
        replace(package("d"), builder="setuptools==75.8.0", isolated=False),
        replace(package("e"), url=f"git+https://host/e@{'3' * 40}", sha256=None, isolated=False),
    )
    write_requirements_lock(packages, path)
    assert parse_requirements_lock(path.read_text(), path) == packages


def test_what_cannot_be_told_for_good_is_named(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    unknown = replace(package("My.Pkg"), sha256=None, url="")
    write_requirements_lock([package("b")], path, [unknown])
    assert parse_requirements_lock(path.read_text(), path) == (package("b"),)
    assert left_out(path.read_text()) == {"my-pkg": "my-pkg==1.0"}


def test_a_lock_of_files_is_one_for_pip_too(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    one = replace(package("a"), builder="setuptools==75.8.0", isolated=False)
    write_requirements_lock([one, package("b")], path, [package("c")])
    found = read_requirements([f"-r {path}"], tmp_path, "here")
    assert [(wanted.name, wanted.options) for wanted in found.packages] == [
        (name, (f"--hash=sha256:{SHA256}",)) for name in ("a", "b")
    ]


def test_a_lock_of_another_format_is_refused() -> None:
    with pytest.raises(InputError, match="another format"):
        parse_requirements_lock("# containerize lock of pip packages, format 1\na==1\n", PATH)


def test_other_requirements_are_no_lock() -> None:
    assert parse_requirements_lock("numpy==1.0\n", PATH) is None
    assert parse_requirements_lock("", PATH) is None


@pytest.mark.parametrize(
    "line",
    [
        "numpy==1.0",
        f"numpy @ https://host/x.whl --hash=sha256:{SHA256}",
        f"numpy @ https://host/x.whl --hash=sha256:{SHA256[:-1]} # 1.0",
        f"numpy @ https://host/x.whl --hash=md5:{SHA256} # 1.0",
        f"a @ https://host/a --hash=sha256:{SHA256} # 1 content=sha256:{SHA256}",
        "a @ git+https://host/a@main # 1",
        f"a @ git+https://host/a@{'1' * 40} --hash=sha256:{SHA256} # 1",
        "a @ https://host/a.whl # 1 no-build-isolation",
        "-r more.txt",
    ],
)
def test_a_line_that_is_not_a_locks_is_told_with_its_number(tmp_path: Path, line: str) -> None:
    path = tmp_path / "lock"
    write_requirements_lock([package("alpha")], path)
    text = f"{path.read_text()}# comment\n\n{line}\n"
    with pytest.raises(InputError, match="is not a line of a lock") as caught:
        parse_requirements_lock(text, PATH)
    assert caught.value.where == f"{PATH}, line 5"


# -- pyproject.toml ------------------------------------------------------------------------------
PROJECT = """\
[project]
name = "demo"
dependencies = ["numpy>=1", "scipy; python_version > '3'"]
[project.optional-dependencies]
plot = ["matplotlib"]
[dependency-groups]
test = ["pytest", { include-group = "lint" }]
lint = ["ruff"]
"""


def lines(folder: Path, text: str, extras: tuple[str, ...] = (), *groups: str) -> tuple[str, ...]:
    path = folder / "pyproject.toml"
    path.write_text(text)
    return project_lines(path, extras, groups)


def test_dependencies_extras_and_groups(tmp_path: Path) -> None:
    plain = ("numpy>=1", "scipy; python_version > '3'")
    assert lines(tmp_path, PROJECT) == plain
    assert lines(tmp_path, PROJECT, ("plot",)) == (*plain, "matplotlib")
    assert lines(tmp_path, PROJECT, (), "test") == (*plain, "pytest", "ruff")


def test_a_project_may_need_nothing(tmp_path: Path) -> None:
    assert lines(tmp_path, "[project]\nname = 'x'\n") == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[tool.x]\na = 1\n", "has no [project] table"),
        ("project = 1\n", "has no [project] table"),
        ("[project\n", "is not valid TOML"),
        ("[project]\ndependencies = 'numpy'\n", "must be a list of strings"),
        ("[project]\ndependencies = [1]\n", "must be a list of strings"),
    ],
)
def test_a_file_that_is_no_projects(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        lines(tmp_path, text)
    assert message in caught.value.what
    assert caught.value.where == str(tmp_path / "pyproject.toml")


def test_extras_and_groups_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no extra 'plto'") as caught:
        lines(tmp_path, PROJECT, ("plto",))
    assert "plot" in caught.value.hint
    with pytest.raises(InputError, match="has no dependency group 'docs'") as caught:
        lines(tmp_path, PROJECT, (), "docs")
    assert "test, lint" in caught.value.hint


def test_sections_that_are_none(tmp_path: Path) -> None:
    text = "[project]\noptional-dependencies = 5\n"
    with pytest.raises(InputError, match="has no extra 'plot'"):
        lines(tmp_path, text, ("plot",))
    with pytest.raises(InputError, match="has no dependency group 'test'"):
        lines(tmp_path, f"dependency-groups = ['test']\n{text}", (), "test")


@pytest.mark.parametrize(
    "group",
    [
        'a = [{ include-group = "a" }]',
        'a = [{ include-group = "b" }]\nb = [{ include-group = "a" }]',
        'a = [{ other = "b" }]',
        "a = [1]",
        'a = "numpy"',
    ],
)
def test_groups_that_make_no_sense(tmp_path: Path, group: str) -> None:
    text = f"[project]\n[dependency-groups]\n{group}\n"
    with pytest.raises(InputError) as caught:
        lines(tmp_path, text, (), "a")
    assert caught.value.where == str(tmp_path / "pyproject.toml")


def test_toml_mistakes_have_a_place(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text("a = 1\nb = \n")
    with pytest.raises(InputError, match="line 2, column 5"):
        toml.load(path)
    assert toml.loads("a = 1") == {"a": 1}
