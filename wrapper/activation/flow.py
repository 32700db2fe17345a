"""Which variables of its caller a run depended on, and how, through all its assignments."""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass, field

from wrapper.activation.syntax import uses_of_command
from wrapper.activation.uses import How, Read, Scope, Write
from wrapper.activation.watched import Run

# The shell's own, which are the same in every shell that sources a script…
FIXED = {
    *("BASH_SOURCE", "BASH_LINENO", "BASH_SUBSHELL", "BASH_REMATCH", "FUNCNAME", "LINENO", "IFS"),
    *("OPTIND", "OPTERR", "PIPESTATUS", "OSTYPE", "HOSTTYPE", "MACHTYPE"),
}
# … those that are there but differ, and what is set by every login or container.
_ALWAYS = {
    *("$", "!", "-", "_", "0", "BASH", "BASHOPTS", "BASHPID", "BASH_ALIASES", "BASH_ARGC"),
    *("BASH_ARGV", "BASH_ARGV0", "BASH_CMDS", "BASH_COMMAND", "BASH_VERSINFO", "BASH_VERSION"),
    *("BASH_XTRACEFD", "COLUMNS", "LINES", "COMP_WORDBREAKS", "DIRSTACK", "EPOCHREALTIME"),
    *("EPOCHSECONDS", "EUID", "GROUPS", "HISTCMD", "HOME", "HOSTNAME", "OLDPWD", "PPID", "PS4"),
    *("PWD", "RANDOM", "SECONDS", "SHELL", "SHELLOPTS", "SHLVL", "SRANDOM", "TERM", "UID"),
}
_NEVER_EMPTY = {"BASH", "BASH_VERSION", "BASH_VERSINFO", "PWD", "UID", "EUID", "PPID"}
Names = frozenset[str]
_NONE: Names = frozenset()


@dataclass(kw_only=True)
class Flow:
    """What runs read of their caller's variables.

    :ivar constant: variables that are the same at every start.
    :ivar whole: whose values went on as they were, or that were asked whether they have one.
    :ivar looked_into: that were read in any other way. :ivar or_empty: of which it counts whether
        they are unset or empty. :ivar left: that were set for the shell alone, not for programs.
    """

    constant: Set[str]
    whole: set[str] = field(default_factory=set)
    looked_into: set[str] = field(default_factory=set)
    or_empty: set[str] = field(default_factory=set)
    left: set[str] = field(default_factory=set)
    marked: set[str] = field(default_factory=set)
    _origins: dict[str, Names] = field(default_factory=dict)
    _pending: dict[str, Names] = field(default_factory=dict)

    @property
    def read(self) -> set[str]:
        """All of them."""
        return self.whole | self.looked_into

    @property
    def changing(self) -> set[str]:
        """Those of them that no shell is without, so that each start has to look."""
        return (self.read & _ALWAYS) - {*self.constant}

    def add(self, run: Run, patterns: Iterable[str]) -> None:
        """:param patterns: variables in patterns of ``case``, which the run does not tell of."""
        self._origins, self._pending = {}, {}
        texts = [(shell, uses_of_command(text)) for shell, text in run.texts]
        steps = [(shell, step) for shell, uses in texts for step in uses.steps]
        local = {
            step.name for _, step in steps if isinstance(step, Write) and step.scope is Scope.LOCAL
        }
        for shell, step in steps:
            if isinstance(step, Read):
                self._add_read(step)
            else:
                self._add_write(step, own=not shell and step.name not in local)
        for name in patterns:
            self.looked_into |= self._of(name) | self._caller(name)
        written = {step.name for _, step in steps if isinstance(step, Write)}
        marked = {name for _, uses in texts for name in uses.marked}
        hidden = (written | marked) - {*(run.after or {})} - FIXED
        self.marked |= hidden & marked
        self.left |= hidden & (run.variables | marked)

    def _caller(self, name: str) -> Names:
        return _NONE if name in self.constant or name in FIXED else frozenset((name,))

    def _of(self, name: str) -> Names:
        """The caller's variables that a variable's value comes from."""
        return self._origins.get(name, self._caller(name))

    def _add_read(self, read: Read) -> None:
        origins = self._of(read.name)
        if read.how is How.FILLED:
            origins -= _NEVER_EMPTY
        if read.how is How.ANY:
            self.looked_into |= origins
        else:
            self.whole |= origins
        if read.empty:
            self.or_empty |= origins
        if read.into:
            self._pending[read.into] = self._pending.get(read.into, _NONE) | origins

    def _add_write(self, write: Write, *, own: bool) -> None:
        """:param own: whether nothing of the value before is left (no subshell, no function's)."""
        origins = self._pending.pop(write.name, _NONE)
        if write.scope is Scope.COMMAND:
            self.looked_into |= origins  # the command's business
        elif own and write.scope is Scope.SHELL:
            self._origins[write.name] = origins
        else:
            self._origins[write.name] = self._of(write.name) | origins
