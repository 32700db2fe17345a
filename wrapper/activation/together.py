"""Scripts that follow each other in one shell: does one count for another?"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from wrapper.activation.constant import QUIET
from wrapper.activation.flow import Flow
from wrapper.activation.model import ActivationScript, VariableChange
from wrapper.activation.uses import Scope, Uses
from wrapper.console import shortened

_ANYTHING = {"", "eval", ".", "source"}

# Programs that ask for no variable that a package sets, but for these.
_BLIND = {
    **dict.fromkeys(("arch", "groups", "hostname", "id", "logname", "lscpu", "tty", "whoami"), ()),
    **dict.fromkeys(("getconf", "getent", "ulimit", "umask", "type", "which"), ("PATH",)),
    "command": ("PATH",),
    "date": ("TZ",),
    "nproc": ("OMP_NUM_THREADS", "OMP_THREAD_LIMIT"),
}


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """What a script may read and write, whatever it runs through.

    :ivar open: whether there may be more, of its shell's variables and functions.
    :ivar runs: whether it may run programs that ask for other variables. :ivar defines: functions.
    :ivar calls: commands that are none of its own functions.
    """

    reads: frozenset[str]
    writes: frozenset[str]
    open: bool
    runs: bool
    defines: frozenset[str]
    calls: frozenset[str]


def footprint(texts: Sequence[Uses]) -> Footprint:
    """Of a script and what it sources, from their texts."""
    defines = {name for text in texts for name in text.functions}
    calls = {name for text in texts for name in text.commands} - defines
    reads = {read.name for text in texts for read in text.reads}
    reads |= {name for call in calls for name in _BLIND.get(call, ())}
    return Footprint(
        reads=frozenset(reads),
        writes=frozenset(
            write.name for text in texts for write in text.writes if write.scope != Scope.COMMAND
        ),
        open=any(text.odd or text.hidden or not text.whole for text in texts)
        or bool(calls & _ANYTHING),
        runs=not calls <= QUIET | {*_BLIND},
        defines=frozenset(defines),
        calls=frozenset(calls),
    )


def depends(later: Footprint, changed: Iterable[str], earlier: Footprint) -> bool:
    """Whether ``later`` may do something else where ``earlier`` runs, or the other way round.

    :param changed: variables that ``later`` is known to set.
    """
    sets = later.writes.union(changed)
    either = (earlier.writes & (later.reads | sets)) | (earlier.reads & sets)
    return earlier.open or earlier.runs or bool(either)


@dataclass(kw_only=True)
class Shown:
    """What one script does where none of those before it is sourced.

    :ivar reasons: why that is not known before. :ivar unless: variables that it looks into.
    :ivar unless_empty: those of which it counts whether they are unset or empty.
    """

    path: str
    flow: Flow
    reasons: list[str]
    changes: tuple[VariableChange, ...]
    unless: set[str]
    unless_empty: set[str]
    footprint: Footprint

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def leaves(self) -> set[str]:
        """What later scripts may have of the shell, not of the environment."""
        return {*self.flow.left, *self.footprint.defines}

    def needs(self, earlier: Shown) -> bool:
        """Whether, where it is sourced, an earlier script has to be."""
        mine = (
            self.footprint.reads
            | self.footprint.calls
            | (self.footprint.writes & earlier.flow.marked)
        )
        return bool(earlier.leaves & mine) or (self.footprint.open and bool(earlier.leaves))


@dataclass
class _When:
    """When a script is sourced.

    :ivar why: always, and the reasons. :ivar after: where earlier ones are, by position.
    """

    why: list[str]
    unless: set[str]
    unless_empty: set[str]
    after: set[int] = field(default_factory=set)

    def ever(self) -> bool:
        return bool(self.why or self.unless or self.unless_empty or self.after)

    def as_tuples(self) -> tuple[Sequence[object], ...]:
        return self.why, sorted(self.unless), sorted(self.unless_empty), sorted(self.after)


def together(shown: Sequence[Shown]) -> tuple[ActivationScript, ...]:
    """The scripts in order, and which of them is sourced where another one is."""
    whens = [_When(list(s.reasons), {*s.unless}, {*s.unless_empty}) for s in shown]
    for first, second in itertools.combinations(range(len(shown)), 2):
        earlier, later = shown[first].flow, shown[second].flow
        for name in sorted((earlier.left & later.read) | (earlier.marked & later.left)):
            whens[second].why.append(f"uses {name}, which {shown[first].name} leaves to it")
    before: object = None
    while before != (now := [when.as_tuples() for when in whens]):
        before = now
        for first, second in itertools.combinations(range(len(shown)), 2):
            _follow(shown, whens, first, second)
    return tuple(
        ActivationScript(path=one.path, why=shortened(when.why))
        if when.why
        else ActivationScript(
            path=one.path,
            changes=one.changes,
            unless=tuple(sorted(when.unless)),
            unless_empty=tuple(sorted(when.unless_empty)),
            after=tuple(sorted(when.after)),
        )
        for one, when in zip(shown, whens, strict=True)
    )


def _follow(shown: Sequence[Shown], whens: Sequence[_When], first: int, second: int) -> None:
    """Source the later of two scripts where the earlier one is, or the other way round, if one has
    to do with the other.
    """
    one, other = whens[first], whens[second]
    changed = {change.name for change in shown[second].changes}
    if one.ever() and depends(shown[second].footprint, changed, shown[first].footprint):
        other.after.add(first)
        if one.why and not other.why:
            other.why.append(f"comes after {shown[first].name}")
    if other.ever() and shown[second].needs(shown[first]):
        if other.why and not one.why:
            one.why.append(f"comes before {shown[second].name}")
        one.unless |= other.unless.union(*(whens[n].unless for n in other.after))
        one.unless_empty |= other.unless_empty.union(*(whens[n].unless_empty for n in other.after))
