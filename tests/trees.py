"""What an image has, to compare two of them."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from tests.account import Account
from tests.e2e.conftest import seen


def image_tree(account: Account, image: Path, place: Path, offset: int = 0) -> dict[str, object]:
    """Kinds, modes, contents, names in common and times of all files of an image.

    :param place: where it is unpacked, not there yet. :param offset: in a SIF, bytes.
    """
    words = ("-no-progress", "-quiet", "-offset", str(offset), "-d", place)
    account.ok("unsquashfs", *words, image)
    found = seen(place)
    status = {path: (place / path).lstat() for path in found}
    names = defaultdict(set)
    for path, it in status.items():
        names[it.st_ino].add(path)
    return {
        path: (what, names[status[path].st_ino], int(status[path].st_mtime))
        for path, what in found.items()
    }


def different(one: dict[str, object], other: dict[str, object]) -> set[str]:
    """Paths that are not the same in two trees."""
    return {path for path in {*one, *other} if one.get(path) != other.get(path)}
