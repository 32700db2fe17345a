"""What activation scripts do, as a build records it."""

from __future__ import annotations

from typing import Any

from wrapper.activation.model import Activation, ActivationScript, VariableChange

Changes = tuple[VariableChange, ...]


def sets(name: str, value: str, where: str = "") -> Changes:
    return (VariableChange(name=name, value=value, where=where),)


def defaults(name: str, value: str) -> Changes:
    return sets(name, value, where=f"-{name}")


def unsets(name: str, where: str = "") -> Changes:
    return (VariableChange(name=name, kind="-", where=where),)


def prepends(name: str, value: str) -> Changes:
    first = VariableChange(name=name, kind="<", value=f"{value}:", where=f"+{name}")
    return (first, *defaults(name, value))


def appends(name: str, value: str) -> Changes:
    last = VariableChange(name=name, kind=">", value=f":{value}", where=f"+{name}")
    return (last, *defaults(name, value))


def copies(name: str, source: str) -> Changes:
    return (VariableChange(name=name, kind="&", value=source, where=f"+{source}"),)


def recorded(*changes: Changes, path: str = "/env/recorded.sh", **when: Any) -> ActivationScript:
    """A script whose effect is known, unless what ``when`` says."""
    return ActivationScript(path=path, changes=sum(changes, ()), **when)


def dynamic(path: str) -> ActivationScript:
    """A script that is sourced at every start."""
    return ActivationScript(path=path, why="reads HOME")


def activation(*scripts: ActivationScript, **assign: str) -> Activation:
    return Activation(assign=assign, scripts=scripts)
