"""What a base's Python has, as a solver is told of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from tests.unit.conftest import Program
from wrapper.base_python.packages import STUB_MARK, BasePackage, BasePython, conflict
from wrapper.base_python.session import ask_base
from wrapper.console import Console
from wrapper.errors import InputError
from wrapper.runtime.container import BuildContainer
from wrapper.runtime.runtime import Runtime


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
    ((name, path),) = python.stubs(tmp_path / "stubs").items()
    assert name == "torch-vision"
    with zipfile.ZipFile(path) as stub:
        info = "torch_vision-2.7.1+rocm6.2.4.dist-info"
        assert {Path(n).parent.name for n in stub.namelist()} == {info}
        metadata = stub.read(f"{info}/METADATA").decode().splitlines()
        assert STUB_MARK in stub.read(f"{info}/WHEEL").decode()
    assert "Version: 2.7.1+rocm6.2.4" in metadata
    assert "Provides-Extra: all" in metadata
    needs = [x for x in metadata if x.startswith("Requires-Dist")]
    assert needs == ['Requires-Dist: more>1; extra == "all"'], "its own needs are the base's"


def test_what_the_base_lacks_has_to_fit_it() -> None:
    needs = ("gone>=2", "b>5", "any", "other<1; python_version < '3'", "not a requirement !")
    assert base(a=needs, b=()).limits() == ["gone>=2"]


def test_a_version_that_no_index_could_have_is_left_out(tmp_path: Path) -> None:
    old = BasePackage(name="python-apt", version="2.6.0-debian+x_y z")
    python = BasePython(executable="/x", version="3.11", packages={"python-apt": old})
    assert python.stubs(tmp_path) == {}


def test_triton_is_there_where_one_for_rocm_is(tmp_path: Path) -> None:
    """Under a name of its own, with the same modules: an index's would come before them."""
    name = "pytorch-triton-rocm"
    package = BasePackage(name=name, version="3.2.0+git1", requires=("x; extra == 'y'",))
    torch = BasePackage(name="torch", version="2.7.1+rocm6.2.4", requires=("triton==3.9",))
    packages = {name: package, "torch": torch}
    python = BasePython(executable="/x", version="3.11", packages=packages)
    stubs = python.stubs(tmp_path / "stubs")
    assert stubs["triton"].name == "triton-3.2.0+git1-py3-none-any.whl"
    assert python.limits() == [], "the base's torch has what it needs"
    assert python.needed_by(["triton"]) == {name}
    both = {**packages, "triton": BasePackage(name="triton", version="3.1")}
    python = BasePython(executable="/x", version="3.11", packages=both)
    assert "triton-3.1-" in python.stubs(tmp_path / "stubs")["triton"].name


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


@pytest.mark.parametrize("closed", ["", "conda-meta", "conda-meta/b-1.json", "conda-meta/state"])
def test_what_is_roots_alone_in_a_conda_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed: str
) -> None:
    """rattler writes its records so, and the kernel enforces it where it mounts the image."""
    root = tmp_path / "sci"
    for name, text in {"a-1.json": "{}", "b-1.json": "{}", "history": "", "state": "{}"}.items():
        (root / "conda-meta").mkdir(parents=True, exist_ok=True)
        (root / "conda-meta" / name).write_text(text)
    access = os.access
    beginning = str(root / closed) if closed else "nothing"
    monkeypatch.setattr(
        os, "access", lambda path, mode: not str(path).startswith(beginning) and access(path, mode)
    )
    script = (files("wrapper") / "templates" / "base-python.py").read_text()
    functions: dict[str, Any] = {}
    exec(script.rpartition("\nmain(")[0], functions)
    assert functions["is_conda"](str(root))
    part = functions["conda_part"](str(root), str(tmp_path / "records"))
    copied = {"": 2, "conda-meta": 0, "conda-meta/b-1.json": 1, "conda-meta/state": 2}
    assert len([*(tmp_path / "records").iterdir()]) == copied[closed]
    assert part["closed"] is (copied[closed] < 2)


CONDA = {"root": "/opt/sci", "closed": True, "activation": [], "variables": {}, "libraries": []}
ANSWER = {
    **{"executable": "/opt/sci/bin/python3", "version": "3.11.2", "library": "", "packages": {}},
    **{"python_path": [], "sites": [], "scripts": {}, "programs": {}, "conda": CONDA},
}


def test_records_that_are_roots_alone_are_read_from_the_image(
    program: Program, console: Console, tmp_path: Path
) -> None:
    meta, scratch = tmp_path / "image/opt/sci/conda-meta", tmp_path / "scratch"
    for folder in (tmp_path / "image/usr", meta, scratch):
        folder.mkdir(parents=True)
    (tmp_path / "answer").write_text(json.dumps(ANSWER))
    answer = f"cp {tmp_path}/answer {scratch}/base-python.json; mkdir -p {scratch}/base-records"
    container = BuildContainer(
        runtime=Runtime(path=program("apptainer", answer), name="apptainer", version="1.4.5"),
        image=tmp_path / "image",
        binds=["/usr"],
        tree=tmp_path / "tree",
        install_path="/containerize-1",
        scratch=scratch,
        console=console,
    )
    with pytest.raises(InputError, match="records of the base image's conda packages") as caught:
        ask_base(container, Path("/none"))
    assert "chmod" in caught.value.hint
    (meta / "a-1.json").write_text("{}")
    records = ask_base(container, Path("/none")).records
    assert [path.name for path in records.iterdir()] == ["a-1.json"]


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
