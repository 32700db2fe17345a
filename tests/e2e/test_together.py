"""Installations used together, through ``containerize activate``, as pipelines use them."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.account import Account
from tests.e2e.conftest import BIN, Installation

# Runs jobs as Snakemake does: a shell line, a script with a shebang, its own interpreter.
_DRIVER = """\
import multiprocessing, os, subprocess, sys
import numpy

def square(x):
    return x * x

if __name__ == "__main__":
    print("driver", sys.executable, flush=True)
    subprocess.run("demo-noarch >/dev/null && echo by name", shell=True, check=True)
    subprocess.run(["./job.py", "a b"], check=True)
    subprocess.run([sys.executable, "-c", "import numpy; print('own interpreter')"], check=True)
    multiprocessing.set_start_method("spawn")
    with multiprocessing.Pool(2) as pool:
        print(pool.map(square, [1, 2, 3]))
"""


def in_shell(account: Account, script: str, cwd: Path) -> list[str]:
    """Lines that a user's bash prints with the functions of ``shell-init``."""
    start = f'set -eu; eval "$({BIN}/containerize shell-init bash)"\n'
    return account.ok("bash", "-c", start + script, cwd=cwd).splitlines()


def test_a_workflow_of_one_calls_tools_of_the_other(
    scientific: Installation, small: Installation
) -> None:
    account = scientific.account
    place = account.directory("work flow")
    job = (
        f"#!{small.program('python3')}\nimport sys, demo_noarch\nprint(sys.prefix, sys.argv[1:])\n"
    )
    for name, text in (("driver.py", _DRIVER), ("job.py", job)):
        account.file(f"work flow/{name}", text).chmod(0o755)
    both = f"containerize activate {scientific.prefix} {small.prefix}\n"
    expected = [
        f"driver {scientific.program('python3')}",
        "by name",
        f"{small.prefix} ['a b']",
        "own interpreter",
        "[1, 4, 9]",
    ]
    assert in_shell(account, f"{both}python3 driver.py", place) == expected
    # The other's job from outside, and what only the first has from inside the other.
    lines = in_shell(account, f"{both}./job.py 'a b'; containerize deactivate", place)
    assert lines == expected[2:3]
    inside = f"{both}{small.program('_debug_exec')} {scientific.program('python3')} driver.py"
    assert in_shell(account, inside, place) == expected


@pytest.mark.every_runtime
def test_tykkys_way_to_use_several(account: Account, small: Installation) -> None:
    """Its users bind the other's image at its ``install_root``; --mask, moved over the source."""
    place = account.directory("tykkys way")
    (place / "src/bin").mkdir(parents=True)
    (place / "src/bin/pp").write_text("#!/bin/sh\necho hello\n")
    (place / "src/bin/pp").chmod(0o755)
    for path in (place / "src").rglob("*"):
        account.owns(path)
    account.owns(place / "src")
    script = f"""
set -eu
root() {{ "$1/bin/_debug_exec" bash -c 'echo $install_root'; }}
small={shlex.quote(str(small.prefix))}
{BIN}/wrap-install -q -w bin --mask --prefix wrapped src
test "$(root wrapped)" = "$PWD/src"
one="$small/img.sqfs:$(root "$small"):image-src=/"
rm -r src && mv wrapped src
export CW_EXTRA_BIND_MOUNTS="$PWD/src/img.sqfs:$PWD/src:image-src=/,$one"
src/bin/pp
"$small/bin/python3" -c 'import subprocess; subprocess.run(["src/bin/pp"], check=True)'
src/bin/_debug_exec "$small/bin/demo-noarch" | head -c 11
"$small/bin/_debug_exec" "$small/_bin/demo-noarch" | head -c 11
"""
    said = account.ok("bash", "-c", script, cwd=place)
    assert said.split() == ["hello", "hello", "demo-noarchdemo-noarch"]


def test_recipes_of_make_use_both(scientific: Installation, small: Installation) -> None:
    account = scientific.account
    place = account.directory("make")
    account.file(
        "make/Makefile",
        "all: one two\n"
        "one:\n\t@python3 -c 'import numpy; print(\"$@\")'\n"
        "two: one\n\t@demo-noarch >/dev/null && demo-tool >/dev/null && echo $@\n",
    )
    names = f"{scientific.prefix.name} {small.prefix.name}"
    script = f"export CONTAINERIZE_PATH={scientific.prefix.parent}; containerize activate {names}\n"
    for make in ("make", "_debug_exec make"):  # outside the containers, and inside
        assert in_shell(account, f"{script}{make} -s", place) == ["one", "two"]


def test_one_that_stored_its_path_is_used_by_another(account: Account, small: Installation) -> None:
    source = account.directory("together-source")
    (source / "bin").mkdir()
    (source / "bin/masked").write_text(f'#!/bin/sh\ncat "{source}/data"\n')
    (source / "bin/masked").chmod(0o755)
    (source / "data").write_text("of the image\n")
    for path in source.rglob("*"):
        account.owns(path)
    prefix = account.work / "together-masked"
    account.ok(BIN / "wrap-install", "-w", "bin", "--mask", "--prefix", prefix, source)
    account.ok("bash", "-c", f"echo changed >{shlex.quote(str(source))}/data")
    code = "import subprocess; print(subprocess.check_output(['masked'], text=True), end='')"
    lines = in_shell(
        account,
        f"containerize activate {small.prefix} {prefix}\npython3 -c {shlex.quote(code)}",
        account.work,
    )
    assert lines == ["of the image"]


@pytest.mark.every_runtime
def test_an_interactive_shell_keeps_the_users_prompt(small: Installation) -> None:
    account = small.account
    account.file("prompt.rc", "PS1='mine> '\n")
    for words, prompt in (
        (("_debug_exec", "bash", "--rcfile", "prompt.rc", "-i"), "mine> "),
        (("_debug_shell", "-i"), f"[{small.prefix.name}] "),
    ):
        done = account.run(small.program(words[0]), *words[1:], stdin="exit\n")
        assert prompt in done.stderr and "Apptainer" not in done.stderr + done.stdout
