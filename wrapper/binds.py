"""Paths that a bind can express: Singularity and Apptainer take ``SOURCE:DESTINATION,…``.

They read the list as a line of comma-separated values, in which a bare double quote is a mistake
(SingularityCE: ``parse error … bare " in non-quoted-field``) and the line's end is the end.
"""

from __future__ import annotations

from pathlib import Path

UNLISTABLE = ',"\n'
"""No entry of the list can have these."""
UNBINDABLE = f":\\{UNLISTABLE}"
"""No path can: it would be two, or the character after a backslash something else."""
UNBINDABLE_NAMES = "colons, commas, double quotes, backslashes and line breaks"


def unbindable(path: Path | str) -> str:
    """The first character of ``path`` that a bind cannot express, empty where there is none."""
    return next((letter for letter in str(path) if letter in UNBINDABLE), "")
