"""Where files lie in an image: joined images do not rot."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.account import Account
from tests.e2e.conftest import PIP, Installation
from tests.index import write_files_wheel


@pytest.fixture
def mixed(account: Account) -> Path:
    """Packages with small files in one directory, in turns: the second version of ``even`` has
    none there.
    """
    root = account.work / "mixed-wheels"
    root.mkdir()
    text = {number: random.Random(number).randbytes(4000).hex() for number in range(200)}
    for name, first in (("even", 0), ("odd", 1)):
        files = {f"mixed/{number:03}.txt": text[number] for number in range(first, 200, 2)}
        write_files_wheel(root, name, "1.0", {f"{name}.py": "", **files})
    write_files_wheel(root, "even", "2.0", {"even.py": "VERSION = 2\n"})
    return root


def test_blocks_hardly_in_use_are_packed_anew(account: Account, mixed: Path) -> None:
    prefix = account.work / "mixed"
    lines = ["--no-index", f"--find-links {mixed}"]
    first = account.file("mixed-1.txt", "\n".join([*lines, "even==1.0", "odd"]))
    then = account.file("mixed-2.txt", "\n".join([*lines, "even==2.0"]))
    account.ok(PIP, "new", "--prefix", prefix, first)
    done = account.run(PIP, "update", prefix, "-r", then)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("of files that have gone") == 1, done.stderr
    made = Installation(prefix=prefix, account=account)
    count = "import odd, pathlib; p = pathlib.Path(odd.__file__).parent / 'mixed'; "
    count += "print(sum(len(f.read_text()) for f in p.iterdir()))"
    assert made.python(count) == f"{100 * 8000}\n"
    images = [prefix / f".generations/{number}/img.sqfs" for number in (1, 2)]
    assert images[1].stat().st_size < 0.7 * images[0].stat().st_size
