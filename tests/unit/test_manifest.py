"""The record of a generation."""

from __future__ import annotations

import hashlib
import json
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.images import squashfs_bytes
from wrapper import __version__
from wrapper.console import Console
from wrapper.errors import PrefixError
from wrapper.inputs import Inputs, merged_variables
from wrapper.manifest import FORMAT, public, read_manifest, write_manifest
from wrapper.models import LockedPackage, TreeSize, UpdateRequest
from wrapper.record import write_inputs, write_record
from wrapper.spec.files import InputFiles


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """A directory with an empty generation."""
    (tmp_path / ".generations/1").mkdir(parents=True)
    (tmp_path / "current").symlink_to(".generations/1")
    return tmp_path


def test_a_manifest_is_read_as_it_was_written(prefix: Path) -> None:
    write_manifest(prefix / "current/manifest.json", {"tool": "0.1", "options": {"é": ["\udcff"]}})
    expected = {"format": FORMAT, "tool": "0.1", "options": {"é": ["\udcff"]}}
    assert read_manifest(prefix) == expected


def test_a_lower_format_and_unknown_keys_are_no_problem(prefix: Path) -> None:
    (prefix / "current/manifest.json").write_text('{"format": 0, "new key": 1}')
    assert read_manifest(prefix)["new key"] == 1


def test_a_higher_format_is_refused(prefix: Path) -> None:
    write_manifest(prefix / "current/manifest.json", {"format": FORMAT + 1, "tool": "9.9"})
    with pytest.raises(PrefixError, match=r"made by a newer containerize \(9\.9\)"):
        read_manifest(prefix)


@pytest.mark.parametrize(
    "text",
    [None, "", "{", "[]", "null", "1", '"x"', "{}", '{"format": "x"}', '{"format": null}'],
)
def test_what_is_no_manifest_is_no_installation(prefix: Path, text: str | None) -> None:
    if text is not None:
        (prefix / "current/manifest.json").write_text(text)
    with pytest.raises(PrefixError, match="is no installation of containerize") as caught:
        read_manifest(prefix)
    assert caught.value.where == str(prefix)


@pytest.mark.parametrize("name", [".", "nothing", "file", "file/below"])
def test_what_is_no_prefix_is_no_installation(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PrefixError, match="is no installation"):
        read_manifest(tmp_path / name)


