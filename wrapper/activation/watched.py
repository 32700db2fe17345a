"""A script's run as ``templates/probe.sh`` records it: what it did, what it left."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

Env = dict[str, str]

# Variables of the shell itself, different in every run.
_SHELL_OWN = ("_", "SHLVL", "PWD", "OLDPWD")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*(\[[^]]*\])?\+?=")
_ESCAPES = dict(zip("abfnrtvE\\'\"?", "\a\b\f\n\r\t\v\33\\'\"?", strict=True))
_OURS = "printf 'probe "  # how the recording itself appears in its record


@dataclass(frozen=True, kw_only=True)
class Run:
    """One script, sourced once.

    :ivar before: the environment before it. :ivar after: and after it, ``None`` where it ended its
        shell. :ivar functions: what the shell has then, as :ivar variables: exported or not.
    :ivar texts: its commands as bash came to them, not expanded, each with the number of its
        subshell, 0 for none. :ivar executed: the words of those that it ran, expanded; ``None``
        where they cannot be read. :ivar assigned: assignments, expanded.
    """

    before: Env
    after: Env | None
    functions: frozenset[str] = frozenset()
    variables: frozenset[str] = frozenset()
    texts: Sequence[tuple[int, str]] = ()
    executed: Sequence[tuple[str, ...]] | None = ()
    assigned: Sequence[str] = ()


def read_run(out: Path, number: int) -> Run:
    """The ``number``-th script's run, the first being 1."""
    texts, trace, functions, variables = (
        file_text(Path(f"{out}.{number}.{kind}"))
        for kind in ("texts", "trace", "functions", "variables")
    )
    records = _records(trace)
    assigned = [record for record in records if _ASSIGNMENT.match(record)]
    try:
        executed = [_words(record) for record in records if not _ASSIGNMENT.match(record)]
    except ValueError:
        executed = None
    return Run(
        before=read_environment(Path(f"{out}.{number - 1}")) or {},
        after=read_environment(Path(f"{out}.{number}")),
        functions=frozenset(functions.split()),
        variables=frozenset(variables.split()),
        texts=_texts(texts),
        executed=executed,
        assigned=assigned,
    )


def read_environment(path: Path) -> Env | None:
    """A file of ``env -0``; ``None`` where it was not written."""
    if not path.is_file():
        return None
    pairs = (item.partition("=") for item in file_text(path).split("\0") if item)
    return {name: value for name, _, value in pairs if name not in _SHELL_OWN}


def file_text(path: Path) -> str:
    """A file as text, bytes that are none included; empty where there is none."""
    return path.read_bytes().decode("utf-8", "surrogateescape") if path.is_file() else ""


def _texts(text: str) -> list[tuple[int, str]]:
    items = [item.split(" ", 2) for item in text.split("\0") if item]
    # The first are our own "set -x" and ". SCRIPT", the last "set +x" and "trap - DEBUG".
    return [(int(pid) if pid != items[0][1] else 0, words) for _, pid, words in items[2:-2]]


def _records(text: str) -> list[str]:
    records = re.split("\x01+ ", text)[1:]
    return [record for record in records if not record.startswith(_OURS)][1:-1]


def _words(record: str) -> tuple[str, ...]:
    """:raises ValueError: it cannot be read."""
    if match := re.match(r"(for|case|select) ", record):
        return (match[1],)  # what follows is not expanded
    plain = re.sub(r"\$'((?:[^'\\]|\\.)*)'", _requoted, record, flags=re.S)
    return tuple(shlex.split(plain))


def _requoted(match: re.Match[str]) -> str:
    """``$'…'``, which is bash's own, as any shell quotes it."""

    def char(escape: re.Match[str]) -> str:
        if octal := escape[1]:
            return bytes([int(octal, 8)]).decode("utf-8", "surrogateescape")
        if escape[2] not in _ESCAPES:
            raise ValueError(escape[0])
        return _ESCAPES[escape[2]]

    return shlex.quote(re.sub(r"\\(?:([0-7]{3})|(.))", char, match[1], flags=re.S))
