"""What tests need: a channel, a container runtime, accounts. ``make test`` provides all of it.

On a laptop a test whose tool is missing is skipped; with ``CI`` set it fails, so that no skip hides
a failure.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import processes, runtimes
from tests.account import (
    REPOSITORY,
    Account,
    Neighbours,
    ordinary_user,
    own_account,
    setuid_user,
    two_users,
)
from wrapper.util.removal import remove_tree

_LEFT_OUT = pytest.StashKey[list[str]]()
CHANNEL = REPOSITORY / ".cache" / "channel"


def require(present: bool, what: str) -> None:
    """Skip on a laptop, fail in CI, where something a test needs is missing."""
    if present:
        return
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing, run the tests with 'make test'")
    pytest.skip(f"{what} is missing")


def pytest_configure() -> None:
    """What ignores signals (nohup, a script's background) starts the tests as a terminal does."""
    for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What cannot run here is left out, and named at the end by number and reason."""
    left = [(item, why) for item in items if (why := _left_out(item))]
    config.stash[_LEFT_OUT] = [why for _, why in left]
    config.hook.pytest_deselected(items=[item for item, _ in left])
    items[:] = [item for item in items if not _left_out(item)]
    items.sort(key=lambda item: processes.turn(item.nodeid))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """One of several processes tells the first one what was left out."""
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["left_out"] = session.config.stash.get(_LEFT_OUT, [])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Each of several processes has seen all tests: what one of them left out says it."""
    node.config.stash[_LEFT_OUT] = getattr(node, "workeroutput", {}).get("left_out", [])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Which process runs a test, see :mod:`tests.processes`."""
    return processes.scheduler(config, log)


def _left_out(item: pytest.Item) -> str:
    root = item.get_closest_marker("root")
    if root and os.getuid() != 0:
        return f"run them as root: {root.args[0]}"
    if item.get_closest_marker("setuid") and not runtimes.has_setuid():
        return "run them after 'make runtime-setuid'"
    return ""


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    for reason in sorted(set(left := config.stash.get(_LEFT_OUT, []))):
        terminalreporter.write_line(f"{left.count(reason)} left out, {reason}")


@pytest.fixture(scope="session")
def channel() -> Path:
    """The local conda channel's directory."""
    require((CHANNEL / "noarch/repodata.json").is_file(), "the local channel")
    return CHANNEL


@pytest.fixture(scope="session")
def runtime() -> Path:
    """The machine's container runtime; mksquashfs is on PATH too. An account knows its own."""
    found = next(filter(None, map(shutil.which, runtimes.NAMES)), None)
    require(bool(found and shutil.which("mksquashfs")), "a container runtime or mksquashfs")
    return Path(str(found))


NEEDS_SETUID = (pytest.mark.setuid, pytest.mark.root("they need a set-uid runtime"))
"""Marks of tests with the set-uid Apptainer."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "account" in metafunc.fixturenames:
        every = metafunc.definition.get_closest_marker("every_runtime") is not None
        names = _accounts(every_runtime=every)
        metafunc.parametrize("account", names, indirect=True, scope="session")


def _accounts(*, every_runtime: bool) -> list[Any]:
    """Accounts that a test runs as, see :func:`account`."""
    names: list[Any] = ["root", "user"] if os.getuid() == 0 else ["self"]
    if every_runtime:
        names += ["strict"] if runtimes.real_apptainer() else []
        names.append(pytest.param("setuid", marks=NEEDS_SETUID))
    return names


@pytest.fixture(scope="session")
def account(request: pytest.FixtureRequest) -> Iterator[Account]:
    """Every account in turn: root and an ordinary user, or whoever runs the tests.

    Tests marked ``every_runtime`` also run as an ordinary user who has another runtime: the strict
    ``singularity``, and the set-uid Apptainer.
    """
    # No name of a build directory, which whoever clears up after killed builds removes: binds of
    # directories that are gone ended in "destination /pfs doesn't exist".
    root = Path(tempfile.mkdtemp(prefix="test-containerize-"))
    yield _made(request.param, root)
    remove_tree(root)


def _made(name: str, root: Path) -> Account:
    if name == "strict":
        ordinary = ordinary_user if os.getuid() == 0 else own_account
        return ordinary(root, runtimes.strict_path(root))
    if name == "setuid":
        return setuid_user(root, runtimes.KERNEL)
    return ordinary_user(root) if name == "user" else own_account(root)


@pytest.fixture(scope="session")
def neighbours() -> Iterator[Neighbours]:
    """Two ordinary users of one group; tests that have them are marked ``root``."""
    root = Path(tempfile.mkdtemp(prefix="test-containerize-"))
    yield two_users(root)
    remove_tree(root)


@pytest.fixture(scope="session")
def me(tmp_path_factory: pytest.TempPathFactory) -> Account:
    """Whoever runs the tests, for what does not depend on the account."""
    return own_account(tmp_path_factory.mktemp("me"))
