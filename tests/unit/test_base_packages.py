"""What a base's Python has, as a solver is told of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from importlib.resources import files
from pathlib import Path

import pytest

from wrapper.reuse.packages import STUB_MARK, BasePackage, BasePython, conflict


def base(**requires: tuple[str, ...]) -> BasePython:
    packages = {
        name: BasePackage(name=name, version="1.0", requires=needs, size=10)
        for name, needs in requires.items()
    }
    return BasePython(executable="/opt/venv/bin/python3", version="3.11.2", packages=packages)


def test_constraints_name_stubs_with_nothing_but_metadata(tmp_path: Path) -> None:
    python = BasePython(
        executable="/x",
        version="3.11.2",
        packages={
            "torch-vision": BasePackage(
                name="Torch_Vision",
                version="2.7.1+rocm6.2.4",
                requires=("numpy", 'more>1; extra == "all"'),
            )
        },
    )
    (line,) = python.constraints(tmp_path / "stubs")
    name, _, url = line.partition(" @ ")
    assert name == "torch-vision"
    with zipfile.ZipFile(url.removeprefix("file://").replace("%2B", "+")) as stub:
        info = "torch_vision-2.7.1+rocm6.2.4.dist-info"
        assert {Path(n).parent.name for n in stub.namelist()} == {info}
        metadata = stub.read(f"{info}/METADATA").decode().splitlines()
        assert STUB_MARK in stub.read(f"{info}/WHEEL").decode()
    assert "Version: 2.7.1+rocm6.2.4" in metadata
    assert "Provides-Extra: all" in metadata
    needs = [x for x in metadata if x.startswith("Requires-Dist")]
    assert needs == ['Requires-Dist: more>1; extra == "all"'], "its own needs are the base's"


def test_what_the_base_lacks_has_to_fit_it(tmp_path: Path) -> None:
    needs = ("gone>=2", "b>5", "any", "other<1; python_version < '3'", "not a requirement !")
    lines = base(a=needs, b=()).constraints(tmp_path)
    assert [line for line in lines if " @ " not in line] == ["gone>=2"]


def test_a_version_that_no_index_could_have_is_left_out(tmp_path: Path) -> None:
    old = BasePackage(name="python-apt", version="2.6.0-debian+x_y z")
    python = BasePython(executable="/x", version="3.11", packages={"python-apt": old})
    assert python.constraints(tmp_path) == []


def test_what_is_needed_by_what_is_used_counts_too() -> None:
    python = base(a=("b>0", 'd; extra == "x"'), b=("C", "a"), c=(), d=())
    assert python.needed_by(["a", "unknown"]) == {"a", "b", "c"}


def test_a_conflict_names_the_base_s_package() -> None:
    text = "Because only torch<2 is available and you require torch>=2, we can conclude"
    python = base(torch=(), numpy=())
    error = conflict(python.named_in(text), text)
    assert error.what == "the requirements do not fit what the base image has: torch 1.0"
    assert "--reuse-base" in error.hint


LARGE = "print(3)\n" * 20_000


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """A virtual environment with a package, whose scripts name its Python in two ways."""
    root = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", root], check=True)
    site = next(root.glob("lib/python3*/site-packages"))
    info = site / "Demo_Pkg-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: Demo_Pkg\nVersion: 1.5\nRequires-Dist: other\n")
    (site / "demo_pkg.py").write_text("x = 1\n")
    (info / "RECORD").write_text("demo_pkg.py,,\n")
    for name, module in (("Bare-Pkg", "bare_pkg/__init__.py"), ("Single", "Single.py")):
        bare = site / f"{name}-1.0.egg-info"  # as Debian's: no list of files
        bare.mkdir()
        (bare / "PKG-INFO").write_text(f"Name: {name}\nVersion: 1.0\n")
        (site / module).parent.mkdir(exist_ok=True)
        (site / module).write_text("x = 10\n")
    scripts = {
        "plain": f"#!{root}/bin/python3\nprint(1)\n",
        "long": f"#!/bin/sh\n'''exec' \"{root}/bin/python\" \"$0\" \"$@\"\n' '''\nprint(2)\n",
        "shell": "#!/bin/sh\necho\n",
        "large": f"#! {root}/bin/python3 -s\n{LARGE}",
    }
    for name, text in scripts.items():
        (root / "bin" / name).write_text(text)
        (root / "bin" / name).chmod(0o755)
    return root


def test_a_python_tells_what_it_has(venv: Path, tmp_path: Path) -> None:
    script = str(files("wrapper") / "templates" / "base-python.py")
    own = tmp_path / "own"
    own.mkdir()
    env = {**os.environ, "PYTHONPATH": f"{own}:/nowhere"}
    answer = tmp_path / "answer"
    subprocess.run(
        [venv / "bin/python3", "-s", script, answer, tmp_path / "r"], check=True, env=env
    )
    python = BasePython.from_answer(json.loads(answer.read_text()), tmp_path / "r")
    assert python.executable == str(venv / "bin/python3")
    assert python.python_path == (str(own),)
    assert python.sites == (str(next(venv.glob("lib/python3*/site-packages"))),)
    assert python.packages["demo-pkg"] == BasePackage(
        name="Demo_Pkg", version="1.5", requires=("other",), size=6
    )
    assert [python.packages[name].size for name in ("bare-pkg", "single")] == [7, 7]
    assert python.scripts == {"plain": "print(1)\n", "long": "print(2)\n", "large": LARGE}
    assert python.programs == {"shell": f"{venv}/bin/shell"}
    assert python.conda is None
