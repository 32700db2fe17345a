"""What to write for lines that are none of their format: the slips that files of the field have,
and selectors of conda recipes (``# [win]``), which are comments in other files.
"""

from __future__ import annotations

import re

from wrapper import platforms

PIP_BELOW = "pip takes it: write it below '- pip:'"
_NAME = r"([A-Za-z0-9][\w.-]*)"
_TYPOGRAPHIC = re.compile("[\u201c\u201d\u2018\u2019\u2013\u2014\u00a0]")
_PLACEHOLDER = re.compile(r"\{\{.*\}\}|\$\{?\w+|<\w[\w ]*>|\{%")
_INSTALL = r"[!%]?(?:python3? -m )?(?:pip3?|uv pip) install (?:-(?![rec] )\S+ )*"
# How the line is told, what to write: \1 and so on are parts of it.
_OF_PIP = [
    (rf"{_INSTALL}((?:-[rec] )?\S+)", r"write \1"),
    (rf"{_INSTALL}(.*)", r"write what is behind 'install', each in a line of its own: \1"),
    (
        r"(?:sudo )?(?:apt|apt-get|dnf|yum|brew|module) .*",
        "pip installs nothing of the system: remove the line",
    ),
    (rf"(?:conda|mamba) install .*?{_NAME}", r"conda-containerize takes it from an env.yml"),
    (rf"[\w./-]+::{_NAME}.*", r"write \1, or use conda-containerize, which knows channels"),
    (rf"{_NAME}\s*=([<>]) ?(.*)", r"write \1\2=\3"),
    (rf"{_NAME} *([<>=!~]) += *(\S.*)", r"write \1\2=\3"),
    (rf"{_NAME}\[.*=.*\]", r"that is conda's: write \1, and a version behind it"),
    (rf"{_NAME} *= *\{{.*", r"that is Poetry's or pixi's: write \1, and a version behind it"),
    (r"[A-Za-z0-9][^#/:\s]*#.*", "a comment begins with a blank in front of the '#'"),
    (rf"{_NAME} ?=[ \"'^~]*([\d.]+)[\"']?", r"write \1==\2"),
    (rf"{_NAME}[@^~ ] ?v?(\d[\w.]*)", r"write \1==\2"),
    (r"[\"'](.*)[\"'],?", r"write \1 without quotes"),
    (r"(?:git\+)?(?:ssh://)?(\w+@[\w.-]+):(\w.*)", r"write git+ssh://\1/\2"),
    (r"(?:[A-Za-z]:|\.{1,2})?\\.*", "name a directory of this system, with '/'"),
    (r"\[.*\]", "requirements have no sections: remove the line"),
    (rf"{_NAME}.*;.*[<>=] ?[\d.]+", "a version behind the ';' needs quotes: '3.11'"),
    (rf"{_NAME}.*;.*", "behind the ';' stand names such as sys_platform and values in quotes"),
    (r".*\\", "nothing may stand behind the backslash, no blank either"),
    (rf"{_NAME}(?:,? +{_NAME}|, *{_NAME})+,?", "one package a line, without commas"),
    (rf"{_NAME},", r"write \1"),
    (rf"{_NAME} *[<>=~!]=?", "write a version behind it, or the name alone"),
    (rf"{_NAME} *[<>!=~]{{1,2}} ?[\d.]+\*", "'.*' stands only behind == and !=: leave it out"),
    (rf"{_NAME}==.*", "versions are numbers (1.26.4): write one, or the name alone"),
]
_OF_CONDA = [
    (r"-[\w-]+[ =].*|-[a-zA-Z]\S+|\.{1,2}(/.*)?", PIP_BELOW),
    (r"(?:git\+|https?://)(?!.*::)\S+(?<!\.conda)(?<!\.tar\.bz2)", PIP_BELOW),
    (r"[\w.-]+ *(?:\[.*\])? *(?:@|===).*", PIP_BELOW),
    (r"(?:pip|conda|mamba) install (?:-\S+ )*(.*)", r"write the package: \1"),
    (rf"{_NAME}[^;]*;.*", r"conda has no markers: write \1, or the line below '- pip:'"),
    (rf"{_NAME} ?=([<>]) ?(.*)", r"write \1\2=\3"),
    (rf"{_NAME}[\^@] ?v?(\d[\w.]*)", r"write \1=\2"),
    (rf"{_NAME},", r"write \1"),
    (rf"{_NAME} [A-Za-z][A-Za-z_-]*", "one package an entry; a version begins with a digit"),
]


def for_pip(text: str) -> str:
    """What to write for a line of requirements that pip would not take; empty where unknown."""
    return _general(text) or _of(text, _OF_PIP)


def for_conda(text: str) -> str:
    """The same for an entry of conda's ``dependencies``, also for what only seems to be one."""
    return _general(text) or _of(text, _OF_CONDA)


def _general(text: str) -> str:
    if found := _TYPOGRAPHIC.search(text):
        sign = "a blank" if found[0] == "\u00a0" else f"'{found[0]}'"
        return f"{sign} of a word processor: write plain quotes, hyphens and blanks"
    if _PLACEHOLDER.search(text):
        return "fill in the placeholder: nothing is put in its place here"
    return ""


def _of(text: str, table: list[tuple[str, str]]) -> str:
    line = " ".join(text.split())[:300]
    for pattern, advice in table:
        if found := re.fullmatch(pattern, line):
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
