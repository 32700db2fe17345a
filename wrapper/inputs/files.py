"""The user's files, each read once: what is built, and what is recorded, is what was read."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from wrapper.inputs.text import decoded, read_bytes


@dataclass(frozen=True, kw_only=True)
class InputFile:
    """A file as it was read.

    :ivar path: outside, as it was named. :ivar mode: its permissions, :ivar group: and
        for whom those of a group are.
    :ivar name: for the record. :ivar lasts: whether it is a regular file, which can be read again,
        and beside which others may be.
    """

    path: Path
    content: bytes
    name: str
    mode: int = 0o644
    group: int = -1
    lasts: bool = True

    @property
    def text(self) -> str:
        """:raises InputError: it is no text in UTF-8."""
        return decoded(self.content, self.path)

    def readable_by(self, group: int) -> int:
        """Permissions to read for others than its owner, of a copy that is ``group``'s."""
        if self.mode & stat.S_IROTH:
            return stat.S_IRGRP | stat.S_IROTH
        return self.mode & stat.S_IRGRP if group == self.group else 0


@dataclass
class InputFiles:
    """All files of a command, in the order in which they were read.

    A pipe (``<(…)``, ``/dev/stdin``) can be read but once, and any file may be another one, or have
    gone, when it is read again.
    """

    _read: dict[Path, InputFile] = field(default_factory=dict)

    def take(self, path: Path, name: str) -> InputFile:
        """The content of a file. :raises InputError: see :func:`wrapper.inputs.text.read_bytes`.

        :param name: what it is called in the record, where it has no name of its own.
        """
        key = path.absolute()
        if key not in self._read:
            content = read_bytes(path)
            mode, group, lasts = _status(path)
            self._read[key] = InputFile(
                path=path,
                content=content,
                name=path.name if lasts else name,
                mode=mode,
                group=group,
                lasts=lasts,
            )
        return self._read[key]

    def text(self, path: Path) -> str:
        """The text of a file that another one names. :raises InputError: see :meth:`take`."""
        return self.take(path, "included").text

    @property
    def all(self) -> tuple[InputFile, ...]:
        return tuple(self._read.values())


def _status(path: Path) -> tuple[int, int, bool]:
    """Permissions and group of a file, and whether it is a regular one."""
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:  # it was there a moment ago
        return 0o600, -1, True
    mode = stat.S_IMODE(status.st_mode) & 0o777
    return mode, status.st_gid, stat.S_ISREG(status.st_mode)
