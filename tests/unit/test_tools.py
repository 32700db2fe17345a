"""Finding the container runtime and mksquashfs, and what their versions allow."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from tests.unit.conftest import Program
from wrapper import settings as site
from wrapper.errors import ToolError
from wrapper.images import squasher as squash
from wrapper.images.squasher import Squasher
from wrapper.models import Site
from wrapper.runtime import runtime
from wrapper.runtime.binds import (
    UNBINDABLE,
    host_binds,
    image_binds,
    leave_out_missing,
    split_binds,
    with_more,
)
from wrapper.runtime.runtime import Runtime, home_of


def find_runtime(environ: dict[str, str]) -> Runtime:
    return runtime.find_runtime(environ, site.load(environ))


def find_squasher(environ: dict[str, str]) -> Squasher:
    return squash.find_squasher(environ, Site())


def environ(program: Path, **more: str) -> dict[str, str]:
    """PATH leads to the directory of a fake program, and to nothing else."""
    return {"PATH": str(program.parent), **more}


# -- the runtime's version -----------------------------------------------------------------------
@pytest.mark.parametrize(
    ("answer", "name", "version"),
    [
        ("singularity-ce version 3.11.4-1", "singularity", "3.11.4-1"),
        ("singularity-ce version 4.1.3-noble", "singularity", "4.1.3-noble"),
        ("SingularityPRO: singularity-pro version 3.11-2", "singularity", "3.11-2"),
        ("singularity version 3.8.7", "singularity", "3.8.7"),
        ("apptainer version 1.4.5", "apptainer", "1.4.5"),
        ("apptainer version 1.4.0~rc.1+git", "apptainer", "1.4.0~rc.1+git"),
        ("WARNING: something\napptainer version 1.2.0-1.el9", "apptainer", "1.2.0-1.el9"),
    ],
)
@pytest.mark.parametrize("command", ["singularity", "apptainer"])
def test_the_runtime_says_what_it_is(
    program: Program, command: str, answer: str, name: str, version: str
) -> None:
    path = program(command, f"[ $# = 1 ] && [ $1 = --version ] && printf '%s\\n' '{answer}'")
    found = find_runtime(environ(path))
    assert found == Runtime(path=path, name=name, version=version)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("singularity version 3.7.0", "singularity 3.7 is too old"),
        ("singularity version 2.6.0-dist", "singularity 2.6 is too old"),
        ("apptainer version 0.1.0", "apptainer 0.1 is too old"),
        ("docker version 27.0", "cannot tell the runtime's version from 'docker version 27.0'"),
        ("apptainer", "cannot tell the runtime's version"),
        ("", "cannot tell the runtime's version"),
    ],
)
def test_a_runtime_that_cannot_be_used(program: Program, answer: str, message: str) -> None:
    path = program("singularity", f"echo '{answer}'")
    with pytest.raises(ToolError) as caught:
        find_runtime(environ(path))
    assert message in caught.value.what
    assert caught.value.where == str(path)
    assert "SingularityCE >= 3.8" in caught.value.hint


def test_a_runtime_that_fails(program: Program) -> None:
    path = program("apptainer", "echo it is broken >&2; exit 3")
    with pytest.raises(ToolError) as caught:
        find_runtime(environ(path))
    assert caught.value.detail == "it is broken"


# -- which runtime -------------------------------------------------------------------------------
def test_without_a_runtime_it_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="neither singularity nor apptainer is on PATH") as caught:
        find_runtime({"PATH": str(tmp_path)})
    assert "CONTAINERIZE_RUNTIME" in caught.value.hint


def test_singularity_comes_before_apptainer(program: Program) -> None:
    program("apptainer", "echo apptainer version 1.4.5")
    path = program("singularity", "echo singularity-ce version 4.0.0")
    assert find_runtime(environ(path)).path == path


@pytest.mark.parametrize("by_name", [True, False])
def test_the_user_can_name_the_runtime(program: Program, by_name: bool) -> None:
    program("singularity", "echo singularity-ce version 4.0.0")
    path = program("my own", "echo apptainer version 1.4.5")
    named = {"CONTAINERIZE_RUNTIME": path.name if by_name else str(path)}
    assert find_runtime(environ(path, **named)).path == path


def test_a_relative_name_becomes_absolute(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = program("apptainer", "echo apptainer version 1.4.5")
    monkeypatch.chdir(path.parent)
    assert find_runtime({"PATH": "", "CONTAINERIZE_RUNTIME": "./apptainer"}).path == path


@pytest.mark.parametrize("named", ["nothing", "/no/where", "."])
def test_a_name_that_is_no_program(program: Program, named: str) -> None:
    path = program("apptainer", "echo apptainer version 1.4.5")
    with pytest.raises(ToolError, match=f"the container runtime '{named}' is not a program") as e:
        find_runtime(environ(path, CONTAINERIZE_RUNTIME=named))
    assert e.value.where == "CONTAINERIZE_RUNTIME"


def test_an_empty_name_is_none(program: Program) -> None:
    path = program("apptainer", "echo apptainer version 1.4.5")
    assert find_runtime(environ(path, CONTAINERIZE_RUNTIME="")).path == path


def test_the_version_is_asked_with_a_clean_environment(program: Program, tmp_path: Path) -> None:
    path = program("apptainer", f"/usr/bin/env >'{tmp_path}/seen'; echo apptainer version 1.4.5")
    find_runtime(environ(path, LD_PRELOAD="x", PYTHONPATH="y", APPTAINER_TMPDIR="/z"))
    seen = (tmp_path / "seen").read_text()
    assert "APPTAINER_TMPDIR=/z" in seen
    assert "PRELOAD" not in seen and "PYTHONPATH" not in seen


# -- its line ------------------------------------------------------------------------------------
def test_the_line_of_a_build() -> None:
    runtime = Runtime(path=Path("/r un/apptainer"), name="apptainer", version="1.4.5")
    argv = runtime.exec_argv(
        *(Path("/i m.sqfs"), ["/a", "/b:/c"], ["ls", "", "a b"]),
        cwd=Path("/w d"),
        environ={"HOME": "/h m"},
    )
    assert argv == [
        *("/r un/apptainer", "-s", "exec", "--no-home", "--no-mount=tmp,cwd"),
        *("--home", "/h m", "--pwd", "/w d", "-B", "/a,/b:/c", "/i m.sqfs", "ls", "", "a b"),
    ]


@pytest.mark.parametrize("name", ["singularity", "apptainer"])
def test_a_path_for_inside_is_escaped_for_the_runtimes_shell(name: str) -> None:
    found = Runtime(path=Path("/r"), name=name, version="4.1.5")
    got = found.container_variable("PATH", r"""/a$b:/c`d`:/e\f:/g"h:/i'j:/k l""")
    expected = r"""/a\$b:/c\`d\`:/e\\f:/g"h:/i'j:/k l"""
    assert got == {f"{name.upper()}ENV_PATH": expected}, "programs would see the other family's"


