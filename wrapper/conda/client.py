"""rattler's client for channels, with the logins that the user has."""

from __future__ import annotations

from rattler import Client
from rattler.exceptions import AuthenticationStorageError

from wrapper.errors import InputError


def channel_client() -> Client:
    """A client that knows ``~/.netrc`` and what ``rattler auth login`` and ``pixi auth`` keep.

    Where there can be no file of logins (``HOME=/dev/null``), it goes without.

    :raises InputError: there is one, and it is broken.
    """
    try:
        return Client.default_client()
    except AuthenticationStorageError as error:
        if "failed to open" in str(error):
            return Client()
        raise InputError(
            "the file of logins for conda channels cannot be read",
            where="~/.rattler/credentials.json, or what RATTLER_AUTH_FILE names",
            hint="correct it, or remove it and log in again",
            detail=str(error),
        ) from None
