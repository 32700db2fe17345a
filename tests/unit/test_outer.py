"""Packages of the Python that an environment is built on."""

from __future__ import annotations

from importlib.metadata import Distribution
from pathlib import Path

import pytest

from wrapper.inputs.requirements import read_requirements
from wrapper.pip.interpreter import OuterPackages

OUTER = OuterPackages.of({"NumPy": "1.26.4", "mpi4py": "3.1.4"}, python="3.9.5")


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("numpy", {"numpy", "mpi4py"}),
        ("numpy>=1,<2", {"numpy", "mpi4py"}),
        ("numpy>=2", {"mpi4py"}),
        ("numpy>=2; python_version > '3.9'", {"numpy", "mpi4py"}),
        ("numpy[x]", {"mpi4py"}),
        ("numpy @ https://host/numpy-1.26.4.zip", {"mpi4py"}),
    ],
)
def test_what_fits_is_kept(tmp_path: Path, line: str, kept: set[str]) -> None:
    assert OUTER.fitting(read_requirements([line], tmp_path, "test").packages) == kept


def test_what_others_need_in_another_version_is_not(tmp_path: Path) -> None:
    (tmp_path / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: x\nVersion: 1\nRequires-Dist: numpy>=2\n"
        "Requires-Dist: mpi4py\nRequires-Dist: mpi4py>4; extra == 'y'\n"
    )
    assert OUTER.unfit([Distribution.at(tmp_path)]) == {"numpy"}
