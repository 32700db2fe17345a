"""Which libraries a program would load: each of the loader's rules, and files that are none."""

from __future__ import annotations

import ctypes.util
import io
from pathlib import Path

import pytest

from tests import elf
from wrapper.mpi.elf import read_elf
from wrapper.mpi.files import Joined, Outside, cached
from wrapper.mpi.loader import BY_RPATH, BY_RUNPATH, BY_SYSTEM, BY_VARIABLE, Loader, of_glibc


class World:
    """A file system of libraries in a directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files = Outside(below=str(root))

    def put(self, path: str, soname: str | None = None, **facts: object) -> None:
        elf.put(self.root / path.lstrip("/"), soname, **facts)

    def loaded(self, path: str, *library_path: str) -> dict[str, tuple[str, str]]:
        closure = Loader(self.files, library_path).closure([path])
        assert closure.missing == {}
        rest = [*closure.loaded.values()][1:]
        return {item.name: (item.path, item.how) for item in rest}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_what_a_file_says() -> None:
    data = elf.library(
        "libx.so.1",
        needed=["liby.so.2", "libc.so.6"],
        runpath="/one:$ORIGIN/../two",
        wants={"libc.so.6": ["GLIBC_2.34", "GLIBC_2.2.5"], "liby.so.2": ["Y_1"]},
        offers=["X_1", "X_2"],
    )
    found = read_elf(io.BytesIO(data))
    assert found
    assert (found.soname, found.needed) == ("libx.so.1", ("liby.so.2", "libc.so.6"))
    assert (found.rpath, found.runpath) == ((), ("/one", "$ORIGIN/../two"))
    assert found.wants == {"libc.so.6": ("GLIBC_2.34", "GLIBC_2.2.5"), "liby.so.2": ("Y_1",)}
    assert found.offers == {"X_1", "X_2"}


def test_what_is_no_library() -> None:
    whole = elf.library("libx.so.1", needed=["liby.so.2"])
    for data in (b"", b"#!/bin/sh\n", whole[:40], whole[:150], whole[:64] + b"\xff" * 400):
        assert read_elf(io.BytesIO(data)) is None


def test_a_real_library_of_this_machine() -> None:
    real = Outside()
    name = ctypes.util.find_library("c")
    path = next(iter(cached(real).get(str(name), [])), None)
    if path is None:
        pytest.skip("a machine without ld.so.cache")
    found = real.elf(str(real.real(path)))
    assert found
    assert "GLIBC_2.2.5" in found.offers or "GLIBC_2.17" in found.offers


@pytest.mark.parametrize(
    ("how", "facts", "library_path", "expected"),
    [
        ("rpath beats all", {"rpath": "/r"}, ("/v",), ("/r/liby.so", BY_RPATH)),
        ("the variable beats runpath", {"runpath": "/r"}, ("/v",), ("/v/liby.so", BY_VARIABLE)),
        ("runpath beats the system", {"runpath": "/r"}, (), ("/r/liby.so", BY_RUNPATH)),
        ("with runpath no rpath", {"rpath": "/r", "runpath": "/n"}, (), ("/c/liby.so", BY_SYSTEM)),
        ("the cache", {}, (), ("/c/liby.so", BY_SYSTEM)),
        ("the origin", {"rpath": "$ORIGIN/../r"}, (), ("/r/liby.so", BY_RPATH)),
        ("an empty list", {}, ("/nowhere",), ("/c/liby.so", BY_SYSTEM)),
    ],
)
def test_where_it_is_looked_for(
    world: World,
    how: str,
    facts: dict[str, str],
    library_path: tuple[str, ...],
    expected: tuple[str, str],
) -> None:
    for folder in ("/r", "/v", "/c", "/usr/lib64"):
        world.put(f"{folder}/liby.so")
    (world.root / "etc").mkdir()
    (world.root / "etc/ld.so.cache").write_bytes(elf.cache({"liby.so": "/c/liby.so"}))
    world.put("/opt/libx.so", needed=["liby.so"], **facts)
    assert world.loaded("/opt/libx.so", *library_path) == {"liby.so": expected}, how


def test_rpath_of_who_loaded_it_counts_too(world: World) -> None:
    """This is why an environment's own MPI comes first: the RPATH is that of its Python."""
    world.put("/env/bin/python", "", needed=["libz.so"], rpath="/env/lib")
    world.put("/env/lib/libz.so", needed=["liby.so"])
    world.put("/env/lib/liby.so")
    world.put("/host/liby.so")
    assert world.loaded("/env/bin/python", "/host")["liby.so"][0] == "/env/lib/liby.so"
    world.put("/env/lib/libz.so", needed=["liby.so"], runpath="/none")
    again = World(world.root)  # what was read is remembered
    assert again.loaded("/env/bin/python", "/host")["liby.so"][0] == "/host/liby.so"


