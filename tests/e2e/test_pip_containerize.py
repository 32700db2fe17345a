"""``pip-containerize``: a virtual environment for the Python on PATH, from a local index."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests import elf
from tests.account import Account
from tests.channel.serve import serve
from tests.e2e.conftest import BIN, Installation, entries
from tests.index import write_index, write_wheel
from wrapper.errors import ExitCode

PIP = BIN / "pip-containerize"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an index with alpha 1.0 and 2.0 (needs beta), beta 1.0, and ray 1.0, whose wheel
    has another tag inside than in its name. solver needs mpich.
    """
    root = tmp_path_factory.mktemp("index")
    ray = write_wheel(root, "ray", "1.0")
    wheels = [
        write_wheel(root, "alpha", "1.0"),
        write_wheel(root, "alpha", "2.0", requires=("beta",)),
        write_wheel(root, "beta", "1.0"),
        ray.rename(root / "ray-1.0-py3-none-manylinux2014_x86_64.whl"),
        write_wheel(root, "solver", "1.0", requires=("mpich",)),
        write_wheel(root, "mpich", "4.3"),
    ]
    write_index(root, wheels)
    with serve(root) as url:
        yield f"{url.rstrip('/')}/simple"


@pytest.fixture(scope="session")
def cray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A stand-in for Cray Python: a Python with packages of its own.

    At its real path where we may write there (root), which is what the site's modules load. Each
    process of the tests has its own.
    """
    root = Path(f"/opt/cray/pe/python/3.11-containerize-test-{os.getpid()}")
    if not os.access("/opt", os.W_OK):
        root = tmp_path_factory.mktemp("cray") / "python"
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin") or "python3"
    subprocess.run([python, "-m", "venv", "--without-pip", "--copies", root], check=True)
    site = next(root.glob("lib/python3*/site-packages"))
    (site / "craypkg.py").write_text("NAME = 'cray'\n")
    yield root
    shutil.rmtree(root)


@pytest.fixture(scope="session")
def cray_python(cray: Path, me: Account) -> dict[str, str]:
    """Its module is loaded: it is first on PATH."""
    return {"PATH": f"{cray}/bin:{me.path}"}


def build(account: Account, name: str, env: dict[str, str], *arguments: str | Path) -> Installation:
    prefix = account.work / name
    done = account.run(PIP, "new", "--prefix", prefix, *arguments, env=env)
    assert done.returncode == 0, done.stderr
    return Installation(prefix=prefix, account=account)


@pytest.mark.every_runtime
def test_requirements_are_installed_on_the_python_on_path(
    account: Account, cray: Path, index: str, runtime: Path
) -> None:
    file = account.file("pip-r.txt", f"--index-url {index}\nalpha\n")
    done = build(account, "pip-plain", {"PATH": f"{cray}/bin:{account.path}"}, file)
    code = "import alpha, beta, sys; print(alpha.VERSION, sys.prefix, sys.executable)"
    out = done.python(code).split()
    assert out == ["2.0", str(done.prefix), str(done.program("python3"))]
    assert account.ok(done.program("alpha-run")) == "alpha 2.0\n"
    inside = f"{done.manifest['install_path']}/bin/python"  # by which programs start it
    out = account.ok(done.program("_debug_exec"), inside, "-c", code).split()
    assert out == ["2.0", str(done.prefix), str(done.program("python"))]
    hidden = account.run(done.program("python3"), "-c", "import craypkg")
    assert "No module named 'craypkg'" in hidden.stderr
    assert done.manifest["interpreter"]["path"].startswith(str(cray))


def test_system_site_packages_shows_the_pythons_own(me: Account, index: str, runtime: Path) -> None:
    """The distribution's Python itself: a venv of a venv would see the outer one's base."""
    python = shutil.which("python3", path="/usr/bin")
    if python is None:
        pytest.skip("no system Python here")
    file = me.file("pip-s.txt", f"--index-url {index}\nalpha==1.0\n")
    env = {"PATH": f"/usr/bin:{os.environ['PATH']}"}
    done = build(me, "pip-site", env, file, "--system-site-packages")
    config = done.python("import sys; print(open(sys.prefix + '/pyvenv.cfg').read())")
    assert "include-system-site-packages = true" in config
    assert done.python("import alpha; print(alpha.VERSION)") == "1.0\n"
    own = "import sys, site; print(any('dist-packages' in p or 'beta' in p for p in sys.path))"
    assert done.python(own) == me.ok(python, "-s", "-c", own), "the outer Python's packages"
    me.ok(PIP, "update", done.prefix, "-r", file, "--compression", "fast", env=env)
    assert done.manifest["system_site_packages"] is True


def test_containerizes_own_python_is_not_built_on(me: Account, index: str, runtime: Path) -> None:
    """Its environment is first on PATH where it was installed as the README says."""
    file = me.file("pip-own.txt", f"--index-url {index}\nbeta\n")
    done = build(me, "pip-own", {"PATH": f"{BIN}:{os.environ['PATH']}"}, file)
    assert not done.manifest["interpreter"]["path"].startswith(str(BIN))


def test_installing_into_the_image_is_refused_with_advice(
    account: Account, cray_python: dict[str, str], index: str, runtime: Path
) -> None:
    """pip heeds no EXTERNALLY-MANAGED in a virtual environment: the shim refuses."""
    file = account.file("pip-ro.txt", f"--index-url {index}\nalpha==1.0\n")
    done = build(account, "pip-readonly", cray_python, file)
    advice = f"pip-containerize update {done.prefix} -r requirements.txt"
    python, pip = done.program("python3"), done.program("pip")
    for argv in ([pip, "install", "beta"], [python, "-m", "pip", "install", "--user", "beta"]):
        refused = account.run(*argv)
        assert refused.returncode == 1 and advice in refused.stderr
    none = account.run(pip, "list")
    assert none.returncode == 1 and "has no pip" in none.stderr and advice in none.stderr
    assert not (account.home / ".local").exists()
    assert [name for name in entries(done.prefix) if name.startswith(".local")] == []


def test_a_venv_on_top_sees_the_packages_of_the_installation(
    me: Account, cray_python: dict[str, str], index: str, runtime: Path, tmp_path: Path
) -> None:
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin") or "python3"
    if me.run(python, "-c", "import ensurepip").returncode:
        pytest.skip("this Python brings no pip for virtual environments")
    file = me.file("pip-top.txt", f"--index-url {index}\nalpha==1.0\n")
    done = build(me, "pip-top", {"PATH": f"{Path(python).parent}:{os.environ['PATH']}"}, file)
    ve = tmp_path / "ve"
    me.ok(done.program("python3"), "-m", "venv", "--system-site-packages", ve)
    site = next(ve.glob("lib/python3*/site-packages"))
    me.ok(ve / "bin/pip", "install", "--index-url", index, "beta")
    code = "import alpha, beta, sys; print(alpha.VERSION, beta.__file__, sys.base_prefix)"
    expected = ["1.0", str(site / "beta/__init__.py"), str(done.prefix)]
    assert me.ok(ve / "bin/python", "-c", code).split() == expected
    assert "alpha" in me.ok(ve / "bin/pip", "list")
    alone = tmp_path / "alone"
    me.ok(ve / "bin/python", "-m", "venv", "--without-pip", alone)  # of a virtual environment
    code = "import importlib.util as u, json; print(u.find_spec('alpha'))"
    assert me.ok(alone / "bin/python", "-c", code) == "None\n"


def test_a_program_of_the_installation_has_its_python(
    me: Account, cray_python: dict[str, str], index: str, runtime: Path
) -> None:
    """Started by its shim, by its name from inside, and by the path that is in the image."""
    file = me.file("pip-own.txt", f"--index-url {index}\nalpha==1.0\n")
    script = me.file(
        "own.sh",
        'cat >"$env_root/bin/who" <<END\n#!$env_root/bin/python3\n'
        'import sys; print(sys.executable)\nEND\nchmod +x "$env_root/bin/who"\n',
    )
    done = build(me, "pip own", cray_python, "--post-install", script, file)
    own = f"{done.program('python')}\n"
    assert me.ok(done.program("who")) == own
    assert me.ok(done.program("_debug_exec"), "who") == own
    inside = f"{done.manifest['install_path']}/bin/who"
    assert me.ok(done.program("_debug_exec"), inside) == own
    code = "import subprocess, sys; print(subprocess.check_output(['who'], text=True), end='')"
    assert done.python(code) == own


def test_update_rollback_and_lock(
    me: Account, cray_python: dict[str, str], index: str, runtime: Path
) -> None:
    first = me.file("pip-1.txt", f"--index-url {index}\nalpha==1.0\n")
    done = build(me, "pip-update", cray_python, first)
    more = me.file("pip-2.txt", f"--index-url {index}\nalpha==2.0\n")
    said = me.run(PIP, "update", done.prefix, "-r", more, env=cray_python)
    assert said.returncode == 0, said.stderr
    assert "~ alpha" in said.stderr and "+ beta" in said.stderr
    told = said.stderr.index("~ alpha")
    assert told < said.stderr.index("Installing pip packages"), "before anything is changed"
    assert said.stderr.count("~ alpha") == 1
    assert done.python("import alpha; print(alpha.VERSION)") == "2.0\n"
    me.ok(BIN / "containerize", "rollback", done.prefix)
    assert done.python("import alpha; print(alpha.VERSION)") == "1.0\n"


def test_the_lock_rebuilds_the_same_image(
    me: Account, cray_python: dict[str, str], index: str, runtime: Path
) -> None:
    file = me.file("pip-3.txt", f"--index-url {index}\nalpha\nray\n")
    done = build(me, "pip-lock", cray_python, file)
    text = (done.prefix / "current/requirements.lock").read_text()
    assert "ray-1.0-py3-none-manylinux2014_x86_64.whl --hash=" in text
    lock = me.file("requirements.lock", text)
    digests = [done.manifest["image"]["sha256"]]
    done.prefix.rename(me.work / "pip-lock-first")
    digests.append(build(me, "pip-lock", cray_python, lock).manifest["image"]["sha256"])
    assert digests[0] == digests[1]


def test_a_pylock_is_installed_as_it_is(
    me: Account, cray_python: dict[str, str], index: str, runtime: Path
) -> None:
    root = index.removesuffix("/simple")
    wheels = {  # alpha 2.0 needs beta, which the lock leaves out
        "alpha": "alpha-2.0-py3-none-any.whl",
        "ray": "ray-1.0-py3-none-manylinux2014_x86_64.whl",
    }
    text = 'lock-version = "1.0"\ncreated-by = "a test"\n'
    for name, wheel in wheels.items():
        with urlopen(f"{root}/{wheel}") as answer:
            digest = hashlib.sha256(answer.read()).hexdigest()
        text += f'[[packages]]\nname = "{name}"\nversion = "{wheel.split("-")[1]}"\n'
        text += f'wheels = [{{url = "{root}/{wheel}", hashes = {{sha256 = "{digest}"}}}}]\n'
    file = me.file("pylock.toml", text)
    dry = me.ok(PIP, "new", "--dry-run", "--prefix", me.work / "pylock", file, env=cray_python)
    assert [line.split()[:2] for line in dry.splitlines()[:2]] == [["alpha", "2.0"], ["ray", "1.0"]]
    done = build(me, "pylock", cray_python, file)
    lock = (done.prefix / "current/requirements.lock").read_text()
    assert [line.split()[2] for line in lock.splitlines()[1:]] == [
        f"{root}/{wheel}" for wheel in wheels.values()
    ]
    file = me.file("pylock.toml", text.replace('sha256 = "', 'sha256 = "0'))
    told = me.run(PIP, "new", "--prefix", me.work / "pylock-no", file, env=cray_python)
    assert told.returncode != 0 and not (me.work / "pylock-no").exists()


def test_a_project_file_with_extras_and_groups(
    me: Account, cray_python: dict[str, str], index: str, runtime: Path
) -> None:
    folder = me.directory("project")
    (folder / "pyproject.toml").write_text(
        "[project]\nname = 'p'\nversion = '1'\ndependencies = []\n"
        "[project.optional-dependencies]\nx = ['beta']\n"
        "[dependency-groups]\ng = ['alpha==1.0']\n"
    )
    env = {**cray_python, "UV_DEFAULT_INDEX": index}
    file = folder / "pyproject.toml"
    done = build(me, "pip-project", env, file, "--extra", "x", "--group", "g")
    code = "import alpha, beta; print(alpha.VERSION, beta.VERSION)"
    assert done.python(code) == "1.0 1.0\n"
    bad = me.run(PIP, "new", "--prefix", me.work / "pip-bad", file, "--extra", "y", env=env)
    assert bad.returncode == ExitCode.INPUT and "no extra 'y'" in bad.stderr


def test_a_python_that_has_gone_is_told_at_the_start(
    me: Account, index: str, runtime: Path, tmp_path: Path
) -> None:
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin") or "python3"
    subprocess.run([python, "-m", "venv", "--without-pip", tmp_path / "py"], check=True)
    env = {"PATH": f"{tmp_path}/py/bin:{os.environ['PATH']}"}
    file = me.file("pip-4.txt", f"--index-url {index}\nalpha==1.0\n")
    done = build(me, "pip-gone", env, file)
    shutil.rmtree(tmp_path / "py")
    failed = me.run(done.program("python3"), "-c", "pass")
    assert failed.returncode == 1
    assert f"has gone: {tmp_path}/py/bin/python3" in failed.stderr
    assert "pip-containerize new" in failed.stderr


@pytest.mark.parametrize("option", ["", "--dry-run"])
def test_an_mpi_that_pip_would_bring_is_told_before_it_is_fetched(
    me: Account, index: str, runtime: Path, tmp_path: Path, option: str
) -> None:
    """No file names it, and only the host's was asked for."""
    elf.put(tmp_path / "libmpi.so.12")
    site = me.file("pip-mpi.yml", f"mpi: {{directories: [{tmp_path}]}}\n")
    file = me.file("pip-mpi.txt", f"--index-url {index}\nsolver\n")
    argv = [PIP, "new", *option.split(), "--mpi", "host", "--prefix", me.work / "pip-mpi", file]
    done = me.run(*argv, env={"CONTAINERIZE_SITE": str(site)})
    assert done.returncode == ExitCode.INPUT, done.stderr
    assert "would come before this machine's: mpich 4.3 (pip)" in done.stderr
    assert "Installing pip packages" not in done.stderr
    assert not (me.work / "pip-mpi").exists()


