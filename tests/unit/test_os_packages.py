"""Packages of a base image's system: the definition file, who can build it, how it fails."""

from __future__ import annotations

import os
import shutil
import struct
from pathlib import Path

import pytest

from tests.unit.conftest import Program, without_powers
from wrapper.base import os_packages
from wrapper.base.debian import MIRROR_VARIABLE, current_archive
from wrapper.console import Console
from wrapper.errors import InputError, ScriptError, SpaceError, ToolError
from wrapper.runtime.host_program import is_static
from wrapper.runtime.runtime import Runtime


def runtime(path: Path, name: str = "singularity") -> Runtime:
    return Runtime(path=path, name=name, version="4.1.0")


@pytest.mark.parametrize("name", ["git", "libstdc++6", "gcc-12=12.2.0-14+deb12u1", "perl:any"])
def test_names_of_packages(name: str) -> None:
    os_packages.check_names([name])


@pytest.mark.parametrize("name", ["", "-y", "a b", "a;b", "$(id)", "a\n%post", "../x.rpm"])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(InputError, match="cannot be the name of a package"):
        os_packages.check_names(["git", name])


@pytest.mark.parametrize(
    ("manager", "line"),
    [
        ("zypper", "zypper --non-interactive install --no-recommends git make"),
        (
            "apt-get",
            "$apt install --no-install-recommends git make",
        ),
        ("dnf", "dnf install --assumeyes --setopt=install_weak_deps=False git make"),
        ("apk", "apk add --no-cache git make"),
    ],
)
def test_the_definition_uses_the_bases_own_manager(manager: str, line: str) -> None:
    text = os_packages.definition(Path("/b/base.sif"), manager, ["git", "make"])
    head, _, script = text.partition("%post\n")
    assert head == "Bootstrap: localimage\nFrom: /b/base.sif\n\n"
    lines = [row.strip() for row in script.splitlines()]
    assert lines[0] == "set -e" and line in lines


def test_an_image_that_names_no_archive_gets_one() -> None:
    """Ours do not: which one is near is known where they are used."""
    text = os_packages.definition(Path("/b.sif"), "apt-get", ["git"], "http://x/de bian")
    assert """echo deb 'http://x/de bian' "$VERSION_CODENAME" main >/etc/apt/sources""" in text
    assert "rm -rf /var/lib/apt/lists/* /etc/apt/sources.list.d/containerize.list" in text
    assert "[ -z '' ]" in os_packages.definition(Path("/b.sif"), "apt-get", ["git"])


def test_the_archive_is_one_of_today(program: Program) -> None:
    said = "http://near/debian-security\nhttp://near/debian/\n"
    environ = {"PATH": str(program("apt-get", f"printf '{said}'").parent)}
    assert current_archive(environ) == "http://near/debian"
    environ[MIRROR_VARIABLE] = "http://old/{snapshot} http://mine/debian"
    assert current_archive(environ) == "http://mine/debian"
    assert current_archive({"PATH": "/nowhere"}) == ""


def test_a_base_without_a_known_manager() -> None:
    with pytest.raises(InputError, match="no package manager that is known"):
        os_packages.definition(Path("/b/base.sif"), "", ["git"])


