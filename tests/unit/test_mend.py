"""``containerize mend``: shims and manifest say the same of the machine's MPI of today."""

from __future__ import annotations

import os
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from tests import elf
from tests.manifests import manifest
from tests.shell.conftest import write_environment
from wrapper import layout
from wrapper.commands.mend import mend
from wrapper.console import Console
from wrapper.errors import PrefixError
from wrapper.manifest import MpiRecord, read_manifest, write_manifest
from wrapper.models import Site
from wrapper.site_profile import MpiPlaces

OLD = MpiRecord(kind="host", srun="pmi2", directory="mpi-0", variables={"OLD": "1"}, beside="X")
UCX = {"UCX_POSIX_USE_PROC_LINK": "n", "UCX_TLS": "^cma"}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A machine whose MPI is on UCX."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    host = tmp_path / "host"
    elf.put(host / "libmpi.so.12", needed=["libucp.so.0"], rpath=str(host))
    elf.put(host / "libucp.so.0")
    elf.put(host / "ucx/libuct_cma.so.0")
    return Site(mpi=MpiPlaces(directories=(str(host),)))


def installation(root: Path, mpi: MpiRecord | None) -> Path:
    generation = root / ".generations/1"
    generation.mkdir(parents=True)
    (root / "bin").mkdir()
    (root / "current").symlink_to(".generations/1")
    write_manifest(generation / "manifest.json", replace(manifest(prefix=str(root)), mpi=mpi))
    write_environment(root, mpi=mpi, variables={"A": "\n_cw_mpi=mine\n_cw_mpi_defaults=(x)\n"})
    return root


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    return installation(tmp_path / "env", OLD)


def told(prefix: Path) -> dict[str, list[str]]:
    """MPI's part of the environment file."""
    lines = (prefix / "current/env").read_text().splitlines()[1:3]
    pairs = (line.partition("=") for line in lines)
    return {name: shlex.split(value.strip("()")) for name, _, value in pairs}


def test_shims_get_what_the_manifest_says(prefix: Path, site: Site, console: Console) -> None:
    others = (prefix / "current/env").read_text().splitlines()[3:]
    record = mend(prefix, site, console)
    assert (record.srun, record.variables, record.beside) == ("pmi2", UCX, "X")
    assert read_manifest(prefix).mpi == record
    defaults = [f"{name}={value}" for name, value in UCX.items()]
    assert told(prefix) == {"_cw_mpi": [record.directory], "_cw_mpi_defaults": defaults}
    assert (prefix / "current/env").read_text().splitlines()[3:] == others
    assert (prefix / "current" / record.directory / "libmpi.so.12").exists()


def test_defaults_come_and_go(tmp_path: Path, site: Site, console: Console) -> None:
    prefix = installation(tmp_path / "env", MpiRecord(kind="host", directory="mpi-0"))
    mend(prefix, site, console)
    assert "\n_cw_mpi_defaults=(UCX" in (prefix / "current/env").read_text()
    elf.put(tmp_path / "host/libmpi.so.12")
    mend(prefix, site, console)
    assert "\n_cw_mpi_defaults=(UCX" not in (prefix / "current/env").read_text()


def test_after_one_that_was_killed(
    prefix: Path, site: Site, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    env, before = prefix / "current/env", (prefix / "current/env").read_text()
    for name in ("rename", "fsync"):  # while links, and while the shims' facts are written
        with monkeypatch.context() as patch:
            patch.setattr(os, name, killed)
            with pytest.raises(KeyboardInterrupt):
                mend(prefix, site, console)
        assert env.read_text() == before
    record = mend(prefix, site, console)
    assert told(prefix)["_cw_mpi"] == [record.directory]
    assert not [path for path in (prefix / "current/").iterdir() if path.suffix == ".new"]


def killed(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_what_takes_nothing_of_the_machine(tmp_path: Path, site: Site, console: Console) -> None:
    prefix = installation(tmp_path / "env", MpiRecord(kind="container"))
    with pytest.raises(PrefixError, match="takes no MPI of this machine"):
        mend(prefix, site, console)


def test_nothing_is_in_use_before_it_is_on_disk(
    prefix: Path, site: Site, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash right after a rename leaves the old file or the whole new one."""
    synced: set[tuple[int, int]] = set()
    real_sync, real_replace = os.fsync, Path.replace

    def sync(handle: int) -> None:
        real_sync(handle)
        synced.add(identity(os.fstat(handle)))

    def move(path: Path, target: Path) -> Path:
        assert identity(path.stat()) in synced, path
        if path.name == f".{layout.ENV}.new":
            links = [folder for folder in path.parent.glob("mpi-*") if folder.is_dir()]
            assert {identity(at.stat()) for at in (*links, path.parent)} <= synced
        synced.discard(identity(path.parent.stat()))
        return real_replace(path, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "replace", move)
    mend(prefix, site, console)
    assert identity((prefix / "current/").stat()) in synced  # after the last of them


def identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