def test_a_runtimes_files_are_kept_out_of_the_home() -> None:
    found = Runtime(path=Path("/r"), name="singularity", version="4.1.5")
    seen = found.environment(Path("/s"), {"HOME": "/h", "PYTHONPATH": "/p"})
    places = {f"SINGULARITY_{kind}": "/s" for kind in ("CACHEDIR", "CONFIGDIR", "TMPDIR")}
    assert seen == {"HOME": "/h", **places}
    assert found.environment(Path("/s"), {}, fetches=True) == {**places, "XDG_DATA_HOME": "/s"}


def test_the_home_is_the_users_or_harmless() -> None:
    assert home_of({"HOME": "/h"}) == "/h"
    assert home_of({"HOME": ""}) == home_of({}) == "/"
    assert home_of({"HOME": "/a:b"}) == "/", "the runtime would take 'b' for the place inside"


def test_the_hosts_directories_are_bound(tmp_path: Path) -> None:
    odd = [f"a{letter}b" for letter in UNBINDABLE]
    for name in ("usr", "dev", "proc", "sys", "lost+found", "scratch", "a b", *odd):
        (tmp_path / name).mkdir()
    (tmp_path / "bin").symlink_to("usr")
    (tmp_path / "swapfile").touch()
    assert host_binds(tmp_path) == ["/a b", "/scratch", "/usr"]


