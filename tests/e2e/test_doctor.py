"""``containerize doctor`` on real machines and installations, whole and damaged."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import runtimes
from tests.account import Account, setuid_user
from tests.e2e.conftest import UMBRELLA, Builder, Installation, entries, untouched
from tests.e2e.test_base_image import make_image
from wrapper.errors import ExitCode
from wrapper.util.removal import remove_tree

Findings = dict[str, tuple[str, str]]


def doctor(account: Account, *words: str | Path) -> Findings:
    """What was found: what -> (state, detail and hint). Status and streams must fit."""
    scratch = account.work / "doctor-tmp"
    if not scratch.exists():
        account.directory(scratch.name)
    env = {"CW_BUILD_TMPDIR": str(scratch)}
    done = account.run(UMBRELLA, "doctor", "--json", *words, env=env)
    listed = json.loads(done.stdout)
    found = {f["what"]: (f["state"], f"{f['detail']}; {f['hint']}") for f in listed}
    failures = [f for f in listed if f["state"] == "failed"]
    assert done.returncode == (ExitCode.CHECKS if failures else 0), done.stderr
    assert bool(done.stderr) == bool(failures)
    assert "Traceback" not in done.stderr and "internal error" not in done.stderr
    assert all(f["hint"] for f in listed if f["state"] != "ok")
    assert entries(scratch) == set(), "nothing is left"
    return found


def unwell(found: Findings) -> dict[str, str]:
    return {what: state for what, (state, _) in found.items() if state != "ok"}


# -- the machine ---------------------------------------------------------------------------------
@pytest.mark.every_runtime
def test_a_machine_that_works(account: Account, runtime: Path) -> None:
    with untouched(account.home):  # by the runtime's own directory, too
        found = doctor(account)
    able = {"runtime", "mode", "bash", "mksquashfs", "unsquashfs"}
    able |= {"start of a container", "bind of an image", "overlay partitions"}
    assert able <= set(found) and not able & set(unwell(found)), found
    assert str(account.runtime) in found["runtime"][1]


NO = "'{} = no'"
KERNEL = runtimes.KERNEL
NOTHING_STARTS = {"start of a container": "failed"}


@pytest.mark.setuid
@pytest.mark.root("they need a set-uid runtime")
@pytest.mark.parametrize(
    ("settings", "helpers", "states", "told"),
    [
        (KERNEL, True, {"images": "ok", "loop devices": "warning"}, "mounted by the kernel"),
        ({**KERNEL, "shared loop devices": "yes"}, True, {"loop devices": "ok"}, "share one"),
        ({}, True, {"images": "ok", "bind of an image": "ok"}, "mounted by FUSE"),
        ({}, False, {"images": "warning", "bind of an image": "failed"}, "unpacks the whole image"),
        ({**KERNEL, "enable overlay": "no"}, True, {"overlay partitions": "warning"}, NO),
        (
            {**KERNEL, "allow container squashfs": "no"},
            True,
            {"start of a container": "failed"},
            NO,
        ),
        ({**KERNEL, "user bind control": "no"}, True, {"start of a container": "failed"}, NO),
        (
            {**KERNEL, "max loop devices": "0"},
            True,
            {"start of a container": "failed"},
            "start few",
        ),
    ],
    ids=lambda it: next(reversed(it), "default") if isinstance(it, dict) else None,
)
def test_what_administrators_allow(
    settings: dict[str, str],
    helpers: bool,
    states: dict[str, str],
    told: str,
) -> None:
    """Each is found by a trial, and named with what it costs."""
    root = Path(tempfile.mkdtemp(prefix="test-containerize-"))
    found = doctor(setuid_user(root, settings, helpers=helpers))
    assert found["mode"][1].startswith("set-uid (")
    assert {what: found[what][0] for what in states} == states, found
    told = told.format(next(reversed(settings), ""))
    assert any(told in text for _, text in found.values()), found
    remove_tree(root)


def test_lines_for_people(me: Account, runtime: Path) -> None:
    done = me.run(UMBRELLA, "doctor", env={"PYTHONHOME": "", "PYTHONPATH": "/odd", "PATH": "/none"})
    lines = done.stdout.splitlines()
    assert done.returncode == ExitCode.CHECKS
    assert all(line[:9] in ("ok       ", "warning  ", "failed   ") for line in lines)
    assert any(line.startswith("failed   runtime: neither singularity nor") for line in lines)
    assert any(line.startswith("warning  PYTHONPATH: /odd") for line in lines)
    assert "\033" not in done.stdout


# -- an installation -----------------------------------------------------------------------------
@pytest.fixture(scope="module")
def ailing(account: Account, build: Builder, runtime: Path) -> Installation:
    """An installation on a base image, to be damaged and mended."""
    image = make_image(account, "ailing-base")
    return build(account, "ailing", "python", options=("--base-image", str(image)))


@contextmanager
def damaged(path: Path) -> Iterator[Path]:
    """For the block, a file that may be changed or removed; then as it was."""
    aside = path.with_name(f"{path.name}.aside")
    path.rename(aside)
    shutil.copy2(aside, path)
    os.chown(path, aside.stat().st_uid, aside.stat().st_gid)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
        aside.rename(path)


def overwrite(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def snapshot(prefix: Path) -> list[tuple[str, int]]:
    return sorted((str(p), p.lstat().st_mtime_ns) for p in prefix.rglob("*"))


def test_a_sound_installation(ailing: Installation) -> None:
    before = snapshot(ailing.prefix)
    found = doctor(ailing.account, ailing.prefix, "--deep")
    assert unwell(found) == {}
    assert {"content", "base image", "start", "permissions", "shims", "place"} <= set(found)
    assert "same digest" in found["base image"][1]
    assert "bin/python3 -c pass in " in found["start"][1]
    assert snapshot(ailing.prefix) == before


def test_damage_of_every_kind(ailing: Installation) -> None:
    account, prefix = ailing.account, ailing.prefix
    generation = (prefix / "current").resolve()
    with damaged(generation / "env") as env:
        env.unlink()
        assert {"env", "start"} <= set(unwell(doctor(account, prefix)))
    with damaged(generation / "manifest.json") as manifest:
        manifest.write_text('{"format": 1}')
        assert unwell(doctor(account, prefix))["manifest"] == "failed"
    with damaged(generation / "img.sqfs") as image:
        overwrite(image, image.stat().st_size // 2, b"damage")
        assert "image" not in unwell(doctor(account, prefix))
        assert unwell(doctor(account, prefix, "--deep"))["content"] == "failed"
        os.truncate(image, image.stat().st_size // 2)
        assert unwell(doctor(account, prefix))["image"] == "failed"
    with damaged(Path(ailing.manifest["base"]["path"])) as base:
        overwrite(base, 48, os.urandom(16))
        assert unwell(doctor(account, prefix)) == {"base image": "warning"}
        base.unlink()
        found = doctor(account, prefix)
        assert unwell(found) == {"base image": "failed", "start": "failed"}
        assert "the container image has gone" in found["start"][1]
    (prefix / "bin").chmod(0o777)
    found = doctor(account, prefix)
    (prefix / "bin").chmod(0o755)
    assert unwell(found) == {"permissions": "failed"}
    assert f"chmod -R o-w {prefix}" in found["permissions"][1]
    assert unwell(doctor(account, prefix)) == {}


def test_what_is_left_of_an_installation(ailing: Installation) -> None:
    account = ailing.account
    for number, gone in enumerate(("bin", "current", ".generations", "current/_bin")):
        copy = account.work / f"half-{number}"
        account.ok("cp", "-a", ailing.prefix, copy)
        account.ok("rm", "-r", f"{copy}/{gone}")
        assert "failed" in unwell(doctor(account, copy)).values(), gone
    copy.chmod(0)
    found = doctor(account, copy)
    copy.chmod(0o755)
    if account.uid is not None:
        assert found["installation"][0] == "failed"
    assert doctor(account, account.work / "nowhere")["installation"][0] == "failed"
