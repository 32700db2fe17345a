"""``--reuse-base``: environments on the Python and the packages that a base image has.

The base is as images for machine learning are: a conda environment with a virtual environment on
top, neither on PATH before ``$WITH_CONDA``, and a PYTHONPATH.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.account import Account
from tests.e2e.conftest import (
    BIN,
    CONDA,
    UMBRELLA,
    Installation,
    change,
    environment_text,
    open_directory,
)
from tests.images import system_files, write_files
from tests.index import write_files_wheel, write_wheel
from wrapper.errors import ExitCode
from wrapper.util.removal import remove_tree

PIP = BIN / "pip-containerize"
CONDA_ROOT = "/opt/sci"
SITE = "opt/venv/lib/python3.11/site-packages"
ENVIRONMENT = """\
export PYTHONPATH="/opt/python"
export WITH_CONDA=". /opt/activate"
"""
IN_CONDA = ("python", "urllib3=1.26", "demo-activate", "demo-base=1.0")
_INSTALL = """
import asyncio, os, sys, rattler
channel, target, *specs = sys.argv[1:]
async def main():
    found = rattler.VirtualPackage.detect(rattler.VirtualPackageOverrides.from_env())
    records = await rattler.solve(
        [rattler.Channel(channel)], specs, virtual_packages=[p.into_generic() for p in found])
    await rattler.install(records, target_prefix=target, cache_dir=target + ".cache",
        show_progress=False, alternative_target_prefix="/opt/sci")