def test_what_it_is_instead_is_told(prefix: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    write_manifest(prefix / "current/manifest.json", {})
    other = tmp_path_factory.mktemp("other")
    (other / "tykky").mkdir()
    (other / "tykky/common.sh").touch()
    (other / "my.sif").touch()
    hints = {
        other / "nowhere": "there is no such directory",
        other / "my.sif": f"containerize inspect {other}/my.sif",
        other / "tykky": f"containerize adopt {other}/tykky",
        prefix / ".generations": f"name {prefix}",
        other: "name a prefix made by 'new'",
    }
    for path, hint in hints.items():
        with pytest.raises(PrefixError) as caught:
            read_manifest(path)
        assert hint in str(caught.value.hint)


# -- the whole record ----------------------------------------------------------------------------
def package(name: str, manager: str = "conda", build: str = "") -> LockedPackage:
    url = f"https://host/channel/linux-64/{name}-1-0.conda"
    return LockedPackage(manager=manager, name=name, version="1", url=url, build=build)


def test_a_generation_keeps_how_it_was_made(prefix: Path, tmp_path: Path) -> None:
    directory = prefix / "current"
    (directory / "img.sqfs").write_bytes(squashfs_bytes(compression=5))
    (tmp_path / "log").write_text("said\n")
    inputs = [tmp_path / name for name in ("2-env.yml", "env.yml", "sub/env.yml", "more/env.yml")]
    for path in inputs:
        path.parent.mkdir(exist_ok=True)
        path.write_text(str(path))
    read = InputFiles()
    for path in inputs:
        read.take(path, "input")
    manifest = write_record(
        directory,
        facts={"kind": "conda"},
        packages=[package("zlib", build="h_0"), package("a-longer-name"), package("mid", "pip")],
        inputs=read.all,
        size=TreeSize(files=3, size=12),
        log=tmp_path / "log",
    )
    assert manifest["image"] == {
        "sha256": hashlib.sha256(squashfs_bytes(compression=5)).hexdigest(),
        "size": 4096,
        "compression": "lz4",
    }
    assert manifest["tree"] == {"files": 3, "size": 12}
    assert (manifest["tool"], manifest["kind"]) == (__version__, "conda")
    assert read_manifest(prefix) == json.loads(json.dumps({"format": FORMAT, **manifest}))
    copies = [(directory / "inputs" / name).read_text() for name in manifest["inputs"]]
    assert copies == [str(path) for path in inputs]
    assert (directory / "build.log").read_text() == "said\n"
    assert (directory / "packages.txt").read_text().splitlines() == [
        "# name         version  build  from",
        "a-longer-name  1               https://host/channel",
        "mid            1               pip",
        "zlib           1        h_0    https://host/channel",
    ]


# -- secrets ---------------------------------------------------------------------------------------
def test_values_of_variables_are_beside_the_manifest(prefix: Path) -> None:
    values = {"variables": {"A": "s3cret", "B": "x\ny"}, "environ": {"A": "s3cret"}}
    write_manifest(prefix / "current/manifest.json", {"tool": "1", **values})
    shown = json.loads((prefix / "current/manifest.json").read_text())
    assert (shown["variables"], shown["environ"]) == (["A", "B"], ["A"])
    assert read_manifest(prefix) == {"format": FORMAT, "tool": "1", **values}
    assert public(read_manifest(prefix)) == shown


def test_without_variables_there_is_no_such_file(prefix: Path) -> None:
    empty: dict[str, Any] = {"variables": {}, "environ": {}}
    write_manifest(prefix / "current/manifest.json", empty)
    assert {path.name for path in (prefix / "current").iterdir()} == {"manifest.json"}
    assert read_manifest(prefix) == {"format": FORMAT, **empty}


@pytest.mark.parametrize("text", [None, "{", "[]", '{"variables": ["A"]}'])
def test_an_update_does_not_lose_variables_whose_values_have_gone(
    prefix: Path, text: str | None, console: Console
) -> None:
    write_manifest(prefix / "current/manifest.json", {"variables": {"A": "1"}, "environ": {}})
    (prefix / "current/variables.json").unlink()
    if text:
        (prefix / "current/variables.json").write_text(text)
    request = UpdateRequest(prefix=prefix)
    with pytest.raises(PrefixError, match="the values of its variables have gone: A"):
        merged_variables(request, Inputs(), read_manifest(prefix), console)


def test_a_manifest_of_before_has_the_values_itself(prefix: Path) -> None:
    text = json.dumps({"format": 1, "variables": {"A": "1"}, "environ": {}})
    (prefix / "current/manifest.json").write_text(text)
    assert read_manifest(prefix)["variables"] == {"A": "1"}


def test_a_manifest_has_no_passwords_of_urls(prefix: Path) -> None:
    write_manifest(prefix / "current/manifest.json", {"base": {"source": "https://u:s3cret@h/x"}})
    assert read_manifest(prefix)["base"] == {"source": "https://h/x"}


@pytest.mark.parametrize(
    ("mode", "same_group", "copied"),
    [(0o644, False, 0o644), (0o600, True, 0o600), (0o640, True, 0o640), (0o640, False, 0o600)],
)
def test_a_copy_of_a_file_is_as_closed_as_the_file(
    mode: int, same_group: bool, copied: int, tmp_path: Path
) -> None:
    source = tmp_path / "r.txt"
    source.write_text("-i https://u:s3cret@h/simple\n-i https://u:${PW}@h/simple\n")
    source.chmod(mode)
    (file,) = (InputFiles().take(source, "input"),)
    if not same_group:
        file = replace(file, group=file.group + 1)
    (name,) = write_inputs(tmp_path, (), [file])
    copy = tmp_path / "inputs" / name
    assert stat.S_IMODE(copy.stat().st_mode) == copied
    assert copy.read_text() == "-i https://h/simple\n-i https://u:${PW}@h/simple\n"
