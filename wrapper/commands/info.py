"""``containerize info``: what a build has to work with here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping

from wrapper.console import human_size
from wrapper.errors import ContainerizeError
from wrapper.images.sif.systems import find_systems
from wrapper.images.squasher import find_squasher
from wrapper.images.trial import describe_compression, describe_overlays
from wrapper.models import Site
from wrapper.runtime.runtime import find_runtime
from wrapper.util.disk import free_space
from wrapper.workspace import parent_directory


def tools_and_places(settings: Site) -> Iterator[tuple[str, str | ContainerizeError]]:
    """What a build uses: what it is for, and what was found, or why there is none."""
    looks: Mapping[str, Callable[[Site], str]] = {
        "runtime": _runtime,
        "mksquashfs": _squasher,
        "builds in": _place,
        "compression": describe_compression,
        "overlays": describe_overlays,
        "systems": lambda _: ", ".join(find_systems(os.environ)) or "none (--system)",
    }
    for title, look in looks.items():
        try:
            yield title, look(settings)
        except ContainerizeError as error:
            yield title, error


def _runtime(settings: Site) -> str:
    found = find_runtime(os.environ, settings)
    return f"{found.name} {found.version} ({found.path})"


def _squasher(settings: Site) -> str:
    found = find_squasher(os.environ, settings)
    return f"{found.version[0]}.{found.version[1]} ({found.path})"


def _place(settings: Site) -> str:
    parent = parent_directory(settings)
    return f"{parent} ({human_size(free_space(parent))} free)"
