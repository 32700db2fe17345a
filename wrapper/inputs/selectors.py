"""Selectors of conda recipes (``# [win]``), which are comments in other files."""

from __future__ import annotations

import re

from wrapper import platforms

_SELECTOR = re.compile(
    r"# ?\[ ?(win\w*|osx\w*|not (?:linux|unix)|linux64|x86_64|arm64|aarch64|ppc64le) ?\]"
)
# What recipes call the platforms.
_NAMES = {
    "linux-64": ("linux64", "x86_64"),
    "linux-aarch64": ("aarch64", "arm64"),
    "linux-ppc64le": ("ppc64le",),
}


def of_another(line: str, platform: str | None = None) -> str:
    """The selector of a line that is meant for another system, empty where there is none.

    :param platform: whose lines are wanted, ``None`` for this machine's.
    """
    found = _SELECTOR.search(line)
    ours = _NAMES.get(platform or platforms.here(), ())
    return found[0] if found and found[1] not in ours else ""


def only_a_comment(selector: str) -> str:
    """What a user is told of a line that has one."""
    return f"'{selector}' is a comment here, and the line counts: remove it"
