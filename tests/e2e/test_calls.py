"""Random calls through a shim against the same ones natively, with nothing between.

What may differ is the table "What cannot be kept" of the user guide. CONTAINERIZE_TEST_CALLS=2000
makes more of them. A case that differs is shown, and its seed makes it again.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from tests import calls
from tests.account import REPOSITORY, Account
from tests.e2e.conftest import CONDA, Installation, environment_text

COUNT = int(os.environ.get("CONTAINERIZE_TEST_CALLS", "60"))
ACCOUNTS = 2
# Settings that the user made for other containers; builds are the same with them.
SETTINGS = {
    f"{family}_{name}": "1"
    for family in ("APPTAINER", "SINGULARITY")
    for name in ("CLEANENV", "CONTAIN", "CONTAINALL", "COMPAT", "NET", "WRITABLE", "NO_HOME", "PID")
} | {"APPTAINER_PWD": "/", "SINGULARITY_OVERLAY": "/no/such", "APPTAINER_ENV_FILE": "/no/such"}


@pytest.fixture(scope="module")
def probe(account: Account, channel: Path, runtime: Path) -> Installation:
    """An installation with a program that says how it was called."""
    prefix = account.work / "calls"
    post = account.file("probe.sh", 'cp /bin/sh "$env_root/bin/probe"\n')
    file = account.file("calls.yml", environment_text(channel, "demo-sh-only"))
    account.ok(CONDA, "new", "--prefix", prefix, "--post-install", post, file, env=SETTINGS)
    return Installation(prefix=prefix, account=account)


def test_random_calls_arrive_as_they_were_made(probe: Installation) -> None:
    account = probe.account
    root = account.directory("calls-places")
    native = account.directory("calls-native")
    shutil.copy("/bin/sh", native / "probe")
    (root / "native-link").symlink_to(native / "probe")
    (root / "shim-link").symlink_to(probe.program("probe"))
    code = "import os, pwd; print(pwd.getpwuid(os.getuid()).pw_dir)"
    places = calls.Places(
        native=str(native),
        shims=str(probe.prefix / "bin"),
        root=str(root),
        home=account.ok(sys.executable, "-IS", "-c", code).strip(),
        path="/usr/bin:/bin",
    )
    seeds = [f"{account.name}-{number}" for number in range(COUNT // ACCOUNTS)]
    cases = account.file("cases.json", json.dumps({"places": asdict(places), "seeds": seeds}))
    results = account.work / "results.json"
    script = REPOSITORY / "tests/calls.py"
    account.ok(sys.executable, "-IS", script, cases, results, timeout=60 + 5 * COUNT)
    found = json.loads(results.read_text())
    assert found == {}
