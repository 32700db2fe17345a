"""Input files into :class:`~wrapper.models.EnvironmentSpec`: text in, value out, no network."""

from __future__ import annotations

from pathlib import Path

from wrapper.errors import InputError
from wrapper.models import EnvironmentSpec
from wrapper.spec.environment import parse_environment
from wrapper.spec.explicit import is_explicit, parse_explicit
from wrapper.spec.kinds import refuse_pips
from wrapper.spec.lockfile import is_lock, parse_lock
from wrapper.spec.variables import parse_variables

__all__ = ["read_bytes", "read_spec", "read_text", "read_variables"]

_MOST = 100_000_000  # bytes: no file of a user's is so long, and a device has no end


def read_spec(path: Path) -> EnvironmentSpec:
    """Read an ``env.yml``, an ``@EXPLICIT`` list or a ``conda-lock.yml``, told by its content.

    :raises InputError: it is missing, unreadable or not one of these.
    """
    text = read_text(path)
    if is_explicit(text):
        return parse_explicit(text, path)
    if is_lock(text):
        return parse_lock(text, path)
    refuse_pips(text, path)
    return parse_environment(text, path)


def read_variables(path: Path) -> dict[str, str]:
    """Read an ``--environ`` file. :raises InputError: it is missing or not what it should be."""
    return parse_variables(read_text(path), path)


def read_text(path: Path) -> str:
    """The content of a user's file.

    :raises InputError: it is no text in UTF-8, or as :func:`read_bytes` says.
    """
    try:
        text = read_bytes(path).decode("utf-8-sig")  # editors on Windows begin with a mark
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
