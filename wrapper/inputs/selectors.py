"""Selectors of conda recipes (``# [win]``), which are comments in other files."""

from __future__ import annotations

import re

# Those for other systems than ours.
SELECTOR = re.compile(r"# ?\[ ?(?:win\w*|osx\w*|not (?:linux|unix)|arm64|aarch64|ppc64le) ?\]")


def only_a_comment(selector: str) -> str:
    """What a user is told of a line that has one."""
    return f"'{selector}' is a comment here, and the line counts: remove it"
