"""What was built is started once; where that fails, all is as it was."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.account import Account
from tests.conftest import require
from tests.e2e.conftest import (
    BIN,
    CONDA,
    UMBRELLA,
    Builder,
    Installation,
    entries,
    takes_definitions,
)
from tests.images import system_files
from wrapper.errors import ExitCode

_WORDS = "FATAL:   no loop devices available"


@pytest.fixture(scope="module")
def place(me: Account, runtime: Path) -> Iterator[Path]:
    """A directory with a sandbox, an installation to wrap, and the runtime that refuses results."""
    root = me.directory("finished")
    system_files(root / "sandbox")
    tool = root / "tool/bin/hello"
    tool.parent.mkdir(parents=True)
    tool.write_text("#!/bin/sh\necho hello\n")
    tool.chmod(0o755)
    definition = f"Bootstrap: localimage\nFrom: {root}/sandbox\n"
    (root / "base.def").write_text(definition)
    refusing = root / "programs/apptainer"
    refusing.parent.mkdir()
    refusing.write_text(
        "#!/bin/bash\n"
        'case " $* " in *" exec "*/img.sqfs\\ * | *" exec "*.new-*.sif* | */_bin:*/bin* | '
        f'*" exec "*.sif.new-*) echo "{_WORDS}" >&2; exit 255 ;; esac\n'
        f'exec {shlex.quote(str(runtime))} "$@"\n'
    )
    refusing.chmod(0o755)
    yield root


@pytest.fixture(scope="module")
def installed(me: Account, build: Builder) -> Installation:
    return build(me, "to-be-changed", "demo-sh-only")


@pytest.mark.parametrize(
    ("words", "result"),
    [
        ((BIN / "wrap-install", "-w", "bin", "--prefix", "one", "tool"), "one"),
        ((BIN / "wrap-container", "-w", "/usr/bin/cat", "--prefix", "two", "sandbox"), "two"),
        ((UMBRELLA, "build", "three.sif", "--base-image", "sandbox"), "three.sif"),
        ((UMBRELLA, "base", "build", "base.def", "--output", "four.sif"), "four.sif"),
    ],
    ids=["wrap-install", "wrap-container", "build", "base"],
)
def test_what_does_not_start_does_not_appear(
    me: Account, place: Path, words: tuple[str | Path, ...], result: str
) -> None:
    if "base" in words:
        require(takes_definitions(me), "what lets this account build from definition files")
    before = entries(place)
    env = {"CONTAINERIZE_RUNTIME": str(place / "programs/apptainer")}
    failed = me.run(*words, cwd=place, env=env)
    assert failed.returncode == ExitCode.TOOL, failed.stderr
    assert "does not start what was built" in failed.stderr and _WORDS in failed.stderr
    assert entries(place) == before
    assert me.run(*words, cwd=place).returncode == 0, "and with one that starts it"
    assert (place / result).exists()


def test_an_update_that_does_not_start_changes_nothing(
    me: Account, place: Path, installed: Installation
) -> None:
    before = entries(installed.prefix / ".generations")
    change = (CONDA, "update", installed.prefix, "--environ", me.file("environ", "A=1\n"))
    failed = me.run(*change, env={"CONTAINERIZE_RUNTIME": str(place / "programs/apptainer")})
    assert failed.returncode == ExitCode.TOOL and _WORDS in failed.stderr
    assert entries(installed.prefix / ".generations") == before
    assert (installed.prefix / "current").readlink().name == "1"
    me.ok(*change)
    assert (installed.prefix / "current").readlink().name == "2"
