from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from tests.manifests import manifest
from wrapper.base.built import Tools
from wrapper.base.resolve import find_base, tell_moved
from wrapper.console import Console
from wrapper.models import Base
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
    trials = SimpleNamespace(require=lambda _image: None)
    no_tools = cast(Tools, SimpleNamespace(trials=trials, console=None))
    return find_base(request, no_tools, staging, previous(tmp_path), trial=trial).image


def test_an_update_keeps_an_owned_image_as_a_file_of_its_own(tmp_path: Path) -> None:
    image = found(tmp_path, trial=False)
    assert image == tmp_path / "2/container.sif"
    assert image.samefile(tmp_path / "1/container.sif")


def test_a_dry_run_leaves_it_where_it_is(tmp_path: Path) -> None:
    """The build directory may be on another file system, where no hard link can be."""
    assert found(tmp_path, trial=True) == tmp_path / "1/container.sif"
    assert list((tmp_path / "2").iterdir()) == []


def test_a_link_that_moved_is_told(tmp_path: Path, console: Console, screen: io.StringIO) -> None:
    """``latest`` leads to another release than that of the build; an installation keeps its own."""
    old, new = tmp_path / "old.sif", tmp_path / "new.sif"
    latest = tmp_path / "latest.sif"
    for image in (old, new):
        image.touch()
    base = Base(image=old, name="latest", source=str(latest))
    latest.symlink_to(old)
    tell_moved(base, console)
    latest.unlink()
    tell_moved(base, console)
    assert screen.getvalue() == "", "where nothing moved, or it has gone"
    latest.symlink_to(new)
    tell_moved(replace(base, owned=True), console)
    tell_moved(replace(base, source="docker://x"), console)
    assert screen.getvalue() == "", "a copy of its own moves nowhere"
    tell_moved(base, console)
    text = " ".join(screen.getvalue().split())
    assert f"{latest} leads to {new} now" in text
    assert f"--base-image {latest}" in text
