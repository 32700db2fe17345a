"""Options that the building commands share, and what becomes of them."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from wrapper.cli.common import with_console
from wrapper.console import Console
from wrapper.site_profile import MPI_KINDS

if TYPE_CHECKING:
    from wrapper.inputs.tykky import ToolFile
    from wrapper.models import Site
    from wrapper.requests import Request

R = TypeVar("R", bound="Request")


class _File(click.Path):
    """A path. Of an empty text (``"$UNSET"``) pathlib would make the directory where we are."""

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> str | bytes | os.PathLike[str]:
        if value == "":
            self.fail("the path is empty; is a variable not set?", param, ctx)
        return super().convert(value, param, ctx)


# click would look whether it can be read, and take what cannot for a wrong command line.
FILE = _File(path_type=Path, readable=False)
Decorator = Callable[[Callable[..., object]], Callable[..., object]]
flag = functools.partial(click.option, is_flag=True)
several = functools.partial(click.option, multiple=True)
file = functools.partial(click.option, type=FILE, metavar="FILE")

PREFIX = click.option(
    "--prefix",
    type=FILE,
    metavar="DIR",
    help="Where to install: a new or an empty directory. Required, unless the site sets one.",
)
REQUIRE_HASHES = flag(
    "--require-hashes",
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
COPY_BASE = flag(
    "--copy-base",
    help="Keep a copy of the base image in DIR: the site may remove or change its own.",
)
REUSE_BASE = flag(
    "--reuse-base",
    help="Keep the Python and the packages of the base image (its conda environment, for a conda "
    "environment) and install only what is missing, in versions that fit. An update keeps this.",
)
MPI = click.option(
    "--mpi",
    type=click.Choice(MPI_KINDS),
    help="Which MPI programs get: this machine's, put before any other; the container's own; or "
    "none, nothing is done. Default: what the site says; an update keeps the one before.",
)
WITH = several(
    "--with",
    "others",
    metavar="DIR",
    help="Let programs call those of this other installation by its bin/, as if it were named in "
    "CONTAINERIZE_WITH; repeatable. An update keeps those before unless it names some, or 'none'.",
)
ENVIRON = file(
    "--environ",
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
NOCACHE = flag(
    "--nocache",
    "use_cache",
    callback=lambda _ctx, _param, value: not value,
    help="Neither use nor fill the download cache (CONTAINERIZE_CACHE_DIR).",
)
JSON_RESULT = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
TOOL_FILE = file(
    "-y",
    "--yaml",
    "tool_file",
    help="Also what this file in Tykky's format says; options win.",
)
PRE_INSTALL = file(
    "--pre-install",
    multiple=True,
    help="Bash script to run in the container before anything is installed; repeatable.",
)
POST_INSTALL = file(
    "--post-install",
    multiple=True,
    help="Bash script to run in the container afterwards, the environment active; repeatable.",
)
paths_of_programs = functools.partial(
    several,
    *("-w", "--wrapper-paths"),
    metavar="PATHS",
    callback=lambda _ctx, _param, words: tuple(
        path for word in words for path in word.split(",") if path
    ),
)
WRAPPER_PATHS = paths_of_programs(
    help="Programs, or directories of programs, to make available: a comma-separated list; "
    "repeatable. Required.",
)


def apply(*options: Decorator) -> Decorator:
    """One decorator of many, which appear in ``--help`` in this order."""

    def decorate(command: Callable[..., object]) -> Callable[..., object]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def grouped(name: str, kind: Callable[..., object], *options: Decorator) -> Decorator:
    """Options that a command takes as one value, ``name``, of the data class ``kind``.

    Click hands values over by name and without types. So each option has a field of its name, of
    the type that click makes: ``tests/unit/test_cli.py`` compares them.
    """
    members = list(inspect.signature(kind).parameters)

    def decorate(command: Callable[..., object]) -> Callable[..., object]:
        @functools.wraps(command)
        def wrapped(*console: Console, **given: object) -> object:
            group = kind(**{member: given.pop(member) for member in members})
            return command(*console, **given, **{name: group})

        return apply(*options)(wrapped)

    return decorate


_OF_SITES = {"prefix", "compression"}


def asking(request: str, *options: Decorator) -> Decorator:
    """Options of a command whose values are fields of a request, a class in
    :mod:`wrapper.requests`: the command gets them as ``asked``, which makes the request of what
    else there is to say, and by themselves those that are no field, or that a site may set too.
    """

    def decorate(command: Callable[..., object]) -> Callable[..., object]:
        @functools.wraps(command)
        def wrapped(console: Console, **given: object) -> object:
            from wrapper import requests  # not for --help

            kind = getattr(requests, request)
            names = {field.name for field in fields(kind)} - _OF_SITES
            values = {name: given.pop(name) for name in names & given.keys()}
            return command(console, asked=functools.partial(kind, **values), **given)

        return apply(*options, with_console)(wrapped)

    return decorate


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """How every command that builds an installation does so: :data:`HOW`."""

    tmpdir: Path | None
    compression: str | None
    as_json: bool


HOW = grouped("options", BuildOptions, TMPDIR, COMPRESSION, JSON_RESULT)
BUILD = apply(
    PRE_INSTALL,
    POST_INSTALL,
    ENVIRON,
    paths_of_programs(
        help="More programs, or directories of programs, to make available: a comma-separated "
        "list of paths in the environment; repeatable. All programs in its bin are anyway.",
    ),
    NOCACHE,
    BASE_IMAGE,
    COPY_BASE,
    REUSE_BASE,
    MPI,
    WITH,
)
"""What every such command can be asked for."""


def configured(
    console: Console,
    *,
    building: bool = True,
    tmpdir: Path | None = None,
    compression: str | None = None,
) -> Site:
    """All configuration, with what it has to say told.

    :param building: whether the site's message concerns the command.
    :param tmpdir: of the command line, as is :param compression:.
    :raises ContainerizeError: a site's file or a variable is not what it should be.
    """
    from wrapper import settings as site
    from wrapper.runtime.binds import leave_out_missing

    level = {1: 3, -1: 1}.get(console.verbosity)
    options = {"tmpdir": tmpdir, "compression": compression, "log_level": level}
    settings = site.load(os.environ, options)
    console.verbosity = settings.log_level - 2
    for warning in settings.warnings:
        console.warning(warning)
    if building and settings.message:
        console.info(settings.message)
    for bind in leave_out_missing(os.environ) if building else ():
        console.warning(f"{bind} is to be bound, and is not there for you: the build does without")
    return settings


def on_site(request: R, site: Site) -> R:
    """A request with the configuration; the compression is what the command line, or what the site
    forces, names for this build.
    """
    from wrapper.conda import channels

    return replace(
        request,
        site=site,
        compression=site.compression if "compression" in site.chosen else None,
        channels=tuple(map(channels.absolute, request.channels)),
    )


def prefix_of(given: Path | None, settings: Site, tool: ToolFile) -> Path:
    """Where to install: the option's or the site's word, else that of a tool's file.

    :raises click.UsageError: nobody says it.
    """
    found = given or settings.prefix or tool.prefix
    require(found, "--prefix")
    assert found
    return found


def require(value: object, name: str) -> None:
    """:raises click.UsageError: an option that may come from elsewhere came from nowhere."""
    if not value:
        raise click.UsageError(f"Missing option '{name}'.", click.get_current_context())
