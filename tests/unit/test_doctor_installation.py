"""What ``containerize doctor`` finds of an installation, of what it needs, and of an image."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import socket
import stat
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.images import OVERLAY, PRIMARY, SQUASHFS, sif_bytes, squashfs_bytes
from tests.manifests import manifest
from tests.unit.conftest import NOBODY, Program, names, without_powers
from wrapper import doctor
from wrapper.console import Console
from wrapper.doctor import installation, needs, sif_image, starts
from wrapper.doctor.finding import FAILED, OK, WARNING, Finding
from wrapper.images.format import mark
from wrapper.manifest import BaseRecord, Manifest, read_manifest, write_manifest
from wrapper.models import Environment, Interpreter, Site
from wrapper.packages import LockedPackage
from wrapper.prefix import shims
from wrapper.prefix.staging import NextGeneration, Staging
from wrapper.util import lock as locks
from wrapper.util.hashing import sha256

SHIM = shims.shim(Path("/somewhere"), Path("/runtime"))


def told(found: Sequence[Finding]) -> list[tuple[str, str]]:
    assert all(f.hint for f in found if f.state != OK), "what is not well has advice"
    return [(f.what, f.state) for f in found]


def text(found: Sequence[Finding]) -> str:
    return "\n".join(f.line for f in found)


def squashfs(size: int = 4096) -> bytes:
    """The beginning of an image, which is all that is looked at, and zeros."""
    superblock = bytearray(96)
    superblock[:4] = b"hsqs"
    superblock[40:48] = size.to_bytes(8, "little")
    return bytes(superblock).ljust(size, b"\0")


@contextlib.contextmanager
def reader_of(directory: Path, mode: int) -> Iterator[None]:
    """For the block, be somebody whom the mode of a directory binds."""
    before = directory.stat().st_mode
    directory.chmod(mode)
    try:
        with without_powers():
            yield
    finally:
        directory.chmod(before)


@pytest.fixture(autouse=True)
def no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _handle: None)


def write(staging: Staging | NextGeneration, *programs: str) -> None:
    environment = Environment(root="/containerize-1")
    real = {name: f"bin/{name}" for name in programs}
    staging.write_programs(real, "/containerize-1", SHIM, environment)
    staging.write_links(environment)
    staging.image.write_bytes(squashfs())
    (staging.directory / "env").write_text("")
    write_manifest(
        staging.directory / "manifest.json",
        manifest(
            prefix=str(staging.prefix),
            image={"size": 4096, "sha256": sha256(staging.image)},
        ),
    )


@pytest.fixture
def prefix(open_place: Path) -> Path:
    """An installation with two generations, that everybody may read."""
    target = open_place / "env"
    with Staging(target, generation=1, mode=0o755) as first:
        write(first, "python3", "old")
        first.publish()
    with NextGeneration(target, 2, 0o755) as second:
        write(second, "python3", "new")
        second.publish()
    return target


def data_of(prefix: Path, **changes: Any) -> Manifest:
    return replace(read_manifest(prefix), **changes)


# -- whole? --------------------------------------------------------------------------------------
def test_one_that_is_well(prefix: Path) -> None:
    data = data_of(prefix)
    found = [
        *installation.generation_in_use(prefix),
        *installation.manifest(prefix),
        *installation.image(prefix, data),
        *installation.generations(prefix),
        *installation.shims_agree(prefix),
        *installation.place(prefix, data),
        *installation.lock(prefix),
        *installation.leftovers(prefix),
        *installation.permissions(prefix),
        *needs.content(prefix / "current/img.sqfs", data),
        *needs.base_image(prefix / "current", data, deep=True),
    ]
    assert {state for _, state in told(found)} == {OK}
    assert "generation 2 in use" in text(found) and "1 other, 4.1 kB" in text(found)


def test_damage_to_the_generation_in_use(prefix: Path) -> None:
    env = prefix / "current/env"
    env.chmod(0)
    with without_powers():
        found = installation.generation_in_use(prefix)
    assert "cannot be read" in text(found) and "permission" in text(found)
    env.unlink()
    found = installation.generation_in_use(prefix)
    assert told(found) == [("installation", OK), ("env", FAILED)]
    assert f"containerize rollback {prefix}" in text(found)
    (prefix / ".generations/2").rename(prefix / ".generations/3")
    found = installation.generation_in_use(prefix)
    assert told(found) == [("installation", FAILED)] and "there (1, 3)" in text(found)
    (prefix / "current").unlink()
    assert "no link 'current'" in text(installation.generation_in_use(prefix))
    assert "is not there" in text(installation.generation_in_use(prefix / "x"))


def test_commands_to_type_have_quotes(tmp_path: Path) -> None:
    odd = tmp_path / "it's $HOME"
    odd.mkdir()
    odd.chmod(0o777)
    found = installation.permissions(odd)
    assert found[0].hint == f"chmod -R o-w {shlex.quote(str(odd))}"


def test_images(prefix: Path) -> None:
    image, data = prefix / "current/img.sqfs", data_of(prefix)
    image.write_bytes(squashfs()[:-1] + b"x")
    assert told(installation.image(prefix, data)) == [("image", OK)]
    assert told(needs.content(image, data)) == [("content", FAILED)]
    image.write_bytes(squashfs() + b"x")
    assert "4097 bytes" in text(installation.image(prefix, data))
    image.unlink()
    assert told(installation.image(prefix, data)) == [("image", FAILED)]
    assert installation.image(prefix, replace(data, kind="container")) == []


def test_other_generations(prefix: Path) -> None:
    (prefix / ".generations/1/manifest.json").write_text("{")
    found = installation.generations(prefix)
    assert told(found) == [("generations", WARNING), ("generations", OK)]
    assert f"rm -r {prefix}/.generations/1" in text(found)


def test_what_needs_a_manifest_is_silent_without_one(prefix: Path) -> None:
    (prefix / "current/manifest.json").write_text("[]")
    assert installation.with_manifest(prefix, lambda *_: pytest.fail("called")) == []


# -- locks and left-overs ------------------------------------------------------------------------
def test_a_lock(prefix: Path) -> None:
    with locks.locked(prefix):
        (prefix / ".generations/.new-1").mkdir()
        before = names(prefix)
        found = installation.lock(prefix)
        assert told(found) == [("lock", WARNING)] and f"process {os.getpid()}" in text(found)
        assert installation.leftovers(prefix) == [], "they are that build's"
        assert names(prefix) == before
    assert told(installation.lock(prefix)) == [("lock", OK)]


@pytest.mark.parametrize(("host", "old"), [("here", False), ("elsewhere", True)])
def test_a_dead_lock(host: str, old: bool, prefix: Path) -> None:
    lock = locks.lock_path(prefix)
    name = socket.gethostname() if host == "here" else host
    lock.write_text(json.dumps({"host": name, "pid": 4_000_000, "started": "x", "since": "then"}))
    if old:
        os.utime(lock, (0, 0))
    found = installation.lock(prefix)
    assert "of a build that died" in text(found) and str(lock) in text(found)


def test_a_lock_of_another_host_lives(prefix: Path) -> None:
    locks.lock_path(prefix).write_text(json.dumps({"host": "elsewhere", "pid": 1}))
    assert "a build is at work" in text(installation.lock(prefix))


@pytest.mark.parametrize(
    "litter", [".generations/.new-3", ".generations/.old-1", ".current.new", "../.env.new-77"]
)
def test_left_overs(litter: str, prefix: Path) -> None:
    (prefix / litter).mkdir()
    found = installation.leftovers(prefix)
    assert told(found) == [("left-overs", WARNING)] and "rm -r" in text(found)


def test_an_unfinished_adoption(prefix: Path) -> None:
    (prefix / ".adopting").mkdir()
    assert f"containerize adopt {prefix}" in text(installation.leftovers(prefix))


# -- permissions ---------------------------------------------------------------------------------
def chmod(mode: int, name: str) -> Callable[[Path], None]:
    return lambda prefix: (prefix / name).chmod(mode)


def test_a_hint_leaves_private_inputs_closed(prefix: Path) -> None:
    private, closed = prefix / "current/inputs/env.yml", prefix / "current/env"
    private.parent.mkdir()
    private.touch()
    private.chmod(0o600)
    assert told(installation.permissions(prefix)) == [("permissions", OK)]
    closed.chmod(0o600)
    (found,) = installation.permissions(prefix)
    subprocess.run(["sh", "-c", found.hint.partition(": ")[2]], check=True)
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert told(installation.permissions(prefix)) == [("permissions", OK)]


@pytest.mark.parametrize(
    ("damage", "state", "word"),
    [
        (chmod(0o640, "current/img.sqfs"), FAILED, "cannot be read by those"),
        (chmod(0o700, ".generations/1"), FAILED, "cannot be read by those"),
        (chmod(0o757, "bin"), FAILED, "everybody can write to bin"),
        (chmod(0o646, "current/env"), FAILED, "everybody can write"),
        (chmod(0o700, "."), OK, "drwx------"),
    ],
)
def test_permissions(damage: Callable[[Path], None], state: str, word: str, prefix: Path) -> None:
    damage(prefix)
    found = installation.permissions(prefix)
    assert told(found) == [("permissions", state)] and word in text(found)


@pytest.mark.root("only root can give a file to a foreign group")
def test_a_foreign_group(prefix: Path) -> None:
    os.chown(prefix / "current/env", -1, 12345)
    assert "not of the prefix's group" in text(installation.permissions(prefix))


# -- other installations ---------------------------------------------------------------------------
def test_what_it_was_built_with(prefix: Path, tmp_path: Path) -> None:
    """The installation itself stands for one that is there."""
    data = data_of(prefix, others=(str(prefix), str(tmp_path / "gone")))
    found = installation.others(prefix, data)
    assert told(found) == [("others", WARNING)] and f"{tmp_path}/gone is no" in text(found)


# -- shims and places ----------------------------------------------------------------------------
def test_shims(prefix: Path) -> None:
    (prefix / "bin/mine").write_text("a program of the user's own")
    assert told(installation.shims_agree(prefix)) == [("shims", OK)]
    (prefix / "bin/old").hardlink_to(prefix / "bin/new")
    found = installation.shims_agree(prefix)
    assert told(found) == [("shims", WARNING)] and "old is not in the generation" in text(found)
    (prefix / "bin/new").unlink()
    found = installation.shims_agree(prefix)
    assert told(found) == [("shims", FAILED)]
    assert f"containerize rollback {prefix} 2" in text(found)


def test_shims_that_one_may_not_run(prefix: Path) -> None:
    (prefix / "bin/python3").chmod(0o600)
    with without_powers():
        assert "cannot be run by you" in text(installation.shims_agree(prefix))


def test_a_moved_prefix(prefix: Path) -> None:
    moved = prefix.rename(prefix.with_name("moved"))
    data = data_of(moved)
    found = installation.place(moved, data)
    assert told(found) == [("place", WARNING)] and f"built as {prefix}" in text(found)
    prefix.symlink_to(moved)
    assert told(installation.place(prefix, data)) == [("place", OK)], "a link keeps the old path"
    (moved / "current/env").unlink()
    assert told(installation.place(prefix, data)) == [("links", WARNING)]


# -- base images ---------------------------------------------------------------------------------
def on_base(image: Path, **more: Any) -> Manifest:
    digest = f"sha256:{sha256(image)}"
    known = {"path": str(image), "digest": digest, "mark": mark(image)}
    return manifest(base={"kind": "image", "name": "base", **known, **more})


def test_base_images(tmp_path: Path) -> None:
    image = tmp_path / "base.sif"
    image.write_bytes(squashfs())
    data = on_base(image)
    assert "same digest" in text(needs.base_image(tmp_path, data, deep=True))
    image.write_bytes(squashfs()[:-1] + b"x")
    assert told(needs.base_image(tmp_path, data, deep=False)) == [("base image", OK)]
    found = needs.base_image(tmp_path, data, deep=True)
    assert told(found) == [("base image", WARNING)] and "digest" in text(found)
    assert "size" in text(needs.base_image(tmp_path, on_base(image, size=5), deep=False))
    image.write_bytes(squashfs(8192))
    found = needs.base_image(tmp_path, data, deep=False)
    assert "replaced" in text(found)
    assert f"conda-containerize update DIR --base-image {image}" in text(found)
    wrapped = needs.base_image(tmp_path, replace(data, kind="container"), deep=False)
    assert "update" not in text(wrapped)
    image.unlink()
    assert told(needs.base_image(tmp_path, data, deep=False)) == [("base image", FAILED)]


def test_a_link_to_a_base_image_that_moved(tmp_path: Path) -> None:
    old, new, link = (tmp_path / name for name in ("old", "new", "latest"))
    old.write_bytes(squashfs())
    new.write_bytes(squashfs(8192))
    link.symlink_to(old)
    data = on_base(old, name="latest", source=str(link))
    assert told(needs.base_image(tmp_path, data, deep=False)) == [("base image", OK)]
    link.unlink()
    link.symlink_to(new)
    found = needs.base_image(tmp_path, data, deep=False)
    assert told(found) == [("base image", OK), ("base image's name", WARNING)]


def test_a_base_image_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "container.sif").write_bytes(squashfs())
    (tmp_path / "source.sif").touch()
    more = {"path": "container.sif", "owned": True, "source": str(tmp_path / "source.sif")}
    data = on_base(tmp_path / "container.sif", **more)
    assert told(needs.base_image(tmp_path, data, deep=True)) == [("base image", OK)]


# -- interpreter and runtime ---------------------------------------------------------------------
@pytest.mark.parametrize(
    ("answer", "state", "word"),
    [
        ("echo 3.11.7", OK, "Python 3.11.7"),
        ("echo 3.11.9", WARNING, "is Python 3.11.9 now"),
        ("echo 3.12.1", FAILED, "of another Python"),
        ("exit 127", FAILED, "does not start"),
    ],
)
def test_interpreters(answer: str, state: str, word: str, program: Program) -> None:
    path = program("python3", answer)
    data = manifest(interpreter={"path": str(path), "version": "3.11.7"})
    found = needs.interpreter(data, {})
    assert told(found) == [("interpreter", state)] and word in text(found)
    path.unlink()
    assert "has gone" in text(needs.interpreter(data, {}))
    assert needs.interpreter(replace(data, base=BaseRecord(kind="image")), {}) == []


def test_the_runtime_of_the_build(program: Program, tmp_path: Path) -> None:
    data = manifest(runtime={"name": "apptainer", "version": "1.4", "path": f"{tmp_path}/none"})
    assert told(needs.runtime(data, {"PATH": "/none"})) == [("runtime of the build", FAILED)]
    other = program("singularity", ":")
    found = needs.runtime(data, {"PATH": str(other.parent)})
    assert told(found) == [("runtime of the build", OK)] and str(other) in text(found)
    data = replace(data, runtime=replace(data.runtime, path=str(other)))
    assert "has gone" not in text(needs.runtime(data, {"PATH": "/none"}))


# -- node ----------------------------------------------------------------------------------------
def package(name: str, version: str) -> LockedPackage:
    return LockedPackage(manager="conda", name=name, version=version, url="")


def node(tmp_path: Path, **base: Any) -> Manifest:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("flags : fpu sse2\n")
    return manifest(base={"kind": "host", **base})


def test_nodes(tmp_path: Path) -> None:
    data = node(tmp_path, virtual_packages={"__glibc": "2.17", "__archspec": "zen3"})
    assert "built on zen3, runs here" in text(needs.node(data, tmp_path))
    data = replace(data, packages=(package("_x86_64-microarch-level", "3"),))
    found = needs.node(data, tmp_path)
    assert told(found) == [("node", FAILED)]
    assert "for x86-64-v3, this processor is x86-64-v1" in text(found)
    found = needs.node(replace(data, packages=(), base=replace(data.base, level=2)), tmp_path)
    assert "the base image is for x86-64-v2" in text(found) and told(found) == [("node", FAILED)]


def test_links_that_an_image_cannot_have(tmp_path: Path) -> None:
    for name in ("pfs/appl", "usr/bin", "scratch"):
        (tmp_path / name).mkdir(parents=True)
    for name, target in (("appl", "pfs/appl"), ("bin", "usr/bin"), ("gone", "nowhere")):
        (tmp_path / name).symlink_to(target)
    found = needs.links(manifest(base={"kind": "image"}), tmp_path)
    assert told(found) == [("links", OK)]
    assert text(found).rstrip().endswith(f"realpath keeps the name: /appl ({tmp_path}/pfs/appl)")
    assert needs.links(manifest(), tmp_path) == [], "on the host they are links inside too"


@pytest.mark.parametrize(("built", "state"), [("aarch64", FAILED), ("x86_64", OK), ("", OK)])
def test_a_node_of_another_kind(
    built: str, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    found = needs.node(replace(node(tmp_path), machine=built), tmp_path)
    assert told(found) == [("node", state)]
    assert built != "aarch64" or "built for aarch64, this node is x86_64" in text(found)


def test_an_older_c_library(tmp_path: Path) -> None:
    data = node(tmp_path, virtual_packages={"__glibc": "9.99"})
    assert "CONDA_OVERRIDE_GLIBC" in text(needs.node(data, tmp_path))
    data = replace(data, base=replace(data.base, kind="image"))  # which has its own
    assert told(needs.node(data, tmp_path)) == [("node", OK)]


@pytest.mark.parametrize(
    ("name", "version", "expected"),
    [
        ("torch", "2.7.1+rocm6.2.4", OK),
        ("torch", "2.0+rocm5.4", WARNING),
        ("torch", "2.7.1", OK),
        ("nvidia-cublas-cu12", "12.1", WARNING),
        ("cudatoolkit", "11", WARNING),
        ("scudata", "1", OK),
    ],
)
def test_packages_and_gpus(name: str, version: str, expected: str, tmp_path: Path) -> None:
    data = replace(manifest(), packages=(package(name, version),))
    assert needs.gpu(data, {}, tmp_path) == []
    found = needs.gpu(data, {"CONTAINERIZE_ROCM_DRIVER": "6.3"}, tmp_path)
    assert told(found) == [("GPU", expected)]


def test_a_base_image_and_gpus(tmp_path: Path) -> None:
    for version, state in (("5.7.1", WARNING), ("6.2.4", OK)):
        data = manifest(base={"kind": "image", "rocm": version})
        found = needs.gpu(data, {"CONTAINERIZE_ROCM_DRIVER": "6.3"}, tmp_path)
        assert told(found) == [("GPU", state)]
        found = needs.gpu(data, {"CONTAINERIZE_ROCM_DRIVER": "99.1"}, tmp_path)
        assert "it is not known what the driver 99.1 serves" in found[0].detail


def test_the_site_of_the_build(tmp_path: Path) -> None:
    """By whose profile it has binds or variables, of which a manifest has the name."""
    lumi, roihu = (Site(file=tmp_path / f"{name}.yml") for name in ("lumi", "roihu"))
    assert needs.site(manifest(), lumi) == []
    assert told(needs.site(manifest(site="lumi"), lumi)) == [("site", OK)]
    found = needs.site(manifest(site="lumi"), roihu)
    assert told(found) == [("site", WARNING)]
    assert "binds, variables or the MPI of lumi, and this machine is roihu" in text(found)
    assert "of no site that is known" in text(needs.site(manifest(site="lumi"), Site()))


def test_what_is_harmful_with_its_rocm() -> None:
    """As data has it: NCCL_NET_GDR_LEVEL hangs with ROCm 7."""
    name = "NCCL_NET_GDR_LEVEL"
    new = manifest(base={"kind": "image", "rocm": "7.2.1"})
    old = manifest(base={"kind": "image", "rocm": "6.1"})
    found = needs.harmful(new, {name: "PHB"})
    assert told(found) == [(name, WARNING)]
    assert "yours is PHB, and it hangs with ROCm 7" in text(found) and f"unset {name}" in text(
        found
    )
    assert needs.harmful(new, {}) == needs.harmful(new, {name: "0"}) == []
    assert needs.harmful(old, {name: "PHB"}) == needs.harmful(manifest(), {name: "PHB"}) == []
    assert "it was given to it" in text(needs.harmful(replace(new, variables={name: None}), {}))
    sets = replace(new, base=replace(new.base, sets=(name,)))
    assert "its base image sets it" in text(needs.harmful(sets, {}))


# -- starts --------------------------------------------------------------------------------------
def start(prefix: Path) -> list[Finding]:
    site = Site(runtime="/no/runtime")
    return starts.of_installation(prefix, data_of(prefix), environ={}, site=site)


def replace_shim(prefix: Path, script: str) -> None:
    shim = prefix / "bin/python3"
    shim.unlink()
    shim.write_text(f"#!/bin/sh\n{script}\n")
    shim.chmod(0o755)


def test_starts(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_shim(prefix, '[ "$*" = "-c pass" ]')
    found = start(prefix)
    assert told(found) == [("start", OK)] and "bin/python3 -c pass in 0." in text(found)
    monkeypatch.setattr(starts, "_SLOW", 0)
    assert told(start(prefix)) == [("start", WARNING)]
    replace_shim(prefix, "echo '[ ERROR ] it has gone' >&2; echo '  to do: x' >&2; exit 1")
    found = start(prefix)
    assert told(found) == [("start", FAILED)] and "pass: it has gone" in text(found)


@pytest.mark.parametrize(
    ("layer", "flat", "hint"),
    [
        (
            6,
            False,
            "is it for zstd, which not every runtime starts? its owner: containerize repack",
        ),
        (6, True, "is it for zstd, which not every runtime starts? its owner: containerize repack"),
        (1, False, "else build it --flatten"),
        (1, True, "see the findings above"),
    ],
)
def test_what_helps_a_portable_image_that_does_not_start(
    program: Program, tmp_path: Path, layer: int, flat: bool, hint: str
) -> None:
    image = tmp_path / "an image.sif"
    parts = [(PRIMARY, SQUASHFS, squashfs_bytes(compression=layer if flat else 1))]
    parts += [] if flat else [(OVERLAY, SQUASHFS, squashfs_bytes(compression=layer))]
    image.write_bytes(sif_bytes(parts))
    script = (
        'case "$*" in *version*) echo "apptainer version 1.4.5" ;; *) echo no >&2; exit 1 ;; esac'
    )
    site = Site(runtime=str(program("apptainer", script)))
    data = manifest(form="sif", flatten=flat)
    environ = {"PATH": "/usr/bin:/bin"}
    (found,) = starts.of_image(image, data, environ=environ, site=site, scratch=tmp_path)
    assert found.state == FAILED and hint in found.hint
    assert ("repack" in hint) == (f"repack '{image}'" in found.hint)


def test_a_start_that_hangs(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starts, "_SECONDS", 0.2)
    replace_shim(prefix, "exec sleep 60")
    assert "no answer" in text(start(prefix))


# -- of somebody else ----------------------------------------------------------------------------
def diagnosed(target: Path, console: Console, *, start: bool = False) -> dict[str, Finding]:
    environ = {"PATH": "/nowhere", "TMPDIR": str(target.parent), "CONTAINERIZE_SITE": ""}
    found = doctor.diagnose(target, deep=False, start=start, environ=environ, console=console)
    return {f.what: f for f in found}


@pytest.mark.root("only root can give a file away")
@pytest.mark.parametrize(
    "part",
    [".", "bin", "bin/python3", "bin/_debug_shell", "current", ".generations", "current/."]
    + [f"current/{name}" for name in ("env", "manifest.json", "img.sqfs", "_bin")],
)
def test_nothing_of_somebody_elses_is_started(
    prefix: Path, part: str, program: Program, console: Console
) -> None:
    """Neither its programs nor what its manifest names, by a script that looks at many as root."""
    started = prefix.parent / "started"
    replace_shim(prefix, f"echo shim >>{started}")
    python = program("python3", f"echo interpreter >>{started}; echo 3.11.7")
    data = data_of(prefix, interpreter=Interpreter(path=python, version="3.11.7"))
    write_manifest(prefix / "current/manifest.json", data)
    os.chown(prefix / part, NOBODY, NOBODY, follow_symlinks=False)
    found = diagnosed(prefix, console)
    assert not started.exists()
    for what in ("interpreter", "start"):
        assert found[what].state == OK
        assert "not started: belongs to nobody (--start" in found[what].detail
    diagnosed(prefix, console, start=True)
    assert {"shim", "interpreter"} == set(started.read_text().split())


def test_what_is_ours_is_started(prefix: Path, console: Console) -> None:
    replace_shim(prefix, f"echo shim >>{prefix.parent}/started")
    assert "bin/python3 -c pass in" in diagnosed(prefix, console)["start"].detail


@pytest.mark.root("only root can give a file away")
def test_an_image_of_somebody_else(tmp_path: Path) -> None:
    (tmp_path / "x.sif").touch()
    (tmp_path / "link.sif").symlink_to("x.sif")
    assert starts.stranger_of(tmp_path / "link.sif") is None
    os.chown(tmp_path / "x.sif", NOBODY, NOBODY)
    for name in ("x.sif", "link.sif"):
        assert starts.stranger_of(tmp_path / name) == "nobody"


# -- images of 'build' ---------------------------------------------------------------------------
def test_what_is_no_image(tmp_path: Path) -> None:
    file = tmp_path / "x.sif"
    file.write_text("text")
    assert sif_image.manifest(file) == [], "told by the check of the image"


def test_beside_an_image(tmp_path: Path) -> None:
    file = tmp_path / "x.sif"
    file.write_bytes(squashfs())
    assert told(sif_image.image(file)) == [("image", OK)]
    assert told(sif_image.manifest(file)) == [("manifest", WARNING)]
    assert told(sif_image.leftovers(file)) == [("left-overs", OK)]
    (tmp_path / ".x.sif.new-12").touch()
    assert told(sif_image.leftovers(file)) == [("left-overs", WARNING)]
    with locks.locked(file):
        assert told(sif_image.leftovers(file)) == [("lock", WARNING)]
    assert told(sif_image.permissions(file)) == [("permissions", OK)]
    file.chmod(0o666)
    assert told(sif_image.permissions(file)) == [("permissions", FAILED)]


@pytest.mark.parametrize("mode", [0o555, 0o311, 0o111])
def test_beside_an_image_in_a_directory_of_another(open_place: Path, mode: int) -> None:
    """One may neither write there, nor perhaps list it; the lock of its builder is seen."""
    file = open_place / "x.sif"
    file.write_bytes(squashfs())
    with locks.locked(file), reader_of(open_place, mode):
        assert told(sif_image.leftovers(file)) == [("lock", WARNING)]
    with reader_of(open_place, mode):
        assert told(sif_image.leftovers(file)) == [("left-overs", OK)]


def test_a_build_in_a_directory_of_another(open_place: Path) -> None:
    """Its lock is beside the prefix to be, where its builder may write and we may not."""
    with locks.locked(open_place / "env"), reader_of(open_place, 0o555):
        assert told(installation.lock(open_place / "env")) == [("lock", WARNING)]


def test_a_lock_that_one_may_not_read(open_place: Path) -> None:
    lock = locks.lock_path(open_place / "env")
    lock.write_text("{}")
    lock.chmod(0)
    with reader_of(open_place, 0o555):
        assert "process ? on ?" in text(installation.lock(open_place / "env"))
