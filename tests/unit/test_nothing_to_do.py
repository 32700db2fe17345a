"""When an update that changes no package changes nothing at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.manifests import manifest
from wrapper import __version__
from wrapper.build.context import BuildContext
from wrapper.build.incremental import IncrementalTree, OldImage
from wrapper.build.nothing_to_do import Unchanged, only_packages
from wrapper.console import Console
from wrapper.images import compression
from wrapper.manifest import Manifest
from wrapper.models import Base, Site
from wrapper.mpi.choice import Choice
from wrapper.packages import LockedPackage
from wrapper.requests import Request, SifRequest, UpdateRequest
from wrapper.runtime.host_program import HOST_ROOT

CHANNEL = "https://h/c"


def recorded(**keys: Any) -> Manifest:
    """Of an installation with something of everything."""
    options = {"compression": "lz4", "wrapper_paths": ["x"], "channels": [CHANNEL]}
    image = {"sha256": "0", "size": 1, "compression": "lz4"}
    had: dict[str, Any] = {"variables": {"A": "1", "B": "2"}, "environ": {"B": "2"}}
    return manifest(**{"tool": __version__, "options": options, "image": image, **had, **keys})


def context(old: Manifest | None, request: Request, **changes: Any) -> BuildContext:
    """An update of it that asks for nothing else, but for the ``changes``."""
    fields: dict[str, Any] = {
        "request": request,
        "old": old,
        "base": Base(),
        "reuse": None,
        "compression": compression.wanted("lz4", ())[0],
        "wrapper_paths": ("x",),
        "variables": {"A": "1", "B": "2"},
        "environ": lambda: {"B": "2"},
        "site": Site(),
        "mpi": SimpleNamespace(choice=Choice()),
        "others": (),
        "previous": None,
        "console": SimpleNamespace(info=lambda _: None),
    }
    return cast(BuildContext, SimpleNamespace(**{**fields, **changes}))


def update(**keys: Any) -> UpdateRequest:
    return UpdateRequest(prefix=Path("/p"), **{"channels": (CHANNEL,), **keys})


def test_the_same_again_is_nothing_else() -> None:
    assert only_packages(context(recorded(), update()))
    assert only_packages(context(recorded(), update(channels=(), mpi="none", keep=1)))


def test_programs_of_the_host_that_differ(tmp_path: Path) -> None:
    (tmp_path / "host").mkdir()
    script = tmp_path / "host/srun"
    script.write_text(f'#!/bin/sh\nexec /ld.so {HOST_ROOT}/usr/bin/env "$@"\n')
    had: dict[str, Any] = {
        "previous": SimpleNamespace(directory=tmp_path),
        "base": Base(image=Path("/i.sif")),
    }
    same = {**had, "site": Site(host_programs=("srun",))}
    assert only_packages(context(recorded(), update(), **same))
    assert not only_packages(context(recorded(), update(), **had))
    bash = {**had, "site": Site(host_programs=("srun", "bash"))}
    assert not only_packages(context(recorded(), update(), **bash))
    script.write_text(f'#!/bin/sh\nexec /ld.so {HOST_ROOT}/no/such "$@"\n')
    assert not only_packages(context(recorded(), update(), **same))
    script.unlink()
    assert only_packages(context(recorded(), update(), **{**bash, "base": Base()}))


@pytest.mark.parametrize(
    "asked",
    [
        {"pre_install": (Path("a.sh"),)},
        {"post_install": ("true",)},
        {"base_image": "x.sif"},
        {"copy_base": True},
        {"mpi": "container"},
        {"channels": ("https://h/other",)},
    ],
)
def test_what_is_asked_besides(asked: dict[str, Any]) -> None:
    assert not only_packages(context(recorded(), update(**asked)))


@pytest.mark.parametrize(
    "changes",
    [
        {"old": None},
        {"old": recorded(tool="0.0.9")},
        {"old": recorded(site="lumi")},
        {"old": recorded(others=["/tools"])},
        {"old": recorded(image_root="/LUMI_TYKKY_x")},
        {"base": Base(mark="another")},
        {"reuse": object()},
        {"compression": compression.wanted("gzip", ())[0]},
        {"wrapper_paths": ("x", "y")},
        {"variables": {"A": "1", "B": "3"}},
        {"environ": lambda: {"A": "1", "B": "2"}},
    ],
)
def test_what_comes_out_otherwise(changes: dict[str, Any]) -> None:
    assert not only_packages(context(changes.pop("old", recorded()), update(), **changes))


@pytest.mark.parametrize(("flatten", "same"), [(None, True), (False, True), (True, False)])
def test_of_a_sif_the_form_counts(flatten: bool | None, same: bool) -> None:
    old = recorded(form="sif", flatten=False, base={"kind": "image", "name": "b", "mark": "m"})
    request = SifRequest(prefix=Path("/p"), update=True, flatten=flatten)
    assert only_packages(context(old, request, wrapper_paths=())) is same
    again = replace(request, mpi="none")  # a build finds what the machine has today
    assert not only_packages(context(old, again, wrapper_paths=()))


def test_a_package_is_a_change_whoever_brings_it() -> None:
    one = LockedPackage(manager="conda", name="a", version="1", url="")
    tree = IncrementalTree(
        context=context(recorded(), update()), image=cast(OldImage, SimpleNamespace())
    )
    tree.tell_changes([one], [one], {})
    with pytest.raises(Unchanged):
        tree.end_if_unchanged()
    tree.tell_changes([], [one], {})
    tree.tell_changes([one], [one], {})
    tree.end_if_unchanged()


def test_that_no_package_changes_is_told_where_the_build_goes_on(
    console: Console, screen: Any
) -> None:
    for request in (update(), update(mpi="container")):
        found = context(recorded(), request, console=console)
        tree = IncrementalTree(context=found, image=cast(OldImage, SimpleNamespace()))
        tree.tell_changes([], [], {})
        assert ("no package changes" in screen.getvalue()) is (request.mpi is not None)
