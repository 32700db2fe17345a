"""Packages on top of an installation: ``containerize extend``, ``freeze`` and ``thaw``."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.account import Account
from tests.channel.serve import serve
from tests.e2e.conftest import (
    UMBRELLA,
    Builder,
    Installation,
    entries,
    needs_root,
    seen,
    small_file_system,
)
from tests.e2e.test_wrap import CONTAINER, venv_of_a_container
from tests.index import write_index, write_wheel
from tests.killed import interrupted
from tests.steps import filling
from wrapper.errors import ExitCode


@pytest.fixture(scope="module")
def pip(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """pip's variables for an index with alpha (needs demo-noarch), and a newer demo-noarch."""
    root = tmp_path_factory.mktemp("index")
    alpha = write_wheel(root, "alpha", "1.0", requires=("demo-noarch",))
    write_index(root, [alpha, write_wheel(root, "demo_noarch", "9.0")])
    with serve(root) as url:
        yield {
            "PIP_INDEX_URL": f"{url.rstrip('/')}/simple",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_CACHE_DIR": "1",
        }


def times(root: Path) -> dict[str, int]:
    """Seconds at which the files below, and the directory, were changed."""
    every = {str(path.relative_to(root)): path for path in [root, *root.rglob("*")]}
    return {name: int(path.lstat().st_mtime) for name, path in every.items()}


def test_pip_installs_on_top_and_a_frozen_extension_is_one_file(
    scientific: Installation, pip: dict[str, str]
) -> None:
    account = scientific.account
    mine, other = account.work / "my extension", account.work / "theirs"
    for place in (mine, other):
        account.ok(UMBRELLA, "extend", scientific.prefix, "--to", place)
    account.ok(mine / "bin/pip", "install", "alpha", env=pip)
    refused = account.run(mine / "bin/python", "-m", "pip", "install", "demo-noarch>1", env=pip)
    assert refused.returncode == 1 and "demo-noarch==1.0" in refused.stderr + refused.stdout

    code = "import alpha, demo_noarch, numpy, sys; print(sys.prefix, demo_noarch.__file__)"
    below = scientific.python("import demo_noarch; print(demo_noarch.__file__)")
    assert account.ok(mine / "bin/python", "-c", code) == f"{mine} {below}"
    assert account.run(other / "bin/python", "-c", "import alpha").returncode == 1
    assert account.run(scientific.program("python3"), "-c", "import alpha").returncode == 1

    account.ok(UMBRELLA, "extend", scientific.prefix, "--to", mine)  # after an update of that
    before = seen(mine), times(mine)
    account.ok(UMBRELLA, "freeze", mine)
    assert not (mine / "lib").exists()
    assert account.ok(mine / "bin/python", "-c", code) == f"{mine} {below}"
    assert account.ok(mine / "bin/alpha-run") == "alpha 1.0\n"
    active = f". '{mine}/bin/activate' && '{scientific.prefix}/bin/_debug_exec' alpha-run"
    assert account.ok("bash", "-c", active) == "alpha 1.0\n"
    for words in (["pip", "install", "alpha"], ["python", "-m", "pip", "uninstall", "-y", "alpha"]):
        refused = account.run(mine / "bin" / words[0], *words[1:], env=pip)
        assert refused.returncode == 1 and f"containerize thaw '{mine}'" in refused.stderr
    assert "alpha" in account.ok(mine / "bin/pip", "list", env=pip)
    assert not (account.home / ".local").exists()
    again = account.run(UMBRELLA, "extend", scientific.prefix, "--to", mine)
    assert again.returncode == ExitCode.PREFIX and "is frozen" in again.stderr

    account.ok("sh", "-c", f"echo late >'{mine}/results'")
    kept = account.run(UMBRELLA, "freeze", mine)
    assert kept.returncode == 0 and f"they stay in {mine}: results" in kept.stderr
    account.ok(UMBRELLA, "thaw", mine)
    after = seen(mine), times(mine)
    assert all(found.pop("results") for found in after) and after == before
    account.ok(mine / "bin/pip", "uninstall", "-y", "alpha", env=pip)


def test_the_image_of_another_extension_is_refused(
    scientific: Installation, small: Installation
) -> None:
    account = scientific.account
    mine, other = account.work / "one more", account.work / "another's"
    for place in (mine, other):
        account.ok(UMBRELLA, "extend", scientific.prefix, "--to", place)
    taken = account.run(UMBRELLA, "extend", small.prefix, "--to", mine)
    assert taken.returncode == ExitCode.PREFIX
    assert f"an extension of another installation: {scientific.prefix}" in taken.stderr
    account.ok(UMBRELLA, "freeze", other)
    (other / "extension.sqfs").rename(mine / "extension.sqfs")
    before = seen(mine)
    for command in ("thaw", "freeze"):
        refused = account.run(UMBRELLA, command, mine)
        assert refused.returncode == ExitCode.PREFIX and f"it is of {other}" in refused.stderr
        assert seen(mine) == before


