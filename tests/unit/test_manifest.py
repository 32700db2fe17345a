"""The record of a generation."""

from __future__ import annotations

import hashlib
import json
import stat
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from tests.images import squashfs_bytes
from tests.manifests import LEAST, manifest
from wrapper.build.inputs import Inputs, merged_variables
from wrapper.console import Console
from wrapper.errors import PrefixError
from wrapper.inputs.files import InputFiles
from wrapper.manifest import FORMAT, as_json, read_manifest, write_manifest
from wrapper.packages import LockedPackage
from wrapper.prefix.record import identity, write_inputs, write_record
from wrapper.requests import UpdateRequest


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """A directory with an empty generation."""
    (tmp_path / ".generations/1").mkdir(parents=True)
    (tmp_path / "current").symlink_to(".generations/1")
    return tmp_path


FULL: dict[str, Any] = {
    "generation": 3,
    "interpreter": {"path": "/usr/bin/python3", "version": "3.11.2", "library": "/usr/lib"},
    "system_site_packages": True,
    "reused": {"python": "/opt/python", "python_version": "3.11.2", "packages": []},
    "options": {"wrapper_paths": ["bin", "\udcff"], "compression": "lz4"},
    "base": {"kind": "image", "name": "x", "path": "/x.sif", "mark": "00", "offers": {"a": "1"}},
    "packages": [{"manager": "pip", "name": "é", "version": "1", "url": "u", "depends": ["y"]}],
    "activation": [{"script": "/s", "why": "reads A", "unless": ["A"]}],
    "tree": {"files": 1, "size": 2},
}


def test_a_manifest_is_read_as_it_was_written(prefix: Path) -> None:
    write_manifest(prefix / "current/manifest.json", manifest(**FULL))
    assert read_manifest(prefix) == manifest(**FULL)


def test_a_manifest_is_written_as_it_was_read() -> None:
    """Early ones, and those of other kinds, lack keys, which say nothing then."""
    for keys in ({}, FULL, {"form": "sif", "flatten": False, "os_packages": [], "labels": {}}):
        again = as_json(manifest(**keys))
        assert manifest(**again) == manifest(**keys)
    assert as_json(manifest())["reused"] is None
    assert "activation" not in as_json(manifest()), "nobody looked at what scripts read"
    assert as_json(manifest(activation=[]))["activation"] == []
    assert as_json(manifest(form="sif", flatten=False))["flatten"] is False
    assert not {"flatten", "mask", "interpreter"} & as_json(manifest()).keys()


def test_a_lower_format_and_unknown_keys_are_no_problem() -> None:
    package = {"manager": "pip", "name": "x", "version": "1", "url": "u", "colour": "blue"}
    found = manifest(format=0, packages=[package], **{"new key": 1})
    assert found.packages[0].name == "x"


@pytest.mark.parametrize("key", ["kind", "created", "base", "runtime", "image", "install_path"])
def test_a_manifest_that_lacks_what_all_have_is_damaged(prefix: Path, key: str) -> None:
    for value in (None, 1, [], {"path": {}}):
        data = {**LEAST, key: value}
        (prefix / "current/manifest.json").write_text(json.dumps(data))
        with pytest.raises(PrefixError, match="is no installation of containerize"):
            read_manifest(prefix)


def test_a_higher_format_is_refused(prefix: Path) -> None:
    (prefix / "current/manifest.json").write_text(json.dumps({"format": FORMAT + 1, "tool": "9.9"}))
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
    write_manifest(prefix / "current/manifest.json", manifest())
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
    packages = (package("zlib", build="h_0"), package("a-longer-name"), package("mid", "pip"))
    names = write_inputs(directory, packages, read.all)
    made = replace(manifest(), packages=packages, image=identity(directory / "img.sqfs"))
    write_record(directory, made, tmp_path / "log")
    assert asdict(made.image) == {
        "sha256": hashlib.sha256(squashfs_bytes(compression=5)).hexdigest(),
        "size": 4096,
        "compression": "lz4",
    }
    assert read_manifest(prefix) == made
    assert f"tag: {made.tool}" in (directory / "VERSION.yml").read_text()
    copies = [(directory / "inputs" / name).read_text() for name in names]
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
    write_manifest(prefix / "current/manifest.json", manifest(**values))
    shown = json.loads((prefix / "current/manifest.json").read_text())
    assert (shown["variables"], shown["environ"]) == (["A", "B"], ["A"])
    assert read_manifest(prefix) == manifest(**values)
    assert as_json(read_manifest(prefix)) == shown


def test_without_variables_there_is_no_such_file(prefix: Path) -> None:
    write_manifest(prefix / "current/manifest.json", manifest(variables={}, environ={}))
    assert {path.name for path in (prefix / "current").iterdir()} == {"manifest.json"}
    assert read_manifest(prefix).variables == {}


@pytest.mark.parametrize("text", [None, "{", "[]", '{"variables": ["A"]}'])
def test_an_update_does_not_lose_variables_whose_values_have_gone(
    prefix: Path, text: str | None, console: Console
) -> None:
    write_manifest(prefix / "current/manifest.json", manifest(variables={"A": "1"}))
    (prefix / "current/variables.json").unlink()
    if text:
        (prefix / "current/variables.json").write_text(text)
    request = UpdateRequest(prefix=prefix)
    with pytest.raises(PrefixError, match="the values of its variables have gone: A"):
        merged_variables(request, Inputs(), read_manifest(prefix), console)


def test_a_manifest_of_before_has_the_values_itself(prefix: Path) -> None:
    text = json.dumps({**LEAST, "variables": {"A": "1"}, "environ": {}})
    (prefix / "current/manifest.json").write_text(text)
    assert read_manifest(prefix).variables == {"A": "1"}


def test_a_manifest_has_no_passwords_of_urls(prefix: Path) -> None:
    write_manifest(
        prefix / "current/manifest.json", manifest(base={"source": "https://u:s3cret@h/x"})
    )
    assert read_manifest(prefix).base.source == "https://h/x"


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
