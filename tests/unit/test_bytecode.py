"""The script that byte-compiles an environment, run by this Python on a small tree."""

from __future__ import annotations

import importlib.util
import os
import py_compile
import struct
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from wrapper.build.source import _has_fresh_modules
from wrapper.images.squasher import IMAGE_TIME

SCRIPT = str(files("wrapper") / "templates/compile.py")


def pyc(source: Path) -> Path:
    return Path(importlib.util.cache_from_source(str(source)))


def compile_tree(root: Path) -> str:
    environment = {"PATH": "/usr/bin:/bin", "PYTHONHASHSEED": "0"}
    done = subprocess.run(
        [sys.executable, "-I", SCRIPT, str(root), "2", IMAGE_TIME],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree of modules of every kind, compiled."""
    root = tmp_path_factory.mktemp("lib")
    (root / "package").mkdir()
    for name in ("plain.py", "package/fresh.py", "package/stale.py", "package/linked.py"):
        (root / name).write_text(f"NAME = {name!r}\n")
    (root / "broken.py").write_text("def (:\n")
    (root / "latin.py").write_bytes(b"# -*- coding: latin-1 -*-\nX = '\xe9'\n")
    (root / "link.py").symlink_to("plain.py")
    (root / "data.txt").write_text("no module\n")
    for name in ("fresh", "stale", "linked"):
        source = root / f"package/{name}.py"
        py_compile.compile(str(source), invalidation_mode=py_compile.PycInvalidationMode.TIMESTAMP)
    (root / "package/stale.py").write_text("NAME = 'newer, and another length'\n")
    cached = root / "cached"
    cached.hardlink_to(pyc(root / "package/linked.py"))
    pyc(root / "broken.py").parent.mkdir(exist_ok=True)
    pyc(root / "broken.py").write_bytes(b"stale")
    (root / "before").write_bytes(cached.read_bytes())
    compile_tree(root)
    return root


@pytest.mark.parametrize(
    "name", ["plain", "latin", "package/fresh", "package/stale", "package/linked"]
)
def test_every_module_has_a_pyc_that_needs_no_look_at_its_source(tree: Path, name: str) -> None:
    source = tree / f"{name}.py"
    header = pyc(source).read_bytes()[:16]
    assert header[:4] == importlib.util.MAGIC_NUMBER
    assert struct.unpack("<L", header[4:8]) == (1,), "unchecked hash"
    assert header[8:] == importlib.util.source_hash(source.read_bytes())


def test_a_module_that_cannot_be_compiled_has_none(tree: Path) -> None:
    assert not pyc(tree / "broken.py").exists()


def test_modules_do_what_their_sources_say(tree: Path) -> None:
    code = "import package.fresh as f, package.stale as s; print(f.NAME, s.NAME, s.__cached__)"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tree)!r}); {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    cached = pyc(tree / "package/stale.py")
    assert done.stdout == f"package/fresh.py newer, and another length {cached}\n"


def test_a_pyc_that_is_a_link_into_a_cache_is_replaced_not_written_to(tree: Path) -> None:
    assert (tree / "cached").read_bytes() == (tree / "before").read_bytes()
    assert not (tree / "cached").samefile(pyc(tree / "package/linked.py"))


def test_a_pyc_of_one_name_is_written_to_in_place(tmp_path: Path) -> None:
    """Thousands of new files would cost more than the compiling they save."""
    source = tmp_path / "module.py"
    source.write_text("NAME = 1\n")
    py_compile.compile(str(source), invalidation_mode=py_compile.PycInvalidationMode.TIMESTAMP)
    before = pyc(source).stat().st_ino
    compile_tree(tmp_path)
    assert pyc(source).stat().st_ino == before
    assert pyc(source).read_bytes()[4] == 1, "unchecked hash"


def test_the_result_depends_on_nothing_but_the_sources(tree: Path) -> None:
    before = {path: path.read_bytes() for path in tree.rglob("*.pyc")}
    for path in before:
        path.unlink()
    for source in tree.rglob("*.py"):
        os.utime(source, (1, 1))
    compile_tree(tree)
    assert {path: path.read_bytes() for path in tree.rglob("*.pyc")} == before


def test_what_an_update_left_alone_is_not_looked_at(tmp_path: Path) -> None:
    """Files of the image before have its time; what is new or was changed since has not."""
    sources = [tmp_path / name for name in ("old.py", "changed.py", "new.py")]
    for source in sources:
        source.write_text("VALUE = 1\n")
    compile_tree(tmp_path)
    for path in (*sources, *map(pyc, sources[:2])):
        os.utime(path, (0, float(IMAGE_TIME)))
    pyc(sources[2]).unlink()
    sources[1].write_text("VALUE = 2\n")
    assert compile_tree(tmp_path).splitlines()[-1] == "compiled 3/3"
    assert importlib.util.source_hash(b"VALUE = 2\n") in pyc(sources[1]).read_bytes()[:16]
    assert pyc(sources[2]).exists()
    for path in (*sources, *map(pyc, sources)):
        os.utime(path, (0, float(IMAGE_TIME)))
    assert compile_tree(tmp_path) == ""


@pytest.mark.parametrize(
    ("name", "target", "time", "fresh"),
    [
        ("old.py", None, float(IMAGE_TIME), False),
        ("new.py", None, 1e9, True),
        ("data.txt", None, 1e9, False),
        ("packed.py", "/old/packed.py", 1e9, False),
        ("packed", "/old/package", 1e9, False),
        ("linked.py", "other.py", 1e9, True),
    ],
)
def test_only_modules_an_update_brought_are_fresh(
    name: str, target: str | None, time: float, fresh: bool, tmp_path: Path
) -> None:
    path = tmp_path / "package" / name
    path.parent.mkdir()
    if target:
        path.symlink_to(target)
    else:
        path.touch()
        os.utime(path, (0, time))
    assert _has_fresh_modules(tmp_path, float(IMAGE_TIME), "/old") == fresh


def test_a_killed_process_is_not_waited_for(tmp_path: Path) -> None:
    """As by a machine whose memory is full."""
    names = [f"{number:03}.py" for number in range(250)]
    for name in names:
        (tmp_path / name).write_text("X = 1\n")
    code = (
        "import os, py_compile, runpy, signal, sys\n"
        "real = py_compile.compile\n"
        "def compile(source, **options):\n"
        "    if source.endswith('150.py'):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return real(source, **options)\n"
        "py_compile.compile = compile\n"
        "del sys.argv[0]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, SCRIPT, str(tmp_path), "2", IMAGE_TIME],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "ended by signal 9 (memory full?)" in done.stderr
