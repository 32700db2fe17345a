"""Locks of other tools as inputs: pixi's, uv's, PEP 751's; and files that need their tool."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from wrapper import inputs as spec
from wrapper.build import inputs
from wrapper.console import Console
from wrapper.errors import InputError
from wrapper.inputs.pylock import parse_pylock
from wrapper.packages import LockedPackage
from wrapper.requests import NewPipRequest
from wrapper.util import toml

CHANNEL = "https://conda.anaconda.org/conda-forge"
PYTHON = f"{CHANNEL}/linux-64/python-3.11.2-h_0_cpython.conda"
ZONES = f"{CHANNEL}/noarch/tzdata-2024b-h_0.conda"
TABULATE = "https://index.example/tabulate-0.9.0-py3-none-any.whl"
COMMIT = "0123456789" * 4
REPOSITORY = f"git+https://host.example/y.git?subdirectory=s&rev=main#{COMMIT}"

PIXI = f"""\
version: 6
environments:
  default:
    channels:
    - url: {CHANNEL}/
    indexes:
    - https://index.example/simple
    packages:
      linux-64:
      - conda: {PYTHON}
      - conda: {ZONES}
      - pypi: {TABULATE}
      - pypi: {REPOSITORY}
      - pypi: ./
      osx-arm64:
      - conda: {ZONES}
packages:
- conda: {PYTHON}
  sha256: {"a" * 64}
  md5: {"a" * 32}
  depends:
  - tzdata
  size: 1000
- conda: {ZONES}
  sha256: {"b" * 64}
  md5: {"b" * 32}
- pypi: {TABULATE}
  name: tabulate
  version: 0.9.0
  sha256: {"c" * 64}
- pypi: {REPOSITORY}
  name: y
  version: 0.8.0
- pypi: ./
  name: app
  version: 0.1.0
  sha256: {"d" * 64}
  editable: true
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    def write(name: str, text: str) -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


# -- pixi ------------------------------------------------------------------------------------------
def test_pixis_default_environment_is_installed_as_it_is_locked(
    write: Callable[[str, str], Path],
) -> None:
    found = spec.read_spec(write("pixi.lock", PIXI))
    packages = {package.name: package for package in found.locked or ()}
    assert packages == {
        "python": LockedPackage(
            manager="conda",
            name="python",
            version="3.11.2",
            build="h_0_cpython",
            url=PYTHON,
            sha256="a" * 64,
            md5="a" * 32,
            depends=("tzdata",),
            size=1000,
        ),
        "tzdata": LockedPackage(
            manager="conda",
            name="tzdata",
            version="2024b",
            build="h_0",
            url=ZONES,
            sha256="b" * 64,
            md5="b" * 32,
        ),
        "tabulate": LockedPackage(
            manager="pip", name="tabulate", version="0.9.0", url=TABULATE, sha256="c" * 64
        ),
        "y": LockedPackage(
            manager="pip",
            name="y",
            version="0.8.0",
            url=f"git+https://host.example/y.git@{COMMIT}#subdirectory=s",
        ),
    }
    assert found.pip_lines == ("./",), "a directory is built where the lock lies"
    assert found.channels == (f"{CHANNEL}/",) and not found.warnings


def test_what_a_lock_of_pixi_has_no_hash_of_is_told(write: Callable[[str, str], Path]) -> None:
    text = PIXI.replace(f"  sha256: {'c' * 64}\n", "")
    found = spec.read_spec(write("pixi.lock", text))
    assert [w for w in found.warnings if "no hash to check for tabulate" in w]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("version: 6", "version: 99", "is not a lock of pixi"),
        ("  default:", "  cuda:\n    channels: []\n    packages: {}\n  gpu:", "but: cuda, gpu"),
        ("linux-64:\n", "linux-aarch64:\n", "no packages for linux-64"),
    ],
)
def test_locks_of_pixi_that_cannot_be_used(
    write: Callable[[str, str], Path], old: str, new: str, message: str
) -> None:
    with pytest.raises(InputError) as caught:
        spec.read_spec(write("pixi.lock", PIXI.replace(old, new, 1)))
    assert message in caught.value.what


