"""What ``containerize list`` says of generations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.manifests import LEAST
from wrapper import layout
from wrapper.commands.history import history

ZSTD = {"image": {"sha256": "0", "size": 4096, "compression": "zstd"}}
GZIP = {"image": {"sha256": "1", "size": 4096, "compression": "gzip"}}
SMALL = {"options": {"compression": "small"}}
SIX = {"packages": [{"manager": "pip", "name": "six", "version": "1", "url": "https://h/six.whl"}]}


def generation(prefix: Path, number: int, keys: dict[str, Any], order: str = "") -> None:
    directory = prefix / f".generations/{number}"
    directory.mkdir(parents=True)
    (directory / layout.MANIFEST).write_text(json.dumps({**LEAST, **keys}))
    (directory / layout.IMAGE).touch()
    if order:
        (directory / layout.READING).write_text(order)


def test_generations_of_the_same_packages_are_told_apart(tmp_path: Path) -> None:
    generation(tmp_path, 1, ZSTD)
    generation(tmp_path, 2, GZIP)
    generation(tmp_path, 3, {**GZIP, **SMALL})
    generation(tmp_path, 4, {**GZIP, **SMALL}, "bin/python3\n")
    generation(tmp_path, 5, {**GZIP, **SMALL, **SIX}, "bin/python3\n")
    generation(tmp_path, 6, {**GZIP, **SMALL, **SIX}, "lib/six.py\n")
    (tmp_path / layout.CURRENT).symlink_to(".generations/6")
    assert [entry.what for entry in history(tmp_path)][1:] == [
        "no package changes, compressed with gzip (default)",
        "no package changes, compressed with gzip (small)",
        "no package changes, in reading order",
        "1 added (six)",
        "no package changes, in reading order",
    ]
