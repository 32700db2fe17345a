"""Whose MPI an installation gets: by option, site and what is there; and what is kept of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from tests import elf
from tests.manifests import manifest
from wrapper.base.built import Tools
from wrapper.build import mpi
from wrapper.build.inputs import Inputs
from wrapper.console import Console
from wrapper.errors import InputError, ToolError
from wrapper.inputs.requirements import read_requirements
from wrapper.models import Base, Site
from wrapper.mpi.choice import BaseSystem, Choice, choose, found_first, write
from wrapper.mpi.files import Outside
from wrapper.packages import LockedPackage
from wrapper.requests import NewRequest
from wrapper.runtime.host_program import HOST_ROOT
from wrapper.site_profile import MpiPlaces

NOTHING: dict[str, str] = {}


@pytest.fixture
def places(tmp_path: Path) -> MpiPlaces:
    host = tmp_path / "host"
    wants = {"libc.so.6": ["GLIBC_2.34"]}
    elf.put(host / "libmpi.so.12", needed=["libfabric.so.1"], rpath=str(host), wants=wants)
    elf.put(host / "libfabric.so.1")
    return MpiPlaces(
        default="host", directories=(str(host),), srun={"host": "cray_shasta", "container": "pmi2"}
    )


def image(tmp_path: Path, glibc: str = "2.36") -> BaseSystem:
    return BaseSystem(files=Outside(below=f"{tmp_path}/image"), name="x.sif", glibc=glibc)


def test_the_generation_has_links_and_the_record_of_them(places: MpiPlaces, tmp_path: Path) -> None:
    choice = choose("host", places, NOTHING, None)
    (tmp_path / "1").mkdir(mode=0o750)
    record = write(choice, tmp_path / "1")
    assert record
    assert (record.kind, record.srun, record.abi) == ("host", "cray_shasta", "MPICH")
    folder = tmp_path / "1" / record.directory
    assert folder.stat().st_mode & 0o777 == (tmp_path / "1").stat().st_mode & 0o777
    assert (folder / "libmpi.so.12").readlink() == tmp_path / "host/libmpi.so.12"
    assert {item.name for item in record.libraries} == {"libmpi.so.12", "libfabric.so.1"}
    assert all(len(item.sha256) == 64 for item in record.libraries)
    assert write(choice, tmp_path / "1") == record


def test_beside_an_image_links_lead_through_the_hosts_root(
    places: MpiPlaces, tmp_path: Path
) -> None:
    record = write(choose("host", places, NOTHING, image(tmp_path)), tmp_path)
    assert record
    link = tmp_path / record.directory / "libfabric.so.1"
    assert str(link.readlink()) == f"{HOST_ROOT}{tmp_path}/host/libfabric.so.1"


@pytest.mark.parametrize(
    ("glibc", "says"), [("2.31", "has 2.31"), ("2.9", "has 2.9"), ("", "has another C library")]
)
def test_an_image_with_an_older_c_library(
    places: MpiPlaces, tmp_path: Path, glibc: str, says: str
) -> None:
    with pytest.raises(ToolError, match=rf"needs glibc 2\.34, and the base image {says}"):
        choose("host", places, NOTHING, image(tmp_path, glibc))
    assert choose("container", places, NOTHING, None).srun == "pmi2"


def test_variables_where_a_library_is_in_use(places: MpiPlaces, tmp_path: Path) -> None:
    def given(choice: Choice) -> dict[str, str]:
        record = write(choice, tmp_path)
        assert record
        return dict(record.variables)

    assert given(choose("host", places, NOTHING, None)) == {}
    ucx = elf.put(tmp_path / "host/libucp.so.0")
    places = replace(places, search=(str(ucx.parent),), also=(ucx.name,))
    elf.put(ucx.parent / "ucx/libuct_cma.so.0")
    both = {"UCX_POSIX_USE_PROC_LINK": "n", "UCX_TLS": "^cma"}
    assert given(choose("host", places, NOTHING, None)) == both
    for kind in ("host", "container"):
        choice = choose(kind, places, NOTHING, image(tmp_path))
        assert given(choice) == {"UCX_POSIX_USE_PROC_LINK": "n"}
    # The image's own counts with the host's MPI, where it is kept.
    elf.put(tmp_path / "host/libmpi.so.12", needed=[ucx.name], rpath=str(ucx.parent))
    elf.put(tmp_path / "image/usr/lib64/libucp.so.0")
    elf.put(tmp_path / "image/usr/lib64/ucx/libuct_cma.so.0")
    assert given(choose("host", replace(places, also=()), NOTHING, image(tmp_path))) == both


def test_plug_ins_that_a_library_opens_itself(places: MpiPlaces, tmp_path: Path) -> None:
    """In an image: by a variable, where the library is the machine's; with what they need."""
    host = tmp_path / "host"
    elf.put(host / "libucs.so.0")
    elf.put(host / "libibverbs.so.1")
    elf.put(host / "ucx/libuct_ib.so.0", needed=["libibverbs.so.1"], rpath=str(host))
    elf.put(host / "ucx/libuct_gone.so.0", needed=["libnowhere.so.1"])
    elf.put(host / "libmpi.so.12", needed=["libucs.so.0"], rpath=str(host))
    record = write(choose("host", places, NOTHING, image(tmp_path)), tmp_path)
    assert record and record.variables == {"UCX_MODULE_DIR": f"{HOST_ROOT}{host}/ucx"}
    found = {item.name for item in record.libraries}
    assert found >= {"libuct_ib.so.0", "libibverbs.so.1"} and "libuct_gone.so.0" not in found
    record = write(choose("host", places, NOTHING, None), tmp_path)
    assert record and record.variables == {}, "there it finds them as ever"
    elf.put(tmp_path / "image/usr/lib64/libucs.so.0")
    record = write(choose("host", places, NOTHING, image(tmp_path)), tmp_path)
    assert record and record.variables == {}, "the image's own library has other ones"