# -- pylock.toml and uv.lock -----------------------------------------------------------------------
PYLOCK = f"""\
lock-version = "1.0"
requires-python = ">=3.9"
extras = ["x"]
created-by = "uv"

[[packages]]
name = "tabulate"
version = "0.9.0"
marker = "python_full_version >= '3.10'"
wheels = [
    {{ url = "{TABULATE}", upload-time = 2022-10-25T02:36:20Z, hashes = {{ sha256 = "3" }} }},
]

[[packages]]
name = "common"
directory = {{ path = "common", editable = true }}

[[packages]]
name = "own"
version = "1"
sdist = {{ path = "w/own-1.tar.gz", hashes = {{ sha256 = "5" }} }}

[[packages]]
name = "y"
vcs = {{ type = "git", url = "https://host.example/y.git", commit-id = "{COMMIT}" }}
"""

UV = f"""\
version = 1
revision = 3
requires-python = ">=3.9"

[manifest]
members = ["app", "member"]

[[package]]
name = "app"
version = "1"
source = {{ editable = "." }}
dependencies = [{{ name = "member" }}, {{ name = "tabulate" }}]

[package.optional-dependencies]
x = [{{ name = "six" }}]

[package.metadata]
requires-dist = [
    {{ name = "member", editable = "member" }},
    {{ name = "tabulate" }},
    {{ name = "six", marker = "extra == 'x'" }},
]
provides-extras = ["x"]

[[package]]
name = "member"
version = "1"
source = {{ editable = "member" }}

[[package]]
name = "six"
version = "1.16.0"
source = {{ registry = "https://index.example/simple" }}
wheels = [
    {{ url = "https://index.example/six-1.16.0-py2.py3-none-any.whl", hash = "sha256:{"e" * 64}" }},
]

[[package]]
name = "tabulate"
version = "0.9.0"
source = {{ registry = "https://index.example/simple" }}
wheels = [
    {{ url = "{TABULATE}", hash = "sha256:{"c" * 64}" }},
]
"""


PROJECT = """\
[project]
name = "app"
version = "1"
dependencies = ["tabulate", "member"]
[project.optional-dependencies]
x = ["six"]
[tool.uv.workspace]
members = ["member"]
[tool.uv.sources]
member = { workspace = true }
"""


