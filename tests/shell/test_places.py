"""An installation finds itself wherever it is and however it is called."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.shell.conftest import (
    Call,
    Install,
    Prefix,
    write_environment,
)
from wrapper import platforms
from wrapper.activation.model import Activation
from wrapper.runtime.binds import UNBINDABLE, UNBINDABLE_NAMES

HOSTILE = ["a b", "it's", "do$lar", "ba`ck`", "st*r", "[x]", "ti~lde", "é", "-dash"]
HOSTILE += ["br{ac}e", "semi;colon", "amp&", "hash#", "per%cent", "__PREFIX__", "$(touch pwned)"]


def check(prefix: Prefix, call: Call, called: str | Path, *, physical: Path | None = None) -> None:
    """The call started this installation's image, under the path it was called by."""
    assert call.started, call.stderr
    assert (call.status, call.stderr) == (0, "")
    assert call.command[0] == os.fsencode(called)
    assert call.image == f"{prefix.root}/.generations/1/img.sqfs"
    real = physical or prefix.root
    assert f"{prefix.root}/.generations/1/_bin:{real}/bin" in call.binds
    assert (call.inside("PATH") or "").endswith("/bin:/usr/bin:/bin")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_prefix_of_any_name(install: Install, tmp_path: Path, name: str) -> None:
    prefix = install(tmp_path / name / "env")
    check(prefix, prefix.call(prefix.program()), prefix.program())
    assert not (prefix.out / "pwned").exists()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_moved_installation(prefix: Prefix, tmp_path: Path, name: str) -> None:
    moved = prefix.at(prefix.root.rename(tmp_path / name))
    check(moved, moved.call(moved.program()), moved.program())


@pytest.mark.parametrize("links_kept", [True, False])
def test_a_copied_installation_is_one_of_its_own(
    prefix: Prefix, tmp_path: Path, links_kept: bool
) -> None:
    copy = prefix.at(tmp_path / "copy")
    if links_kept:
        subprocess.run(["cp", "-a", prefix.root, copy.root], check=True)
    else:
        shutil.copytree(prefix.root, copy.root, symlinks=True)
    inodes = {copy.program(name).stat().st_ino for name in ("python3", "tool")}
    assert len(inodes) == (1 if links_kept else 2)
    check(copy, copy.call(copy.program()), copy.program())
    shutil.rmtree(prefix.root)
    check(copy, copy.call(copy.program("tool")), copy.program("tool"))


@pytest.mark.parametrize("name", [f"a{letter}b" for letter in UNBINDABLE])
def test_a_path_that_no_bind_can_express(prefix: Prefix, tmp_path: Path, name: str) -> None:
    moved = prefix.at(prefix.root.rename(tmp_path / name))
    call = moved.call(moved.program())
    assert (call.started, call.status) == (False, 1)
    assert f"a bind cannot express the path {moved.root}" in call.stderr
    assert UNBINDABLE_NAMES in call.stderr


