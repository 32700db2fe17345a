"""Names of platforms, and what a solve for another one takes to be there."""

from __future__ import annotations

import pytest

from wrapper import platforms
from wrapper.conda.resolve import virtual_packages
from wrapper.models import Base


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    for name in ("CUDA", "ARCHSPEC", "GLIBC"):
        monkeypatch.delenv(f"CONDA_OVERRIDE_{name}", raising=False)


def found(platform: str | None, base: Base | None = None) -> dict[str, str]:
    packages = virtual_packages(base or Base(), platform)
    return {p.name.normalized: f"{p.version} {p.build_string}" for p in packages}


@pytest.mark.parametrize(
    ("machine", "platform", "bash"),
    [
        ("x86_64", "linux-64", "x86_64"),
        ("aarch64", "linux-aarch64", "aarch64"),
        ("ppc64le", "linux-ppc64le", "powerpc64le"),
        ("riscv64", "linux-riscv64", ""),
    ],
)
def test_names(machine: str, platform: str, bash: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert (platforms.here(), platforms.bash_machine()) == (platform, bash)


def test_virtual_packages_of_another_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    there = found("linux-aarch64")
    assert there["__archspec"] == "1 aarch64"
    assert there["__glibc"] == found(None)["__glibc"] == found("linux-64")["__glibc"]
    assert found(None)["__archspec"] == found("linux-64")["__archspec"] != "1 aarch64"


def test_the_users_word_is_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "__cuda" not in found("linux-aarch64")
    monkeypatch.setenv("CONDA_OVERRIDE_CUDA", "12.9")
    monkeypatch.setenv("CONDA_OVERRIDE_GLIBC", "2.34")
    monkeypatch.setenv("CONDA_OVERRIDE_ARCHSPEC", "neoverse_v2")
    there = found("linux-aarch64")
    assert there["__cuda"].startswith("12.9") and there["__glibc"].startswith("2.34")
    assert there["__archspec"] == "1 neoverse_v2"