def test_a_pylock_for_uv_has_absolute_paths_and_copies(
    write: Callable[[str, str], Path], tmp_path: Path
) -> None:
    (tmp_path / "common").mkdir()
    write("common/setup.py", "")
    path = write("pylock.toml", PYLOCK)
    lock = parse_pylock(PYLOCK, path, ["x", "y"], ["dev"])
    assert (lock.extras, lock.groups) == (("x",), ())
    assert lock.directories == [tmp_path / "w/own-1.tar.gz", tmp_path / "common"]
    assert lock.repositories == ["y"] and lock.without_hash == ["common", "y"]
    data = toml.loads(lock.text(lambda place: tmp_path / "copies" / place.name))
    assert data["requires-python"] == ">=3.9" and data["extras"] == ["x"]
    tabulate, common, own, y = data["packages"]
    expected = toml.loads(PYLOCK)["packages"]
    del expected[0]["wheels"][0]["upload-time"]
    assert (tabulate, y) == (expected[0], expected[3])
    assert common["directory"] == {"path": str(tmp_path / "copies/common"), "editable": False}
    assert own["sdist"]["path"] == str(tmp_path / "w/own-1.tar.gz")
    assert [p["name"] for p in lock.without(["y", "common"]).packages] == ["tabulate", "own"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('lock-version = "2.0"\n', "not a pylock.toml of version 1"),
        ('lock-version = "1.0"\npackages = 1\n', "not a pylock.toml of version 1"),
        ('lock-version = "1.0"\n[[packages]]\nversion = "1"\n', "has no name"),
        ('lock-version = "1.0"\n[[packages]]\nname = "a"\n', "where a is from"),
        ('lock-version = "1.0"\n[[packages]]\nname = "a"\nsdist = 1\n', "where a is from"),
        ('lock-version = "1.0"\n[[packages]]\nname = "a"\nsdist = {path = 1}\n', "cannot be"),
        (
            'lock-version = "1.0"\n[[packages]]\nname = "a"\ndirectory = {path = "."}\n',
            "no Python project",
        ),
    ],
)
def test_pylocks_that_cannot_be_used(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_pylock(text, tmp_path / "pylock.toml")
    assert message in caught.value.what


def test_a_lock_of_uv_is_read_with_the_extras_that_are_asked_for(
    write: Callable[[str, str], Path], console: Console
) -> None:
    path = write("uv.lock", UV)
    with pytest.raises(InputError) as caught:  # of older revisions uv wants to see the project
        inputs.read(NewPipRequest(prefix=Path("p"), requirements=(path,)), console)
    assert "beside its pyproject.toml" in caught.value.hint
    write("pyproject.toml", PROJECT)
    (path.parent / "member").mkdir()
    write("member/pyproject.toml", '[project]\nname = "member"\nversion = "1"\n')
    for extras, names in (((), ["tabulate"]), (("x",), ["six", "tabulate"])):
        request = NewPipRequest(prefix=Path("p"), requirements=(path,), extras=extras)
        found = inputs.read(request, console)
        assert [f"{f.path.parent.name}/{f.name}" for f in found.files] == [
            f"{path.parent.name}/uv.lock",
            f"{path.parent.name}/pyproject.toml",
            "member/pyproject.toml",
        ]
        (lock,) = found.requirements.locks
        assert sorted(package["name"] for package in lock.packages) == ["member", *names]
        assert lock.directories == [path.parent / "member"]
    with pytest.raises(InputError, match=r"uv cannot read uv\.lock") as caught:
        request = NewPipRequest(prefix=Path("p"), requirements=(path,), extras=("nope",))
        inputs.read(request, console)
    assert "nope" in caught.value.detail


def test_hashes_can_be_required_of_a_pylock(
    write: Callable[[str, str], Path], console: Console
) -> None:
    lock = write("pylock.toml", PYLOCK[: PYLOCK.index('[[packages]]\nname = "common"')])
    request = NewPipRequest(prefix=Path("p"), requirements=(lock,), require_hashes=True)
    assert inputs.read(request, console).requirements.locks
    lock.write_text(PYLOCK[: PYLOCK.index("wheels =")] + f'wheels = [{{url = "{TABULATE}"}}]\n')
    with pytest.raises(InputError, match="there is none of tabulate"):
        inputs.read(request, console)


# -- files that need their tool, or another command of ours ----------------------------------------
OTHERS = {
    "pixi.toml": (
        '[workspace]\nchannels = ["c"]\n[dependencies]\npython = "3.11.*"\n',
        "pixi lock",
    ),
    "old.toml": ('[project]\nname = "x"\n[dependencies]\npython = "3.11.*"\n', "pixi lock"),
    "pyproject.toml": ('[tool.poetry]\nname = "x"\n', "poetry export"),
    "poetry.lock": (
        "# This file is automatically @generated by Poetry 2.1.3 and …\n",
        "poetry export",
    ),
    "pdm.lock": ("# This file is @generated by PDM.\n", "pdm export"),
    "Pipfile": ('[[source]]\nurl = "u"\n[packages]\nsix = "*"\n', "pipenv requirements"),
    "Pipfile.lock": ('{\n    "_meta": {\n        "hash": {}\n', "pipenv requirements"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_files_that_need_their_tool_are_told_with_its_command(
    name: str, write: Callable[[str, str], Path], console: Console
) -> None:
    text, command = OTHERS[name]
    path = write(name, text)
    with pytest.raises(InputError) as caught:
        spec.read_spec(path)
    assert command in caught.value.hint
    with pytest.raises(InputError) as caught:
        inputs.read(NewPipRequest(prefix=Path("p"), requirements=(path,)), console)
    assert command in caught.value.hint


def test_a_project_of_pixi_is_one_for_pip_too(
    write: Callable[[str, str], Path], console: Console
) -> None:
    text = '[project]\nname = "x"\ndependencies = ["six"]\n[tool.pixi.dependencies]\na = "*"\n'
    path = write("pyproject.toml", text)
    with pytest.raises(InputError) as caught:
        spec.read_spec(path)
    assert "pixi lock" in caught.value.hint
    inputs.read(NewPipRequest(prefix=Path("p"), requirements=(path,)), console)


def test_locks_for_the_other_command(write: Callable[[str, str], Path], console: Console) -> None:
    for name, text in (("pylock.toml", PYLOCK), ("uv.lock", UV)):
        with pytest.raises(InputError, match="locks pip packages") as caught:
            spec.read_spec(write(name, text))
        assert "pip-containerize" in caught.value.hint
    with pytest.raises(InputError, match="describes a conda environment"):
        path = write("pixi.lock", PIXI)
        inputs.read(NewPipRequest(prefix=Path("p"), requirements=(path,)), console)
