"""When an update may leave a part of the old environment packed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.images import squashfs_bytes
from tests.manifests import manifest
from wrapper.build.context import BuildContext
from wrapper.build.incremental import IncrementalTree, OldImage, Place
from wrapper.build.inputs import Inputs
from wrapper.build.left_packed import LENT
from wrapper.build.source import Source
from wrapper.console import Console
from wrapper.errors import ScriptError
from wrapper.images import compression
from wrapper.inputs.files import InputFile
from wrapper.inputs.requirements import read_requirements
from wrapper.prefix.generations import Generation
from wrapper.requests import UpdateRequest
from wrapper.runtime.container import BuildContainer

LZ4 = 5


@dataclass(frozen=True)
class Container:
    """One that starts, with the old image bound, or not."""

    lends: bool
    binds: tuple[str, ...] = ()
    bash: tuple[str, ...] = ("bash",)

    def run(self, *_: object, **__: object) -> None:
        if not self.lends and any("img.sqfs:/.containerize-old:" in bind for bind in self.binds):
            raise ScriptError("users may not")


def script(text: str) -> InputFile:
    return InputFile(path=Path("a.sh"), content=text.encode(), name="a.sh")


def context(
    tmp_path: Path,
    *,
    requirements: tuple[str, ...] = (),
    pre_install: tuple[InputFile, ...] = (),
    post_install: tuple[InputFile, ...] = (),
    **changes: Any,
) -> BuildContext:
    """An update that may leave things packed, but for the ``changes``."""
    (tmp_path / "img.sqfs").write_bytes(squashfs_bytes(compression=LZ4))
    old = manifest(options={"compression": "lz4"}, **changes.pop("recorded", {}))
    previous = Generation(number=1, directory=tmp_path, manifest=old, current=True)
    request = UpdateRequest(prefix=tmp_path, **changes.pop("request", {}))
    asked = Inputs(
        requirements=read_requirements(requirements, tmp_path, "r.txt"),
        pre_install=pre_install,
        post_install=post_install,
    )
    fields = {"request": request, "inputs": asked, "previous": previous, "reuse": None, "old": old}
    fields["install_path"] = "/env"
    fields["compression"] = compression.wanted("lz4", ())[0]
    return cast(BuildContext, SimpleNamespace(**{**fields, **changes}))


def may(found: BuildContext, *, stays: bool = True, lends: bool = True) -> bool:
    place = Place(file=found.previous.image) if stays and found.previous else None
    image = SimpleNamespace(place_of_previous=lambda: place)
    tree = IncrementalTree(context=found, image=cast(OldImage, image))
    return (
        tree.may_leave_packed(cast(BuildContainer, Container(lends=lends)))
        and Source(context=found).leaves_packed()
    )


def test_it_may_where_nothing_needs_the_whole(tmp_path: Path) -> None:
    assert may(context(tmp_path, requirements=("x",), post_install=(script("pip install x"),)))


@pytest.mark.parametrize(
    "changes",
    [
        {"previous": None, "old": None},
        {"reuse": object()},
        {"recorded": {"image_root": "/LUMI_TYKKY_x"}},
        {"pre_install": (script("pip install x"),)},
        {"post_install": (script("pip install x"), script("make install"))},
        {"compression": compression.wanted("gzip", ())[0]},
        {"requirements": ("x", "--no-build-isolation y", "y")},
    ],
    ids=["new", "reuse", "adopted", "pre-install", "post-install", "compression", "late"],
)
def test_it_may_not_where_something_does(
    tmp_path: Path, changes: dict[str, Any], console: Console
) -> None:
    assert not may(context(tmp_path, console=console, **changes))


def test_it_may_not_in_an_image_that_is_inside_another_file(tmp_path: Path) -> None:
    assert not may(context(tmp_path), stays=False)


def test_it_may_not_where_users_may_bind_no_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, console: Console
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    found = context(tmp_path, console=console)
    assert may(found)
    assert not may(found, lends=False)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert may(found, lends=False), "nobody refuses it to root"


def test_a_bind_names_the_partition_of_a_sif() -> None:
    assert Place(file=Path("/i")).bind("/env") == f"/i:{LENT}:image-src=/env"
    sif = Place(file=Path("/i.sif"), offset=4096, number=4)
    assert sif.bind("/env") == f"/i.sif:{LENT}:image-src=/env,id=4"
