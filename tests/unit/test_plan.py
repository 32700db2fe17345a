"""``--dry-run`` and ``--lock``: on what they stand, and what a lock may take the place of."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from wrapper.build.inputs import Inputs
from wrapper.commands import plan
from wrapper.commands.prepare import Prepared
from wrapper.console import Console
from wrapper.errors import InputError
from wrapper.inputs.lockfile import is_lock, parse_lock
from wrapper.models import Site
from wrapper.packages import Change, LockedPackage
from wrapper.requests import NewPipRequest, NewRequest, Plan

NUMPY = LockedPackage(
    manager="conda",
    name="numpy",
    version="2.0",
    build="0",
    url="https://c/linux-64/numpy-2.0-0.conda",
    sha256="a" * 64,
    md5="b" * 32,
    size=100,
)
LOCAL = LockedPackage(manager="conda", name="own", version="1", url="file:///c/own-1-0.conda")


def prepared(tmp_path: Path, **inputs: Any) -> Prepared[NewRequest]:
    request = NewRequest(prefix=tmp_path / "p", platform="linux-64")
    return Prepared(request=request, inputs=Inputs(**inputs), target=tmp_path / "p")


@pytest.mark.parametrize("asked", [None, "asked.sif"])
def test_a_plan_of_pip_packages_stands_on_the_base_of_the_build(
    asked: str | None, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "r.txt").write_text("x\n")
    request = NewPipRequest(
        prefix=tmp_path / "p",
        requirements=(tmp_path / "r.txt",),
        base_image=asked,
        site=Site(base_image="site.sif"),
    )
    seen: list[str | None] = []
    monkeypatch.setattr("wrapper.build.sources.pip.choose_python", lambda asked: asked)
    monkeypatch.setattr(plan, "_plan_pip", lambda it, *_: seen.append(it.request.base_image))
    plan.plan_pip(request, console)
    assert seen == [asked or "site.sif"]


def test_a_plan_says_what_is_fetched(tmp_path: Path) -> None:
    changes = [Change(name="numpy", manager="conda", old=None, new=NUMPY, size=100)]
    found = plan._plan(prepared(tmp_path), [NUMPY], changes, ratio=3.5)
    assert (found.download_size, found.installed_size) == (100, 350)
    assert found.changes is None, "all of a new installation is new"
    updated = Prepared(
        request=prepared(tmp_path).request,
        inputs=Inputs(),
        target=tmp_path,
        previous=cast(Any, SimpleNamespace()),
    )
    assert plan._plan(updated, [NUMPY], changes, ratio=1).changes == tuple(changes)


# -- --lock --------------------------------------------------------------------------------------
def locked(tmp_path: Path, *packages: LockedPackage, **inputs: Any) -> Path:
    path = tmp_path / "conda-lock.yml"
    found = cast(Plan, SimpleNamespace(packages=packages, channels=("https://user:secret@c",)))
    plan._write_lock(path, found, prepared(tmp_path, **inputs))
    return path


def test_a_lock_has_the_packages_and_no_login(tmp_path: Path) -> None:
    path = locked(tmp_path, NUMPY)
    text = path.read_text()
    assert is_lock(text) and "secret" not in text
    found = parse_lock(text, path, "linux-64")
    assert [package.name for package in found.locked or ()] == ["numpy"]


def test_a_lock_says_what_it_lacks(tmp_path: Path) -> None:
    text = locked(tmp_path, NUMPY, LOCAL).read_text()
    assert "own" in text and "name: own" not in text


def test_variables_of_a_file_of_the_users_stay_there(tmp_path: Path) -> None:
    text = locked(
        tmp_path, NUMPY, variables={"A": "public", "B": "private"}, environ={"B": "private"}
    ).read_text()
    assert "public" in text and "private" not in text


def test_a_lock_takes_no_other_files_place(tmp_path: Path) -> None:
    path = locked(tmp_path, NUMPY)
    plan._check_lock(path, prepared(tmp_path))
    plan._check_lock(tmp_path / "new", prepared(tmp_path))
    path.write_text("mine\n")
    for there in (path, tmp_path):
        with pytest.raises(InputError, match="no lock"):
            plan._check_lock(there, prepared(tmp_path))


def test_a_lock_without_its_pip_packages_is_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="pip packages"):
        plan._check_lock(tmp_path / "new", prepared(tmp_path, pip_lines=("x",)))
