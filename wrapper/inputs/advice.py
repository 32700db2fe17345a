"""What to write for lines that are none of their format: the slips that files of the field have,
and selectors of conda recipes (``# [win]``), which are comments in other files.
"""

from __future__ import annotations

import functools
import re

from wrapper import platforms
from wrapper.util import toml

_NAME = r"([A-Za-z0-9][\w.-]*)"
_TYPOGRAPHIC = re.compile("[\u201c\u201d\u2018\u2019\u2013\u2014\u00a0]")
_PLACEHOLDER = re.compile(r"\{\{.*\}\}|\$\{?\w+|<\w[\w ]*>|\{%")
_INSTALL = r"[!%]?(?:python3? -m )?(?:pip3?|uv pip) install (?:-(?![rec] )\S+ )*"
_data = functools.partial(toml.beside, __file__)


def for_pip(text: str) -> str:
    """What to write for a line of requirements that pip would not take; empty where unknown."""
    return _general(text) or _of(text, "pip")


def for_conda(text: str) -> str:
    """The same for an entry of conda's ``dependencies``, also for what only seems to be one."""
    return _general(text) or _of(text, "conda")


def _general(text: str) -> str:
    if found := _TYPOGRAPHIC.search(text):
        sign = "a blank" if found[0] == "\u00a0" else f"'{found[0]}'"
        return f"{sign} of a word processor: write plain quotes, hyphens and blanks"
    if _PLACEHOLDER.search(text):
        return "fill in the placeholder: nothing is put in its place here"
    return ""


def _of(text: str, table: str) -> str:
    line = " ".join(text.split())[:300]
    for pattern, advice in _data()[table]:
        whole = pattern.replace("INSTALL", _INSTALL).replace("NAME", _NAME)
        if found := re.fullmatch(whole, line):
            return found.expand(advice)
    return ""


# -- selectors -----------------------------------------------------------------------------------
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