# -- links ---------------------------------------------------------------------------------------
def test_a_prefix_behind_a_link_keeps_the_name_of_the_link(prefix: Prefix, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(prefix.root)
    by_link = prefix.at(tmp_path / "link")
    call = by_link.call(by_link.program())
    check(by_link, call, by_link.program(), physical=prefix.root)
    assert call.inside("PATH") == f"{by_link.root}/bin:/usr/bin:/bin"


def test_a_link_among_the_directories_above(install: Install, tmp_path: Path) -> None:
    (tmp_path / "pfs/project").mkdir(parents=True)
    (tmp_path / "scratch").symlink_to("pfs")
    prefix = install(tmp_path / "scratch/project/env")
    real = tmp_path / "pfs/project/env"
    check(prefix, prefix.call(prefix.program()), prefix.program(), physical=real)


def test_looking_behind_links_leaves_the_working_directory_alone(
    prefix: Prefix, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(prefix.root)
    (tmp_path / "here").symlink_to(prefix.out)
    env = {"PWD": f"{tmp_path}/here", "OLDPWD": "/usr"}
    call = prefix.call(tmp_path / "link/bin/python3", cwd=tmp_path / "here", env=env)
    assert call.cwd == prefix.out
    assert (call.variable("PWD"), call.variable("OLDPWD")) == (f"{tmp_path}/here", "/usr")
    assert prefix.call(tmp_path / "link/bin/python3").variable("OLDPWD") is None


@pytest.mark.parametrize("name", ["python3", "py"])
def test_a_link_elsewhere_to_a_program(prefix: Prefix, tmp_path: Path, name: str) -> None:
    link = tmp_path / "home/bin" / name
    link.parent.mkdir(parents=True)
    link.symlink_to(prefix.program())
    check(prefix, prefix.call(link), link)


def test_a_link_to_a_program_of_a_moved_installation(prefix: Prefix, tmp_path: Path) -> None:
    moved = prefix.at(prefix.root.rename(tmp_path / "mo ved"))
    link = tmp_path / "py"
    link.symlink_to(moved.program())
    check(moved, moved.call(link), link)


def test_a_link_to_a_program_of_a_copy(prefix: Prefix, tmp_path: Path) -> None:
    copy = prefix.at(tmp_path / "copy")
    shutil.copytree(prefix.root, copy.root, symlinks=True)
    link = tmp_path / "py"
    link.symlink_to(copy.program())
    check(copy, copy.call(link), link)


def test_a_virtual_environment(prefix: Prefix, tmp_path: Path) -> None:
    folder = tmp_path / "venv/bin"
    folder.mkdir(parents=True)
    (folder / "python3").symlink_to(prefix.program())
    (folder / "python").symlink_to("python3")
    check(prefix, prefix.call(folder / "python", "-V"), folder / "python")


def test_a_virtual_environment_of_a_prefix_behind_a_link(install: Install, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    prefix = install(tmp_path / "link/env")
    folder = tmp_path / "venv/bin"
    folder.mkdir(parents=True)
    (folder / "python").symlink_to(prefix.program())
    check(prefix, prefix.call(folder / "python"), folder / "python", physical=tmp_path / "real/env")


def test_a_link_to_the_bin_directory(prefix: Prefix, tmp_path: Path) -> None:
    """The kernel finds ``current`` beside it: ``..`` leads to the real directory's parent."""
    link = tmp_path / "home/bin"
    link.parent.mkdir()
    link.symlink_to(prefix.root / "bin")
    check(prefix, prefix.call(link / "python3"), link / "python3")
    other = tmp_path / "home/programs"
    other.symlink_to(prefix.root / "bin")
    check(prefix, prefix.call(other / "python3"), other / "python3")


def test_something_called_current_beside_a_link_is_not_read(prefix: Prefix, tmp_path: Path) -> None:
    (tmp_path / "home/bin").mkdir(parents=True)
    (tmp_path / "home/current").mkdir()
    (tmp_path / "home/current/env").write_text("touch pwned\n")
    link = tmp_path / "home/bin/py"
    link.symlink_to(prefix.program())
    check(prefix, prefix.call(link), link)
    assert not (prefix.out / "pwned").exists()


# -- relative paths ------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("directory", "word", "called"),
    [
        ("bin", "./python3", "{root}/bin/python3"),
        ("", "bin/python3", "{root}/bin/python3"),
        ("", "./bin/python3", "{root}/bin/python3"),
        ("bin", "../bin/python3", "{root}/bin/../bin/python3"),
        ("bin", "././python3", "{root}/bin/./python3"),
        (".generations", "../bin/python3", "{root}/.generations/../bin/python3"),
    ],
)
def test_a_relative_path(prefix: Prefix, directory: str, word: str, called: str) -> None:
    call = prefix.call(word, cwd=prefix.root / directory)
    check(prefix, call, called.format(root=prefix.root))


def test_a_path_relative_to_the_root_directory(prefix: Prefix) -> None:
    call = prefix.call(str(prefix.program()).lstrip("/"), cwd=Path("/"))
    check(prefix, call, prefix.program())


@pytest.mark.parametrize(
    ("path", "directory", "called"),
    [
        ("{root}/bin", ".", "{root}/bin/python3"),
        ("bin", "", "{root}/bin/python3"),
        (".", "bin", "{root}/bin/python3"),
        ("", "bin", "{root}/bin/python3"),
        ("../bin", "bin", "{root}/bin/../bin/python3"),
    ],
)
def test_found_on_path(prefix: Prefix, path: str, directory: str, called: str) -> None:
    path = f"{path.format(root=prefix.root)}:/usr/bin:/bin"
    call = prefix.call(
        *("/bin/bash", "-c", "python3 x"), env={"PATH": path}, cwd=prefix.root / directory
    )
    assert call.started, call.stderr
    assert call.command == (called.format(root=prefix.root).encode(), b"x")
    assert call.image == f"{prefix.root}/.generations/1/img.sqfs"


# -- generations ---------------------------------------------------------------------------------
def test_a_switch_takes_effect_at_the_next_start(prefix: Prefix) -> None:
    activation = Activation(assign={"GENERATION": "2"})
    write_environment(prefix.root, generation=2, install_path="/other", activation=activation)
    assert prefix.run().image == f"{prefix.root}/.generations/1/img.sqfs"
    new = prefix.root / "current.new"
    new.symlink_to(".generations/2")
    new.rename(prefix.root / "current")
    call = prefix.run()
    assert call.image == f"{prefix.root}/.generations/2/img.sqfs"
    assert f"{prefix.root}/.generations/2/_bin:{prefix.root}/bin" in call.binds
    assert call.variable("GENERATION") == "2"


@pytest.mark.parametrize("posix", [None, "1"])
@pytest.mark.parametrize("place", ["current", "elsewhere"])
def test_an_incomplete_installation_says_so(
    prefix: Prefix, tmp_path: Path, place: str, posix: str | None
) -> None:
    if place == "elsewhere":
        prefix = prefix.at(prefix.root.rename(tmp_path / "moved"))
    (prefix.root / "current/env").unlink()
    call = prefix.call(prefix.program(), env={"POSIXLY_CORRECT": posix})
    assert not call.started
    assert call.status == 1
    lines = call.stderr.splitlines()
    assert lines[0] == (
        f"[ ERROR ] the installation is incomplete: {prefix.root}/current/env cannot be read"
    )
    assert lines[1] == f"  where:  {prefix.program()}"
    assert lines[2].startswith("  to do:  ") and len(lines) == 3


def test_a_generation_that_is_gone_says_so(prefix: Prefix) -> None:
    (prefix.root / "current").unlink()
    (prefix.root / "current").symlink_to(".generations/99")
    call = prefix.call(prefix.program())
    assert (call.started, call.status) == (False, 1)
    assert "incomplete" in call.stderr


# -- list-packages -------------------------------------------------------------------------------
def listed(prefix: Prefix, word: str | Path, **options: object) -> str:
    call = prefix.call(word, **options)  # type: ignore[arg-type]
    assert not call.started
    assert (call.status, call.stderr) == (0, "")
    return call.stdout.decode()


@pytest.mark.parametrize(
    ("directory", "word"),
    [
        ("bin", "./list-packages"),
        ("", "bin/list-packages"),
        ("bin", "../bin/list-packages"),
        ("", "{root}/bin/list-packages"),
    ],
)
def test_packages_are_listed(prefix: Prefix, directory: str, word: str) -> None:
    word = word.format(root=prefix.root)
    assert listed(prefix, word, cwd=prefix.root / directory) == "demo  1.0\n"


def test_packages_are_listed_through_links(prefix: Prefix, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(prefix.root)
    (tmp_path / "list").symlink_to(prefix.program("list-packages"))
    assert listed(prefix, tmp_path / "link/bin/list-packages") == "demo  1.0\n"
    assert listed(prefix, tmp_path / "list") == "demo  1.0\n"


def test_packages_of_a_moved_installation_are_listed(prefix: Prefix, tmp_path: Path) -> None:
    moved = prefix.at(prefix.root.rename(tmp_path / "-mo ved $x"))
    assert listed(prefix, moved.program("list-packages")) == "demo  1.0\n"


def test_packages_found_on_path_are_listed(prefix: Prefix) -> None:
    call = prefix.call(
        *("/bin/bash", "-c", "list-packages"),
        env={"PATH": "bin:/usr/bin:/bin"},
        cwd=prefix.root,
    )
    assert call.stdout == b"demo  1.0\n"


# -- Python's other name -------------------------------------------------------------------------
def test_the_directory_of_the_real_python_has_shims_outside(prefix: Prefix) -> None:
    """Virtual environments of virtual environments lead there."""
    program = prefix.root / "bin/.python/python3"
    call = prefix.call(program, "x")
    assert call.command == (os.fsencode(program), b"x")
    moved = prefix.at(prefix.root.rename(prefix.root.with_name("mo ved")))
    program = moved.root / "bin/.python/python3"
    assert f"{moved.root}/.generations/1/_bin:{moved.root}/bin" in moved.call(program).binds


# -- nodes of two kinds --------------------------------------------------------------------------
def built_on(machine: str, root: Path) -> None:
    """Write the installation's ``env`` as a build on another machine does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("platform.machine", lambda: machine)
        write_environment(root)


def test_a_node_of_another_architecture(prefix: Prefix) -> None:
    machine = platforms.bash_machine()
    if not machine:
        pytest.skip("bash has no name for this machine that is known")
    other = "aarch64" if machine != "aarch64" else "x86_64"
    prefix.run(env={"HOSTTYPE": f"{other}-linux", "MACHTYPE": other})  # of the login node
    built_on(other, prefix.root)
    call = prefix.call(prefix.program(), env={"HOSTTYPE": other, "MACHTYPE": f"{other}-x"})
    assert call.status == 1 and not call.started
    assert f"{prefix.root} was built for {other}, and this node is {machine}" in call.stderr
    built_on("mips", prefix.root)  # nothing is known of it
    prefix.run(env={"_cw_machine": other})


def test_an_older_processor_is_told(prefix: Prefix) -> None:
    """By one rank, where packages say what they need; programs start."""
    machine = platforms.bash_machine()
    if machine != "x86_64":
        pytest.skip("levels are of x86-64")
    write_environment(prefix.root, level=2)
    assert "_cw_processor=(v2 cx16" in (prefix.root / "current/env").read_text()
    prefix.run()
    env = (prefix.root / "current/env").read_text().replace("v2 cx16", "v9 fpu future")
    (prefix.root / "current/env").write_text(env)
    call = prefix.call(prefix.program())
    assert call.started and call.status == 0
    said = f"{prefix.root} is for processors of x86-64-v9, and this node's has no future"
    assert said in call.stderr
    assert prefix.call(prefix.program(), env={"SLURM_PROCID": "1"}).stderr == ""


def test_another_installation_of_another_architecture(install: Install, tmp_path: Path) -> None:
    prefix, other = install(), install(tmp_path / "other")
    built_on("ppc64le", other.root)
    call = prefix.call(prefix.program(), env={"CONTAINERIZE_WITH": str(other.root)})
    assert call.status == 1 and f"{other.root} was built for powerpc64le" in call.stderr