def test_what_was_loaded_counts_for_all(world: World) -> None:
    world.put("/opt/libx.so", needed=["libz.so", "liby.so"], rpath="/r")
    world.put("/r/libz.so", needed=["liby.so"], rpath="/other")
    world.put("/r/liby.so")
    world.put("/other/liby.so")
    assert world.loaded("/opt/libx.so")["liby.so"][0] == "/r/liby.so"


def test_one_for_another_machine_is_passed_over(world: World) -> None:
    world.put("/one/liby.so", machine=elf.AARCH64)
    world.put("/two/liby.so")
    world.put("/opt/libx.so", needed=["liby.so"])
    assert world.loaded("/opt/libx.so", "/one", "/two")["liby.so"][0] == "/two/liby.so"


def test_links_and_circles(world: World) -> None:
    world.put("/opt/v1/libx.so.1.2", "libx.so.1", needed=["liby.so"])
    (world.root / "usr/lib64").mkdir(parents=True)
    (world.root / "usr/lib64/libx.so.1").symlink_to("../../opt/v1/libx.so.1.2")
    world.put("/usr/lib64/liby.so", needed=["libx.so.1", "liby.so"])
    assert world.loaded("/usr/lib64/libx.so.1") == {"liby.so": ("/usr/lib64/liby.so", BY_SYSTEM)}


def test_the_c_library_is_left_out_and_its_version_told(world: World) -> None:
    glibc = ["libc.so.6", "libm.so.6", "libpthread.so.0", "ld-linux-x86-64.so.2", "libdl.so.2"]
    wants = {
        "libc.so.6": ["GLIBC_2.9", "GLIBC_2.31"],
        "libm.so.6": ["GLIBC_2.4.1", "GLIBC_PRIVATE"],
    }
    world.put("/opt/libx.so", needed=glibc, wants=wants)
    closure = Loader(world.files).closure(["/opt/libx.so"])
    assert ([*closure.loaded], closure.missing, closure.glibc()) == (["libx.so"], {}, (2, 31))
    assert not of_glibc("libcxi.so.1")
    assert not of_glibc("libcrypt.so.1")


def test_what_is_missing_is_told_with_who_needs_it(world: World) -> None:
    world.put("/opt/libx.so", needed=["liby.so"])
    world.put("/usr/lib64/liby.so", needed=["libcxi.so.1"])
    closure = Loader(world.files).closure(["/opt/libx.so"])
    assert closure.missing == {"libcxi.so.1": "/usr/lib64/liby.so"}


def test_files_at_a_place_in_others(tmp_path: Path) -> None:
    inner, outer = World(tmp_path / "inner"), World(tmp_path / "outer")
    inner.put("/env/lib/libx.so", needed=["liby.so"], rpath="$ORIGIN")
    outer.put("/usr/lib64/liby.so")
    outer.put("/env/lib/liby.so")  # covered
    joined = Joined(places={"": outer.files, "/env": inner.files})
    closure = Loader(joined).closure(["/env/lib/libx.so"])
    assert closure.loaded["liby.so"].path == "/usr/lib64/liby.so"


@pytest.mark.parametrize("data", [b"", b"ld.so-1.7.0\0", b"glibc-ld.so.cache1.1\xff\xff\xff\xff"])
def test_a_cache_that_is_none(world: World, data: bytes) -> None:
    (world.root / "etc").mkdir()
    (world.root / "etc/ld.so.cache").write_bytes(data)
    assert cached(world.files) == {}
