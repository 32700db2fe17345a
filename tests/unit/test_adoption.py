"""The switch from Tykky's files to ours: killed anywhere, the prefix is one or the other."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tykky import make_prefix
from wrapper.models import Environment
from wrapper.prefix import shims
from wrapper.prefix import staging as deploy
from wrapper.prefix.staging import Adoption, finish_adoption
from wrapper.prefix.tykky_prefix import OWN_NAMES
from wrapper.util.removal import remove_tree

NAMES = ("python", "tool")


@pytest.fixture
def tykkys(tmp_path: Path) -> Path:
    """An installation of Tykky, with a program that a user put beside Tykky's."""
    (tmp_path / "base.sif").write_text("container")
    prefix = make_prefix(
        tmp_path / "env",
        tree=None,
        programs={name: f"/LUMI_TYKKY_x/bin/{name}" for name in NAMES},
        container=tmp_path / "base.sif",
        runtime=Path("/bin/true"),
    )
    (prefix / "img.sqfs").write_text("image")
    (prefix / "bin/mine").write_text("#!/bin/sh\n")
    (prefix / "notes.txt").write_text("mine")
    return prefix


def adopt(prefix: Path) -> None:
    with Adoption(prefix, 0o755) as staging:
        programs = {name: f"LUMI_TYKKY_x/bin/{name}" for name in NAMES}
        environment = Environment(root="/LUMI_TYKKY_x")
        staging.write_programs(programs, "", shims.shim(prefix, Path("/bin/true")), environment)
        staging.write_links(environment)
        (staging.directory / "env").write_text("_cw_generation=1\n")
        names = [name for name in OWN_NAMES if (prefix / name).exists()]
        staging.publish_with({"img.sqfs": prefix / "img.sqfs"}, names)


def snapshot(prefix: Path) -> dict[str, str]:
    """Tykky's part of a prefix: names and what files and links say."""
    found = {}
    for path in [p for name in OWN_NAMES for p in [prefix / name, *(prefix / name).rglob("*")]]:
        if path.is_symlink():
            found[str(path.relative_to(prefix))] = f"-> {path.readlink()}"
        elif path.is_file():
            found[str(path.relative_to(prefix))] = path.read_text()
    return found


def is_ours(prefix: Path) -> bool:
    return shims.is_shim((prefix / "bin/python").read_bytes())


def check_finished(prefix: Path, before: dict[str, str], image: int) -> None:
    names = {entry.name for entry in prefix.iterdir()}
    links = {"current", "img.sqfs", "container.sif", "common.sh", "_bin", "share", "lib"}
    assert names == {*links, "bin", ".generations", ".tykky", "notes.txt"}
    assert all((prefix / name).is_symlink() for name in links)
    assert {e.name for e in (prefix / "bin").iterdir()} == {
        *(*NAMES, *shims.DEBUG_NAMES, shims.LIST_PACKAGES, "mine", ".share")
    }
    assert (prefix / "share").resolve() == prefix / ".generations/1"
    assert is_ours(prefix) and (prefix / "bin/mine").read_text() == "#!/bin/sh\n"
    assert (prefix / "img.sqfs").stat().st_ino == image
    kept = snapshot(prefix / ".tykky")
    assert {name: kept[name] for name in before} == before
    assert (prefix / ".tykky/img.sqfs").stat().st_ino == image


def test_tykkys_files_are_kept_and_the_image_is_the_same_file(tykkys: Path) -> None:
    before, image = snapshot(tykkys), (tykkys / "img.sqfs").stat().st_ino
    adopt(tykkys)
    check_finished(tykkys, before, image)
    assert not finish_adoption(tykkys)


def adopt_and_die(prefix: Path, step: int, *, exchanges: bool) -> int:
    """Adopt in another process, killed before its file operation ``step``; how it ended."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    left = step

    def counted(method: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return method(*args, **options)

        return wrapper

    for name in ("rename", "hardlink_to", "symlink_to", "mkdir", "unlink"):
        setattr(Path, name, counted(getattr(Path, name)))
    deploy._sync = lambda _root: None
    deploy._exchange = counted(deploy._exchange) if exchanges else lambda *_: False  # type: ignore
    try:
        adopt(prefix)
    finally:
        os._exit(1 if sys.exc_info()[0] else 0)


@pytest.mark.parametrize("exchanges", [True, False], ids=["exchange", "one by one"])
def test_killed_anywhere_it_works_and_can_be_finished(tykkys: Path, exchanges: bool) -> None:
    """On file systems that can exchange directories, and on those that cannot."""
    before, image = snapshot(tykkys), (tykkys / "img.sqfs").stat().st_ino
    ends = set()
    for step in range(300):
        status = adopt_and_die(tykkys, step, exchanges=exchanges)
        now = snapshot(tykkys)
        if not (tykkys / "current").is_symlink():
            ends.add("tykky's")
            assert {name: now[name] for name in before} == before
            continue
        ends.add("ours")
        assert (tykkys / "current/env").is_file()
        for name in NAMES:  # each is whole, whichever it is, and finds what it needs
            text = (tykkys / "bin" / name).read_text()
            assert shims.is_shim(text.encode()) or text == before[f"bin/{name}"]
        assert (tykkys / "img.sqfs").stat().st_ino == image
        if not is_ours(tykkys):
            needed = ("common.sh", "container.sif", "_bin/python")
            assert [now[name] for name in needed] == [before[name] for name in needed]
        finish_adoption(tykkys)
        check_finished(tykkys, before, image)
        if status == 0:
            break
        go_back(tykkys)
        assert snapshot(tykkys).items() >= before.items()
    assert status == 0 and ends == {"ours", "tykky's"}


def go_back(prefix: Path) -> None:
    """As the documentation says."""
    aside = prefix.with_name("aside")
    (prefix / ".tykky").rename(aside)
    remove_tree(prefix)
    aside.rename(prefix)
    (prefix / "notes.txt").write_text("mine")
