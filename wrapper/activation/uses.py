"""What a piece of shell code uses, as values: see :mod:`wrapper.activation.syntax`."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class How(Enum):
    """In which way a variable is read."""

    VALUE = "its value goes into another as it is"
    FILLED = "all that counts is whether it has a value"
    ANY = "in any other way"


class Scope(Enum):
    """How far an assignment reaches."""

    SHELL = "the shell"
    LOCAL = "a function, perhaps"
    COMMAND = "one command"


@dataclass(frozen=True)
class Read:
    """A variable is read: ``$HOME``; ``$$`` and its like have the name ``$``.

    :ivar into: the variable that gets it, where ``how`` is ``VALUE``, or depends on it.
    :ivar empty: it makes a difference whether it is unset or only empty.
    """

    name: str
    how: How
    into: str = ""
    empty: bool = False


@dataclass(frozen=True)
class Write:
    """A variable is set, or unset where ``unset``."""

    name: str
    scope: Scope = Scope.SHELL
    unset: bool = False


@dataclass(kw_only=True)
class Uses:
    """What a text uses.

    :ivar steps: variables read and written, in the order of the text.
    :ivar odd: what cannot be told, as words that go on after "it". :ivar whole: whether the text
        could be read from its beginning to its end, but for words in it.
    :ivar hidden: whether there may be more commands, in such words.
    :ivar around: redirections of several commands at once, which a shell does not report.
    :ivar patterns: what patterns of ``case`` read, which it does not report either.
    :ivar redirections: to and from files, others than /dev/null.
    :ivar split: commands (by their first word) with words that the shell splits and expands.
    :ivar marked: variables that are to be exported, whatever their value.
    :ivar commands: first words, ``""`` for one that is computed. :ivar functions: defined ones.
    :ivar tests: operators and operands of tests of files.
    """

    steps: list[Read | Write] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)
    whole: bool = True
    hidden: bool = False
    around: list[str] = field(default_factory=list)
    patterns: list[str] = field(default_factory=list)
    redirections: list[str] = field(default_factory=list)
    split: set[str] = field(default_factory=set)
    marked: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    functions: set[str] = field(default_factory=set)
    tests: list[tuple[str, str]] = field(default_factory=list)

    @property
    def reads(self) -> list[Read]:
        return [step for step in self.steps if isinstance(step, Read)]

    @property
    def writes(self) -> list[Write]:
        return [step for step in self.steps if isinstance(step, Write)]