@pytest.fixture
def cluster(tmp_path: Path) -> Path:
    """A root directory with links, as on a cluster: relative ones, so that they stay in it."""
    for name in (
        "pfs/appl/sub",
        "pfs/p1",
        ".lustre/flash",
        "scratch",
        "usr/bin",
        "var/data",
        "opt",
    ):
        (tmp_path / name).mkdir(parents=True)
    for name, target in {
        **{"appl": "pfs/appl", "flash": ".lustre/flash", "bin": "usr/bin", "data": "var/data"},
        **{"scratch/p1": "../pfs/p1", "scratch/odd": "../var/data", "gone": "nowhere"},
    }.items():
        (tmp_path / name).symlink_to(target)
    return tmp_path


def test_what_the_hosts_links_lead_to_is_bound(cluster: Path) -> None:
    """The image of the host base has the links themselves; what no pattern finds is missing."""
    assert host_binds(cluster) == ["/opt", "/pfs", "/scratch", "/usr", "/var", "/.lustre"]


def test_on_an_image_links_are_directories_and_what_they_lead_to_is_there_too(
    cluster: Path,
) -> None:
    """Of the host's own system only that place."""
    most = ["/appl", "/data", "/flash", "/pfs", "/scratch", "/var/data", "/.lustre"]
    assert image_binds([], cluster) == most
    assert image_binds([Path("/scratch/p1"), Path("/appl/sub")], cluster) == most
    needed = [Path("/usr/bin"), Path("/scratch/odd/x")]
    assert image_binds(needed, cluster) == [*most, "/usr/bin", "/var/data/x"]


