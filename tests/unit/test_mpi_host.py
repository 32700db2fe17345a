"""The host's MPI: found where it is today, with what it needs, and no more than an image wants."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from tests import elf
from wrapper.console import Console
from wrapper.errors import ToolError
from wrapper.images.format import SANDBOX, ImageFormat
from wrapper.images.tree import ImageTree, read_tree
from wrapper.mpi import abis
from wrapper.mpi.files import CACHE, InImage, Outside
from wrapper.mpi.host import HostMpi, find_host_mpi, version_of
from wrapper.packages import LockedPackage
from wrapper.site_profile import MpiPlaces

GLIBC = {"libc.so.6": ["GLIBC_2.31"]}


@pytest.fixture
def cray(tmp_path: Path) -> MpiPlaces:
    """Cray MPICH's directories in two versions; what they need lies elsewhere."""
    pe, lib64 = tmp_path / "opt/cray/pe", tmp_path / "usr/lib64"
    for version in ("8.1.9", "8.1.32"):
        mpich = pe / "mpich" / version / "ofi/gnu/12.3"
        real = elf.put(
            mpich / "lib/libmpi_gnu_123.so.12.0.0",
            "libmpi_gnu_123.so.12",
            needed=["libfabric.so.1", "libpmi.so.0", "libstdc++.so.6", "libc.so.6"],
            wants={**GLIBC, "libstdc++.so.6": ["GLIBCXX_3.4.29"]},
            text=b"\0MPI VERSION : CRAY MPICH version "
            + version.encode()
            + b".37 (ANL base 3.4)\0",
        )
        (mpich / "lib-abi-mpich").mkdir()
        (mpich / "lib-abi-mpich/libmpi.so.12").symlink_to(f"../lib/{real.name}")
    elf.put(pe / "lib64/libpmi.so.0", needed=["libpals.so.0"])
    elf.put(pe / "lib64/libpals.so.0")
    elf.put(tmp_path / "opt/cray/libfabric/lib64/libfabric.so.1", needed=["libcxi.so.1"])
    elf.put(lib64 / "libcxi.so.1", needed=["libjansson.so.4"])
    elf.put(lib64 / "libjansson.so.4", wants={"libc.so.6": ["GLIBC_2.34"]})
    elf.put(lib64 / "libstdc++.so.6", offers=["GLIBCXX_3.4.29"])
    elf.put(lib64 / "libxpmem.so.0")
    return MpiPlaces(
        directories=(f"{tmp_path}/nowhere", f"{pe}/mpich/*/ofi/gnu/*/lib-abi-mpich"),
        search=(
            "$CRAY_LD_LIBRARY_PATH",
            f"{tmp_path}/opt/cray/libfabric/lib64:{pe}/lib64",
            f"{lib64}",
        ),
        also=("libxpmem.so.0", "libnowhere.so.1"),
    )


def find(places: MpiPlaces, **environ: str) -> HostMpi:
    return find_host_mpi(places, environ)


def names(links: dict[str, Path]) -> set[str]:
    return {name for name in links if not name.startswith(("libmpi", "libmpich"))}


def test_the_newest_of_the_site_with_all_that_it_needs(cray: MpiPlaces) -> None:
    found = find(cray)
    assert (found.abi.name, found.version) == ("MPICH", "8.1.32.37")
    assert "/8.1.32/" in str(found.library)
    assert found.own["libmpi.so.12"] == found.own["libmpi.so"] == found.library
    needed = {"libfabric.so.1", "libpmi.so.0", "libpals.so.0", "libcxi.so.1", "libjansson.so.4"}
    assert names(found.beside(None)) >= {*needed, "libxpmem.so.0", "libstdc++.so.6"}


def test_what_the_users_modules_name_comes_first(cray: MpiPlaces, tmp_path: Path) -> None:
    elf.put(tmp_path / "mine/libmpi.so.12", "libmpi.so.12")
    assert find(cray, LD_LIBRARY_PATH=f":relative:{tmp_path}/mine").library.parent.name == "mine"


def test_the_name_that_debian_has_for_it(tmp_path: Path) -> None:
    for name in ("libmpich.so.12", "libmpichfort.so.12"):
        elf.put(tmp_path / name)
    found = find(MpiPlaces(directories=(str(tmp_path),)))
    assert found.own["libmpi.so.12"] == tmp_path / "libmpich.so.12"
    assert found.own["libmpifort.so.12"] == tmp_path / "libmpichfort.so.12"
    assert found.version == ""


