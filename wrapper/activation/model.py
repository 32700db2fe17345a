"""What activating an environment does, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Activation:
    """The environment that an installation's programs see, recorded at build time.

    ``assign`` are variables to set whatever the packages' ``scripts`` do, which come after them.
    """

    assign: Mapping[str, str] = field(default_factory=dict)
    scripts: tuple[ActivationScript, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ActivationScript:
    """A package's script that is sourced at activation, and what it does, as far as it is shown.

    :ivar path: inside the container. :ivar changes: what it does, in order.
    :ivar why: why that is not known before, so that it is sourced at each start; empty else.
    :ivar unless: variables that it looks into: where one of them is set, it is sourced.
    :ivar unless_empty: likewise, where one of them is set and empty.
    :ivar after: earlier scripts, by their position: where one of them is sourced, it is too.
    """

    path: str
    changes: tuple[VariableChange, ...] = ()
    why: str = ""
    unless: tuple[str, ...] = ()
    unless_empty: tuple[str, ...] = ()
    after: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class VariableChange:
    """One change of one variable.

    :ivar kind: ``=`` sets ``value``; ``-`` unsets it; ``<`` and ``>`` put ``value`` before and
        after what it has; ``&`` sets it to what the variable named ``value`` has.
    :ivar where: ``+NAME`` only where that variable has a value, ``-NAME`` only where it has none;
        always where empty.
    """

    name: str
    kind: Literal["=", "-", "<", ">", "&"] = "="
    value: str = ""
    where: str = ""
