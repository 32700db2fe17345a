"""Base images of a catalogue's definitions: built when they are wanted, anew when they changed."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.account import Account
from tests.conftest import require
from tests.e2e.conftest import CONDA, UMBRELLA, entries, environment_text, takes_definitions
from tests.images import OLD_SIF, system_files
from wrapper.errors import ExitCode


@dataclass(frozen=True, kw_only=True)
class Definitions:
    """A catalogue with the definition ``mine``, whose images have a label."""

    account: Account
    root: Path

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def built(self) -> set[str]:
        folder = self.cache / "images/built"
        return {path.name for path in folder.glob("*.sif")} if folder.exists() else set()

    def label(self, text: str) -> None:
        file = self.root / "mine.def"
        file.write_text(f"Bootstrap: localimage\nFrom: below.sif\n\n%labels\n    state {text}\n")

    def catalogue(self, more: str = "") -> None:
        text = f'format = 1\n[images.mine]\nsource = "mine.def"\n{more}\n'
        (self.root / "catalogue.toml").write_text(text)

    def run(self, *words: str | Path, cache: bool = True) -> subprocess.CompletedProcess[str]:
        env = {"CONTAINERIZE_BASE_IMAGES": str(self.root / "catalogue.toml")}
        env |= {"CONTAINERIZE_CACHE_DIR": str(self.cache) if cache else ""}
        return self.account.run(*words, env=env)

    def ok(self, *words: str | Path) -> str:
        done = self.run(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def data(self, *words: str) -> Any:
        return json.loads(self.run(UMBRELLA, "base", *words, "--json").stdout)

    def state(self) -> str:
        listed = self.data("list")
        return str(next(row["state"] for row in listed if row["name"] == "mine"))


@pytest.fixture
def mine(me: Account, runtime: Path, tmp_path: Path) -> Definitions:
    require(takes_definitions(me), "what lets this account build from definition files")
    sandbox = system_files(tmp_path / "sandbox")
    below = tmp_path / "below.sif"  # named by the definition, in whose directory it is
    subprocess.run([me.runtime, "-s", "build", below, sandbox], check=True)
    found = Definitions(account=me, root=tmp_path)
    found.catalogue()
    found.label("first")
    return found


def test_a_changed_definition_is_built_anew(mine: Definitions, channel: Path) -> None:
    file = mine.account.file("on-mine.yml", environment_text(channel, "demo-sh-only"))
    new = (CONDA, "new", "--base-image", "mine", file, "--prefix")
    assert mine.state() == "not built"
    told = mine.ok(*new, mine.root / "one")
    assert "the base image mine is built now" in told and mine.state() == "built"
    assert "is built now" not in mine.ok(*new, mine.root / "two"), "once"
    (first,) = mine.built
    checked = mine.ok(UMBRELLA, "base", "check", "mine")
    assert "ok      unchanged" in checked, "recorded when it was built for a build"
    mine.label("second")
    assert mine.state() == "outdated"
    assert "not there" in mine.ok(UMBRELLA, "base", "show", "mine")
    refused = mine.run(UMBRELLA, "base", "check", "mine")
    assert refused.returncode == ExitCode.INPUT and "is not built yet" in refused.stderr
    told = mine.ok(*new, mine.root / "three")
    assert "the definition of mine has changed since it was built" in told
    assert mine.data("show", "mine")["found"]["labels"]["state"] == "second"
    assert mine.account.ok(mine.root / "one/bin/demo-hello"), (
        "it has the image that it was built on"
    )
    assert first in mine.ok(UMBRELLA, "base", "prune", "--dry-run") and first in mine.built
    assert first in mine.ok(UMBRELLA, "base", "prune")
    assert len(mine.built) == 1 and first not in mine.built and mine.state() == "built"
    assert "no image is outdated" in mine.ok(UMBRELLA, "base", "prune")


def test_an_image_that_is_not_the_catalogues_never_appears(mine: Definitions) -> None:
    mine.catalogue(f'sha256 = "{"0" * 64}"')
    done = mine.run(UMBRELLA, "base", "build", "mine")
    assert done.returncode == ExitCode.PACKAGE
    assert "not the one that its catalogue names" in done.stderr
    assert mine.built == set()
    output = mine.root / "out.sif"
    output.write_bytes(OLD_SIF)
    done = mine.run(UMBRELLA, "base", "build", "mine", "--force", "-o", output)
    assert done.returncode == ExitCode.PACKAGE and output.read_bytes() == OLD_SIF


def test_an_image_that_changed_after_it_was_built(mine: Definitions) -> None:
    mine.ok(UMBRELLA, "base", "build", "mine")
    (name,) = mine.built
    with (mine.cache / "images/built" / name).open("ab") as file:
        file.write(b"more")
    done = mine.run(UMBRELLA, "base", "check", "mine")
    assert done.returncode == ExitCode.PACKAGE
    assert "FAILED  unchanged" in done.stdout and "expected sha256:" in done.stdout
    told = mine.ok(UMBRELLA, "build", mine.root / "out.sif", "--base-image", "mine")
    assert "is not as it was built" in told and "is built now" in told
    assert mine.built == {name}
    assert "ok      unchanged" in mine.ok(UMBRELLA, "base", "check", "mine")


def test_one_definition_that_cannot_be_read_does_not_hide_the_others(mine: Definitions) -> None:
    (mine.root / "mine.def").unlink()
    assert mine.state() == "unusable"
    done = mine.run(UMBRELLA, "base", "show", "mine")
    assert done.returncode == ExitCode.INPUT and "no such file" in done.stderr


def test_two_builds_that_want_it_build_it_once(mine: Definitions, channel: Path) -> None:
    file = mine.account.file("both.yml", environment_text(channel, "demo-sh-only"))
    env = mine.account.environment(
        {
            "CONTAINERIZE_BASE_IMAGES": str(mine.root / "catalogue.toml"),
            "CONTAINERIZE_CACHE_DIR": str(mine.cache),
        }
    )
    running = [
        subprocess.Popen(
            [CONDA, "new", "--prefix", mine.root / name, "--base-image", "mine", file],
            env=env,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in ("left", "right")
    ]
    told = [process.communicate()[1] for process in running]
    assert [process.returncode for process in running] == [0, 0], told
    assert sum("[ INFO ] Building mine.def: " in text for text in told) == 1, told
    assert len(mine.built) == 1 and entries(mine.root) >= {"left", "right"}


def test_where_images_lie_is_told(mine: Definitions) -> None:
    listed = mine.ok(UMBRELLA, "base", "list")
    assert f"{mine.cache}/images" in listed and "containerize base build NAME" in listed
    listed = mine.run(UMBRELLA, "base", "list", cache=False).stdout
    assert "CONTAINERIZE_CACHE_DIR is not set" in listed
