"""pip's own settings (variables, configuration files) in uv's terms."""

from __future__ import annotations

import configparser
import functools
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from wrapper.util import toml

_SITE_CONFIGS = (Path("/etc/xdg/pip/pip.conf"), Path("/etc/pip.conf"))
_data = functools.partial(toml.beside, __file__)
_FILE_SETTINGS = ("constraint", "build-constraint", "cert", "client-cert")
_CERTIFICATE_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")  # pip reads them too


def uv_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """pip's index settings in uv's terms; a ``UV_*`` that the user set has the last word.

    Sources: "Configuration" in pip's documentation (variables over the user's file over the
    site's), "Environment variables" in uv's.
    """
    settings = _pip_config(environ)
    named = {name: _variable(name) for name in _data()["settings"]}
    settings |= {name: environ[it] for name, it in named.items() if it in environ}
    result: dict[str, str] = {}
    for name, value in settings.items():
        variable = _data()["settings"][name]
        # PIP_CERT is meant for pip, SSL_CERT_FILE for all programs.
        if variable not in environ or (variable.startswith("SSL_") and named[name] in environ):
            words = _words(name, value)
            result[variable] = ",".join(words) if name == "find-links" else " ".join(words)
    for name in _CERTIFICATE_VARIABLES:
        if environ.get(name) and "SSL_CERT_FILE" not in environ:
            result.setdefault("SSL_CERT_FILE", environ[name])
    return result


def pip_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """What pip's configuration files say as its variables, for a pip that cannot see the files."""
    settings = {_variable(n): _words(n, value) for n, value in _pip_config(environ).items()}
    return {name: " ".join(words) for name, words in settings.items() if name not in environ}


def _words(name: str, value: str) -> list[str]:
    """The values of a setting; files as absolute paths, since programs run in other directories."""
    words = value.split()
    if name not in _FILE_SETTINGS:
        return words
    return [str(Path(word).expanduser().absolute()) for word in words]


def _variable(name: str) -> str:
    return "PIP_" + name.upper().replace("-", "_")


def without_indexes(
    words: Iterable[str], settings: Mapping[str, str]
) -> tuple[list[str], dict[str, str]]:
    """uv's options without those that name indexes, and these as its variables.

    A password in one would be seen by everybody in the list of processes. As with pip, what is said
    in a file is added to the ``settings`` of the user, and its one index goes before theirs.
    """
    kept: list[str] = []
    found: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        if word not in _data()["indexes"]:
            kept.append(word)
            continue
        variable, between = _data()["indexes"][word]
        value = next(rest)
        if word == "--find-links":
            value = (value if "://" in value else Path(value).as_uri()).replace(",", "%2C")
        found[variable] = f"{found[variable]}{between}{value}" if variable in found else value
    for variable, between in _data()["indexes"].values():
        if between and variable in found and settings.get(variable):
            found[variable] += f"{between}{settings[variable]}"
    return kept, found


def _pip_config(environ: Mapping[str, str]) -> dict[str, str]:
    home = Path(environ.get("HOME", "/"))
    user = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    named = environ.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        return {}  # pip's way to say: no configuration files at all
    places = [*_SITE_CONFIGS, home / ".pip/pip.conf", user / "pip/pip.conf"]
    places += [Path(named)] if named else []
    settings: dict[str, str] = {}
    parser = configparser.ConfigParser(interpolation=None)
    for place in places:
        parser.clear()
        try:
            parser.read(place, encoding="utf-8")
        except (configparser.Error, OSError, UnicodeDecodeError):
            continue  # pip itself will complain; a build should not
        for section in ("global", "install"):
            if parser.has_section(section):
                items = {k.replace("_", "-"): v for k, v in parser.items(section)}
                settings.update({k: v for k, v in items.items() if k in _data()["settings"]})
    return settings
