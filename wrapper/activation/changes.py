"""What a script changes, told from runs in which variables that it reads had a value or none.

Of these variables it only reads whole values, or whether there is one (:mod:`.flow`). So what it
does with one value it does with each, and runs with all combinations of set and unset ones show
all that it does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from wrapper.activation.model import VariableChange
from wrapper.activation.syntax import uses_of_command
from wrapper.activation.uses import Scope, Write
from wrapper.activation.watched import Run

State = frozenset[str]
"""The variables that have a value, which is :func:`sentinel`."""

_SENTINEL = "/containerize-probe"
_ELSEWHERE = re.compile(r"PATH|LD_.*")  # the runtime has other values of these than a program


def sentinel(name: str) -> str:
    """The value that a variable is given, to see what a script makes of it."""
    standard = ":/usr/bin:/bin" if name == "PATH" else ""
    return f"{_SENTINEL}/{name}/{standard}"


@dataclass(frozen=True)
class _Outcome:
    """What a variable is after a run; ``source`` is the variable whose value is in it, if any."""

    kind: Literal["stays", "unset", "set"]
    before: str = ""
    source: str = ""
    after: str = ""


_STAYS = _Outcome("stays")


def changes_of(runs: Mapping[State, Run]) -> tuple[VariableChange, ...] | None:
    """What a script changes; ``None`` where that cannot be said variable by variable.

    :param runs: its runs by state: all combinations of some variables, and of none else.
    """
    names = sorted({name for run in runs.values() for name in touched(run)})
    changes: list[VariableChange] = []
    for name in names:
        outcomes = {state: _outcome(name, run, state) for state, run in runs.items()}
        found = _by_source(name, {s: o for s, o in outcomes.items() if o is not None})
        if found is None or None in outcomes.values():
            return None
        changes += found
    ordered = _ordered(changes)
    if ordered is None or any(applied(ordered, r.before) != r.after for r in runs.values()):
        return None
    return ordered


def applied(changes: Sequence[VariableChange], before: Mapping[str, str]) -> dict[str, str]:
    """An environment after changes."""
    env = dict(before)
    for change in changes:
        if change.where and bool(env.get(change.where[1:])) != (change.where[0] == "+"):
            continue
        old = env.pop(change.name, "")
        match change.kind:
            case "=":
                env[change.name] = change.value
            case "<":
                env[change.name] = change.value + old
            case ">":
                env[change.name] = old + change.value
            case "&":
                env[change.name] = env[change.value]
    return env


def touched(run: Run) -> set[str]:
    """Variables that it set or removed, also where that changed nothing."""
    after = run.after or {}
    changed = {n for n in {*run.before, *after} if run.before.get(n) != after.get(n)}
    return changed | _exported(run) | _unset(run)


def _exported(run: Run) -> set[str]:
    """Variables that it set, also to what they were before."""
    after = run.after or {}
    pairs = (word.partition("=") for word in _computed(run, "export"))
    written = {name for name, _, value in pairs if after.get(name) == value}
    return (written | {write.name for write in _writes(run) if not write.unset}) & {*after}


def _unset(run: Run) -> set[str]:
    """Variables that it removed, also where they were not there."""
    computed = {word for word in _computed(run, "unset") if word.isidentifier()}
    removed = computed | {write.name for write in _writes(run) if write.unset}
    return removed - {*(run.after or {})} - run.variables


def _writes(run: Run) -> Iterator[Write]:
    """What its commands set and remove by name; what a subshell does is its own."""
    for shell, text in run.texts:
        for write in uses_of_command(text).writes:
            if not shell and write.scope is Scope.SHELL:
                yield write


def _computed(run: Run, command: str) -> list[str]:
    """The words of all ``command``, where one of them has a name that is computed."""
    texts = [text for shell, text in run.texts if not shell and text.split()[:1] == [command]]
    uses = map(uses_of_command, texts)
    if all(found.writes or found.marked for found in uses):
        return []
    lines = [words[1:] for words in run.executed or () if words[:1] == (command,)]
    return [word for words in lines if "-f" not in words for word in words]


def _outcome(name: str, run: Run, state: State) -> _Outcome | None:
    after = run.after or {}
    if name not in after:
        return _Outcome("unset") if name in run.before or name in _unset(run) else _STAYS
    value = after[name]
    if value == run.before.get(name) and (name in state or name not in _exported(run)):
        return _STAYS
    sources = [source for source in state if sentinel(source) in value]
    if not sources:
        return None if _SENTINEL in value else _Outcome("set", value)
    before, *rest = value.split(sentinel(sources[0]))
    if len(sources) > 1 or len(rest) > 1 or _SENTINEL in before + rest[0]:
        return None
    return _Outcome("set", before, sources[0], rest[0])


def _by_source(name: str, outcomes: Mapping[State, _Outcome]) -> list[VariableChange] | None:
    """Changes of one variable, where its outcome depends on one variable at most."""
    if len({*outcomes.values()}) == 1:
        outcome = next(iter(outcomes.values()))
        if not outcome.source:
            return _written(name, outcome, "")
    sources = {outcome.source for outcome in outcomes.values() if outcome.source}
    for source in sorted(sources or frozenset().union(*outcomes)):
        where = {outcome for state, outcome in outcomes.items() if source in state}
        elsewhere = {outcome for state, outcome in outcomes.items() if source not in state}
        if len(where) != 1 or len(elsewhere) > 1:
            continue
        if source != name and (_ELSEWHERE.fullmatch(source) or _ELSEWHERE.fullmatch(name)):
            return None
        if source == name and _emptied(where) and elsewhere != {_STAYS}:
            return None  # the second change would take place after the first
        found = [change for o in where for change in _written(name, o, f"+{source}")]
        for outcome in elsewhere:
            found += _written(name, outcome, f"-{source}")
        return found
    return None


def _emptied(outcomes: Iterable[_Outcome]) -> bool:
    return any(o.kind == "unset" or o == _Outcome("set") for o in outcomes)


def _written(name: str, outcome: _Outcome, where: str) -> list[VariableChange]:
    if outcome.kind == "stays":
        return []
    if outcome.kind == "unset":
        return [VariableChange(name=name, kind="-", where=where)]
    if not outcome.source:
        return [VariableChange(name=name, value=outcome.before, where=where)]
    found = []
    if outcome.source != name:
        found.append(VariableChange(name=name, kind="&", value=outcome.source, where=where))
    if outcome.before:
        found.append(VariableChange(name=name, kind="<", value=outcome.before, where=where))
    if outcome.after:
        found.append(VariableChange(name=name, kind=">", value=outcome.after, where=where))
    return found


def _ordered(changes: Sequence[VariableChange]) -> tuple[VariableChange, ...] | None:
    """Every variable is changed after those that depend on what it was."""
    left = {change.name: [c for c in changes if c.name == change.name] for change in changes}
    done: list[VariableChange] = []
    while left:
        asked = {name: {change.where[1:] for change in group} for name, group in left.items()}
        free = [n for n in left if not any(n in names for m, names in asked.items() if m != n)]
        if not free:
            return None
        for name in free:
            done += left.pop(name)
    return tuple(done)
