"""Run the channel's Python before it is installed, to byte-compile what the channel holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .condapkg import freeze_mtimes
from .util import run

#: Installation rewrites this file where the prefix stands in it; a .pyc would be stale from then.
_NOT_COMPILED = r"/_sysconfigdata_"


@dataclass(frozen=True, kw_only=True)
class Interpreter:
    """A Python in a staged prefix, and the directories that hold its libraries."""

    executable: Path
    libraries: Sequence[Path]

    def compile(self, prefix: Path) -> None:
        """Add .pyc files for all modules in the staged `prefix`, as real packages have them.

        One process, fixed hashes and times, and paths relative to the prefix: reproducible.
        """
        freeze_mtimes(prefix)
        environment = {
            "LD_LIBRARY_PATH": ":".join(map(str, self.libraries)),
            "PATH": "/usr/bin:/bin",
            "PYTHONHASHSEED": "0",
        }
        modules = prefix / "lib/python3.11"
        options = ["-q", "-x", _NOT_COMPILED, "-s", str(prefix), str(modules)]
        run([self.executable, "-B", "-m", "compileall", *options], env=environment)
