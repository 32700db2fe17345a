"""What an environment takes from its base: links and launchers, records, locks."""

from __future__ import annotations

import hashlib
import json
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import pytest

from wrapper.base_python.environment import connect, disconnect, offer_programs, remove_stubs
from wrapper.base_python.packages import STUB_MARK, BasePackage, BasePython, CondaPart
from wrapper.base_python.session import Reuse
from wrapper.build import inputs
from wrapper.build.inputs import Inputs, check_reuse
from wrapper.console import Console
from wrapper.errors import InputError, SolveError
from wrapper.inputs.pip_lock import write_requirements_lock
from wrapper.manifest import ReusedPackage
from wrapper.packages import LockedPackage, describe_reused
from wrapper.requests import NewPipRequest, NewRequest

PYTHON = BasePython(
    executable="/opt/sci/bin/python3",
    version="3.11.2",
    python_path=("/opt/pp",),
    sites=("/opt/sci/lib/python3.11/site-packages",),
    packages={
        "numpy": BasePackage(name="numpy", version="1.26.4", size=100),
        "torch": BasePackage(name="torch", version="2.7.1+rocm", requires=("numpy",), size=1000),
    },
    scripts={"torchrun": "print('run')\n", "own": "base\n"},
    programs={"ffmpeg": "/opt/sci/bin/ffmpeg"},
    conda=CondaPart(
        root="/opt/sci",
        activation=("/opt/sci/etc/conda/activate.d/x.sh",),
        variables={"A": "b"},
        libraries=("/opt/sci/lib/libx.so.1", "/opt/sci/lib/liby.so"),
    ),
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("bin", "lib/python3.11/site-packages", "etc/conda/activate.d"):
        (tmp_path / "tree" / name).mkdir(parents=True)
    (tmp_path / "tree/bin/own").write_text("ours")
    (tmp_path / "tree/lib/liby.so").write_text("ours")
    return tmp_path / "tree"


def container(tree: Path) -> Any:
    return SimpleNamespace(tree=tree, install_path="/containerize-x")


def contents(tree: Path) -> set[str]:
    return {str(path.relative_to(tree)) for path in tree.rglob("*") if not path.is_dir()}


def test_the_base_shows_through_where_the_environment_has_nothing(tree: Path) -> None:
    connect(container(tree), PYTHON, "/containerize-x")
    offer_programs(container(tree), PYTHON)
    pth = (tree / "lib/python3.11/site-packages/containerize-base.pth").read_text().splitlines()
    assert pth == [
        "/opt/pp",
        "import site; site.addsitedir('/opt/sci/lib/python3.11/site-packages')",
    ]
    launcher = tree / "bin/torchrun"
    assert launcher.read_text() == "#!/containerize-x/bin/python3\nprint('run')\n"
    assert launcher.stat().st_mode & 0o777 == 0o755
    assert (tree / "bin/ffmpeg").readlink() == Path("/opt/sci/bin/ffmpeg")
    assert (tree / "lib/libx.so.1").readlink() == Path("/opt/sci/lib/libx.so.1")
    assert (tree / "bin/own").read_text() == (tree / "lib/liby.so").read_text() == "ours"
    assert json.loads((tree / "etc/conda/env_vars.d/000-base.json").read_text()) == {"A": "b"}


def test_all_of_it_can_be_taken_away_again(tree: Path) -> None:
    before = contents(tree)
    connect(container(tree), PYTHON, "/containerize-x")
    offer_programs(container(tree), PYTHON)
    assert contents(tree) > before
    disconnect(tree)
    assert contents(tree) == before
    disconnect(tree)


def test_the_base_s_activation_sees_its_own_prefix_and_comes_first(
    tree: Path, tmp_path: Path
) -> None:
    base = tmp_path / "it's a base"
    base.mkdir()
    (base / "x.sh").write_text('export FROM="$CONDA_PREFIX"\n')
    conda = CondaPart(root=str(base), activation=(str(base / "x.sh"),))
    python = BasePython(executable="/x", version="3.11", conda=conda)
    connect(container(tree), python, "/containerize-x")
    (tree / "etc/conda/activate.d/01-ours.sh").write_text("")
    first = min((tree / "etc/conda/activate.d").iterdir())
    code = f'. {first}; echo "$FROM|$CONDA_PREFIX"'
    said = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == f"{base}|/containerize-x\n"


def test_stubs_go_and_are_told(tree: Path) -> None:
    site = tree / "lib/python3.11/site-packages"
    for name, mark in (("torch-2.7.1+rocm", STUB_MARK), ("alpha-1.0", "Generator: flit")):
        (site / f"{name}.dist-info").mkdir()
        (site / f"{name}.dist-info/WHEEL").write_text(f"Wheel-Version: 1.0\n{mark}\n")
    assert remove_stubs(tree) == {"torch"}
    assert [path.name for path in site.iterdir()] == ["alpha-1.0.dist-info"]


def reuse(tmp_path: Path, python: BasePython = PYTHON) -> Reuse:
    return Reuse(python=python, digest="sha256:abc", scratch=tmp_path)


def locked(name: str, version: str) -> LockedPackage:
    return LockedPackage(manager="pip", name=name, version=version, url="https://x/y.whl")


def test_of_a_lock_only_what_is_missing_is_installed(tmp_path: Path) -> None:
    taken = reuse(tmp_path)
    assert taken.missing([locked("Torch", "2.7.1+rocm"), locked("alpha", "1.0")]) == [
        locked("alpha", "1.0")
    ]
    assert set(taken.taken) == {("pip", "torch"), ("pip", "numpy")}, "and what torch needs"
    with pytest.raises(SolveError, match=r"what the base image has: numpy 1\.26\.4"):
        taken.missing([locked("numpy", "2.0")])


def test_what_conda_has_brought_counts_once(tmp_path: Path) -> None:
    """Its Python packages have metadata as pip's have."""
    python = replace(PYTHON, records=tmp_path)
    paths = {"paths": [{"size_in_bytes": 100}]}
    record = {"name": "numpy", "version": "1.26.4", "build": "0", "paths_data": paths}
    (tmp_path / "numpy.json").write_text(json.dumps(record))
    taken = reuse(tmp_path, python)
    taken.take_conda(["numpy"])
    taken.take_pip(["torch"])
    assert set(taken.taken) == {("conda", "numpy"), ("pip", "torch")}


def test_an_update_goes_on_from_the_record(tmp_path: Path) -> None:
    first = reuse(tmp_path)
    first.take_pip(["torch"])
    record = first.as_record()
    assert (record.size, record.digest, record.conda) == (1100, "sha256:abc", "/opt/sci")
    second = reuse(tmp_path)
    second.recall(record)
    assert second.taken == first.taken


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"python_version": "3.12.1"}, r"has Python 3\.11\.2, and the environment was built for"),
        (
            {"packages": (ReusedPackage(manager="pip", name="numpy", version="2.0"),)},
            "1.26",
        ),
        ({"packages": (ReusedPackage(manager="conda", name="x", version="2.0"),)}, "no x"),
    ],
)
def test_another_base_may_not_fit(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    record = replace(reuse(tmp_path).as_record(), **change)
    with pytest.raises(InputError, match=said):
        reuse(tmp_path).recall(record)


def test_options_that_forbid_wheels_do_not_forbid_stubs(tmp_path: Path) -> None:
    taken = reuse(tmp_path)
    given = ["--pre", "--no-binary", "numpy", "--no-binary", "alpha"]
    assert taken.options(given, hashed=False)[:-2] == ["--pre", "--no-binary", "alpha"]
    every = taken.options(["--no-binary", ":all:"], hashed=False)
    assert every[:-2] == [
        *("--no-binary", ":all:"),
        *("--only-binary", "numpy", "--only-binary", "torch"),
    ]
    assert every[-2:] == ["-c", str(taken.constraints())]


def test_where_hashes_are_required_the_base_has_some_too(tmp_path: Path) -> None:
    """uv wants one of all packages, and none is known of those that a base has."""
    taken = reuse(tmp_path)
    file = Path(taken.options(["--pre"], hashed=True)[-1])
    lines = file.read_text().splitlines()
    assert [line.split(" @ ")[0] for line in lines] == list(taken.python.packages)
    for line in lines:
        stub, _, digest = line.partition(" @ file://")[2].partition(" --hash=sha256:")
        assert hashlib.sha256(Path(unquote(stub)).read_bytes()).hexdigest() == digest
    assert "--hash" not in taken.constraints().read_text()


def test_a_lock_says_on_which_base_it_stands(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    alpha = LockedPackage(
        manager="pip", name="alpha", version="1.0", url="https://x", sha256="a" * 64
    )
    write_requirements_lock([alpha], lock)
    mark, line = lock.read_text().splitlines()
    taken = reuse(tmp_path)
    taken.take_pip(["numpy"])
    taken.annotate(lock)
    lines = lock.read_text().splitlines()
    assert lines[0] == mark
    assert "sha256:abc" in lines[1]
    assert lines[2:] == ["#   pip numpy 1.26.4", line]
    request = NewPipRequest(prefix=tmp_path / "p", requirements=(lock,))
    with pytest.raises(InputError, match="holds only what was added"):
        check_reuse(request, inputs.read(request, Console(-1)))


def test_reusing_needs_a_base_image(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs a base image"):
        check_reuse(NewRequest(prefix=tmp_path, reuse_base=True), Inputs())
    check_reuse(NewRequest(prefix=tmp_path, reuse_base=True, base_image="x.sif"), Inputs())


def test_the_report_names_the_largest() -> None:
    packages = [
        LockedPackage(manager="pip", name=name, version="1", url="", size=size)
        for name, size in (("a", 1), ("b", 400_000_000), ("c", 3), ("d", 4), ("e", 5))
    ]
    assert describe_reused(packages) == (
        "reused from the base: 5 packages (b, e, d, c, …), 400.0 MB that need not be installed"
    )
    assert "no package" in describe_reused([])
