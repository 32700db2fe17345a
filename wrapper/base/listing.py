"""Looking into directories of images within a time: a file server may not answer for minutes.

A program of its own looks, which can be left behind: what waits for a server cannot be interrupted.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from wrapper import process
from wrapper.process import TIMED_OUT, ToolFailed

SECONDS = 10.0
_LOOK = """
import json, sys
from pathlib import Path
root = Path(sys.argv[1])
try:
    there = root.is_dir()
    found = [str(path) for path in sorted(root.glob(sys.argv[2])) if not path.is_dir()]
    print(json.dumps(found if there else None))
except OSError as error:
    print(json.dumps(error.strerror))
"""


@dataclass(frozen=True)
class Listing:
    """Looks into directories; of what hangs it looks into no second one.

    :ivar tell: is told which directory gave no answer. :ivar seconds: how long each may take.
    """

    tell: Callable[[str], None] = lambda _: None
    seconds: float = SECONDS
    _stalled: set[str] = field(default_factory=set)

    def files(self, root: Path, pattern: str) -> list[Path] | None:
        """What in a directory has names like ``pattern``, directories aside, in order.

        :returns: ``None`` where there is no such directory; nothing where it gives no answer.
        :raises ValueError: ``pattern`` is none.
        """
        _check(pattern)
        top = str(Path(*root.parts[:2]))
        if not os.path.lexists(top):  # at the root nothing waits for a server
            return None
        if top in self._stalled:
            return []
        words = [sys.executable, "-I", "-S", "-X", "utf8", "-c", _LOOK, str(root), pattern]
        try:
            answer = process.capture(words, env={}, timeout=self.seconds)
        except ToolFailed as error:
            if error.status != TIMED_OUT:
                raise
            self._stalled.add(top)
            self.tell(
                f"{root} gave no answer within {self.seconds:.0f} s: images there, and all below "
                f"{top}, are left out; name one by its path, or try again"
            )
            return []
        found: list[str] | str | None = json.loads(answer)
        if isinstance(found, str):
            self.tell(f"{root} cannot be looked into: {found}; images there are left out")
            return []
        return None if found is None else [Path(path) for path in found]


def _check(pattern: str) -> None:
    """:raises ValueError: it is no pattern for names of files."""
    try:
        next(iter(Path(os.devnull).glob(pattern)), None)
    except NotImplementedError as error:
        raise ValueError(str(error)) from None