def test_none_keeps_nothing(tmp_path: Path) -> None:
    assert write(Choice(), tmp_path) is None
    assert [*tmp_path.iterdir()] == []


class TestInABuild:
    @property
    def console(self) -> Console:
        return Console()

    def chosen(self, places: MpiPlaces, *, asked: bool) -> Choice:
        return mpi.chosen("host", places, lambda: None, self.console, asked=asked)

    def test_what_only_the_site_wants_may_be_missing(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("wrapper.mpi.host._candidates", lambda *_: iter(()))
        nowhere = MpiPlaces(directories=(str(tmp_path),))
        assert self.chosen(nowhere, asked=False) == Choice()
        assert "no MPI of this machine was found" in capsys.readouterr().err
        with pytest.raises(ToolError):
            self.chosen(nowhere, asked=True)

    def test_an_mpi_inside_comes_first(
        self, places: MpiPlaces, capsys: pytest.CaptureFixture[str]
    ) -> None:
        choice, site = self.chosen(places, asked=False), Site(mpi=places)
        assert mpi.yielding(choice, [], None, site, self.console) == choice
        given = mpi.yielding(choice, ["mpich 4.2 (conda)"], None, site, self.console)
        assert (given.kind, given.srun, given.links) == ("container", "pmi2", {})
        assert "mpich 4.2 (conda). So it is used" in capsys.readouterr().err
        with pytest.raises(InputError, match="would come before this machine's") as caught:
            mpi.yielding(choice, ["mpich 4.2 (conda)"], "host", site, self.console)
        assert "mpich=*=external_*" in caught.value.hint

    def begun(self, places: MpiPlaces, asked: str | None) -> mpi.BuildMpi:
        request = NewRequest(prefix=Path("/p"), mpi=asked, site=Site(mpi=places))
        tools = cast(Tools, SimpleNamespace(console=self.console))
        begun = mpi.BuildMpi(request=request, old=None, base=Base(), tools=tools)
        begun.begin()
        return begun

    def settled(self, places: MpiPlaces, asked: str | None) -> Choice:
        """Of an environment with Open MPI alone, by the site's default or by option."""
        begun = self.begun(places, asked)
        package = LockedPackage(
            manager="conda", name="openmpi", version="5.0.8", build="h_0", url="file:///x"
        )
        begun.settle([package])
        return begun.choice

    def test_open_mpi_is_not_this_machines(
        self, places: MpiPlaces, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        choice = self.settled(places, None)
        assert (choice.kind, choice.srun, choice.links) == ("container", "pmi2", {})
        assert "openmpi 5.0.8: Open MPI cannot be replaced" in capsys.readouterr().err
        with pytest.raises(InputError, match=r"openmpi 5\.0\.8: Open MPI cannot") as caught:
            self.settled(places, "host")
        assert caught.value.hint.endswith("or use it: --mpi container")
        assert self.settled(places, "container").kind == "container"

    def test_it_is_told_before_anything_is_fetched_and_once(
        self, places: MpiPlaces, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """What a file names without a version too: pip finds that only while it installs."""
        lines = read_requirements(["mpich", "h5py", "impi-rt; python_version<'3'"], tmp_path, "r")
        inputs = Inputs(requirements=lines)
        conda = LockedPackage(manager="conda", name="openmpi", version="5.0.8", url="file:///x")
        found = mpi.foreseen(inputs, [conda])
        assert [package.name for package in found] == ["openmpi", "mpich", "h5py"]
        begun = self.begun(places, None)
        assert begun.may_yield()
        begun.settle(found)
        choice = begun.choice
        assert choice.kind == "container" and not begun.may_yield()
        said = capsys.readouterr().err
        assert "openmpi 5.0.8: Open MPI cannot" in said and "mpich (pip). So it is used" in said
        there = [conda, replace(conda, name="mpich", manager="pip")]
        begun.settle(there, ["lib/libmpi.so.12"])
        assert (begun.choice, capsys.readouterr().err) == (choice, "")
        with pytest.raises(InputError, match=r"mpich \(pip\)$"):
            self.begun(places, "host").settle(found[1:])

    @pytest.mark.parametrize(
        ("default", "asked", "may"),
        [
            *[("host", None, True), ("host", "container", False), ("none", None, False)],
            *[("none", "host", True), ("container", None, False)],
        ],
    )
    def test_pip_resolves_beforehand_only_where_it_matters(
        self, places: MpiPlaces, tmp_path: Path, default: str, asked: str | None, may: bool
    ) -> None:
        assert self.begun(replace(places, default=default), asked).may_yield() is may

    @pytest.mark.parametrize(("default", "tells"), [("host", True), ("none", False)])
    def test_a_lock_with_open_mpi(
        self,
        places: MpiPlaces,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        default: str,
        tells: bool,
    ) -> None:
        package = LockedPackage(manager="conda", name="openmpi", version="5", url="file:///x")
        request = NewRequest(prefix=tmp_path, site=Site(mpi=replace(places, default=default)))
        mpi.judge_plan([package], request, None, self.console)
        assert ("openmpi 5: Open MPI cannot" in capsys.readouterr().err) is tells
        with pytest.raises(InputError):
            mpi.judge_plan([package], replace(request, mpi="host"), None, self.console)
        mpi.judge_plan([package], request, manifest(), self.console)
        assert capsys.readouterr().err == "", "an update keeps what it has: none"

    def test_libraries_of_an_environment(self, tmp_path: Path) -> None:
        for name in ("libmpi.so.12.1", "libmpi.so.40", "libmpifort.so.12", "libmpich.so.12"):
            (tmp_path / name).touch()
        assert mpi.libraries_in(tmp_path) == [
            "libmpi.so.12.1",
            "libmpich.so.12",
        ]


class TestInsideAnImage:
    """What mpi4py loads by its own search path."""

    SITE = "/opt/venv/lib/python3.12/site-packages/mpi4py"

    def world(self, root: Path, *files: str, **module: object) -> list[str]:
        elf.put(root / f"{self.SITE}/MPI.so".lstrip("/"), "", needed=["libmpi.so.12"], **module)
        elf.put(root / "opt/venv/bin/python3", "")
        for path in files:
            elf.put(root / path.lstrip("/"))
        paths = [f"/{path.relative_to(root)}" for path in root.rglob("*")]
        return found_first(paths, Outside(below=str(root)))

    def test_the_systems_own_comes_after(self, tmp_path: Path) -> None:
        assert self.world(tmp_path, "/usr/lib64/libmpi.so.12") == []

    def test_by_its_rpath(self, tmp_path: Path) -> None:
        found = self.world(tmp_path, "/opt/mpi/libmpi.so.12", rpath="/opt/mpi")
        assert found == ["/opt/mpi/libmpi.so.12"]

    def test_a_runpath_counts_after_the_variable(self, tmp_path: Path) -> None:
        assert self.world(tmp_path, "/opt/mpi/libmpi.so.12", runpath="/opt/mpi") == []

    def test_a_wheel_looks_into_its_virtual_environment(self, tmp_path: Path) -> None:
        files = ["/opt/venv/pyvenv.cfg", f"{self.SITE}/_mpiabi.py", "/opt/venv/lib/libmpi.so.12"]
        assert self.world(tmp_path, *files) == ["/opt/venv/lib/libmpi.so.12"]
        (tmp_path / "opt/venv/pyvenv.cfg").unlink()
        assert self.world(tmp_path) == []