def test_the_virtual_environment_of_a_container_is_extended(
    me: Account, runtime: Path, tmp_path: Path
) -> None:
    """It sees what that sees, in its order, and nothing else; also when it is made anew."""
    root = venv_of_a_container(me, tmp_path / "root")
    (site,) = (root / "opt/venv/lib").glob("python3*/site-packages")
    (site / "pip.py").write_text("")  # to be there, not to be run
    (root / "opt/more").mkdir()
    (root / "opt/more/more.py").write_text("")
    prefix, mine = tmp_path / "wrapped", me.work / "on a container"
    env = {"SINGULARITY_BIND": "/usr", "APPTAINER_BIND": "/usr"}
    env |= {f"{family}ENV_PYTHONPATH": "/opt/more" for family in ("SINGULARITY", "APPTAINER")}
    me.ok(CONTAINER, "-w", "/opt/venv/bin", "--prefix", prefix, root, env=env)
    code = "import inside, more, sys; print(*sys.path, sep='\\n')"
    below = me.ok(prefix / "bin/python3", "-c", code, env=env).splitlines()
    own = f"{mine}/lib/{site.parent.name}/site-packages"
    for _ in range(2):
        me.ok(UMBRELLA, "extend", prefix, "--to", mine, env=env)
        paths = me.ok(mine / "bin/python", "-s", "-c", code, env=env).splitlines()
        assert paths == [*below[:-1], own, below[-1]]


@pytest.fixture(scope="module")
def delicate(scientific: Installation, pip: dict[str, str]) -> Path:
    """An extension with alpha, and with a directory that its owner may not write to."""
    account = scientific.account
    mine = account.work / "delicate"
    account.ok(UMBRELLA, "extend", scientific.prefix, "--to", mine)
    account.ok(mine / "bin/pip", "install", "alpha", env=pip)
    account.directory("delicate/sealed")
    account.file("delicate/sealed/results", "").parent.chmod(0o555)
    return mine


@pytest.mark.parametrize("command", ["extend", "freeze", "thaw"])
def test_what_is_interrupted_works_and_the_next_command_ends_it(
    scientific: Installation, delicate: Path, command: str
) -> None:
    account, tmp = scientific.account, scientific.account.directory(f"killed-{command}")
    line: tuple[str | Path, ...] = (UMBRELLA, command, delicate)
    if command == "extend":
        line = (UMBRELLA, command, scientific.prefix, "--to", delicate)
    files, works = seen(delicate), (delicate / "bin/alpha-run",)
    if command == "thaw":
        account.ok(UMBRELLA, "freeze", delicate)
    for number, done in interrupted(account, tmp, *line):
        assert done.returncode in (0, -number, 128 + number), done.stderr
        assert "Traceback" not in done.stderr and account.ok(*works) == "alpha 1.0\n"
        again = account.run(*line)
        assert again.returncode == 0 or "is not frozen" in again.stderr, again.stderr
        assert account.ok(*works) == "alpha 1.0\n"
        assert (delicate / "extension.sqfs").exists() is (command == "freeze")
        if command == "freeze":
            account.ok(UMBRELLA, "thaw", delicate)
        assert seen(delicate) == files
        if command == "thaw":
            account.ok(UMBRELLA, "freeze", delicate)
        assert number == signal.SIGKILL or entries(tmp) == set()
    if command == "thaw":
        account.ok(*line)
        account.ok("mkdir", "-p", delicate / ".thawing/lib")  # of one killed after all else
        account.ok(*line)
        assert seen(delicate) == files
    assert ".delicate.lock" not in entries(account.work)


@needs_root
def test_a_full_disk_stops_freeze_and_thaw(me: Account, build: Builder) -> None:
    base = build(me, "below-a-full-one", "python")
    with small_file_system(me.work / "full-extension", 60) as full:
        mine = full / "mine"
        me.ok(UMBRELLA, "extend", base.prefix, "--to", mine)
        (mine / "noise").write_bytes(os.urandom(8 << 20))
        for command, step in (("freeze", "Writing the image"), ("thaw", "Unpacking the image")):
            line, before = (UMBRELLA, command, mine), seen(mine)
            code, said = filling(me, (*line, "-v"), step, full)
            assert code == ExitCode.SPACE and "no room" in said, said
            (full / "filler").unlink()
            assert seen(mine) == before
            me.ok(*line)
