"""Which ROCm a driver serves: by position in the list of releases."""

from __future__ import annotations

from pathlib import Path

import pytest

from wrapper.rocm import driver_release, fits, window


@pytest.mark.parametrize(
    ("driver", "first", "last"),
    [
        ("6.0", "5.6", "6.2"),  # AMD's matrix
        ("5.7", "5.5", "6.1"),
        ("6.3.4", "6.1", "7.0"),  # LUMI, 2026
        ("7.2", "7.0", "7.2"),
        ("5.0.2", "5.0", "5.2"),
    ],
)
def test_two_releases_before_and_after(driver: str, first: str, last: str) -> None:
    served = window(driver)
    assert (served[0], served[-1]) == (first, last)
    assert fits(f"{last}.1", driver)


def test_outside_and_unknown() -> None:
    assert fits("7.1.0", "6.3.4") is False
    assert fits("6.0", "6.3") is False
    assert fits("6.0", "") is None
    assert fits("6.0", "99.1") is None
    assert fits("", "6.3") is None
    assert window("") == ()


@pytest.mark.parametrize(
    ("text", "release"),
    [("6.10.5\n", "6.3"), ("6.3.6\n", "6.0"), ("30.30.3\n", "7.2"), ("1.2\n", ""), ("\n", "")],
)
def test_the_modules_own_version(tmp_path: Path, text: str, release: str) -> None:
    file = tmp_path / "sys/module/amdgpu/version"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert driver_release({}, tmp_path) == release
    assert driver_release({"CONTAINERIZE_ROCM_DRIVER": "6.4"}, tmp_path) == "6.4"


def test_no_driver(tmp_path: Path) -> None:
    assert driver_release({}, tmp_path) == ""
