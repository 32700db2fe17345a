"""Where files lie in an image: joined images do not rot, and files in the order of a start."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.account import Account
from tests.e2e.conftest import PIP, UMBRELLA, Installation, seen
from tests.index import write_files_wheel
from tests.trees import different, image_tree
from wrapper.errors import ExitCode
from wrapper.images.squashfs.layout import File
from wrapper.images.squashfs.reader import read_image


@pytest.fixture
def mixed(account: Account) -> Path:
    """Packages with small files in one directory, in turns: the second version of ``even`` has
    none there.
    """
    root = account.work / "mixed-wheels"
    root.mkdir(exist_ok=True)
    text = {number: random.Random(number).randbytes(4000).hex() for number in range(200)}
    for name, first in (("even", 0), ("odd", 1)):
        files = {f"mixed/{number:03}.txt": text[number] for number in range(first, 200, 2)}
        write_files_wheel(root, name, "1.0", {f"{name}.py": "", **files})
    write_files_wheel(root, "even", "2.0", {"even.py": "VERSION = 2\n"})
    return root


def requirements(account: Account, wheels: Path, *lines: str) -> Path:
    text = "\n".join(["--no-index", f"--find-links {wheels}", *lines])
    return account.file(f"mixed-{len(lines)}.txt", text)


def test_blocks_hardly_in_use_are_packed_anew(account: Account, mixed: Path) -> None:
    prefix = account.work / "mixed"
    account.ok(PIP, "new", "--prefix", prefix, requirements(account, mixed, "even==1.0", "odd"))
    then = requirements(account, mixed, "even==2.0")
    done = account.run(PIP, "update", prefix, "-r", then)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("of files that have gone") == 1, done.stderr
    made = Installation(prefix=prefix, account=account)
    count = "import odd, pathlib; p = pathlib.Path(odd.__file__).parent / 'mixed'; "
    count += "print(sum(len(f.read_text()) for f in p.iterdir()))"
    assert made.python(count) == f"{100 * 8000}\n"
    images = [prefix / f".generations/{number}/img.sqfs" for number in (1, 2)]
    assert images[1].stat().st_size < 0.7 * images[0].stat().st_size


def first_files(made: Installation, count: int) -> list[str]:
    """Names of the files in the image's first blocks."""
    image = read_image(made.prefix / "current/img.sqfs")
    files = {path: node for path, node in image.root.walk() if isinstance(node, File)}
    place = {
        path: (image.fragments[node.fragment][0], node.offset)
        for path, node in files.items()
        if not node.stored and node.size
    }
    return [Path(path).name for path in sorted(place, key=lambda path: place[path])[:count]]


def test_files_lie_in_the_order_of_a_start_and_stay_so(account: Account, mixed: Path) -> None:
    made = Installation(prefix=account.work / "ordered", account=account)
    file = requirements(account, mixed, "even==1.0", "odd")
    account.ok(PIP, "new", "--prefix", made.prefix, file)
    code = "import odd, pathlib; p = pathlib.Path(odd.__file__).parent / 'mixed'; "
    code += "[(p / f'{n}.txt').read_text() for n in (191, 103, 157)]"
    account.ok(UMBRELLA, "profile", made.prefix, "--", "python3", "-c", code)
    wanted = ["191.txt", "103.txt", "157.txt"]
    first = first_files(made, 12)
    assert [name for name in first if name.endswith(".txt")][:3] == wanted
    assert made.manifest["generation"] == 2
    assert made.manifest["read_first"] == len(
        (made.prefix / "current/reading-order.txt").read_text().splitlines()
    )

    then = requirements(account, mixed, "even==2.0")
    account.ok(PIP, "update", made.prefix, "-r", then)
    assert [name for name in first_files(made, 12) if name.endswith(".txt")][:3] == wanted
    account.ok(UMBRELLA, "repack", made.prefix, "--compression", "gzip")
    assert first_files(made, 3) == first[:3]
    assert made.manifest["read_first"] >= len(wanted)
    made.python(code)
    account.ok(UMBRELLA, "rollback", made.prefix, "2")
    account.ok(PIP, "update", made.prefix, "-r", then, "--compression", "fast")
    images = [made.prefix / f".generations/{number}/img.sqfs" for number in (1, 2, 3, 4, 5)]
    trees = [image_tree(account, image, account.work / image.parent.name) for image in images]
    assert different(trees[0], trees[1]) == set(), "nothing else changes"
    assert different(trees[2], trees[3]) == set(), "nor when it is repacked"
    assert different(trees[2], trees[4]) == set(), "joined, and all of it packed anew"


def test_what_tells_no_order_changes_nothing(small: Installation) -> None:
    before = seen(small.prefix)
    for words, told in (
        (("/bin/true",), "opened no file of the installation"),
        (("python3", "-c", "raise SystemExit(3)"), "ended with status 3"),
        (("/no/such/program",), "ended with status 127"),
    ):
        done = small.account.run(UMBRELLA, "profile", small.prefix, "--", *words)
        assert done.returncode == ExitCode.TOOL, done.stderr
        assert told in done.stderr
    assert seen(small.prefix) == before
