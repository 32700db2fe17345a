"""Options that the building commands share, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from wrapper.cli.common import common_options

FILE = click.Path(path_type=Path)
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

PREFIX = click.option(
    "--prefix",
    type=FILE,
    required=True,
    metavar="DIR",
    help="Where to install: a new or an empty directory.",
)
KEEP = click.option(
    "--keep",
    type=click.IntRange(min=1),
    metavar="N",
    help="Remove old generations afterwards so that N stay. Default: all stay.",
)
BASE_IMAGE = click.option(
    "--base-image",
    metavar="IMAGE",
    help="Stand on this container image instead of the host's system: a file, a name of "
    "'containerize base list' or a URI (docker://…). An update keeps the one before.",
)
ENVIRON = click.option(
    "--environ",
    type=FILE,
    metavar="FILE",
    help="File of NAME=VALUE lines to set whenever a program runs.",
)
TMPDIR = click.option(
    "--tmpdir",
    type=FILE,
    metavar="DIR",
    help="Where to build; default: CW_BUILD_TMPDIR, TMPDIR or /tmp. Node-local is fastest.",
)
COMPRESSION = click.option(
    "--compression",
    type=click.Choice(["fast", "default", "small"]),
    help="Of the image: time against size. An update keeps the one before.",
)
WRAPPER_PATHS = click.option(
    "-w",
    "--wrapper-paths",
    multiple=True,
    required=True,
    metavar="PATHS",
    help="Programs, or directories of programs, to make available: a comma-separated list.",
)
BUILD: list[Decorator] = [
    click.option(
        "--pre-install",
        type=FILE,
        multiple=True,
        metavar="FILE",
        help="Bash script to run in the container before packages are installed.",
    ),
    click.option(
        "--post-install",
        type=FILE,
        multiple=True,
        metavar="FILE",
        help="Bash script to run in the container afterwards, the environment active. It may call "
        "pip, uv, conda and mamba.",
    ),
    ENVIRON,
    click.option(
        "-w",
        "--wrapper-paths",
        multiple=True,
        metavar="PATHS",
        help="More programs, or directories of programs, to make available: a comma-separated "
        "list of paths in the environment. All programs in its bin are anyway.",
    ),
    click.option(
        "--nocache",
        is_flag=True,
        help="Neither use nor fill the download cache (CONTAINERIZE_CACHE_DIR).",
    ),
    BASE_IMAGE,
    TMPDIR,
    COMPRESSION,
    click.option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
    common_options,
]


def apply(*options: Decorator) -> Decorator:
    """One decorator of many, which appear in ``--help`` in this order."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def split_paths(words: tuple[str, ...]) -> tuple[str, ...]:
    """Paths of ``-w``, each of whose values is a comma-separated list."""
    return tuple(path for word in words for path in word.split(",") if path)


def request_fields(options: dict[str, Any]) -> dict[str, Any]:
    """Fields of a request from the options of :data:`BUILD`, which are taken out."""
    fields = {
        "wrapper_paths": split_paths(options.pop("wrapper_paths")),
        "use_cache": not options.pop("nocache"),
    }
    names = ["prefix", "pre_install", "post_install", "environ", "tmpdir", "compression"]
    names += ["base_image"]
    return {**fields, **{name: options.pop(name) for name in names}}
