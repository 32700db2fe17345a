from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

from tests.manifests import manifest
from wrapper.base.built import Tools
from wrapper.base.resolve import find_base
from wrapper.prefix.generations import Generation
from wrapper.requests import Request

KNOWN = {"kind": "image", "name": "x", "path": "container.sif", "digest": "sha256:1"}
KNOWN |= {"mark": "", "has_bash": True, "offers": {}, "owned": True}


def previous(tmp_path: Path) -> Generation:
    directory = tmp_path / "1"
    directory.mkdir()
    (directory / "container.sif").write_bytes(b"image")
    return Generation(number=1, directory=directory, manifest=manifest(base=KNOWN), current=True)


def found(tmp_path: Path, *, trial: bool) -> Path | None:
    staging = tmp_path / "2"
    staging.mkdir()
    request = Request(prefix=tmp_path, copy_base=True)
    no_tools = cast(Tools, SimpleNamespace(trials=SimpleNamespace(require=lambda _image: None)))
    return find_base(request, no_tools, staging, previous(tmp_path), trial=trial).image


def test_an_update_keeps_an_owned_image_as_a_file_of_its_own(tmp_path: Path) -> None:
    image = found(tmp_path, trial=False)
    assert image == tmp_path / "2/container.sif"
    assert image.samefile(tmp_path / "1/container.sif")


def test_a_dry_run_leaves_it_where_it_is(tmp_path: Path) -> None:
    """The build directory may be on another file system, where no hard link can be."""
    assert found(tmp_path, trial=True) == tmp_path / "1/container.sif"
    assert list((tmp_path / "2").iterdir()) == []
