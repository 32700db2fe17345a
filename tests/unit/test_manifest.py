"""The record of a generation."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tests.images import squashfs_bytes
from wrapper import __version__
from wrapper.errors import PrefixError
from wrapper.manifest import FORMAT, read_manifest, write_manifest
from wrapper.models import LockedPackage, TreeSize
from wrapper.record import write_record
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
