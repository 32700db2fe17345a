"""What ``run`` does before a program and ``exec`` does not: an image's entry point.

Images with frameworks keep settings there (which GPU a rank gets). A runtime writes the ENTRYPOINT
of an OCI image as words into ``/.singularity.d/runscript``; that of others is what their definition
says. It stands before a program only where it is a script that ends in that, ``exec "$@"``, and
changes neither the words nor the working directory before: a shim's call is the caller's.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from wrapper.images.tree import ImageTree

RUNSCRIPT = "/.singularity.d/runscript"
_OCI = re.compile(r"^OCI_ENTRYPOINT=(.*)$", re.M)
_HANDS_OVER = re.compile(r"""exec\s+(?:--\s+)?(?:"\$\{?@\}?"|\$\{?@\}?)""")
_SETS = re.compile(r"^\s*(?:export|source|\.|eval|module|ulimit|umask)\s", re.M)
_COMMAND = r"(?:^|[;&|{)!]|\b(?:then|else|do|if|while|command|builtin)\s)\s*"
_WORDS_SET = r"set\s+(?:[^-+\s]|--?(?:\s|$)|.*\s--?(?:\s|$))"  # no options alone, as in "set -eu"
_CHANGES_CALL = re.compile(rf"{_COMMAND}(?:(?:cd|pushd|popd|shift)\b|{_WORDS_SET})")
_HERE_DOCUMENT = re.compile(r"""(?<!<)<<-?\s*["'\\]?(\w+)""")
_SEARCHED = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, kw_only=True)
class EntryPoint:
    """:ivar words: to start a program with; none where ``run`` does nothing before it, or where it
    cannot be done. :ivar why_not: in the latter case, the end of a sentence.
    """

    words: tuple[str, ...] = ()
    why_not: str = ""


def find_entry_point(tree: ImageTree, environment: Mapping[str, str]) -> EntryPoint:
    """:param environment: variables that the image sets."""
    runscript = tree.text(RUNSCRIPT)
    told = _OCI.search(runscript)
    if told is None:
        return _own(runscript)
    words = _words(told[1])
    if not words:
        return EntryPoint()
    program = _program(tree, words[0], environment.get("PATH") or _SEARCHED)
    if program is None:
        return EntryPoint(why_not=f"its entry point {words[0]} is not in it")
    text = tree.text(program)
    if not text.startswith("#!"):
        return EntryPoint(why_not=f"its entry point {words[0]} is a program, and no script")
    if why := _obstacle(text):
        return EntryPoint(why_not=f"its entry point {words[0]} {why}")
    return EntryPoint(words=(program, *words[1:]))


def _own(runscript: str) -> EntryPoint:
    """Of a definition's own runscript: most start a program of the image, and set nothing."""
    if not _SETS.search(runscript):
        return EntryPoint()
    why = _obstacle(runscript) if runscript.startswith("#!") else "has no first line #!/bin/sh"
    if why:
        return EntryPoint(why_not=f"its runscript, which sets something, {why}")
    return EntryPoint(words=(RUNSCRIPT,))


def _obstacle(text: str) -> str:
    """Why a script cannot stand before a program, the end of a sentence; empty where it can."""
    *before, last = _commands(text) or [""]
    always = not before or not before[-1].endswith(("&&", "||", "|"))
    if not always or not _HANDS_OVER.fullmatch(last.rstrip(";")):
        return 'does not end in exec "$@"'
    if changing := next(filter(_CHANGES_CALL.search, before), ""):
        return f"changes the call or the working directory: {changing}"
    return ""


def _commands(text: str) -> list[str]:
    """The lines of a script, without comments and here-documents."""
    found: list[str] = []
    end = ""
    for line in map(str.strip, text.replace("\\\n", " ").splitlines()):
        if end:
            end = "" if line == end else end
        elif line and not line.startswith("#"):
            found.append(line)
            document = _HERE_DOCUMENT.search(line)
            end = document[1] if document else ""
    return found


def _words(value: str) -> list[str]:
    """The words in a value that is quoted twice: for the script, and in it for the shell."""
    try:
        return [word for text in shlex.split(value) for word in shlex.split(text)]
    except ValueError:
        return []


def _program(tree: ImageTree, name: str, path: str) -> str | None:
    candidates = [name] if "/" in name else [f"{folder}/{name}" for folder in path.split(":")]
    return next((one for one in candidates if tree.is_program(one)), None)