asyncio.run(main())
os._exit(0)
"""


@pytest.fixture(scope="session")
def shared() -> Iterator[Path]:
    """A directory that every account may read."""
    with open_directory() as root:
        yield root


@pytest.fixture(scope="session")
def wheels(shared: Path) -> Path:
    """Packages to choose from. The base has beta 1.0, a gamma that is nowhere else, and triton by
    another name, as builds for ROCm are.
    """
    root = shared / "wheels"
    root.mkdir()
    for name, version, requires in (
        ("alpha", "1.0", ()),
        ("alpha", "2.0", ("beta", "gamma<3")),
        ("alpha", "3.0", ("beta>=2",)),
        ("beta", "1.0", ()),
        ("beta", "2.0", ()),
        ("gamma", "2.7", ()),
        ("delta", "1.0", ()),
        ("triton", "3.3", ()),
        ("zeta", "1.0", ("triton",)),
    ):
        write_wheel(root, name, version, requires=requires)
    return root


@pytest.fixture(scope="session")
def base(
    runtime: Path, channel: Path, shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    sandbox = system_files(shared / "sandbox", ENVIRONMENT)
    conda = sandbox / CONDA_ROOT.strip("/")
    arguments = [channel.as_uri(), str(conda), *IN_CONDA]
    subprocess.run([sys.executable, "-c", _INSTALL, *arguments], check=True)
    remove_tree(Path(f"{conda}.cache"))
    (conda / "conda-meta/history").touch()
    write_files(
        sandbox,
        {
            "opt/activate": "export PATH=/opt/venv/bin:/opt/sci/bin:$PATH\n",
            "opt/python/alpha.py": "VERSION = 'the one on PYTHONPATH'\n",
            "opt/python/on_path.py": "",
            "opt/venv/pyvenv.cfg": f"home = {CONDA_ROOT}/bin\nversion = 3.11.2\n"
            "include-system-site-packages = true\n",
            "opt/venv/bin/python3": f"-> {CONDA_ROOT}/bin/python3.11",
            "opt/venv/bin/gamma-run": "#!/opt/venv/bin/python3\n"
            "import gamma, importlib.util as u\nprint(gamma.VERSION, bool(u.find_spec('zeta')))\n",
        },
    )
    made = tmp_path_factory.mktemp("base-wheels")
    for wheel in (
        write_wheel(made, "beta", "1.0"),
        write_wheel(made, "gamma", "2.7+rocm6", requires=("beta", 'delta; extra == "more"')),
        write_files_wheel(made, "pytorch-triton-rocm", "3.2", {"triton/__init__.py": ""}),
    ):
        zipfile.ZipFile(wheel).extractall(sandbox / SITE)
    image = shared / "base.sif"
    subprocess.run([runtime, "-s", "build", image, sandbox], check=True)
    image.chmod(0o755)
    remove_tree(sandbox)
    return image


def _hash_option(wheels: Path, pin: str) -> str:
    wheel = next(wheels.glob(f"{pin.replace('==', '-')}-*.whl"))
    return f"--hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}"


def requirements(account: Account, name: str, wheels: Path, *lines: str) -> Path:
    head = f"--no-index\n--find-links {wheels}\n"
    return account.file(name, head + "".join(f"{line}\n" for line in lines))


def where(installation: Installation, *modules: str) -> list[str]:
    """Files of modules, without the prefix."""
    code = f"import {', '.join(modules)}\n"
    code += "".join(f"print({module}.__file__)\n" for module in modules)
    lines = installation.python(code).splitlines()
    return [line.replace(str(installation.prefix), "DIR") for line in lines]


def test_pip_packages_on_a_venv_of_the_base(account: Account, base: Path, wheels: Path) -> None:
    file = requirements(account, "reuse.txt", wheels, "alpha", "gamma[more]>=2")
    prefix = account.work / "reuse-pip"
    done = account.run(PIP, "new", "--prefix", prefix, "--base-image", base, "--reuse-base", file)
    assert done.returncode == 0, done.stderr
    assert "reused from the base: 2 packages (gamma, beta)" in done.stderr
    made = Installation(prefix=prefix, account=account)
    own, there = "DIR/lib/python3.11/site-packages", f"/{SITE}"
    assert where(made, "alpha", "delta", "beta", "gamma", "on_path", "urllib3") == [
        *(f"{own}/alpha/__init__.py", f"{own}/delta/__init__.py"),
        *(f"{there}/beta/__init__.py", f"{there}/gamma/__init__.py", "/opt/python/on_path.py"),
        f"{CONDA_ROOT}/lib/python3.11/site-packages/urllib3/__init__.py",
    ]
    assert made.python("import alpha; print(alpha.VERSION)") == "2.0\n", "3.0 does not fit"
    code = "import os; print(os.environ['DEMO_ACTIVATE_HOME'], os.environ['CONDA_PREFIX'])"
    assert made.python(code) == f"{CONDA_ROOT}/share/demo {CONDA_ROOT}\n"
    reused = made.manifest["reused"]
    assert reused["digest"].startswith("sha256:")
    assert [(p["name"], p["version"]) for p in reused["packages"]] == [
        ("beta", "1.0"),
        ("gamma", "2.7+rocm6"),
    ]
    lock = (prefix / "current/requirements.lock").read_text()
    assert reused["digest"] in lock
    assert [line.split(" @ ")[0] for line in lock.splitlines() if line[0] != "#"] == [
        "alpha",
        "delta",
    ]

    assert account.ok(made.program("gamma-run")) == "2.7+rocm6 False\n"
    file = requirements(account, "reuse-more.txt", wheels, "zeta")
    script = account.file("reuse.sh", f"uv pip install --no-index -f {wheels} beta alpha==2.0\n")
    account.ok(PIP, "update", prefix, "-r", file, "--post-install", script)
    assert account.ok(made.program("gamma-run")) == "2.7+rocm6 True\n", "it sees what is ours"
    assert where(made, "beta", "triton") == [f"{there}/{n}/__init__.py" for n in ("beta", "triton")]
    packages = {package["name"] for package in made.manifest["reused"]["packages"]}
    assert packages == {"beta", "gamma", "pytorch-triton-rocm"}

    # What the base has is known by no hash, what is added to it by its own.
    found = [line.split() for line in lock.splitlines() if line[0] != "#"]
    pins = {f"{words[0]}=={words[words.index('#') + 1]}" for words in found}
    lines = [f"{pin} {_hash_option(wheels, pin)}" for pin in sorted(pins)]
    file = requirements(account, "reuse-hashed.txt", wheels, "gamma==2.7+rocm6", *lines)
    on_base = ("--prefix", account.work / "reuse-hashed", "--base-image", base, "--reuse-base")
    account.ok(PIP, "new", *on_base, file)
    file = requirements(account, "reuse-bare.txt", wheels, "zeta", *lines)
    told = account.run(PIP, "new", "--prefix", account.work / "bare", *on_base[2:], file)
    assert told.returncode != 0 and "zeta" in told.stderr and "hash" in told.stderr

    copy = account.work / "reuse-locked"
    lock_file = prefix / "current/requirements.lock"
    told = account.run(PIP, "new", "--prefix", copy, "--base-image", base, lock_file)
    assert told.returncode == ExitCode.INPUT
    assert "holds only what was added to the packages of a base image" in told.stderr


def test_conda_packages_on_the_base_s(
    account: Account, base: Path, channel: Path, wheels: Path
) -> None:
    pip = f"  - pip:\n    - --no-index\n    - --find-links {wheels}\n    - alpha\n"
    text = environment_text(channel, "requests", "demo-needs-base1", "demo-tool", more=pip)
    file = account.file("reuse.yml", text)
    prefix = account.work / "reuse-conda"
    options = ("--prefix", prefix, "--base-image", base, "--reuse-base")
    dry = account.run(CONDA, "new", "--dry-run", *options, file)
    done = account.run(CONDA, "new", *options, file)
    assert done.returncode == 0, done.stderr
    made = Installation(prefix=prefix, account=account)
    added = {p["name"] for p in made.manifest["packages"] if p["manager"] == "conda"}
    assert added >= {"requests", "demo-needs-base1", "demo-tool"}
    assert not added & {"python", "urllib3", "demo-base"}
    assert {line.split()[0] for line in dry.stdout.splitlines()} >= added
    assert "python " not in dry.stdout
    own = "DIR/lib/python3.11/site-packages"
    assert where(made, "requests", "urllib3", "alpha", "gamma") == [
        f"{own}/requests/__init__.py",
        f"{CONDA_ROOT}/lib/python3.11/site-packages/urllib3/__init__.py",
        *(f"{own}/alpha/__init__.py", f"/{SITE}/gamma/__init__.py"),
    ]
    inside = made.manifest["install_path"]
    code = "import os; print(os.environ['DEMO_ACTIVATE_HOME'], os.environ['CONDA_PREFIX'])"
    assert made.python(code) == f"{CONDA_ROOT}/share/demo {inside}\n"
    assert account.ok(made.program("demo-tool")).strip() == inside
    library = "import os; print(os.path.realpath(os.environ['CONDA_PREFIX'] + '/lib/libffi.so.8'))"
    assert made.python(library).startswith(f"{CONDA_ROOT}/lib/libffi.so.8"), "ours find the base's"
    reused = {p["name"] for p in made.manifest["reused"]["packages"]}
    assert reused >= {"python", "urllib3", "demo-base", "beta"}

    script = account.file("reuse-conda.sh", "conda install demo-noarch\n")
    assert "1 added (demo-noarch)" in change(made, "--post-install", script)
    assert where(made, "urllib3")[0].startswith(CONDA_ROOT)


def test_a_sif_on_the_base_s_python(me: Account, base: Path, wheels: Path) -> None:
    file = requirements(me, "reuse-sif.txt", wheels, "alpha")
    image = me.work / "reuse.sif"
    me.ok(UMBRELLA, "build", image, "--base-image", base, "--reuse-base", "-r", file)
    code = "import alpha, gamma, on_path; print(alpha.VERSION, gamma.__file__)"
    run = (me.runtime, "-s", "exec", image)
    assert me.ok(*run, "python3", "-c", code) == f"2.0 /{SITE}/gamma/__init__.py\n"
    more = requirements(me, "reuse-sif-more.txt", wheels, "zeta")
    me.ok(UMBRELLA, "build", "--update", image, "-r", more)
    assert me.ok(*run, "python3", "-c", code) == f"2.0 /{SITE}/gamma/__init__.py\n", (
        "the image's PYTHONPATH is known still"
    )
    assert me.ok(*run, "gamma-run") == "2.7+rocm6 True\n"


def test_what_does_not_fit(me: Account, base: Path, channel: Path, wheels: Path) -> None:
    pip = requirements(me, "unfit.txt", wheels, "beta>=2")
    conda = me.file("unfit.yml", environment_text(channel, "urllib3=2"))
    prefix = me.work / "unfit"
    on_base = ("--prefix", prefix, "--base-image", base, "--reuse-base")
    for words, said in (
        ((PIP, "new", *on_base, pip), "what the base image has: beta 1.0"),
        ((CONDA, "new", *on_base, conda), "what the base image has: urllib3 1.26.20"),
    ):
        done = me.run(*words)
        assert done.returncode == ExitCode.SOLVE, done.stderr
        assert said in done.stderr
        assert "do without --reuse-base" in done.stderr
    done = me.run(CONDA, "new", "--prefix", prefix, "--reuse-base", conda)
    assert done.returncode == ExitCode.INPUT
    assert "--reuse-base needs a base image" in done.stderr
    assert not prefix.exists()
