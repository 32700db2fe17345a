"""The smoke test of an installation: the shim that is executed, and what is said where it fails."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.shell.conftest import NOWHERE, Install, Prefix, write_environment
from wrapper.console import Console
from wrapper.errors import ToolError
from wrapper.prefix import smoke
from wrapper.runtime.runtime import Runtime

Start = Callable[..., None]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Start the generation of an installation that lies under another name, as a draft does."""

    def started(prefix: Prefix, *, own_system: bool = False) -> None:
        draft = prefix.root / ".generations/.new-7"
        (prefix.root / ".generations/1").rename(draft)
        scratch = tmp_path / "scra tch"
        scratch.mkdir()
        smoke.start_installation(
            draft,
            1,
            prefix=prefix.root,
            own_system=own_system,
            runtime=Runtime(path=prefix.runtime, name="apptainer", version="1.4.5"),
            scratch=scratch,
            console=Console(-1),
        )
        assert list(scratch.iterdir()) == []

    return started


def recorded(prefix: Prefix) -> list[str]:
    return (prefix.out / "argv").read_text().split("\0")


def test_a_shim_starts_the_draft(
    prefix: Prefix, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPTAINER_BIND", "/no/such")
    monkeypatch.setenv("CW_EXTRA_BIND_MOUNTS", "/nor/this")
    start(prefix)
    words = recorded(prefix)
    binds = words[words.index("-B") + 1]
    image, *command = words[words.index("-B") + 2 :]
    generation = image.removesuffix("/img.sqfs")
    assert binds.endswith(f",{generation}/_bin:{generation.partition('/.gen')[0]}/bin")
    assert "/no/such" not in binds and "/nor/this" not in binds
    assert command[:3] == ["/usr/bin/test", "-e", f"{NOWHERE}/bin"]


def test_a_container_with_another_system_has_a_program_of_the_host(
    prefix: Prefix, start: Start
) -> None:
    base = prefix.root.parent / "base.sif"
    base.write_bytes(b"")
    write_environment(prefix.root, image=str(base))
    start(prefix, own_system=True)
    words = recorded(prefix)
    assert "/:/.containerize-host" in words[words.index("-B") + 1].split(",")
    assert words[words.index("-B") + 2] == str(base)
    assert "/.containerize-host/usr/bin/test" in words


def test_the_runtimes_own_words(install: Install, start: Start) -> None:
    prefix = install(then="echo 'INFO: x'; echo 'FATAL: no loop devices available' >&2; exit 255")
    with pytest.raises(ToolError, match=r"apptainer 1.4.5 does not start what was built") as caught:
        start(prefix)
    assert "FATAL: no loop devices available" in caught.value.detail
    assert caught.value.where == os.fspath(prefix.root)


def test_what_starts_without_its_programs_is_told(install: Install, start: Start) -> None:
    with pytest.raises(ToolError, match=f"{NOWHERE}/bin is not in it"):
        start(install(then="exit 1"))


def test_the_shims_words_where_it_cannot_start(prefix: Prefix, start: Start) -> None:
    write_environment(prefix.root, required_program="/no/such/python3")
    with pytest.raises(ToolError) as caught:
        start(prefix)
    assert "has gone: /no/such/python3" in caught.value.detail
