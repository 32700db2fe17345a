"""What packages are trusted by: encryption on their way, and hashes. What lacks it is named.

Who is on the way of what is not encrypted can exchange packages, and the hashes that a channel or
an index says of them; a hash in a lock or in requirements still tells. This machine itself is no
network: its own addresses count as safe.
"""

from __future__ import annotations

import ipaddress
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from wrapper.console import shortened
from wrapper.credentials import public_url
from wrapper.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from rattler import RepoDataRecord

    from wrapper.inputs.requirements import Requirements
    from wrapper.models import Resolution

_LISTED = 6  # packages in a message
_INDEXES = ("--index-url", "--extra-index-url", "--find-links")
_PLAIN = ("http", "git+http", "ftp", "git+git", "git")


def unencrypted(urls: Iterable[str]) -> list[str]:
    """Those of ``urls`` that go over a network in plain text, each once."""
    return [url for url in dict.fromkeys(urls) if _is_plain(url)]


def _is_plain(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:  # who uses it will say so
        return False
    return parts.scheme.lower() in _PLAIN and not _is_here(host)


def _is_here(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def source_warnings(what: str, urls: Iterable[str]) -> list[str]:
    """What to say of channels or indexes (``what`` one is) that are not encrypted."""
    found = []
    for url in unencrypted(urls):
        public = public_url(url)
        exposed = ", and read the login" if public != url else ""
        found.append(
            f"the {what} {public} is not encrypted: whoever is on the way can exchange packages "
            f"and their hashes{exposed}; use https if it has that"
        )
    return found


def pip_warnings(wanted: Requirements, settings: Mapping[str, str]) -> list[str]:
    """The same for what requirements name. :param settings: uv's variables, of the user's."""
    options = wanted.options
    named = [value for name, value in _pairs(options) if name in _INDEXES]
    for variable in ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_FIND_LINKS"):
        named += map(_without_name, re.split(r"[\s,]+", settings.get(variable, "")))
    hosts = [value for name, value in _pairs(options) if name == "--allow-insecure-host"]
    hosts += settings.get("UV_INSECURE_HOST", "").split()
    trusted = [
        f"the certificate of {host} is not checked (trusted-host): whoever is on the way can "
        "exchange packages and their hashes"
        for host in dict.fromkeys(hosts)
        if not _is_here(urlsplit(host if "://" in host else f"//{host}").hostname or "")
    ]
    places = [one.text for one in wanted.packages if not one.options]
    direct = [found[0] for text in places if (found := re.search(r"[\w+.-]+://\S+", text))]
    return [*source_warnings("index", named), *source_warnings("package", direct), *trusted]


def _without_name(index: str) -> str:
    """uv's indexes may be ``NAME=URL``."""
    return re.sub(r"^[\w.-]+=(?=\w+://)", "", index)


def _pairs(options: Sequence[str]) -> Iterable[tuple[str, str]]:
    return itertools.pairwise(options)


def conda_warnings(resolution: Resolution, *, locked: bool) -> list[str]:
    """The same for conda packages, and what no good hash tells. :param locked: of a lock or list,
    whose hashes come from no channel.
    """
    records, channels = resolution.records, list(resolution.channels)
    if locked:
        exposed = [r.url for r in records if not r.sha256 or public_url(r.url) != r.url]
        channels = [url.rsplit("/", 2)[0] for url in exposed]
    found = [*source_warnings("channel", channels), *_weak_hashes(records)]
    # (A list without hashes is told of when it is read.)
    none = [r.name.normalized for r in records if not (locked or r.sha256 or r.md5)]
    return [*found, f"no hash is known of {_listed(none)}"] if none else found


def _weak_hashes(records: Sequence[RepoDataRecord]) -> list[str]:
    weak = [record.name.normalized for record in records if not record.sha256 and record.md5]
    if not weak:
        return []
    return [
        f"only an MD5 is known of {_listed(weak)}: whoever made a package can have made another "
        "one of the same MD5"
    ]


def require_hashes(records: Sequence[RepoDataRecord], source: Path) -> None:
    """:raises InputError: a SHA-256 is not known of all packages."""
    without = [record.name.normalized for record in records if not record.sha256]
    if without:
        raise InputError(
            f"hashes are required, and there is no SHA-256 of {_listed(without)}",
            where=source,
            hint="make the list or the lock with SHA-256 ('conda list --explicit --sha256', "
            "conda-lock), or use a channel that has them",
        )


def _listed(names: Sequence[str]) -> str:
    return shortened(sorted(names), _LISTED)
