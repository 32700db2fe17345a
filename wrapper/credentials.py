"""Passwords and tokens in URLs: what is shown or kept is without them, what is fetched with them.

URLs with secrets come from a command line, from files, variables and settings, and go into messages
of programs that we do not know beforehand. So a text is cleaned where it is shown or written,
whatever it is about.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from urllib.parse import unquote, urlsplit

_WORD = re.compile(r"[^\s\"<>\\]+")
# Of RFC 3986, and what people write unencoded. An image's digest ("docker://x@sha256:…") is none.
_LOGIN = re.compile(r"://([^/\s?#\"<>\\]*)@(?!sha(?:256|512):)")
_SERVER = re.compile(r"https?://")  # a local channel may lie below a directory named "t"
# (An index may have /t/tabulate/tabulate-1.0.whl.)
_TOKEN = re.compile(r"(?<=[^/:])/t/(?:([^/]+)(?!/\1[-_.])(?=/)|[^/.]+\.?$)")
_PARAMETER = re.compile(
    r"([?&][\w.-]*(?:sig|signature|token|secret|passw(?:or)?d|credential|(?:api|access)[_-]?key)=)"
    r"[^&#]+",
    re.I,
)
_REPOSITORY = re.compile(r"git\+(https?)://([^/\s]+)@([^\s@#;]+)")
_REFUSED = re.compile(
    r"\b40[13] (?:Unauthorized|Forbidden)|could not read (?:Username|Password)"
    r"|Authentication failed for",
    re.I,
)
_REFUSED_URL = re.compile(  # rattler's and uv's words
    r"40[13] (?:Unauthorized|Forbidden)\)? for url \((\S+?)\)"
    r"|An index URL \((\S+?)\) could not be queried"
)
_REFERENCE = re.compile(r"(?:[^:$@]*:)?\$\{[A-Z0-9_]+\}")  # pip's form


def public_url(text: str) -> str:
    """A URL, or a text with URLs, without what is secret.

    That is ``user:password@`` (of ssh the password: the user says which account it is),
    ``/t/TOKEN`` and parameters such as ``?token=…``.
    """
    return _WORD.sub(_public_word, text) if "://" in text else text


def _public_word(match: re.Match[str]) -> str:
    word = match[0]
    if "://" not in word:
        return word
    word = _PARAMETER.sub(r"\1…", _LOGIN.sub(_without_login, word))
    server = _SERVER.search(word)
    start = server.start() if server else len(word)
    return word[:start] + _TOKEN.sub("", word[start:])


def _without_login(match: re.Match[str]) -> str:
    is_ssh = match.string.endswith("ssh", 0, match.start())
    return f"://{match[1].partition(':')[0]}@" if is_ssh else "://"


def public_file(text: str) -> str:
    """The content of a user's file likewise. The *name* of a secret (``${NAME}``) is none."""
    kept: list[str] = []

    def put_aside(match: re.Match[str]) -> str:
        if not _REFERENCE.fullmatch(match[1]):
            return match[0]
        kept.append(match[1])
        return f"://\0{len(kept) - 1}\0"

    text = public_url(_LOGIN.sub(put_aside, text.replace("\0", "")))
    return re.sub(r"\0(\d+)\0", lambda match: f"{kept[int(match[1])]}@", text)


def with_credentials(url: str, known: Iterable[str]) -> str:
    """``url`` as it is to be fetched: with the login or token of the first of the ``known`` URLs
    that it is below.
    """
    for source in known:
        secret, public = source.rstrip("/"), public_url(source).rstrip("/")
        if secret != public and f"{url}/".startswith(f"{public}/"):
            return secret + url[len(public) :]
    return url


def refused_url(detail: str) -> str:
    """The URL that the text of a failure says a login is missing for; empty where it names none."""
    near = _REFUSED_URL.search(detail) if _REFUSED.search(detail) else None
    return public_url(near[1] or near[2]) if near else ""


def login_hint(detail: str, example: str = "") -> str:
    """What to do where the text of a failure says that a login is missing; else empty.

    :param example: another line to write.
    """
    if not _REFUSED.search(detail):
        return ""
    host = urlsplit(refused_url(detail)).hostname or "HOST"
    return (
        "it asks for a login, which locks and records are without, or refuses the one it got: put "
        f"it into ~/.netrc ('machine {host} login NAME password SECRET'), or name the URL with it"
        + (f" ({example})" if example else "")
    )


def without_logins(lines: Iterable[str], logins: dict[str, str]) -> list[str]:
    """Lines of requirements without the logins of repositories, which are put into ``logins``:
    ``NAME:PASSWORD`` by URL. A repository's URL becomes a word of git's.
    """

    def without(match: re.Match[str]) -> str:
        scheme, login, place = match.groups()
        user, _, password = login.partition(":")
        logins[f"{scheme}://{place}"] = f"{unquote(user)}:{unquote(password)}"
        return f"git+{scheme}://{place}"

    return [_REPOSITORY.sub(without, line) for line in lines]


def git_settings(logins: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """Variables that tell git these logins, besides the settings that ``environ`` has for it.

    git 2.31 and newer take settings so (``GIT_CONFIG_COUNT`` in git-config(1)).
    """
    count = int(environ.get("GIT_CONFIG_COUNT") or 0)
    settings = {"GIT_CONFIG_COUNT": str(count + len(logins))} if logins else {}
    for number, (url, login) in enumerate(logins.items(), count):
        header = f"Authorization: Basic {base64.b64encode(login.encode()).decode()}"
        settings[f"GIT_CONFIG_KEY_{number}"] = f"http.{url}.extraHeader"
        settings[f"GIT_CONFIG_VALUE_{number}"] = header
    return settings
