"""Options that the building commands share, and what becomes of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wrapper.cli.common import common_options
from wrapper.console import Console

if TYPE_CHECKING:
    from wrapper.inputs.tykky import ToolFile
    from wrapper.models import Site


class _File(click.Path):
    """A path. Of an empty text (``"$UNSET"``) pathlib would make the directory where we are."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("the path is empty; is a variable not set?", param, ctx)
        return super().convert(value, param, ctx)


# click would look whether it can be read, and take what cannot for a wrong command line.
FILE = _File(path_type=Path, readable=False)
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

PREFIX = click.option(
    "--prefix",
    type=FILE,
    metavar="DIR",
    help="Where to install: a new or an empty directory. Required, unless the site sets one.",
)
REQUIRE_HASHES = click.option(
    "--require-hashes",
    is_flag=True,
    help="Install nothing whose hash is not known beforehand: all packages of a lock, list or "
    "requirements file need one (as with pip, one that has a hash there asks for all).",
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
COPY_BASE = click.option(
    "--copy-base",
    is_flag=True,
    help="Keep a copy of the base image in DIR: the site may remove or change its own.",
)
REUSE_BASE = click.option(
    "--reuse-base",
    is_flag=True,
    help="Keep the Python and the packages of the base image (its conda environment, for a conda "
    "environment) and install only what is missing, in versions that fit. An update keeps this.",
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
    help="Where to build; default: CW_BUILD_TMPDIR, the site's, TMPDIR or /tmp. Node-local is "
    "fastest.",
)


def _compression(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    from wrapper.images.compression import check_word

    try:
        return None if value is None else check_word(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


COMPRESSION = click.option(
    "--compression",
    metavar="WORD",
    callback=_compression,
    help="Of the image: fast, default or small, each with the best compressor that the runtime "
    "starts; or zstd, lz4 or gzip, which may have a level (zstd:15).",
)
TOOL_FILE = click.option(
    "-y",
    "--yaml",
    "tool_file",
    type=FILE,
    metavar="FILE",
    help="Also what this file in Tykky's format says; options win.",
)
PRE_INSTALL = click.option(
    "--pre-install",
    type=FILE,
    multiple=True,
    metavar="FILE",
    help="Bash script to run in the container before anything is installed; repeatable.",
)
POST_INSTALL = click.option(
    "--post-install",
    type=FILE,
    multiple=True,
    metavar="FILE",
    help="Bash script to run in the container afterwards, the environment active; repeatable.",
)
WRAPPER_PATHS = click.option(
    "-w",
    "--wrapper-paths",
    multiple=True,
    metavar="PATHS",
    help="Programs, or directories of programs, to make available: a comma-separated list; "
    "repeatable. Required.",
)
BUILD: list[Decorator] = [
    PRE_INSTALL,
    POST_INSTALL,
    ENVIRON,
    click.option(
        "-w",
        "--wrapper-paths",
        multiple=True,
        metavar="PATHS",
        help="More programs, or directories of programs, to make available: a comma-separated "
        "list of paths in the environment; repeatable. All programs in its bin are anyway.",
    ),
    click.option(
        "--nocache",
        is_flag=True,
        help="Neither use nor fill the download cache (CONTAINERIZE_CACHE_DIR).",
    ),
    BASE_IMAGE,
    COPY_BASE,
    REUSE_BASE,
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


def configured(console: Console, verbosity: int, *, building: bool = True, **options: Any) -> Site:
    """All configuration, with what it has to say told.

    :param building: whether the site's message concerns the command.
    :param options: of the command line, by key of :mod:`wrapper.settings_keys`.
    :raises ContainerizeError: a site's file or a variable is not what it should be.
    """
    from wrapper import settings as site

    level = {1: 3, -1: 1}.get(verbosity)
    settings = site.load(os.environ, {**options, "log_level": level})
    console.verbosity = settings.log_level - 2
    for warning in settings.warnings:
        console.warning(warning)
    if building and settings.message:
        console.info(settings.message)
    return settings


def request_fields(options: Mapping[str, Any], console: Console) -> dict[str, Any]:
    """Fields of a request from a command's options and all configuration, which is told.

    :raises ContainerizeError: a site's file or a variable is not what it should be.
    """
    from wrapper.conda import channels

    named: dict[str, Any] = {name: options.get(name) for name in ("tmpdir", "compression")}
    settings = configured(console, options["verbosity"], **named)
    fields = {
        name: value
        for name, value in options.items()
        if name not in ("tmpdir", "nocache", "verbosity", "debug")
    }
    if options.get("channels"):
        fields["channels"] = tuple(map(channels.absolute, options["channels"]))
    if "nocache" in options:
        fields["use_cache"] = not options["nocache"]
    if "compression" in options:
        chosen = "compression" in settings.chosen
        fields["compression"] = settings.compression if chosen else None
    fields["wrapper_paths"] = split_paths(options["wrapper_paths"])
    return {**fields, "prefix": options["prefix"] or settings.prefix, "site": settings}


def prefix_of(fields: Mapping[str, Any], tool: ToolFile) -> Path:
    """Where to install: the option's or the site's word, else that of a tool's file.

    :raises click.UsageError: nobody says it.
    """
    found: Path | None = fields["prefix"] or tool.prefix
    require(found, "--prefix")
    assert found
    return found


def require(value: object, name: str) -> None:
    """:raises click.UsageError: an option that may come from elsewhere came from nowhere."""
    if not value:
        raise click.UsageError(f"Missing option '{name}'.", click.get_current_context())