def test_a_directory_that_cannot_be_looked_at_is_not_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mount whose server is gone raises where it is asked what it is."""
    for name in ("good", "stale"):
        (tmp_path / name).mkdir()
    stat = os.stat

    def stale(path: str | Path, **options: bool) -> os.stat_result:
        if Path(path).name == "stale":
            raise OSError(errno.ESTALE, "Stale file handle")
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", stale)
    assert host_binds(tmp_path) == ["/good"]


def test_binds_of_the_user_come_instead_of_the_hosts(tmp_path: Path) -> None:
    """Of two to one place the runtime drops the later; what a build needs stays."""
    environ = {
        "SINGULARITY_BIND": "/a:/mnt,/b:/scratch/deep",
        "APPTAINER_BIND": "/c:/tmp",
        "CW_EXTRA_BIND_MOUNTS": "/a:/mnt,/d:/data/:ro,/home",
    }
    own, needed = ["/data", "/home", "/mnt", "/scratch", "/tmp"], [Path("/tmp/build/tree")]
    users = ["/a:/mnt", "/b:/scratch/deep", "/c:/tmp", "/d:/data/:ro", "/home"]
    sites = [f"{tmp_path}:/site", "/no/such:/site"]
    found = with_more(own, Site(binds=tuple(sites)), environ, needed)
    assert found == ["/scratch", "/tmp", *users, f"{tmp_path}:/site"]


def test_binds_that_are_not_there_are_left_out_of_a_build(tmp_path: Path) -> None:
    environ = {
        "SINGULARITY_BIND": f"/var/spool/no-slurmd,{tmp_path}:/mnt:id=1,ro,/no/such:/x:id=1,ro",
        "APPTAINER_BIND": "/var/spool/no-slurmd",
        "CW_EXTRA_BIND_MOUNTS": f"{tmp_path}",
    }
    assert leave_out_missing(environ) == ["/var/spool/no-slurmd", "/no/such:/x:id=1,ro"]
    assert environ == {
        "SINGULARITY_BIND": f"{tmp_path}:/mnt:id=1,ro",
        "APPTAINER_BIND": "",
        "CW_EXTRA_BIND_MOUNTS": f"{tmp_path}",
    }
    assert leave_out_missing(environ) == []


def test_what_a_site_leaves_out_is_not_there_in_a_build_either() -> None:
    site = Site(exclude_binds=("/scratch", "/tmp"))
    found = with_more(["/home", "/scratch", "/tmp"], site, {}, [Path("/tmp/build/tree")])
    assert found == ["/home", "/tmp"], "what the build itself needs stays"


@pytest.mark.parametrize(
    ("text", "binds"),
    [
        ("", []),
        (",/a,,/b:/c,", ["/a", "/b:/c"]),
        ("/a:/b:ro,/c", ["/a:/b:ro", "/c"]),
        ("/a:/b:id=4,image-src=/,ro,/c:/d", ["/a:/b:id=4,image-src=/,ro", "/c:/d"]),
        ("/a:/b,ro,/rw,row", ["/a:/b,ro", "/rw", "row"]),
        (
            "/x/img.sqfs:/X:image-src=/:/y/img.sqfs:/Y:image-src=/,/z",
            ["/x/img.sqfs:/X:image-src=/", "/y/img.sqfs:/Y:image-src=/", "/z"],
        ),
    ],
)
def test_binds_are_joined_by_commas_and_whole_ones_by_colons_too(
    text: str, binds: list[str]
) -> None:
    assert split_binds(text) == binds


# -- mksquashfs ----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("answer", "version"),
    [
        ("mksquashfs version 4.4 (2019/08/29)", (4, 4)),
        ("mksquashfs version 4.5.1 (2022/03/17)\ncopyright (C) 2022", (4, 5)),
        ("mksquashfs version 4.7 (2025/06/07)", (4, 7)),
        ("mksquashfs version 4.10", (4, 10)),
        ("mksquashfs version 5.0-git.1", (5, 0)),
    ],
)
def test_mksquashfs_says_what_it_is(
    program: Program, answer: str, version: tuple[int, int]
) -> None:
    path = program("mksquashfs", f"[ $1 = -version ] && echo '{answer}'")
    found = find_squasher(environ(path))
    assert (found.path, found.version) == (path, version)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo mksquashfs version 4.3; exit 1", "mksquashfs 4.3 is too old"),
        ("echo mksquashfs version 4.3", "mksquashfs 4.3 is too old"),
        ("echo mksquashfs version 3.9", "mksquashfs 3.9 is too old"),
        ("echo something else", "cannot tell the version of mksquashfs"),
        ("exit 1", "cannot tell the version of mksquashfs"),
    ],
)
def test_a_mksquashfs_that_cannot_be_used(program: Program, script: str, message: str) -> None:
    path = program("mksquashfs", script)
    with pytest.raises(ToolError) as caught:
        find_squasher(environ(path))
    assert (caught.value.what, caught.value.where) == (message, str(path))


def test_without_mksquashfs_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched: list[str] = []
    monkeypatch.setattr(shutil, "which", lambda _name, path: searched.append(path))
    with pytest.raises(ToolError, match="mksquashfs is not on PATH") as caught:
        find_squasher({"PATH": str(tmp_path)})
    assert "squashfs-tools >= 4.4" in caught.value.hint
    assert searched == [f"{tmp_path}:/usr/sbin:/sbin"]


@pytest.mark.parametrize(
    ("name", "uid", "has_newuidmap", "expected"),
    [
        ("apptainer", 1000, False, ["--ignore-subuid"]),
        ("apptainer", 1000, True, []),
        ("apptainer", 0, False, []),
        ("singularity", 1000, False, []),
    ],
)
def test_users_can_build_without_newuidmap(
    name: str, uid: int, has_newuidmap: bool, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.setattr(shutil, "which", lambda name: "/bin/x" if has_newuidmap else None)
    runtime = Runtime(path=Path("/bin/run"), name=name, version="1")
    argv = runtime.build_argv(Path("/out.sif"), Path("/a.def"))
    assert argv == ["/bin/run", "-s", "build", *expected, "/out.sif", "/a.def"]
