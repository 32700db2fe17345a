"""Files of users as text, within bounds."""

from __future__ import annotations

from pathlib import Path

from wrapper.errors import InputError

_MOST = 100_000_000  # bytes: no file of a user's is so long, and a device has no end


def read_text(path: Path) -> str:
    """The content of a user's file.

    :raises InputError: it is no text in UTF-8, or as :func:`read_bytes` says.
    """
    return decoded(read_bytes(path), path)


def decoded(content: bytes, path: Path) -> str:
    """The text of a file that was read, with plain line ends.

    :raises InputError: it is none in UTF-8.
    """
    try:
        text = content.decode("utf-8-sig")  # editors on Windows begin with a mark
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


def read_bytes(path: Path) -> bytes:
    """The same as bytes; of a pipe it can be read once.

    :raises InputError: it is missing, a directory, not readable, or longer than 100 MB.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MOST + 1)
    except FileNotFoundError:
        raise InputError("no such file", where=path, hint="check the path") from None
    except IsADirectoryError:
        raise InputError(
            f"{path.name} is a directory, not a file", where=path, hint="name a file"
        ) from None
    except OSError as error:
        raise InputError(
            f"{path.name} cannot be read: {error.strerror}",
            where=path,
            hint="check its permissions",
        ) from None
    if len(content) > _MOST:
        raise InputError(
            f"{path.name} is longer than {_MOST // 1_000_000} MB",
            where=path,
            hint="name the file that lists what to install, not what it is installed from",
        )
    return content
