"""The part of a user's ``.condarc`` that says where packages come from.

Read only where it is asked for (``CW_ENABLE_CONDARC``): a forgotten file in the home directory
shall not change what a build installs. Source: "Using the .condarc conda configuration file" and
"Channels" in conda's documentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wrapper.errors import InputError
from wrapper.util import yaml_nodes

_HINT = "see conda's documentation of .condarc, or unset CW_ENABLE_CONDARC"
# What would change a build, and is not read: where the same is set with us.
_ELSEWHERE = {
    "channel_priority": "it is always strict",
    "pkgs_dirs": "set CONTAINERIZE_CACHE_DIR",
    "proxy_servers": "set http_proxy and https_proxy",
    "ssl_verify": "set SSL_CERT_FILE",
}


@dataclass(frozen=True, kw_only=True)
class Condarc:
    """:ivar channels: searched after those of an env.yml, as conda does. :ivar mirrors: as in
    :class:`~wrapper.models.Site`.
    """

    channels: tuple[str, ...]
    mirrors: Mapping[str, tuple[str, ...]]
    warnings: tuple[str, ...]


def parse_condarc(text: str, path: Path) -> Condarc:
    """Parse the text of a ``.condarc``. :raises InputError: it is none."""
    keys = yaml_nodes.top_level(text, path, _HINT, may_be_empty=True)
    values = {name: yaml_nodes.plain(node, path) for name, (_, node) in keys.items()}
    mirrors: dict[str, tuple[str, ...]] = {}
    for name, urls in _mapping(values, "custom_multichannels", path).items():
        mirrors[str(name)] = _texts(urls)
    for name, base in _mapping(values, "custom_channels", path).items():
        mirrors[str(name)] = (f"{str(base).rstrip('/')}/{name}",)
    if alias := values.get("channel_alias"):
        if not isinstance(alias, str):
            raise InputError("'channel_alias:' must be a URL", where=path, hint=_HINT)
        mirrors["*"] = (alias.rstrip("/"),)
    if defaults := values.get("default_channels"):
        mirrors["defaults"] = _texts(defaults)
    ignored = [f"{key} ({_ELSEWHERE[key]})" for key in values if key in _ELSEWHERE]
    return Condarc(
        channels=_texts(values.get("channels") or ()),
        mirrors=mirrors,
        warnings=(f"{path}: without effect: {', '.join(ignored)}",) if ignored else (),
    )


def _mapping(values: Mapping[str, object], key: str, path: Path) -> Mapping[object, object]:
    value = values.get(key) or {}
    if not isinstance(value, dict):
        raise InputError(f"'{key}:' must be a mapping of names to URLs", where=path, hint=_HINT)
    return value


def _texts(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list | tuple) else (str(value),)
