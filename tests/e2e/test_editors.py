"""Where people look for Python: kernels of Jupyter, started by a client outside."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import ipykernel
import pytest

from tests.account import Account
from tests.e2e.conftest import PIP, UMBRELLA, Installation
from wrapper.errors import ExitCode

# The tests' own packages, which any of their Pythons reads: Jupyter's are among them.
OURS = Path(ipykernel.__file__).parents[1]
CLIENT = """
import sys
from jupyter_client.manager import start_new_kernel
manager, client = start_new_kernel(kernel_name=sys.argv[1], startup_timeout=60)
said = []
hear = lambda message: said.append(message["content"].get("text", ""))
client.execute_interactive(sys.argv[2], timeout=60, output_hook=hear)
client.stop_channels()
manager.shutdown_kernel()
print("".join(said).strip())
"""


@pytest.fixture(scope="session")
def notebook(account: Account, runtime: Path) -> Installation:
    """An environment of pip's that has ipykernel and jedi: those of the tests."""
    line = f'echo {OURS} >"$(echo "$env_root"/lib/python3*/site-packages)/ours.pth"\n'
    prefix = account.work / "note book"
    empty, script = account.file("empty.txt", "\n"), account.file("ours.sh", line)
    account.ok(PIP, "new", "--prefix", prefix, "--post-install", script, empty)
    return Installation(prefix=prefix, account=account)


def test_another_jupyter_starts_an_installations_kernel(notebook: Installation) -> None:
    account = notebook.account
    path = account.ok(UMBRELLA, "kernel", "install", notebook.prefix, "--display-name", "Mine")
    kernel = json.loads(Path(path.strip()).read_text())
    assert (Path(path).parent.name, kernel["display_name"]) == ("note-book", "Mine")
    code = "import sys; print(sys.executable, sys.prefix, sep='\\n')"
    said = account.ok(sys.executable, "-c", CLIENT, "note-book", code)
    assert said.splitlines() == [str(notebook.program("python")), str(notebook.prefix)]


def test_without_ipykernel_there_is_no_kernel(small: Installation) -> None:
    done = small.account.run(UMBRELLA, "kernel", "install", small.prefix)
    assert done.returncode == ExitCode.INPUT and done.stdout == ""
    assert f"conda-containerize update {small.prefix} -r more.txt" in done.stderr
    assert not (small.account.home / ".local/share/jupyter/kernels/small").exists()