def test_bad_requirements(me: Account, runtime: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_text("--no-index\nno-such-distribution\nno-such-either\n")
    done = me.run(PIP, "new", "--prefix", tmp_path / "p", tmp_path / "bad.txt", cwd=tmp_path)
    assert done.returncode == ExitCode.SOLVE and "no index has 2 of the packages" in done.stderr
    for line, name in (2, "no-such-distribution"), (3, "no-such-either"):
        told = f"{tmp_path}/bad.txt, line {line}: no index has a package '{name}'"
        assert told in done.stderr
    missing = me.run(PIP, "new", "--prefix", tmp_path / "p", "none.txt", cwd=tmp_path)
    assert missing.returncode == ExitCode.INPUT and "no such file" in missing.stderr
    assert entries(tmp_path) == {"bad.txt"}


def test_kinds_are_not_mixed(
    me: Account, cray_python: dict[str, str], index: str, runtime: Path
) -> None:
    file = me.file("pip-5.txt", f"--index-url {index}\nbeta\n")
    done = build(me, "pip-kind", cray_python, file)
    refused = me.run(BIN / "conda-containerize", "update", done.prefix)
    assert refused.returncode == ExitCode.PREFIX
    assert "use pip-containerize update" in refused.stderr
    history = json.loads(me.ok(BIN / "containerize", "list", done.prefix, "--json"))
    assert len(history) == 1
