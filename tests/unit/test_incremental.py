"""When an update may leave a part of the old environment packed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.images import squashfs_bytes
from tests.manifests import manifest
from wrapper.build.context import BuildContext
from wrapper.build.incremental import IncrementalTree, OldImage
from wrapper.build.inputs import Inputs
from wrapper.build.source import Source
from wrapper.console import Console
from wrapper.images import compression
from wrapper.inputs.files import InputFile
from wrapper.inputs.requirements import read_requirements
from wrapper.prefix.generations import Generation
from wrapper.requests import UpdateRequest

LZ4 = 5


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
    fields["compression"] = compression.wanted("lz4", ())[0]
    return cast(BuildContext, SimpleNamespace(**{**fields, **changes}))


def may(found: BuildContext, *, stays: bool = True) -> bool:
    place = (found.previous.image if found.previous else Path(), 0 if stays else 4096)
    image = SimpleNamespace(place_of_previous=lambda: place)
    tree = IncrementalTree(context=found, image=cast(OldImage, image))
    return tree.may_leave_packed() and Source(context=found).leaves_packed()


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
