"""Sources of an installation's packages, where an editor reads them.

The tests' own Python stands in for the installation's, with ``inside`` for its environment.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.images import write_files
from tests.manifests import manifest
from wrapper.commands.sources import Sources, export_sources, follow
from wrapper.console import Console
from wrapper.errors import PrefixError, SpaceError, ToolError
from wrapper.manifest import manifest_text
from wrapper.prefix.generations import current_generation

SITE = "lib/python3.9/site-packages"


def generation(prefix: Path, number: int) -> None:
    """A further generation, which is the one in use."""
    directory = prefix / f".generations/{number}"
    (directory / "_bin").mkdir(parents=True)
    (directory / ".used").touch()
    inside = str(prefix.parent / "inside")
    record = manifest(generation=number, install_path=inside)
    (directory / "manifest.json").write_text(manifest_text(record))
    (prefix / "current").unlink(missing_ok=True)
    (prefix / "current").symlink_to(f".generations/{number}")


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """An installation of one generation; its environment is the directory ``inside``."""
    inside = write_files(
        tmp_path / "inside",
        {
            f"{SITE}/one/__init__.py": "ONE = 1\n",
            f"{SITE}/one/__init__.pyi": "ONE: int\n",
            f"{SITE}/one/py.typed": "",
            f"{SITE}/one/fast.cpython-39-x86_64-linux-gnu.so": "machine code",
            f"{SITE}/one/__pycache__/__init__.cpython-39.py": "cached",
            f"{SITE}/one/table.csv": "1,2",
            f"{SITE}/linked.py": f"-> {tmp_path}/host.py",
            f"{SITE}/gone.py": "-> /no/such/file",
            f"{SITE}/data/only.bin": "0",
            f"{SITE}/mine.pth": "/projects/mine\n",
        },
    )
    (tmp_path / "host.py").write_text("HOST = 1\n")
    prefix = tmp_path / "p"
    generation(prefix, 1)
    (prefix / "bin").mkdir()
    python = prefix / "bin/python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={inside}/{SITE} exec {sys.executable} -S "$@"\n')
    python.chmod(0o755)
    (prefix / "lib").symlink_to("/containerize-0/lib")  # where it is inside a container
    return prefix


def export(prefix: Path) -> Sources:
    return export_sources(prefix, {"PATH": os.defpath}, Console(-2))


def copied(prefix: Path) -> dict[str, str]:
    root = prefix / "current/sources"
    return {
        str(path.relative_to(root / "lib/python3.9/site-packages")): path.read_text()
        for path in (root / "lib").rglob("*")
        if path.is_file()
    }


COPY = {
    "one/__init__.py": "ONE = 1\n",
    "one/__init__.pyi": "ONE: int\n",
    "one/py.typed": "",
    "one/fast.cpython-39-x86_64-linux-gnu.so": "",
    "linked.py": "HOST = 1\n",
    "mine.pth": "/projects/mine\n",
}


def test_what_editors_read_is_copied_and_nothing_else(prefix: Path) -> None:
    told = export(prefix)
    assert copied(prefix) == COPY
    assert not (prefix / f"current/sources/{SITE}/data").exists()
    assert told == Sources(python=prefix / "bin/python", paths=(prefix / SITE,))
    assert told.settings == {
        "python.defaultInterpreterPath": str(prefix / "bin/python"),
        "pylsp.plugins.jedi.environment": str(prefix / "bin/python"),
        "python.analysis.extraPaths": [str(prefix / SITE)],
        "pylsp.plugins.jedi.extra_paths": [str(prefix / SITE)],
    }
    left = {path.name for path in (prefix / ".generations/1").iterdir()}
    assert left == {"_bin", "manifest.json", ".used", "sources"}


def test_nothing_is_imported_from_the_working_directory(
    prefix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("json", "shutil", "os", "fnmatch", "decimal"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('of the working directory')\n")
    monkeypatch.chdir(tmp_path)
    export(prefix)
    assert copied(prefix) == COPY


def test_one_path_leads_to_the_copy_outside_and_to_the_environment_inside(prefix: Path) -> None:
    generation(prefix, 2)  # the first one can still be gone back to
    export(prefix)
    assert (prefix / SITE / "one/__init__.py").read_text() == "ONE = 1\n"
    assert str((prefix / "lib").readlink()) == "bin/.lib"
    for number in (1, 2):  # what is bound over ``bin`` inside
        inside = prefix / f".generations/{number}/_bin/.lib"
        assert str(inside.readlink()) == "/containerize-0/lib"


def test_again_nothing_is_copied(prefix: Path) -> None:
    told = export(prefix)
    (prefix / "bin/python").write_text("#!/bin/sh\nexit 1\n")
    assert export(prefix) == told


def test_a_broken_copy_is_made_again(prefix: Path) -> None:
    told = export(prefix)
    (prefix / "current/sources/paths.json").write_text("")
    (prefix / "current/sources" / SITE / "linked.py").write_text("")
    python = prefix / "bin/python"  # whose start says something
    python.write_text(python.read_text().replace("\n", "\necho hello\n", 1))
    assert export(prefix) == told
    assert copied(prefix) == COPY


def test_a_lib_of_the_users_stays(prefix: Path) -> None:
    (prefix / "lib").unlink()
    (prefix / "lib").mkdir()
    assert export(prefix).paths == (prefix / "current/sources" / SITE,)
    assert [*(prefix / "lib").iterdir()] == []


def test_directories_of_the_image_beside_the_environment_are_there_too(prefix: Path) -> None:
    other = prefix.parent / "opt"
    if Path("/").stat().st_dev != prefix.parent.stat().st_dev:
        pytest.skip("temporary files are on another file system than the root")
    write_files(other, {"two.py": "TWO = 2\n"})
    text = (prefix / "bin/python").read_text()
    (prefix / "bin/python").write_text(text.replace("PYTHONPATH=", f"PYTHONPATH={other}:"))
    told = export(prefix)
    (first, second) = told.paths
    assert "pylsp.plugins.jedi.environment" not in told.settings  # it would say where it is inside
    assert (first / "two.py").read_text() == "TWO = 2\n"
    assert (first, second) == (prefix / f"current/sources/image{other}", prefix / SITE)


def test_permissions_are_the_prefixs(prefix: Path) -> None:
    prefix.chmod(0o750)
    export(prefix)
    copy = prefix / "current/sources"
    assert {path.stat().st_mode & 0o777 for path in (copy, copy / SITE)} == {0o750}
    assert (copy / SITE / "linked.py").stat().st_mode & 0o777 == 0o640


def test_a_failure_leaves_nothing(prefix: Path) -> None:
    (prefix / "bin/python").write_text('#!/bin/sh\necho too bad >&2; touch "$4/x"; exit 1\n')
    with pytest.raises(ToolError, match="fails here") as caught:
        export(prefix)
    assert caught.value.detail == "too bad"
    assert {path.name for path in (prefix / "current").iterdir()} == {
        "_bin",
        "manifest.json",
        ".used",
    }
    assert str((prefix / "lib").readlink()) == "/containerize-0/lib"


def test_a_full_disk_is_told_as_one(prefix: Path) -> None:
    said = "OSError: [Errno 28] No space left on device: 'x'"
    (prefix / "bin/python").write_text(f'#!/bin/sh\necho "{said}" >&2; exit 1\n')
    with pytest.raises(SpaceError, match="no room left"):
        export(prefix)


def test_an_update_has_sources_where_the_generation_before_had(prefix: Path) -> None:
    before = current_generation(prefix)
    generation(prefix, 2)
    follow(prefix, before, {}, Console(-2))
    assert not (prefix / "current/sources").exists()
    export(prefix)
    before = current_generation(prefix)
    generation(prefix, 3)
    (prefix.parent / "inside" / SITE / "one/__init__.py").write_text("ONE = 3\n")
    follow(prefix, before, {"PATH": os.defpath}, Console(-2))
    assert (prefix / SITE / "one/__init__.py").read_text() == "ONE = 3\n"
    generation(prefix, 4)
    (prefix / "bin/python").write_text("#!/bin/sh\nexit 1\n")
    said: list[str] = []
    console = Console(-2)
    console.warning = said.append  # type: ignore[method-assign]
    follow(prefix, before, {}, console)  # it is an update that went well
    assert len(said) == 1 and "export-sources" in said[0]


def test_what_a_killed_one_left_goes(prefix: Path) -> None:
    left = prefix / "current/.sources-0000"
    left.mkdir(mode=0o700)
    (left / "owner.json").write_text(json.dumps({"host": "elsewhere", "pid": 1}))
    export(prefix)
    assert not left.exists()


def test_what_is_no_installation(prefix: Path, tmp_path: Path) -> None:
    with pytest.raises(PrefixError, match="is a file"):
        export(tmp_path / "host.py")
    shutil.rmtree(prefix)
    with pytest.raises(PrefixError, match="no installation"):
        export(prefix)
