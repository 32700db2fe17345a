"""CPython's own tests through a shim and natively, with the same Python: the results are the same.

What differs is a table of docs/maintainers.md, and no more. CONTAINERIZE_TEST_CPYTHON=all runs more
modules, and the slow tests too: some ten minutes for each account.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.account import REPOSITORY, Account
from tests.e2e.conftest import Builder, Installation

MODULES = """
    test_subprocess test_signal test_os test_posix test_tempfile test_venv test_shutil test_pathlib
    test_fileio test_cmd_line test_popen test_pty test_select test_site test_runpy
"""
MORE_MODULES = """
    test__locale test_atexit test_c_locale_coercion test_cmd_line_script test_compileall
    test_dbm test_eintr test_ensurepip test_epoll test_faulthandler test_fcntl test_file
    test_file_eintr test_filecmp test_fileinput test_fileutils test_fork1 test_genericpath
    test_getpass test_glob test_grp test_import test_io test_ioctl test_largefile test_linecache
    test_locale test_logging test_mailbox test_mmap test_multiprocessing_fork
    test_multiprocessing_main_handling test_openpty test_pkg test_pkgutil test_platform
    test_poll test_posixpath test_pwd test_py_compile test_pydoc test_readline test_regrtest
    test_resource test_selectors test_shlex test_socket test_socketserver test_stat test_sys
    test_sysconfig test_tarfile test_threadedtempfile test_threadsignals test_time
    test_unicode_file test_unicode_file_functions test_utf8_mode test_uuid test_wait3 test_wait4
    test_zipapp test_zipfile test_zipimport test_zipimport_support
"""
# Of the modules above: what waits for seconds.
SLOW = (
    "test_siginterrupt_off",
    "test_with_pip",
    "*timeout*",
    "*repeated*",
    "test_stress*",
    "*Itimer*",
)
# Of all: some machines' AF_VSOCK takes connections and answers none.
HANGS = ("*VSOCK*",)
EVERYTHING = os.environ.get("CONTAINERIZE_TEST_CPYTHON") == "all"

Outcomes = dict[str, list[str]]


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two ways to run the tests.

    :ivar python: the program. :ivar home: a home directory, the same on both sides: some tests make
        a user site there. :ivar place: a directory for what the tests write.
    """

    account: Account
    python: Path
    home: Path
    place: Path

    def outcomes(self, modules: Iterable[str], *options: str) -> Outcomes:
        """Name of each test -> what became of it."""
        report = self.place / "report.xml"
        report.unlink(missing_ok=True)
        words = ("-j2", "--timeout=600", f"--tempdir={self.place}", f"--junit-xml={report}")
        self.account.run(
            *(self.python, "-m", "test", *words, *options, *modules),
            env={"LC_ALL": "C.UTF-8", "HOME": str(self.home)},
            cwd=self.place,
            timeout=3600,
        )
        found: Outcomes = {}
        # Where nothing but subtests failed, there is no name: then it is missing on one side.
        for case in ElementTree.parse(report).iterfind(".//testcase[@name]"):
            found.setdefault(case.attrib["name"], []).append(_outcome(case))
        return {name: sorted(several) for name, several in found.items()}


def _outcome(case: ElementTree.Element) -> str:
    for kind in ("failure", "error", "skipped"):
        if (what := case.find(kind)) is not None:
            return f"{kind} {what.get('type', '')}".strip()
    return "passed"


@pytest.fixture(scope="module")
def sides(account: Account, build: Builder) -> tuple[Side, Side]:
    """The installation's Python natively and through its shim."""
    installation = build(account, "cpython", "python", "cpython-tests")
    root = _unpacked(installation)
    home = account.directory("cpython-home")
    pythons = {"natively": root / "bin/python3", "wrapped": installation.program("python3")}
    natively, wrapped = (
        Side(account=account, python=python, home=home, place=account.directory(name))
        for name, python in pythons.items()
    )
    return natively, wrapped


def _unpacked(installation: Installation) -> Path:
    """A copy of the environment outside the image, as it was without us."""
    root = installation.account.work / "cpython-unpacked"
    image = installation.prefix / "img.sqfs"
    installation.account.ok("unsquashfs", "-q", "-n", "-d", root, image)
    (home,) = root.glob("containerize-*")
    for path in home.glob("lib/python3.*/site-packages/*containerize*"):
        path.unlink()
    return home


def _different(sides: tuple[Side, Side], modules: Iterable[str], *options: str) -> Outcomes:
    """Names of tests -> the outcomes, natively and wrapped, where these are not the same."""
    with ThreadPoolExecutor() as pool:
        one, two = pool.map(lambda side: side.outcomes(modules, *options), sides)
    assert len(one) > 0
    both = (
        (name, one.get(name, []), two.get(name, [])) for name in sorted(one.keys() | two.keys())
    )
    return {name: [*a, "->", *b] for name, a, b in both if a != b}


def documented() -> list[str]:
    """Patterns of the tests that may differ."""
    text = (REPOSITORY / "docs/maintainers.md").read_text()
    table = text.partition("| of CPython's own tests |")[2].partition("\n\n")[0]
    return re.findall(r"`(test\.[^`]+)`", table)


def test_cpythons_own_tests_have_the_same_results(sides: tuple[Side, Side]) -> None:
    slow = () if EVERYTHING else SLOW
    options = [f"--ignore={pattern}" for pattern in (*HANGS, *slow)]
    modules = (MODULES + MORE_MODULES if EVERYTHING else MODULES).split()
    known = documented()
    found = {
        name: outcomes
        for name, outcomes in _different(sides, modules, *options).items()
        if not any(fnmatch.fnmatchcase(name, pattern) for pattern in known)
    }
    if found:  # some are a matter of time, and of chance: what differs a second time counts
        again = sides[0].account.file("again.txt", "\n".join(found))
        matched = _different(sides, _modules(found, modules), f"--matchfile={again}")
        found = {name: outcomes for name, outcomes in matched.items() if name in found}
    assert not found, "\n".join(f"{name}: {' '.join(what)}" for name, what in found.items())


def _modules(names: Iterable[str], modules: Iterable[str]) -> list[str]:
    """Of the modules those that have these tests (or all: some have others')."""
    own = {name.split(".")[1] for name in names if name.startswith("test.")}
    return sorted(own & set(modules)) or list(modules)
