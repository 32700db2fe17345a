"""Options that the building commands share, and what becomes of them."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wrapper.cli.common import with_console
from wrapper.console import Console
from wrapper.site_profile import MPI_KINDS

if TYPE_CHECKING:
    from wrapper.inputs.tykky import ToolFile
    from wrapper.models import Site


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
    help="Neither use nor fill the download cache (CONTAINERIZE_CACHE_DIR).",
)
JSON_RESULT = flag("--json", "as_json", help="Print the result as JSON.")
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
WRAPPER_PATHS = several(
    "-w",
    "--wrapper-paths",
    metavar="PATHS",
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


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """What every command that builds an installation can be told: :data:`BUILD`."""

    pre_install: tuple[Path, ...]
    post_install: tuple[Path, ...]
    environ: Path | None
    wrapper_paths: tuple[str, ...]
    nocache: bool
    base_image: str | None
    copy_base: bool
    reuse_base: bool
    mpi: str | None
    others: tuple[str, ...]
    tmpdir: Path | None
    compression: str | None
    as_json: bool


BUILD = grouped(
    "options",
    BuildOptions,
    PRE_INSTALL,
    POST_INSTALL,
    ENVIRON,
    several(
        "-w",
        "--wrapper-paths",
        metavar="PATHS",
        help="More programs, or directories of programs, to make available: a comma-separated "
        "list of paths in the environment; repeatable. All programs in its bin are anyway.",
    ),
    NOCACHE,
    BASE_IMAGE,
    COPY_BASE,
    REUSE_BASE,
    MPI,
    WITH,
    TMPDIR,
    COMPRESSION,
    JSON_RESULT,
    with_console,
)


def split_paths(words: tuple[str, ...]) -> tuple[str, ...]:
    """Paths of ``-w``, each of whose values is a comma-separated list."""
    return tuple(path for word in words for path in word.split(",") if path)


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


def chosen_compression(settings: Site) -> str | None:
    """The compression that the command line or the site's force names for this build."""
    return settings.compression if "compression" in settings.chosen else None


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
