"""What tests need: a channel, a container runtime, accounts. ``make test`` provides all of it.

On a laptop a test whose tool is missing is skipped; with ``CI`` set it fails, so that no skip hides
a failure.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.account import (
    REPOSITORY,
    Account,
    Neighbours,
    ordinary_user,
    own_account,
    two_users,
)
from wrapper.removal import remove_tree

_LEFT_OUT = pytest.StashKey[list[str]]()
CHANNEL = REPOSITORY / ".cache" / "channel"


def require(present: bool, what: str) -> None:
    """Skip on a laptop, fail in CI, where something a test needs is missing."""
    if present:
        return
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing, run the tests with 'make test'")
    pytest.skip(f"{what} is missing")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that need root are left out for others, and named at the end by number and reason."""
    if os.getuid() == 0:
        return
    left = [item for item in items if item.get_closest_marker("root")]
    config.stash[_LEFT_OUT] = [item.get_closest_marker("root").args[0] for item in left]
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if item not in left]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    for reason in sorted(set(left := config.stash.get(_LEFT_OUT, []))):
        terminalreporter.write_line(f"{left.count(reason)} left out, run them as root: {reason}")


@pytest.fixture(scope="session")
def channel() -> Path:
    """The local conda channel's directory."""
    require((CHANNEL / "noarch/repodata.json").is_file(), "the local channel")
    return CHANNEL


@pytest.fixture(scope="session")
def runtime() -> Path:
    """A container runtime and mksquashfs are on PATH."""
    found = shutil.which("apptainer") or shutil.which("singularity")
    require(bool(found and shutil.which("mksquashfs")), "Apptainer or mksquashfs")
    return Path(str(found))


def _accounts() -> list[str]:
    return ["root", "user"] if os.getuid() == 0 else ["self"]


@pytest.fixture(scope="session", params=_accounts())
def account(request: pytest.FixtureRequest) -> Iterator[Account]:
    """Every account in turn: root and an ordinary user, or whoever runs the tests."""
    root = Path(tempfile.mkdtemp(prefix="containerize-test-"))
    yield ordinary_user(root) if request.param == "user" else own_account(root)
    remove_tree(root)


@pytest.fixture(scope="session")
def neighbours() -> Iterator[Neighbours]:
    """Two ordinary users of one group; tests that have them are marked ``root``."""
    root = Path(tempfile.mkdtemp(prefix="containerize-test-"))
    yield two_users(root)
    remove_tree(root)


@pytest.fixture(scope="session")
def me(tmp_path_factory: pytest.TempPathFactory) -> Account:
    """Whoever runs the tests, for what does not depend on the account."""
    return own_account(tmp_path_factory.mktemp("me"))
