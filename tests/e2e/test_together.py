"""An installation that is built with another one, whose programs it calls."""

from __future__ import annotations

from tests.account import Account
from tests.e2e.conftest import CONDA, Builder, Installation, change

CALL = "import subprocess, sys; print(subprocess.run(sys.argv[1:], capture_output=True, text=True))"


def test_programs_of_another_installation_are_called_by_name(
    scientific: Installation, build: Builder
) -> None:
    """Also where CONTAINERIZE_WITH names it besides; without it the shim says what to do."""
    account, prefix = scientific.account, scientific.prefix
    caller = build(account, "caller", "python", options=("--with", str(prefix)))
    assert caller.manifest["others"] == [str(prefix)]
    words = (str(scientific.program("python3")), "-c", "import numpy, sys; print(sys.prefix)")
    for env in ({}, {"CONTAINERIZE_WITH": str(prefix)}):
        assert f"returncode=0, stdout='{prefix}\\n'" in caller.python(CALL, *words, env=env)
    change(caller, "--with", "none")
    assert "others" not in caller.manifest
    assert "export CONTAINERIZE_WITH" in caller.python(CALL, *words)


def test_what_is_no_installation_is_refused_before_anything_is_made(account: Account) -> None:
    file = account.file("with.yml", "dependencies: [python]\n")
    place, nothing = account.work / "with", account.work / "nothing"
    done = account.run(CONDA, "new", "--prefix", place, file, "--with", nothing)
    assert (done.returncode, place.exists()) == (3, False)
    assert f"where:  --with {nothing}" in done.stderr and "no such directory" in done.stderr
