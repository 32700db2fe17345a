"""The user's files, each read once: what is built, and what is recorded, is what was read."""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import select
import stat
from dataclasses import dataclass, field
from pathlib import Path

from wrapper.errors import InputError


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
        """The content of a file. :raises InputError: see :func:`wrapper.inputs.files.read_bytes`.

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


# -- as text, within bounds ----------------------------------------------------------------------
_MARKS = {  # of a file's beginning, as pip knows them; the longer ones first
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
_DECLARED = re.compile(rb"\A(?:#[^\n]*\n)?#[^\n]*coding[:=]\s*([-\w.]+)")  # PEP 263
# Tables of characters: other codecs of Python's take their time, or mean something else.
_TABLES = re.compile(r"iso8859|cp\d|koi8|mac|gb|big5|euc|shift_jis|ascii")
_OPENED = 5.0  # seconds in which somebody has opened a pipe to write to it
_MOST = 100_000_000  # bytes: no file of a user's is so long, and a device has no end


def read_text(path: Path) -> str:
    """The content of a user's file.

    :raises InputError: it is no text, see :func:`decoded`, or as :func:`read_bytes` says.
    """
    return decoded(read_bytes(path), path)


def decoded(content: bytes, path: Path) -> str:
    """The text of a file that was read, with plain line ends.

    :raises InputError: it is none in UTF-8, nor in the encoding that it names.
    """
    mark, encoding = encoding_of(content)
    try:
        text = content[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path.name} is not UTF-8 text (byte {error.start})",
            where=path,
            hint="save it as UTF-8",
        ) from None
    if "\0" in text:  # no format has it, no path and no variable can
        raise InputError(
            f"{path.name} is no text: it contains a zero byte",
            where=f"{path}, line {text[: text.index(chr(0))].count(chr(10)) + 1}",
            hint="is it the right file? If so, save it as UTF-8",
        )
    return text.replace("\r\n", "\n").replace("\r", "\n")


def encoding_of(content: bytes) -> tuple[bytes, str]:
    """The mark at the beginning of a file, and the encoding of what comes after it.

    A mark tells it (PowerShell's ``>`` writes UTF-16). Else it is UTF-8, or where that cannot be,
    what a comment in the first two lines declares.
    """
    for mark, encoding in _MARKS.items():
        if content.startswith(mark):
            return mark, encoding
    try:
        content.decode()
    except UnicodeDecodeError:
        declared = _DECLARED.match(content)
        name = declared[1].decode("ascii", "replace") if declared else ""
        with contextlib.suppress(LookupError):  # no such encoding
            codec = codecs.lookup(name).name
            if _TABLES.match(codec):
                return b"", codec
    return b"", "utf-8"


def read_bytes(path: Path) -> bytes:
    """The same as bytes; of a pipe it can be read once.

    :raises InputError: it is missing, a directory, not readable, longer than 100 MB, or a pipe that
        nobody writes to.
    """
    name = path.name or str(path)
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            begun = _begun(file.fileno(), path)
            os.set_blocking(file.fileno(), True)
            content = begun + file.read(_MOST + 1 - len(begun))
    except FileNotFoundError:
        raise InputError("no such file", where=path, hint="check the path") from None
    except IsADirectoryError:
        raise InputError(
            f"{name} is a directory, not a file", where=path, hint="name a file"
        ) from None
    except OSError as error:
        raise InputError(
            f"{name} cannot be read: {error.strerror}",
            where=path,
            hint="check its permissions",
        ) from None
    if len(content) > _MOST:
        raise InputError(
            f"{name} is longer than {_MOST // 1_000_000} MB",
            where=path,
            hint="name the file that lists what to install, not what it is installed from",
        )
    return content


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)


def _begun(handle: int, path: Path) -> bytes:
    """What comes first of a pipe, nothing of another file. Whose writer takes its time is waited
    for (``<(slow)``).
    """
    if not stat.S_ISFIFO(os.fstat(handle).st_mode):
        return b""
    select.select([handle], [], [], _OPENED)
    try:
        first = os.read(handle, _MOST)
    except BlockingIOError:
        return b""
    if not first:
        raise InputError(
            f"{path.name} is a pipe, and nobody writes to it", where=path, hint="name a file"
        )
    return first
