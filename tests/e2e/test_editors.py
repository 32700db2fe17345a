"""Where people look for Python: kernels of Jupyter, language servers, forms, windows."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
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
# What a language server does: it asks the interpreter, and reads what it is told.
DEFINITION = """
import sys, jedi
environment = jedi.create_environment(sys.argv[1], safe=False)
script = jedi.Script("import mine; mine.answer", environment=environment)
(found,) = script.goto(1, 20, follow_imports=True)
print(found.module_path, found.line)
"""


@pytest.fixture(scope="session")
def notebook(account: Account, runtime: Path) -> Installation:
    """An environment of pip's that has ipykernel and jedi: those of the tests.

    Jupyter writes into a home of its own.
    """
    account = replace(account, home=account.directory("jupyter"))
    line = (
        """cd "$env_root"/lib/python3*/site-packages; echo 'def answer(): return 42' >mine.py\n"""
    )
    line += f"echo {OURS} >ours.pth\n"
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
    assert not (small.account.home / ".local").exists()


def test_editors_open_what_a_program_imports(notebook: Installation) -> None:
    account, python = notebook.account, notebook.program("python")
    seen = notebook.python("import mine; print(mine.__file__)").strip()
    assert not Path(seen).exists()
    told = json.loads(account.ok(UMBRELLA, "export-sources", notebook.prefix))
    assert told["python.defaultInterpreterPath"] == str(python)
    assert seen.startswith(told["python.analysis.extraPaths"][0])
    assert account.ok(sys.executable, "-c", DEFINITION, python) == f"{seen} 1\n"
    assert Path(seen).read_text() == "def answer(): return 42\n"
    assert notebook.python("import mine; print(mine.__file__, mine.answer())") == f"{seen} 42\n"

    change = (
        "echo 'def answer(): return 43' >$(echo \"$env_root\"/lib/python3*/site-packages/mine.py)"
    )
    script = account.file("change.sh", change)
    account.ok(PIP, "update", notebook.prefix, "--post-install", script)
    assert notebook.python("import mine; print(mine.answer())") == "43\n"
    assert Path(seen).read_text() == "def answer(): return 43\n"
    account.ok(UMBRELLA, "rollback", notebook.prefix)
    assert notebook.python("import mine; print(mine.answer())") == "42\n"
    assert Path(seen).read_text() == "def answer(): return 42\n"


def test_what_a_form_does_with_the_path_of_a_python_works(notebook: Installation) -> None:
    """Open OnDemand's: without a login shell's variables, and from another directory."""
    python = notebook.program("python")
    bare = (
        shutil.which("env") or "env",
        "-i",
        "PATH=/usr/bin:/bin",
        f"HOME={notebook.account.home}",
    )
    ask = "import sys; sys.exit(sys.version_info < (3, 8))"
    notebook.account.ok("test", "-x", python)
    notebook.account.ok(*bare, python, "-c", ask, cwd=Path("/"))
    paths = json.loads(notebook.account.ok(*bare, python, "-m", "jupyter", "--paths", "--json"))
    assert f"{notebook.prefix}/share/jupyter" in paths["data"]


WINDOW = """
import tkinter
window = tkinter.Tk()
window.update()
print(window.winfo_screenwidth(), window.winfo_ismapped())
"""
DEBIANS = Path("/usr/bin/python3")


@pytest.fixture
def display(tmp_path: Path) -> Iterator[str]:
    """A real server of windows, without a screen."""
    if not (program := shutil.which("Xvfb")):
        pytest.skip("there is no Xvfb")
    read, write = os.pipe()
    options = ["-displayfd", str(write), "-screen", "0", "640x480x24", "-ac"]
    server = subprocess.Popen([program, *options], pass_fds=[write], stderr=subprocess.DEVNULL)
    os.close(write)
    with os.fdopen(read) as told:
        yield f":{told.readline().strip()}"
    server.terminate()
    server.wait()


def test_a_window_opens(account: Account, runtime: Path, display: str) -> None:
    if subprocess.run(
        [DEBIANS, "-c", "import tkinter"], capture_output=True, check=False
    ).returncode:
        pytest.skip(f"{DEBIANS} has no tkinter")
    prefix, empty = account.work / "windows", account.file("nothing.txt", "\n")
    env = {"PATH": f"{DEBIANS.parent}:{account.path}"}
    account.ok(PIP, "new", "--prefix", prefix, empty, env=env)
    python = prefix / "bin/python3"
    assert account.ok(python, "-c", WINDOW, env={"DISPLAY": display}) == "640 1\n"
