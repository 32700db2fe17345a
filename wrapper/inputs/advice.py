"""What to write for lines that are none of their format: the slips that files of the field have,
and selectors of conda recipes (``# [win]``), which are comments in other files.
"""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Iterator
from contextlib import suppress

from wrapper import platforms
from wrapper.util import toml

_NAME = r"([A-Za-z0-9][\w.-]*)"
_TYPOGRAPHIC = re.compile("[\u201c\u201d\u2018\u2019\u2013\u2014\u00a0]")
_PLACEHOLDER = re.compile(r"\{\{.*\}\}|\$\{?\w+|<\w[\w ]*>|\{%")
_INSTALL = re.compile(r"[!%]?(?:python3? -m )?(?:pip3?|uv pip) install (.*)")
# pip's options: those that files know too, those that can be left out and have no further word.
_NAMED = (
    r"--(?:requirement|editable|constraint|(?:extra-)?index-url|find-links|(?:no|only)-binary"
    r"|trusted-host)"
)
_WITH_VALUE = re.compile(rf"-[recif]|{_NAMED}")
_OF_FILES = re.compile(rf"--(?:pre|no-index|require-hashes)|{_NAMED}=.*")
_LEFT_OUT = re.compile(
    r"-[UIqv]+|--(?:upgrade|user|quiet|verbose|ignore-installed|force-reinstall|no-deps|isolated"
    r"|no-cache-dir|no-input|no-warn-script-location|break-system-packages|system|[\w-]+=.*)"
)
_EACH = "write what is behind 'install', each in a line of its own"
_data = functools.partial(toml.beside, __file__)


def for_pip(text: str) -> str:
    """What to write for a line of requirements that pip would not take; empty where unknown."""
    return _general(text) or _of(text, "pip")


def for_conda(text: str) -> str:
    """The same for an entry of conda's ``dependencies``, also for what only seems to be one."""
    return _general(text) or _of(text, "conda")


def of_install(text: str) -> str:
    """What to write for a command line of ``pip install``; empty where it is none."""
    found = _INSTALL.fullmatch(" ".join(text.split()))
    if not found:
        return ""
    with suppress(ValueError):  # also of a quote that is not closed
        lines = [*_lines_of(iter(shlex.split(found[1])))]
        return f"write {lines[0]}" if len(lines) == 1 else f"{_EACH}: {', '.join(lines)}"
    return _EACH


def _lines_of(words: Iterator[str]) -> Iterator[str]:
    """What a file has for the words of a command line.

    :raises ValueError: it is not known of an option whether a value follows.
    """
    for word in words:
        if _WITH_VALUE.fullmatch(word):
            yield f"{word} {next(words, '')}".strip()
        elif not word.startswith("-") or _OF_FILES.fullmatch(word):
            yield word
        elif not _LEFT_OUT.fullmatch(word):
            raise ValueError(word)


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
        if found := re.fullmatch(pattern.replace("NAME", _NAME), line):
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
