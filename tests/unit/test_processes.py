"""Which process runs a test."""

from __future__ import annotations

import pytest

from tests import processes


@pytest.mark.parametrize(
    ("nodeid", "group", "turn"),
    [
        ("tests/e2e/test_new.py::test_it[root]", "root", 0),
        ("tests/e2e/test_sif.py::test_it[strict-exec]", "strict", 0),
        ("tests/e2e/test_new.py::test_it", "tests/e2e/test_new.py", 1),
        (
            "tests/e2e/test_neighbours.py::test_it[superuser-user]",
            "tests/e2e/test_neighbours.py",
            1,
        ),
        ("tests/unit/test_doctor.py::test_it[root]", "tests/unit/test_doctor.py", 2),
    ],
)
def test_an_accounts_tests_are_together_and_come_first(nodeid: str, group: str, turn: int) -> None:
    assert processes.group(nodeid) == group
    assert processes.turn(nodeid) == turn
