"""Images in another compression: the same files, programs and record; the way back stays open."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.account import Account
from tests.e2e.conftest import CONDA, UMBRELLA, Builder, Installation
from tests.images import system_files
from wrapper.errors import ExitCode
from wrapper.images.format import read_format

LOOK = "import json, os, demo_noarch; print(json.dumps([demo_noarch.__file__, os.environ['PATH']]))"


@pytest.fixture(scope="module")
def built(account: Account, build: Builder) -> Installation:
    return build(account, "to-repack", "python", "demo-noarch", options=("--compression", "gzip"))


@pytest.mark.every_runtime
@pytest.mark.parametrize("name", ["lz4", "gzip", "zstd"])
def test_an_installation_gets_a_generation(built: Installation, name: str) -> None:
    if name == "zstd" and built.account.family == "SINGULARITY":
        refused = built.account.run(UMBRELLA, "repack", built.prefix, "--compression", name)
        assert refused.returncode == ExitCode.TOOL and "starts no image" in refused.stderr
        return
    before, manifest = built.python(LOOK), built.manifest
    generation = built.prefix / "current"
    env = (generation / "env").read_text().splitlines()
    told = built.account.run(UMBRELLA, "repack", built.prefix, "--compression", name)
    assert told.returncode == 0, told.stderr
    assert f"compressed with {name}" in told.stderr
    after = built.manifest
    assert read_format(generation / "img.sqfs").compressors == (name,)
    assert after["image"]["compression"] == name and after["options"]["compression"] == name
    assert after["generation"] == manifest["generation"] + 1
    changed = {"generation", "created", "image", "options", "tool"}
    same = manifest.keys() - changed
    assert {key: after[key] for key in same} == {key: manifest[key] for key in same}
    assert built.python(LOOK) == before
    now = (generation / "env").read_text().splitlines()
    changed_lines = [f"_cw_generation={after['generation']}", f"_cw_compression={name}"]
    assert [line for line in now if line not in env] == changed_lines
    for kept in ("conda-lock.yml", "packages.txt", "build.log", "inputs/to-repack.yml"):
        assert (generation / kept).read_bytes()


def test_one_can_go_back_and_update(built: Installation) -> None:
    account = built.account
    account.ok(UMBRELLA, "repack", built.prefix, "--compression", "gzip")
    account.ok(UMBRELLA, "rollback", built.prefix)
    assert "demo_noarch" in built.python(LOOK)


def test_a_base_image_of_its_own_is_repacked_too(
    me: Account, runtime: Path, channel: Path, tmp_path: Path
) -> None:
    """Else a runtime that starts no image of zstd could start nothing of it."""
    base = me.work / "lz4.sif"
    me.ok(me.runtime, "build", base, system_files(tmp_path / "base"))
    me.ok(UMBRELLA, "repack", base, "--compression", "lz4")
    file = me.file("own.yml", f"channels: [{channel.as_uri()}]\ndependencies: [demo-noarch]\n")
    prefix = me.work / "own-base"
    words = ("--prefix", prefix, "--base-image", base, "--copy-base", "--compression", "lz4")
    me.ok(CONDA, "new", *words, file)
    base.unlink()
    me.ok(UMBRELLA, "repack", prefix, "--compression", "gzip")
    for name in ("img.sqfs", "container.sif"):
        assert set(read_format(prefix / "current" / name).compressors) == {"gzip"}
    assert me.ok(prefix / "bin/_debug_exec", "bash", "-c", "echo started") == "started\n"
    found = json.loads(me.ok(UMBRELLA, "doctor", "--deep", "--json", prefix))
    states = {one["what"]: one["state"] for one in found if isinstance(one, dict)}
    assert states["base image"] == "ok", found
    before = read_format(prefix / ".generations/1/container.sif").compressors
    assert set(before) == {"lz4"}, "the way back stays open"


def test_a_sif_file_is_replaced(me: Account, runtime: Path, channel: Path, tmp_path: Path) -> None:
    base = system_files(tmp_path / "base")
    image = tmp_path / "out.sif"
    file = me.file(
        "sif.yml", f"channels: [{channel.as_uri()}]\ndependencies: [python, demo-noarch]\n"
    )
    words = ("--base-image", base, "--conda-env", file, "--compression", "lz4")
    me.ok(UMBRELLA, "build", image, *words)
    before = json.loads(me.ok(UMBRELLA, "inspect", image))
    assert "lz4" in read_format(image).compressors
    me.ok(UMBRELLA, "repack", image)
    assert set(read_format(image).compressors) == {"gzip"}
    after = json.loads(me.ok(UMBRELLA, "inspect", image))
    assert after["image"]["compression"] == "gzip" and after["packages"] == before["packages"]
    code = "import demo_noarch, sys; print(sys.prefix)"
    assert me.ok(me.runtime, "exec", image, "python3", "-c", code).strip() == "/containerize"
    me.ok(UMBRELLA, "build", "--update", image, "--post-install", me.file("x.sh", "true\n"))
    assert me.ok(me.runtime, "exec", image, "python3", "-c", code).strip() == "/containerize"


def test_what_cannot_be_repacked(me: Account, built: Installation, tmp_path: Path) -> None:
    cases = {
        ExitCode.PREFIX: [UMBRELLA, "repack", tmp_path],
        ExitCode.USAGE: [UMBRELLA, "repack", built.prefix, "--compression", "lzo9"],
    }
    for code, words in cases.items():
        done = me.run(*words)
        assert done.returncode == code and "Traceback" not in done.stderr, done.stderr
    (tmp_path / "text.sif").write_text("no image\n")
    done = me.run(UMBRELLA, "repack", tmp_path / "text.sif")
    assert done.returncode == ExitCode.INPUT and "no SIF file" in done.stderr
