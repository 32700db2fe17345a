"""Names of environment variables that a user may choose."""

from __future__ import annotations

# bash sets or uses these itself, or they are read-only in it: a shim, whose own begin with "_cw_",
# could not hand them on.
_OF_THE_SHELL = frozenset(
    ("IFS", "UID", "EUID", "PPID", "OPTIND", "SHELLOPTS", "BASHOPTS", "BASH_VERSINFO", "BASHPID")
)


def why_not(name: str) -> str:
    """Why ``name`` cannot be a variable's name; empty where it can."""
    if not name.isidentifier() or not name.isascii():
        return "use letters, digits and underscores"
    if name in _OF_THE_SHELL or name.startswith("_cw_"):
        return "the shell uses this name itself: choose another"
    return ""
