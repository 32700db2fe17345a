"""Tests in several processes at a time: ``pytest --numprocesses=2``, by pytest-xdist.

A process runs whole groups of tests, so that fixtures of a session are made once: all tests of an
account, of the others each file's.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

# As pytest_generate_tests writes an account into the name of a test.
_ACCOUNT = re.compile(r"tests/e2e/.*\[(root|user|self|strict|setuid)[]-]")


def group(nodeid: str) -> str:
    """The group of a test: an account's name, or the path of a file."""
    account = _ACCOUNT.match(nodeid)
    return account[1] if account else nodeid.partition("::")[0]


def turn(nodeid: str) -> int:
    """The longest groups begin first: then all processes end at about the same time."""
    return 0 if _ACCOUNT.match(nodeid) else 1 if nodeid.startswith("tests/e2e/") else 2


def scheduler(config: pytest.Config, log: Any) -> Any:
    """What gives groups to processes, in the order of the tests."""
    # Its own way to have groups (the mark xdist_group) does nothing with pytest 9.2.
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group(nodeid)

    config.option.loadscopereorder = False
    return Groups(config, log)
