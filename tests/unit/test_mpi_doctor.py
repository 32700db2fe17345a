"""What ``doctor`` says of MPI and RCCL, told by files."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests import elf
from tests.manifests import manifest
from wrapper.console import Console
from wrapper.doctor import mpi
from wrapper.doctor.finding import FAILED, OK, WARNING, Finding
from wrapper.manifest import BaseRecord, HostLibrary, Manifest, MpiRecord
from wrapper.runtime.host_program import HOST_ROOT


class Installed:
    """An installation of ``wrap-container`` on a sandbox, with the links that a build makes."""

    site = "opt/venv/lib/python3.12/site-packages"

    def __init__(self, root: Path) -> None:
        self.image, self.host, self.prefix = root / "image", root / "host", root / "env"
        self.library = elf.put(self.host / "libmpi.so.12", needed=["libfabric.so.1"])
        self.fabric(b"\0tcp\0cxi\0")
        elf.put(self.image / "opt/venv/bin/python3", "")
        (self.image / "usr").mkdir()
        self.directory = self.prefix / "current/mpi-1"
        self.directory.mkdir(parents=True)
        for name in ("libmpi.so.12", "libfabric.so.1"):
            (self.directory / name).symlink_to(f"{HOST_ROOT}{self.host / name}")

    def fabric(self, providers: bytes) -> None:
        elf.put(self.host / "libfabric.so.1", text=providers)

    def put(self, path: str, **facts: object) -> None:
        elf.put(self.image / path, **facts)

    @property
    def data(self) -> Manifest:
        path = self.library
        library = HostLibrary(
            name=path.name, path=str(path), sha256=hashlib.sha256(path.read_bytes()).hexdigest()
        )
        record = MpiRecord(
            kind="host",
            srun="cray_shasta",
            abi="MPICH",
            version="3.4",
            library=str(path),
            directory="mpi-1",
            libraries=(library,),
        )
        base = BaseRecord(kind="image", path=str(self.image))
        return replace(manifest(kind="container"), base=base, mpi=record)

    def walked(self) -> list[Finding]:
        return mpi.walk(self.prefix, self.data, **self.tools)

    @property
    def tools(self) -> dict[str, Any]:
        return {
            "unsquashfs": Path("unsquashfs"),
            "scratch": self.prefix,
            "console": Console(),
        }

    def told(self, what: str) -> Finding:
        return next(finding for finding in self.walked() if finding.what == what)


@pytest.fixture
def installed(tmp_path: Path) -> Installed:
    return Installed(tmp_path)


def module(installed: Installed, **facts: object) -> None:
    installed.put(f"{installed.site}/mpi4py/MPI.so", soname="", needed=["libmpi.so.12"], **facts)


def test_the_machines_library_with_its_fabric(installed: Installed) -> None:
    module(installed)
    found = installed.told("MPI")
    assert (found.state, found.detail) == (OK, f"{installed.library}, this machine's")
    assert "libfabric.so.1, with cxi, tcp" in installed.told("libfabric").detail
    assert installed.told("start").detail == "srun --mpi=cray_shasta"


def test_a_sif_has_the_links_in_itself(installed: Installed) -> None:
    """Here an unpacked one."""
    module(installed)
    (installed.image / ".containerize").mkdir()
    installed.directory.rename(installed.image / ".containerize/mpi-1")
    data = replace(installed.data, form="sif")
    found = {f.what: f for f in mpi.walk(installed.image, data, **installed.tools)}
    assert found["MPI"].detail == f"{installed.library}, this machine's"
    line = f"srun --mpi=cray_shasta singularity exec -B /:{HOST_ROOT} {installed.image}"
    assert found["start"].detail == line


def test_one_that_comes_before_it(installed: Installed) -> None:
    module(installed, rpath="/opt/mpi")
    installed.put("opt/mpi/libmpi.so.12")
    found = installed.told("MPI")
    assert (found.state, found.detail.split()[0]) == (FAILED, "/opt/mpi/libmpi.so.12")
    assert "What comes before it" in found.hint


def test_programs_for_open_mpi_keep_the_images(installed: Installed) -> None:
    installed.put(f"{installed.site}/mpi4py/MPI.so", soname="", needed=["libmpi.so.40"])
    installed.put("usr/lib/libmpi.so.40")
    found = installed.told("MPI")
    assert (found.state, "Open MPI, not this machine's" in found.detail) == (WARNING, True)


def test_none(installed: Installed) -> None:
    for link in installed.directory.iterdir():
        link.unlink()
    assert installed.told("MPI").state == OK
    module(installed)
    assert installed.told("MPI").state == FAILED


def test_slingshot_without_its_provider(
    installed: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed.fabric(b"\0tcp\0")
    assert installed.told("libfabric").state == OK
    monkeypatch.setattr(mpi, "_SLINGSHOT", tmp_path)
    assert installed.told("libfabric").state == WARNING


def test_a_wheel_with_an_rccl_of_its_own_loses_the_plugin(installed: Installed) -> None:
    installed.put(f"{installed.site}/torch/lib/librccl.so.1", rpath="$ORIGIN")
    found = installed.told("RCCL")
    assert found.state == WARNING
    assert "the wheel of torch brings: no plugin for the network, so sockets" in found.detail
    installed.put("usr/lib/librccl-net.so")
    assert "with the plugin /usr/lib/librccl-net.so" in installed.told("RCCL").detail


class TestWhatTheMachineHadAtTheBuild:
    def told(self, installed: Installed, data: Manifest) -> Finding:
        return mpi.recorded(installed.prefix, data)[0]

    def test_the_same(self, installed: Installed) -> None:
        assert self.told(installed, installed.data).state == OK

    def test_another(self, installed: Installed) -> None:
        data = installed.data
        elf.put(installed.library, needed=["libother.so"])
        found = self.told(installed, data)
        assert (found.state, str(installed.library) in found.detail) == (WARNING, True)
        assert f"containerize mend {installed.prefix}" in found.hint

    def test_none_any_more(self, installed: Installed) -> None:
        data = installed.data
        installed.library.unlink()
        assert self.told(installed, data).state == FAILED

    def test_a_sif_may_be_of_another_machine(self, installed: Installed) -> None:
        data = replace(installed.data, form="sif")
        installed.library.unlink()
        found = self.told(installed, data)
        assert (found.state, "the image's own" in found.detail) == (WARNING, True)
        assert f"containerize build --update {installed.prefix} --mpi host" in found.hint

    def test_who_takes_none_of_it(self, installed: Installed) -> None:
        assert mpi.recorded(installed.prefix, replace(installed.data, mpi=None)) == []
