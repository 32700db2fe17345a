"""``containerize adopt``: installations of Tykky become ours without being built again."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests import tykky
from tests.account import REPOSITORY, Account
from tests.channel.elf import printing
from tests.e2e.conftest import CONDA, UMBRELLA, Installation, environment_text
from wrapper.errors import ExitCode
from wrapper.runtime.binds import write_skeleton
from wrapper.util.owner import process_start


@pytest.fixture(scope="module")
def tree(channel: Path, runtime: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an image of Tykky's ``conda-containerize`` holds."""
    root = tmp_path_factory.mktemp("tykky")
    argv = [sys.executable, "-m", "tests.tykky", str(channel), str(root)]
    subprocess.run(argv, cwd=REPOSITORY, check=True)
    return root / "conda-tree"


@pytest.fixture(scope="module")
def base(runtime: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stands for Tykky's container of the host's system, which the host's directories hide."""
    root = tmp_path_factory.mktemp("base")
    (root / "tree").mkdir()
    write_skeleton(root / "tree")
    (root / "tree" / tykky.INSTALL_PATH[1:]).mkdir()
    squash = ["mksquashfs", root / "tree", root / "base.sif", "-quiet", "-no-progress"]
    subprocess.run(squash, check=True)
    return root / "base.sif"


@pytest.fixture(scope="module")
def made(tree: Path, base: Path, runtime: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation of Tykky's ``conda-containerize``, to be copied."""
    programs = tykky.conda_programs(tree) | {"tool": f"{tykky.INSTALL_PATH}/extra/bin/tool"}
    exports = [f"export env_root={tykky.ENVIRONMENT}/", "export MINE='a $b'", "export NOW=$(date)"]
    return tykky.make_prefix(
        tmp_path_factory.mktemp("prefix") / "my env",
        tree=tree,
        programs=programs,
        container=base,
        runtime=runtime,
        exports=exports,
    )


def copy(made: Path, account: Account, name: str) -> Path:
    """The account's own copy."""
    place = account.work / name
    shutil.copytree(made, place, symlinks=True)
    for path in [place, *place.rglob("*")]:
        account.owns(path)
    return place


def test_a_conda_installation_is_adopted_updated_and_given_back(
    account: Account, made: Path, channel: Path
) -> None:
    prefix = copy(made, account, "tykky's env")
    python = prefix / "bin/python3"
    code = "import os, sys, demo_noarch as d; print(sys.prefix, sys.executable, d.__file__)"
    before = account.ok(python, "-c", code)  # the stand-in works, as Tykky's
    assert before.startswith(f"{tykky.ENVIRONMENT} {python} ")
    image = (prefix / "img.sqfs").stat().st_ino
    venv = account.work / "tykky's venv"
    account.ok(python, "-m", "venv", "--without-pip", venv)

    said = account.run(UMBRELLA, "adopt", prefix)
    assert said.returncode == 0, said.stderr
    assert "the value of NOW in common.sh is computed" in said.stderr
    assert {(prefix / "current/img.sqfs").stat().st_ino, image} == {image}
    assert account.ok(python, "-c", code) == before
    installation = Installation(prefix=prefix, account=account)
    variables = "MINE", "env_root", "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "DEMO_ACTIVATE_HOME"
    seen = installation.python(f"import os; print([os.environ.get(n) for n in {variables}])")
    root = tykky.ENVIRONMENT
    assert seen == f"{['a $b', f'{root}/', root, 'env1', f'{root}/share/demo']}\n"
    assert account.ok(prefix / "bin/tool") == "extra tool\n"
    prefix_seen = "import sys; print(sys.prefix, sys.base_prefix)"
    assert account.ok(venv / "bin/python", "-c", prefix_seen).startswith(f"{venv} ")
    assert "demo-noarch" in account.ok(prefix / "bin/list-packages")
    assert installation.manifest["kind"] == "conda"
    assert installation.manifest["inputs"] == ["VERSION.yml", "conf.yaml"]

    new = account.file("tykky.yml", environment_text(channel, "python", "demo-tool"))
    account.ok(CONDA, "update", prefix, new)
    assert account.ok(prefix / "bin/demo-tool") == f"{root}\n"
    assert account.ok(prefix / "bin/tool") == "extra tool\n"  # not of the environment
    assert account.ok(venv / "bin/python", "-c", prefix_seen).startswith(f"{venv} ")
    listed = json.loads(account.ok(UMBRELLA, "list", "--json", prefix))
    assert [entry["number"] for entry in listed] == [1, 2]
    account.ok(UMBRELLA, "rollback", prefix)
    assert account.ok(python, "-c", code) == before
    again = account.run(UMBRELLA, "adopt", prefix)
    assert again.returncode == ExitCode.PREFIX and "already" in again.stderr

    (prefix / ".tykky").rename(account.work / "given back")
    shutil.rmtree(prefix)
    (account.work / "given back").rename(prefix)
    assert account.ok(python, "-c", code) == before
    assert {entry.name for entry in prefix.iterdir()} == {p.name for p in made.iterdir()}


def test_a_virtual_environment(me: Account, base: Path, runtime: Path, tmp_path: Path) -> None:
    """Of ``pip-containerize``: the interpreter stays on the host."""
    environment = tmp_path / "tree/venv1"
    argv = ["/usr/bin/python3", "-m", "venv", "--without-pip", "--system-site-packages"]
    subprocess.run([*argv, environment], check=True)
    (site,) = environment.glob("lib/python3*/site-packages")
    (site / "mine.py").write_text("WHO = 'mine'\n")
    inside = f"{tykky.INSTALL_PATH}/venv1"
    prefix = tykky.make_prefix(
        me.work / "tykky-venv",
        tree=tmp_path / "tree",
        programs={name: f"{inside}/bin/{name}" for name in ("python", "python3")},
        container=base,
        runtime=runtime,
    )
    shutil.copyfile(environment / "pyvenv.cfg", prefix / "pyvenv.cfg")
    library = prefix / "lib" / site.parent.name
    library.mkdir(parents=True)
    (library / "site-packages").symlink_to(f"{inside}/lib/{library.name}/site-packages")
    (prefix / "lib64").symlink_to("lib")
    code = "import mine, sys; print(mine.WHO, sys.prefix)"
    before = me.ok(prefix / "bin/python3", "-c", code)
    me.ok(UMBRELLA, "adopt", prefix)
    assert me.ok(prefix / "bin/python3", "-c", code) == before
    manifest = Installation(prefix=prefix, account=me).manifest
    assert manifest["kind"] == "pip" and manifest["system_site_packages"]
    assert manifest["interpreter"]["path"] == "/usr/bin/python3"


def test_a_container_and_a_slim_installation(me: Account, runtime: Path, tmp_path: Path) -> None:
    """Both have a system of their own, here one program of their own."""
    system = tmp_path / "system"
    for name in ("opt/bin", "proc", "sys", "dev", "tmp", "etc", "work", "root", "home", "media"):
        (system / name).mkdir(parents=True)
    (system / "opt/bin/hello").write_bytes(printing(b"hello from inside\n"))
    (system / "opt/bin/hello").chmod(0o755)
    subprocess.run(
        ["mksquashfs", system, tmp_path / "own.sif", "-quiet", "-no-progress"], check=True
    )
    shutil.copytree(system / "opt", tmp_path / "slim")
    for name, tree, path in (
        ("tykky-container", None, "/opt/bin/hello"),
        ("tykky-slim", tmp_path / "slim", f"{tykky.INSTALL_PATH}/bin/hello"),
    ):
        prefix = tykky.make_prefix(
            me.work / name,
            tree=tree,
            programs={"hello": path},
            container=tmp_path / "own.sif",
            runtime=runtime,
            isolated=True,
        )
        container = (prefix / "container.sif").stat().st_ino
        me.ok(UMBRELLA, "adopt", prefix)
        assert me.ok(prefix / "bin/hello") == "hello from inside\n"
        assert me.ok("nohup", prefix / "bin/hello") == "hello from inside\n", "without a bash too"
        assert (prefix / "current/container.sif").stat().st_ino == container


def test_a_masked_installation(me: Account, base: Path, runtime: Path, tmp_path: Path) -> None:
    """Of ``wrap-install --mask``: the image lies over a path that is there outside too."""
    source = me.directory("tykky-source")
    (tmp_path / "tree/bin").mkdir(parents=True)
    tool = tmp_path / "tree/bin/tool"
    tool.write_text(f'#!/bin/sh\ncat "{source}/data"\n')
    tool.chmod(0o755)
    (tmp_path / "tree/data").write_text("of the image\n")
    (source / "data").write_text("of the disk\n")
    prefix = tykky.make_prefix(
        me.work / "tykky-masked",
        tree=tmp_path / "tree",
        programs={"tool": f"{source}/bin/tool"},
        container=base,
        runtime=runtime,
        root=str(source),
    )
    me.ok(UMBRELLA, "adopt", prefix)
    assert me.ok(prefix / "bin/tool") == "of the image\n"


# -- what cannot be adopted ------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("break_it", "status", "said"),
    [
        ("rm common.sh", ExitCode.PREFIX, "no installation of Tykky"),
        ("rm img.sqfs", ExitCode.PREFIX, "broken: img.sqfs is missing"),
        ("rm -r _bin", ExitCode.PREFIX, "broken: _bin has no links"),
        ("truncate -s 5000 img.sqfs", ExitCode.PREFIX, "image of the installation cannot be read"),
    ],
)
def test_what_cannot_be_adopted_stays_as_it_is(
    me: Account, made: Path, break_it: str, status: int, said: str
) -> None:
    prefix = copy(made, me, "broken")
    me.ok("bash", "-c", break_it, cwd=prefix)
    before = {path: path.lstat().st_mtime for path in sorted(prefix.rglob("*"))}
    beside = {entry.name for entry in me.work.iterdir()}
    done = me.run(UMBRELLA, "adopt", prefix)
    assert done.returncode == status, done.stderr
    assert said in done.stderr
    assert {path: path.lstat().st_mtime for path in sorted(prefix.rglob("*"))} == before
    assert {entry.name for entry in me.work.iterdir()} == beside
    shutil.rmtree(prefix)


def test_one_that_is_not_ours_to_write_to(account: Account, made: Path) -> None:
    prefix = copy(made, account, "others")
    os.chown(prefix / "bin", 0, 0) if os.getuid() == 0 else (prefix / "bin").chmod(0o555)
    done = account.run(UMBRELLA, "adopt", prefix)
    is_root = account.uid is None and os.getuid() == 0  # who may write everywhere
    assert done.returncode == (0 if is_root else ExitCode.PREFIX), done.stderr
    assert ("no permission" in done.stderr) != is_root


def test_one_that_a_build_holds_waits(me: Account, made: Path) -> None:
    prefix = copy(made, me, "held")
    record = {"host": socket.gethostname(), "pid": os.getpid(), "since": "now"}
    record["started"] = process_start(os.getpid())
    lock = me.work / ".held.lock"
    lock.write_text(json.dumps(record))
    done = me.run(UMBRELLA, "adopt", prefix)
    assert done.returncode == ExitCode.BUSY and "another build" in done.stderr
    assert not (prefix / "current").exists()
    lock.unlink()
