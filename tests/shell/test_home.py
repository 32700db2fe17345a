"""The prefix as the home of an environment's Python, with real interpreters.

Inside a container ``DIR/bin`` has links to the real programs. Here it is a link to the directory
that is bound there, which is the same to Python.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.shell.conftest import write_program
from wrapper.models import Environment
from wrapper.prefix import home
from wrapper.prefix.staging import Staging

VERSION = f"python{sys.version_info[0]}.{sys.version_info[1]}"
WHO = "import sys; print(sys.executable, sys._base_executable, sys.prefix, sys.base_prefix)"


def inside(prefix: Path, environment: Environment, programs: Mapping[str, str]) -> Path:
    """An installation, as it looks inside the container."""
    with (
        pytest.MonkeyPatch.context() as patch,
        Staging(prefix, generation=1, mode=0o755) as staging,
    ):
        patch.setattr(os, "fsync", lambda _handle: None)  # disks are slow
        staging.write_programs(programs, environment.root, "#!/bin/sh\n", environment)
        staging.write_links(environment)
        staging.publish()
    (prefix / "bin").rename(prefix / "outside")
    (prefix / "bin").symlink_to("current/_bin")
    return prefix


def run(*words: str | Path, path: Path | None = None) -> list[str]:
    """The words that a program prints. :param path: the first directory of PATH."""
    env = {"PATH": f"{path}:/usr/bin:/bin" if path else "/usr/bin:/bin"}
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


# -- an environment that has a Python of its own -----------------------------------------------
@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """The prefix of one, which is the Python that runs the tests."""
    root = sys.base_prefix
    pythons = {name: name for name in ("python3", VERSION)}
    environment = Environment(
        root=root, entries=("include", "lib"), python=f"{root}/bin", pythons=pythons
    )
    programs = {name: f"bin/{name}" for name in pythons}
    return inside(tmp_path / "en v", environment, programs)


def test_the_prefix_is_pythons_own(whole: Path) -> None:
    python = str(whole / "bin/python3")
    assert subprocess.check_output([python, "-c", WHO], text=True) == (
        f"{python} {python} {whole} {whole}\n"
    )
    # (Debian's own Python has another scheme by default, for /usr/local.)
    code = "import sysconfig as s; p = s.get_paths('posix_prefix')\n"
    code += "print(p['stdlib']); print(p['scripts'])"
    out = subprocess.check_output([python, "-c", code], text=True).splitlines()
    assert out == [f"{whole}/lib/{VERSION}", f"{whole}/bin"]


def test_virtual_environments_stand_on_it_and_on_each_other(whole: Path, tmp_path: Path) -> None:
    python = whole / "bin/python3"
    for name in ("one", "two", "three"):
        place = tmp_path / name
        subprocess.run([python, "-m", "venv", "--without-pip", place], check=True)
        code = "import sys; print(sys.prefix); print(sys.base_prefix)"
        out = subprocess.check_output([place / "bin/python", "-c", code], text=True)
        assert out.splitlines() == [str(place), str(whole)]
        # Outside, where bin is another directory, its program is there too.
        program = python = place / "bin/python"
        while not program.parent.samefile(whole / "bin/.python") and program.is_symlink():
            if program.is_relative_to(whole):
                break
            program = program.parent / program.readlink()
        assert (whole / "outside" / program.relative_to(whole / "bin")).exists()


# -- a virtual environment of a Python elsewhere -------------------------------------------------
@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A virtual environment with a package, and a program of it."""
    tree = tmp_path / "inside"
    base = Path(sys.base_prefix, "bin", VERSION)
    subprocess.run([base, "-m", "venv", "--without-pip", tree], check=True)
    (tree / "lib" / VERSION / "site-packages/mine.py").write_text("VALUE = 1\n")
    write_program(tree / "bin/who", f"#!{tree}/bin/python\n{WHO}\n")
    home.put_line(tree, str(tree), str(tree))
    return tree


def virtual(tree: Path, prefix: Path) -> Path:
    """The prefix of one."""
    base = Path(sys.base_prefix, "bin", VERSION)
    programs = {name: f"bin/{name}" for name in ("python", "python3", VERSION, "who")}
    pythons = home.pythons(tree, programs)
    assert set(pythons) == {"python", "python3", VERSION}
    environment = Environment(
        root=str(tree),
        entries=("include", "lib"),
        python=str(base.parent),
        pythons=dict.fromkeys(pythons, base.name),
    )
    inside(prefix, environment, programs)
    (prefix / "pyvenv.cfg").write_text((tree / "pyvenv.cfg").read_text())
    return prefix


