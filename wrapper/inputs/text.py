"""Files of users as text, within bounds."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from wrapper.errors import InputError

_MARKS = {  # of a file's beginning, as pip knows them; the longer ones first
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
_DECLARED = re.compile(rb"\A(?:#[^\n]*\n)?#[^\n]*coding[:=]\s*([-\w.]+)")  # PEP 263
# Tables of characters: other codecs of Python's take their time, or mean something else.
_TABLES = re.compile(r"(iso8859|latin|cp\d|windows|koi8|mac|gb|big5|euc|shift.?jis|ascii)", re.I)
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
        try:
            if _TABLES.match(name):
                return b"", codecs.lookup(name).name
        except LookupError:  # no such encoding
            pass
    return b"", "utf-8"


def read_bytes(path: Path) -> bytes:
    """The same as bytes; of a pipe it can be read once.

    :raises InputError: it is missing, a directory, not readable, or longer than 100 MB.
    """
    name = path.name or str(path)
    try:
        with path.open("rb") as file:
            content = file.read(_MOST + 1)
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
