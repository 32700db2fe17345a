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
from wrapper.build.source import Source
from wrapper.images import compression
from wrapper.inputs.requirements import read_requirements
from wrapper.prefix.generations import Generation
from wrapper.requests import UpdateRequest

LZ4 = 5


def context(tmp_path: Path, *, requirements: tuple[str, ...] = (), **changes: Any) -> BuildContext:
    """An update that may leave things packed, but for the ``changes``."""
    (tmp_path / "img.sqfs").write_bytes(squashfs_bytes(compression=LZ4))
    old = manifest(options={"compression": "lz4"}, **changes.pop("recorded", {}))
    previous = Generation(number=1, directory=tmp_path, manifest=old, current=True)
    request = UpdateRequest(prefix=tmp_path, **changes.pop("request", {}))
    asked = SimpleNamespace(requirements=read_requirements(requirements, tmp_path, "r.txt"))
    fields = {"request": request, "inputs": asked, "previous": previous, "reuse": None, "old": old}
    fields["compression"] = compression.wanted("lz4", ())[0]
    return cast(BuildContext, SimpleNamespace(**{**fields, **changes}))


def may(found: BuildContext, *, stays: bool = True) -> bool:
    tree = IncrementalTree(context=found, image=cast(OldImage, SimpleNamespace(stays_packed=stays)))
    return tree.may_leave_packed() and Source(context=found).leaves_packed()


def test_it_may_where_nothing_needs_the_whole(tmp_path: Path) -> None:
    assert may(context(tmp_path, requirements=("x",)))


@pytest.mark.parametrize(
    "changes",
    [
        {"previous": None, "old": None},
        {"reuse": object()},
        {"recorded": {"image_root": "/LUMI_TYKKY_x"}},
        {"request": {"pre_install": (Path("a.sh"),)}},
        {"request": {"post_install": (Path("a.sh"),)}},
        {"compression": compression.wanted("gzip", ())[0]},
        {"requirements": ("x", "--no-build-isolation y", "y")},
    ],
    ids=["new", "reuse", "adopted", "pre-install", "post-install", "compression", "late"],
)
def test_it_may_not_where_something_does(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert not may(context(tmp_path, **changes))


def test_it_may_not_in_an_image_that_is_inside_another_file(tmp_path: Path) -> None:
    assert not may(context(tmp_path), stays=False)