def test_a_program_has_the_prefixs_python(tree: Path, tmp_path: Path) -> None:
    prefix = virtual(tree, tmp_path / "dir")
    python = f"{prefix}/bin/python"
    expected = [python, f"{prefix}/bin/.python/{VERSION}", str(prefix), sys.base_prefix]
    assert run(python, "-c", WHO) == expected
    assert run(prefix / "bin/who") == expected
    assert run(tree / "bin/who", path=prefix / "bin") == expected
    link = tmp_path / "link"
    link.symlink_to("dir")
    assert run(link / "bin/who")[0] == f"{link}/bin/python"


def test_of_two_prefixes_the_right_one(tree: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", other], check=True)
    write_program(other / "bin/who", f"#!{other}/bin/python\n{WHO}\n")
    home.put_line(other, str(other), str(other))
    one, two = virtual(tree, tmp_path / "one"), virtual(other, tmp_path / "two")
    assert run(one / "bin/who", path=two / "bin")[0] == f"{one}/bin/python"
    assert run(tree / "bin/who", path=two / "bin")[0] == f"{tree}/bin/python"  # unknown: as it is


def test_other_pythons_are_left_alone(tree: Path, tmp_path: Path) -> None:
    """One of a virtual environment on top sees the line, too."""
    prefix = virtual(tree, tmp_path / "dir")
    top = tmp_path / "top"
    words = [prefix / "bin/python", "-m", "venv", "--without-pip", "--system-site-packages", top]
    subprocess.run(words, check=True)
    assert run(top / "bin/python", "-c", WHO, path=prefix / "bin")[0] == f"{top}/bin/python"


def test_what_is_made_of_it_stands_on_it(tree: Path, tmp_path: Path) -> None:
    library = Path(os.__file__).parent
    home.link_library(tree, library, os.listdir(library), None)  # noqa: PTH208
    prefix = virtual(tree, tmp_path / "dir")
    python = prefix / "bin/python"
    for name in ("one", "two"):
        place = tmp_path / name
        subprocess.run(
            [python, "-m", "venv", "--without-pip", "--system-site-packages", place], check=True
        )
        code = "import mine, sys; print(sys.prefix, sys.base_prefix, mine.VALUE)"
        python = place / "bin/python"
        assert run(python, "-c", code) == [str(place), str(prefix), "1"]


# -- making and unmaking it ------------------------------------------------------------------------
def test_it_goes_without_a_trace(tree: Path) -> None:
    before = {path for path in tree.rglob("*") if "containerize" not in path.name}
    library = Path(os.__file__).parent
    headers = library.parents[1] / "include" / VERSION
    home.link_library(tree, library, ["os.py", "json", "site-packages"], headers)
    assert (tree / "include" / VERSION).readlink() == headers
    assert (tree / "lib" / VERSION / "json").is_symlink()
    assert not (tree / "lib" / VERSION / "site-packages").is_symlink()
    home.take_away(tree)
    assert {*tree.rglob("*")} == before - {tree / "include" / VERSION}


def test_what_is_as_it_was_keeps_its_time(tree: Path) -> None:
    """An update has nothing to compile then."""
    site = tree / "lib" / VERSION / "site-packages"
    made = [path for path in site.iterdir() if "containerize" in path.name and path.is_file()]
    assert len(made) == 2
    for path in made:
        os.utime(path, (1, 1))
    home.put_line(tree, str(tree), str(tree))
    assert [path.stat().st_mtime for path in made] == [1, 1]


def test_what_of_the_environment_the_prefix_shows() -> None:
    names = ["bin", "etc", "lib", "share", ".hidden", "img.sqfs", "current", "CACHEDIR.TAG", "file"]
    assert home.entries(names) == ("lib", "etc", "file")
    assert home.entries([]) == ("lib",)


def test_a_directory_that_is_not_ours_to_write_to_is_left(tree: Path) -> None:
    home.take_away(tree)
    site = tree / "lib" / VERSION / "site-packages"
    site.chmod(0o555)
    if os.getuid():
        home.put_line(tree, str(tree), str(tree))
        assert not (site / "containerize.pth").exists()
    site.chmod(0o755)
