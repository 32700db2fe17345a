"""The skeleton: mount points and top-level links of a host."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.conftest import names, without_powers
from wrapper import sites
from wrapper.runtime.binds import write_skeleton


@pytest.fixture
def host(tmp_path: Path) -> Path:
    root = tmp_path / "host"
    for name in (
        "usr/bin",
        "usr/lib64",
        "home",
        "dev",
        "proc",
        "sys",
        "lost+found",
        "own",
        ".snap",
    ):
        (root / name).mkdir(parents=True)
    (root / "bin").symlink_to("usr/bin")
    (root / "lib64").symlink_to("usr/lib64")
    (root / "scratch").symlink_to("own")
    (root / "vmlinuz").symlink_to("boot/vmlinuz")
    (root / "initrd").symlink_to("swapfile")
    (root / "swapfile").touch()
    return root


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "target"
    path.mkdir(mode=0o700)
    return path


def test_links_to_directories_are_kept_as_they_are(host: Path, target: Path) -> None:
    assert write_skeleton(target, host) == ["/bin", "/lib64", "/scratch"]
    assert (target / "bin").readlink() == Path("usr/bin")
    assert (target / "scratch").readlink() == Path("own")


def test_files_and_links_to_nothing_are_left_out(host: Path, target: Path) -> None:
    write_skeleton(target, host)
    assert not {"swapfile", "vmlinuz", "initrd"} & names(target)


def test_every_directory_of_the_host_is_an_empty_mount_point(host: Path, target: Path) -> None:
    write_skeleton(target, host)
    for name in ("usr", "home", "own", ".snap"):
        assert names(target / name) == set()


def test_mount_points_of_the_kernel_and_of_known_sites_are_always_there(
    host: Path, target: Path
) -> None:
    write_skeleton(target, host)
    assert {"dev", "proc", "sys", "tmp", "etc", "run", "projappl", "pfs"} <= names(target)
    assert "lost+found" not in names(target)


def test_it_is_marked_as_ours(host: Path, target: Path) -> None:
    (host / ".containerize").mkdir()  # a build inside one of our containers
    write_skeleton(target, host)
    assert (target / ".containerize").is_dir()
    assert not (target / ".singularity.d").exists()


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_its_root_is_open_whatever_the_umask(
    host: Path, target: Path, umask: Callable[[int], int], mask: int
) -> None:
    umask(mask)
    write_skeleton(target, host)
    assert stat.S_IMODE(target.stat().st_mode) == 0o755


def test_a_link_to_a_place_that_we_may_not_see_is_left_out(open_place: Path) -> None:
    host = open_place / "host"
    (host / "secret/inner").mkdir(parents=True)
    (host / "link").symlink_to("secret/inner")
    (host / "secret").chmod(0)
    sites.mounts()  # read before: the clone may be where only root may look
    with without_powers():
        target = open_place / "target"
        target.mkdir()
        links = write_skeleton(target, host)
    (host / "secret").chmod(0o700)
    assert links == []
    assert "link" not in names(target)