def test_the_refusal_says_what_to_load(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = program("proot", "true").parent
    with without_powers():
        with pytest.raises(ToolError, match="proot is not on PATH") as caught:
            os_packages.require_builder(runtime(Path("/s")), {"PATH": "/nowhere"}, {})
        assert "load the module that has it" in caught.value.hint
        with pytest.raises(ToolError) as caught:
            where = {"PATH": "/nowhere"}
            os_packages.require_builder(runtime(Path("/s")), where, {"proot": "SITE PRoot"})
        assert caught.value.hint.startswith("module load SITE PRoot, or choose")
        monkeypatch.setattr(os_packages, "_NAMESPACES", folder / "none")
        with pytest.raises(ToolError, match="proot"):
            os_packages.require_builder(runtime(Path("/a"), "apptainer"), {"PATH": ""}, {})


def test_who_can_build(program: Program, open_place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proot = program("proot", "true", open_place / "bin")
    (open_place / "namespaces").write_text("1000\n")
    monkeypatch.setattr(os_packages, "_NAMESPACES", open_place / "namespaces")
    with without_powers():
        os_packages.require_builder(runtime(Path("/s")), {"PATH": str(proot.parent)}, {})
        os_packages.require_builder(runtime(Path("/a"), "apptainer"), {"PATH": "/nowhere"}, {})
    if os.getuid() == 0:
        os_packages.require_builder(runtime(Path("/s")), {"PATH": "/nowhere"}, {})


def elf(path: Path, *kinds: int) -> Path:
    """The beginning of a 64-bit ELF program with program headers of these types."""
    head = struct.pack("<16s16xQ14xHH", b"\x7fELF\2\1\1", 64, 56, len(kinds))
    table = b"".join(kind.to_bytes(4, "little").ljust(56, b"\0") for kind in kinds)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(head.ljust(64, b"\0") + table)
    path.chmod(0o755)
    return path


def test_proot_has_to_be_static(open_place: Path) -> None:
    """SingularityCE starts it inside the image."""
    load, loader = 1, 3
    static = elf(open_place / "static/proot", load, load)
    dynamic = elf(open_place / "dynamic/proot", load, loader)
    with without_powers():
        os_packages.require_builder(runtime(Path("/s")), {"PATH": str(static.parent)}, {})
        with pytest.raises(ToolError, match="linked dynamically") as caught:
            os_packages.require_builder(runtime(Path("/s")), {"PATH": str(dynamic.parent)}, {})
    assert caught.value.where == str(dynamic)


def test_what_is_static(tmp_path: Path) -> None:
    """This machine's own env(1) is dynamic; of what is no program, or cut off, nothing is known."""
    assert not is_static(Path(str(shutil.which("env"))))
    for content in (b"", b"#!/bin/sh\n", b"\x7fELF\2", b"\x7fELF\2".ljust(64, b"\xff")):
        (tmp_path / "x").write_bytes(content)
        assert is_static(tmp_path / "x")
    assert is_static(tmp_path / "none")


def add(program: Path, tmp_path: Path, console: Console) -> None:
    os_packages.add_packages(
        tmp_path / "base.sif",
        tmp_path / "new.sif",
        manager="zypper",
        names=["git"],
        runtime=runtime(program),
        scratch=tmp_path,
        console=console,
    )


def test_the_runtime_builds_the_definition(
    program: Program, tmp_path: Path, console: Console
) -> None:
    fake = program("singularity", 'printf "%s\\n" "$@" >"$3"; cat "$4" >>"$3"')
    add(fake, tmp_path, console)
    told = (tmp_path / "new.sif").read_text().splitlines()
    assert told[:4] == ["-s", "build", f"{tmp_path}/new.sif", f"{tmp_path}/packages.def"]
    assert f"From: {tmp_path}/base.sif" in told


def test_a_package_that_is_not_there(program: Program, tmp_path: Path, console: Console) -> None:
    # As the runtime does: it runs %post, whose output is its own.
    script = 'sed -n "s/^ *\\(echo .*\\)/\\1/p" "$4" | sh; echo No provider of git found; exit 255'
    fake = program("singularity", script)
    with pytest.raises(ScriptError, match="zypper in the base image cannot install git") as caught:
        add(fake, tmp_path, console)
    assert "No provider" in caught.value.detail


def test_a_runtime_that_cannot_begin(program: Program, tmp_path: Path, console: Console) -> None:
    fake = program("singularity", "echo ERROR: Requesting capability set 0x1ff; exit 255")
    with pytest.raises(ToolError, match="cannot build from a definition file here") as caught:
        add(fake, tmp_path, console)
    assert "capability set" in caught.value.detail


def test_a_full_disk(program: Program, tmp_path: Path, console: Console) -> None:
    fake = program("singularity", "echo write error: No space left on device; exit 255")
    with pytest.raises(SpaceError, match="no room to add packages"):
        add(fake, tmp_path, console)
