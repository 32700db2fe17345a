"""Other installations whose programs one is to call, where that is known when it is built.

What ``CONTAINERIZE_WITH`` brings at a start is a list of binds then. They go through the other's
``current``: its updates are seen. As with all binds of a site, what has gone is left out.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from wrapper import layout, platforms
from wrapper.console import Console
from wrapper.errors import InputError, PrefixError
from wrapper.manifest import Manifest, read_manifest
from wrapper.runtime.binds import UNBINDABLE_NAMES, unbindable

NOBODY = "none"
"""The word for none of those before, nor of the site."""


@dataclass(frozen=True, kw_only=True)
class Other:
    """:ivar prefix: links resolved, as a bind's destination has to be."""

    prefix: Path
    manifest: Manifest

    @property
    def binds(self) -> tuple[str, ...]:
        """Its image at its own path, and its programs over its shims."""
        image, inside = self.prefix / layout.CURRENT / layout.IMAGE, self.manifest.install_path
        top = self.manifest.image_root or "/".join(inside.split("/")[:2])
        binds = [f"{image}:{top}:image-src={'/' if self.manifest.image_root else top}"]
        mask = os.path.realpath(self.manifest.source) if self.manifest.mask else ""
        if mask and Path(mask).is_dir():  # a bind to nowhere would end the start
            binds.append(f"{image}:{mask}:image-src={inside}")
        if mask != str(self.prefix):  # else the image lies over it, and has them
            programs = self.prefix / layout.CURRENT / layout.PROGRAMS
            binds.append(f"{programs}:{self.prefix / layout.BIN}")
        return tuple(binds)


def find(
    asked: Sequence[str],
    before: Iterable[str],
    of_site: Iterable[Path],
    *,
    own: Path,
    console: Console,
) -> tuple[Other, ...]:
    """Those to be there in the installation ``own``, each once; itself is left out.

    :param asked: words of the command line, which may be :data:`NOBODY`. :param before: what the
        previous generation has, which stays where nobody asks for others. Of these and the site's
        one that cannot be had is told.
    :raises InputError: one that is asked for cannot be had.
    """
    found: dict[Path, Other] = {}
    kept = () if NOBODY in asked else (*map(str, of_site), *(() if asked else before))
    named = [name for name in asked if name != NOBODY]
    for place in (*kept, *named):
        path = Path(os.path.realpath(place))
        if path in found or path == Path(os.path.realpath(own)):
            continue
        try:
            found[path] = _other(path)
        except InputError as error:
            if place in named:
                error.where = f"--with {place}"
                raise
            console.warning(f"{error.what}: its programs cannot be called")
    return tuple(found.values())


def _other(path: Path) -> Other:
    """:raises InputError: it is none, or one that cannot be a part of another's container."""
    try:
        manifest = read_manifest(path)
    except PrefixError as error:
        raise InputError(error.what, hint=error.hint) from None
    if manifest.base.kind == "image":
        raise InputError(
            f"{path} has a container with a system of its own, which cannot be added",
            hint="call its programs from outside, in a step of their own",
        )
    if manifest.machine not in ("", platforms.machine()):
        raise InputError(
            f"{path} was built for {manifest.machine}, and this is {platforms.machine()}",
            hint="name one that was built on a node of this kind",
        )
    if unbindable(path):
        raise InputError(
            f"a bind cannot express the path {path}",
            hint=f"move it to one without {UNBINDABLE_NAMES}",
        )
    places = [manifest.install_path, *([manifest.image_root] if manifest.image_root else [])]
    places += [manifest.source, os.path.realpath(manifest.source)] if manifest.mask else []
    if bad := [place for place in places if not _can_be_bound_at(place)]:
        raise InputError(
            f"{path} says that it belongs at {bad[0]!r}, where nothing can be bound",
            hint="ask its owner to build it anew, or leave it out",
        )
    return Other(prefix=path, manifest=manifest)


def _can_be_bound_at(place: str) -> bool:
    below_root = place.startswith("/") and os.path.normpath(place).strip("/")
    return bool(below_root) and not unbindable(place)
