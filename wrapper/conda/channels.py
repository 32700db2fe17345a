"""Which channels are searched: the command line's, the file's, the site's, and their mirrors."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from wrapper.errors import InputError
from wrapper.models import EnvironmentSpec, Site

DEFAULTS = "defaults"
# What conda means by "defaults" needs a licence in most organisations, so that a site has to allow
# it, by naming its URLs as a mirror ("default_channels" in conda's documentation).
_LICENCE_HINT = "Anaconda's channels need a licence: use conda-forge, or name their URLs"


def choose(
    asked: EnvironmentSpec, named: Sequence[str], site: Site
) -> tuple[tuple[str, ...], list[str]]:
    """The channels to search for ``asked``, and what the user is to be told of the choice.

    :param named: of the command line, instead of the file's; see :func:`absolute`.
    :raises InputError: ``defaults`` is asked for by name and not allowed here.
    """
    notes: list[str] = []
    if not allowed(site):
        if DEFAULTS in named:
            raise InputError(
                "the channel 'defaults' cannot be used here", where="--channel", hint=_LICENCE_HINT
            )
        for spec in asked.specs:
            if spec.text.startswith(f"{DEFAULTS}::"):
                raise InputError(
                    f"'{spec.text}' names the channel 'defaults', which cannot be used here",
                    where=f"{asked.source}, line {spec.line}",
                    hint=_LICENCE_HINT,
                )
    chosen = tuple(named or asked.channels)
    more = tuple(c for c in site.more_channels if c != DEFAULTS or allowed(site))
    if DEFAULTS in chosen and not allowed(site):
        chosen = tuple(name for name in chosen if name != DEFAULTS)
        notes.append(
            f"the channel 'defaults' of {asked.source.name} is left out: name its URLs to use it"
        )
    if not chosen and asked.locked is None:
        chosen = tuple(dict.fromkeys((*more, *site.channels)))  # the user's own first, as conda
        notes.append(f"no channels in {asked.source.name}: using {', '.join(chosen)}")
    return tuple(dict.fromkeys((*chosen, *more))), notes


def allowed(site: Site) -> bool:
    """Whether ``defaults`` may be searched."""
    return DEFAULTS in site.mirrors


def absolute(name: str) -> str:
    """A channel of the command line for everywhere: a path starts at the working directory."""
    path = Path(name).expanduser()
    return path.resolve().as_uri() if path.is_absolute() or name.startswith(".") else name


def local_directories(names: Sequence[str], directory: Path) -> list[Path]:
    """Those channels that are directories on this host; relative ones start at ``directory``."""
    paths = [
        directory / os.path.expanduser(unquote(name.removeprefix("file://")))  # noqa: PTH111
        for name in names
        if name.startswith(("file://", "/", ".", "~"))
    ]
    return [path for path in paths if path.is_dir()]


def mirrored(name: str, site: Site) -> tuple[str, ...]:
    """The channels to use for ``name`` (a name, a path or a URL): itself where nothing is set."""
    head, _, label = name.partition("/")  # conda-forge/label/dev
    if name in site.mirrors:
        return site.mirrors[name]
    if "://" in name:
        for url, mirrors in site.mirrors.items():
            stem = url.rstrip("/")
            if "://" in url and name.startswith(f"{stem}/"):
                return tuple(mirror.rstrip("/") + name[len(stem) :] for mirror in mirrors)
    elif head in site.mirrors and label:
        return tuple(f"{mirror.rstrip('/')}/{label}" for mirror in site.mirrors[head])
    elif "*" in site.mirrors and head and not name.startswith((".", "~")):
        return tuple(f"{mirror.rstrip('/')}/{name}" for mirror in site.mirrors["*"])
    return (name,)