def test_the_abi_of_the_standard(tmp_path: Path) -> None:
    elf.put(tmp_path / "libmpi_abi.so.1")
    found = find(MpiPlaces(directories=(str(tmp_path),)))
    assert (found.abi.name, "libmpi.so" in found.own) == ("MPI 5", False)


def test_on_the_hosts_system_only_what_a_variable_finds_is_linked(tmp_path: Path) -> None:
    elf.put(tmp_path / "abi/libmpi.so.12", needed=["libone.so", "libtwo.so"], rpath=f"{tmp_path}/r")
    elf.put(tmp_path / "r/libone.so")
    elf.put(tmp_path / "v/libtwo.so")
    places = MpiPlaces(directories=(f"{tmp_path}/abi",), search=(f"{tmp_path}/v",))
    assert names(find(places).beside(None)) == {"libtwo.so"}


class TestBesideAnImage:
    @pytest.fixture
    def image(self, tmp_path: Path) -> Path:
        return tmp_path / "image"

    def beside(self, cray: MpiPlaces, image: Path) -> dict[str, Path]:
        return find(cray).beside(Outside(below=str(image)))

    def test_it_gets_what_it_lacks(self, cray: MpiPlaces, image: Path) -> None:
        assert "libjansson.so.4" in self.beside(cray, image)
        assert "libstdc++.so.6" in self.beside(cray, image)

    def test_its_own_stays_where_it_serves(self, cray: MpiPlaces, image: Path) -> None:
        elf.put(image / "usr/lib64/libjansson.so.4", offers=["JANSSON_9"])
        elf.put(image / "usr/lib64/libstdc++.so.6", offers=["GLIBCXX_3.4.29", "GLIBCXX_3.4.33"])
        assert not {"libjansson.so.4", "libstdc++.so.6"} & {*self.beside(cray, image)}

    def test_an_older_one_does_not_serve(self, cray: MpiPlaces, image: Path) -> None:
        elf.put(image / "usr/lib64/libstdc++.so.6", offers=["GLIBCXX_3.4.28"])
        assert "libstdc++.so.6" in self.beside(cray, image)

    def test_the_networks_libraries_are_the_hosts(self, cray: MpiPlaces, image: Path) -> None:
        for name in ("libfabric.so.1", "libcxi.so.1", "libpmi.so.0", "libpals.so.0"):
            elf.put(image / "usr/lib64" / name)
        assert {"libfabric.so.1", "libcxi.so.1", "libpmi.so.0"} <= {*self.beside(cray, image)}

    def test_it_is_read_by_one_call(
        self, cray: MpiPlaces, image: Path, console: Console, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each starts a program, which reads the image's tables first."""
        for name in ("libjansson.so.4", "libstdc++.so.6"):
            offers = ["JANSSON_9", "GLIBCXX_3.4.29", "GLIBCXX_3.4.33"]
            elf.put(image / "usr/lib64" / name, offers=offers)
        kind = ImageFormat(kind=SANDBOX)
        tree = read_tree(image, format=kind, unsquashfs=image, scratch=image, console=console)
        calls: list[set[str]] = []
        read = ImageTree.read

        def counted(self: ImageTree, paths: Iterable[str]) -> dict[str, bytes]:
            calls.append({*paths} - {CACHE})
            return read(self, calls[-1])

        monkeypatch.setattr(ImageTree, "read", counted)
        links = find(cray).beside(InImage(tree=tree))
        assert [*filter(None, calls)] == [
            {"/usr/lib64/libjansson.so.4", "/usr/lib64/libstdc++.so.6"}
        ]
        assert not {"libjansson.so.4", "libstdc++.so.6"} & {*links}

    def test_only_what_it_gets_counts_for_glibc(self, cray: MpiPlaces, image: Path) -> None:
        elf.put(image / "usr/lib64/libjansson.so.4")
        found = find(cray)
        assert found.needed_glibc([*self.beside(cray, image)]) == "2.31"
        assert found.needed_glibc(["libjansson.so.4"]) == "2.34"
        assert found.needed_glibc(["libpals.so.0"]) == ""


def test_what_belongs_to_the_gpu_is_never_the_hosts(tmp_path: Path) -> None:
    elf.put(tmp_path / "libmpi.so.12")
    elf.put(tmp_path / "libmpi_gtl_hsa.so.0", needed=["libamdhip64.so.6", "libmpi.so.12"])
    elf.put(tmp_path / "libamdhip64.so.6", needed=["libhsa-runtime64.so.1", "libdrm_amdgpu.so.1"])
    for name in ("libhsa-runtime64.so.1", "libdrm_amdgpu.so.1"):
        elf.put(tmp_path / name)
    at = str(tmp_path)
    found = find(MpiPlaces(directories=(at,), search=(at,), also=("libmpi_gtl_hsa.so.0",)))
    links = found.beside(Outside(below=str(tmp_path / "image")))
    assert names(links) == set()
    assert "libmpi_gtl_hsa.so.0" in links


def test_no_mpi(tmp_path: Path) -> None:
    with pytest.raises(
        ToolError, match=r"no MPI of this machine was found: none of libmpi\.so\.12"
    ):
        find_host_mpi(MpiPlaces(directories=(str(tmp_path),)), {}, Outside(below=str(tmp_path)))


def test_open_mpi_is_none_that_can_be_put_in(tmp_path: Path) -> None:
    elf.put(tmp_path / "libmpi.so.40")
    with pytest.raises(ToolError, match="no MPI of this machine"):
        find_host_mpi(MpiPlaces(directories=("/",)), {}, Outside(below=str(tmp_path)))


def test_a_library_that_is_nowhere(tmp_path: Path) -> None:
    elf.put(tmp_path / "libmpi.so.12", needed=["libnowhere.so.1"])
    with pytest.raises(ToolError, match=r"needs libnowhere\.so\.1, which is nowhere") as caught:
        find(MpiPlaces(directories=(str(tmp_path),)))
    assert caught.value.where == str(tmp_path / "libmpi.so.12")
    assert "load the module" in caught.value.hint


def test_versions(tmp_path: Path) -> None:
    text = b"\0MPICH Version:\t%s\0\0Thu Apr  7 12:34:45 CDT 2022\x004.0.2\0src/a.c\0"
    assert version_of(elf.put(tmp_path / "libmpich.so.12", text=text)) == "4.0.2"


def test_a_version_that_nothing_tells(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert version_of(tmp_path / "empty") == version_of(tmp_path / "none") == ""


@pytest.mark.parametrize(
    ("name", "abi"),
    [
        *(("libmpi.so.12", "MPICH"), ("libmpi.so.12.1.8", "MPICH"), ("libmpich.so.12", "MPICH")),
        *(("libmpi.so.40.30.1", "Open MPI"), ("libmpi_abi.so.1", "MPI 5")),
        *(("libmpi.so.120", None), ("libmpifort.so.12", None)),
    ],
)
def test_names_of_the_library(name: str, abi: str | None) -> None:
    found = abis.abi_of(name)
    assert (found and found.name) == abi


def test_packages_with_an_mpi() -> None:
    def package(manager: str, name: str, build: str = "") -> LockedPackage:
        return LockedPackage(manager=manager, name=name, version="1", url="", build=build)

    packages = [package("conda", "mpich", "external_5"), package("conda", "openmpi", "h1_0")]
    packages += [package("pip", "impi_rt"), package("pip", "mpi4py")]
    found = abis.packages_with_mpi(packages)
    assert {abi: [p.name for p in held] for abi, held in found.items()} == {
        "Open MPI": ["openmpi"],
        "MPICH": ["impi_rt"],
    }


@pytest.mark.parametrize(
    ("name", "build", "depends", "uses"),
    [
        *(("mpi4py", "", (), True), ("h5py", "mpi_mpich_py311_0", (), True)),
        *(("petsc", "h1", ("mpich >=4.1",), True), ("numpy", "py311_0", ("libmpich-less",), False)),
        *(("mpich", "external_5", (), True), ("gmpy2", "py311", ("mpfr", "mpc"), False)),
    ],
)
def test_what_looks_like_mpi(name: str, build: str, depends: tuple[str, ...], uses: bool) -> None:
    package = LockedPackage(
        manager="conda", name=name, version="1", url="", build=build, depends=depends
    )
    assert abis.uses_mpi([package]) is uses


def test_launchers() -> None:
    told = ["mpiexec", "mpiexec.hydra", "mpirun", "hydra_pmi_proxy", "fi_info", "mpicc", "python"]
    assert [*filter(abis.is_launcher, told)] == told[:5]
