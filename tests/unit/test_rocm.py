"""Which ROCm a driver serves, by AMD's table."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from wrapper.rocm import driver_release, fits, misfit, window
from wrapper.util import toml

DATA = toml.loads((Path(__file__).parents[2] / "wrapper/rocm.toml").read_text())


@pytest.mark.parametrize(
    ("driver", "first", "last"),
    [
        ("6.0", "5.6", "6.2"),
        ("5.7", "5.5", "6.1"),
        ("6.2", "6.0", "7.0"),  # wider than two releases after it
        ("6.3.4", "6.1", "7.0"),  # LUMI, until August 2026
        ("6.4", "6.1", "7.2"),
        ("30.30.3", "6.3", "10.0"),
        ("31.50", "7.0", "10.0"),
        ("5.0.2", "5.0", "5.2"),
    ],
)
def test_the_window_is_amds(driver: str, first: str, last: str) -> None:
    served = window(driver)
    assert (served[0], served[-1]) == (first, last)
    assert fits(f"{first}.1", driver) and fits(f"{last}.1", driver)
    assert misfit(last, driver) == ""


def test_a_driver_of_7_2_serves_6_3() -> None:
    driver = driver_release({"CONTAINERIZE_ROCM_DRIVER": "7.2"})
    assert driver == "30.30" and all(fits(r, driver) for r in ("6.3.4", "6.4", "7.0", "7.1", "7.2"))
    assert misfit("6.2.4", driver) == "the driver 30.30 serves 6.3 to 10.0"


def test_outside_and_unknown() -> None:
    assert fits("7.1.0", "6.3.4") is False
    assert fits("7.14", "6.4") is False
    assert fits("6.0", "6.3") is False
    assert fits("4.5", "6.3") is False, "older than all that are known"
    assert fits("11.0", "31.50") is None
    assert "that release is not known" in misfit("11.0", "31.50")
    assert fits("6.0", "99.1") is None
    assert misfit("6.0", "99.1") == "it is not known what the driver 99.1 serves"
    assert fits("6.0", "") is None and fits("", "6.3") is None
    assert misfit("6.0", "") == misfit("", "99.1") == ""
    assert window("") == ()


@pytest.mark.parametrize(
    ("text", "driver"),
    [
        *[("6.10.5\n", "6.3"), ("6.3.6\n", "6.0"), ("6.3.60300\n", "6.3"), ("30.30.3\n", "30.30")],
        *[("31.40.1\n", "31.40"), ("1.2\n", "1.2"), ("6.4.1\n", "6.4.1"), ("\n", "")],
    ],
)
def test_the_modules_own_version(tmp_path: Path, text: str, driver: str) -> None:
    file = tmp_path / "sys/module/amdgpu/version"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert driver_release({}, tmp_path) == driver
    assert driver_release({"CONTAINERIZE_ROCM_DRIVER": "6.4"}, tmp_path) == "6.4"


@pytest.mark.parametrize(
    ("named", "driver"),
    [("7.0.1", "30.10"), ("10.0", "31.50"), ("31.40.1", "31.40"), ("99.1", "99.1"), ("x", "x")],
)
def test_a_named_driver_is_its_own_or_rocms_release(named: str, driver: str) -> None:
    assert driver_release({"CONTAINERIZE_ROCM_DRIVER": named}) == driver


def test_no_driver(tmp_path: Path) -> None:
    assert driver_release({}, tmp_path) == ""


def test_the_data_is_dated_and_has_no_holes() -> None:
    tables = [*DATA["matrices"], DATA["released"], DATA["modules"]]
    assert all(table["source"] and isinstance(table["read"], date) for table in tables)
    drivers = {name: served for m in DATA["matrices"] for name, served in m["drivers"].items()}
    names = {release for served in drivers.values() for release in served}
    known = sorted(names, key=lambda release: [*map(int, release.split("."))])
    for name, served in drivers.items():
        first = known.index(served[0])
        assert served == known[first : first + len(served)], name
    assert set(DATA["released"]["drivers"].values()) <= set(drivers)
    assert set(DATA["modules"]["drivers"].values()) <= set(drivers)
