"""``containerize build``: one portable SIF. Its command line has all of cotainr's."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wrapper.cli.common import CONTEXT, Command, say, with_console
from wrapper.cli.options import (
    COMPRESSION,
    ENVIRON,
    FILE,
    JSON_RESULT,
    MPI,
    NOCACHE,
    REQUIRE_HASHES,
    REUSE_BASE,
    TMPDIR,
    Decorator,
    chosen_compression,
    configured,
    file,
    flag,
    grouped,
    several,
)
from wrapper.console import Console

if TYPE_CHECKING:
    from wrapper.models import Site
    from wrapper.requests import SifRequest


def _without_colours(_ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        os.environ["NO_COLOR"] = "1"


_BASE: list[Decorator] = [
    click.option(
        "--base-image",
        metavar="IMAGE",
        help="The image to build on: a SIF file, a sandbox directory, a name of 'containerize base "
        "list', or a URI such as docker://ubuntu:24.04.",
    ),
    click.option(
        "--system",
        metavar="NAME",
        help="The base image for this machine, by a name from cotainr's systems.json: see "
        "'containerize info'.",
    ),
    REUSE_BASE,
]
_CONTENT: list[Decorator] = [
    file(
        "--conda-env",
        "environment",
        help="Install this conda environment: an env.yml, an explicit list or a conda-lock.yml.",
    ),
    file(
        "-r",
        "--requirements",
        multiple=True,
        help="Install the packages of this pip requirements file, into the conda environment or, "
        "without one, for the base image's own Python; repeatable.",
    ),
    REQUIRE_HASHES,
    flag(
        "--system-site-packages",
        "system_site",
        help="Without a conda environment: see the packages of the base image's Python too.",
    ),
    several(
        "-c",
        "--channel",
        "channels",
        metavar="URL",
        help="Search this channel (a name, URL or path) instead of those in FILE; repeatable.",
    ),
    several(
        "--os-package",
        "os_packages",
        metavar="NAME",
        help="Add this package of the base image's system with its own package manager (zypper, "
        "apt, dnf); repeatable. Needs root, a static proot on PATH, or Apptainer where users may "
        "have namespaces. Unpacks the whole base.",
    ),
    file(
        "--pre-install",
        multiple=True,
        help="Bash script to run in the container before packages are installed.",
    ),
    file(
        "--post-install",
        multiple=True,
        help="Bash script to run in the container afterwards, the environment active. What it "
        "writes into $env_root is in the image.",
    ),
    ENVIRON,
]
_HOW: list[Decorator] = [
    flag(
        "--update",
        help="Change the environment of the image OUT that is there; without --conda-env its conda "
        "packages stay. An image without an environment gets one.",
    ),
    flag("--force", help="Replace OUT without asking."),
    flag(
        "--flatten",
        default=None,
        help="One file system of base and environment, for runtimes without overlays: see "
        "'containerize info'. Takes minutes per GB of the base.",
    ),
    NOCACHE,
    MPI,
    TMPDIR,
    COMPRESSION,
    JSON_RESULT,
    flag(
        "--accept-licenses",
        expose_value=False,
        help="Accepted as cotainr's; changes nothing.",
    ),
    flag("--log-to-file", help="Keep the log, in the current directory."),
    flag(
        "--no-color",
        expose_value=False,
        callback=_without_colours,
        help="No colours on the screen, as with NO_COLOR.",
    ),
]


@dataclass(frozen=True, kw_only=True)
class _Options:
    """Everything that ``build`` can be told."""

    prefix: Path
    base_image: str | None
    system: str | None
    reuse_base: bool
    environment: Path | None
    requirements: tuple[Path, ...]
    require_hashes: bool
    system_site: bool
    channels: tuple[str, ...]
    os_packages: tuple[str, ...]
    pre_install: tuple[Path, ...]
    post_install: tuple[Path, ...]
    environ: Path | None
    update: bool
    force: bool
    flatten: bool | None
    nocache: bool
    mpi: str | None
    tmpdir: Path | None
    compression: str | None
    as_json: bool
    log_to_file: bool


@click.command("build", cls=Command, context_settings=CONTEXT, short_help="Build one portable SIF.")
@grouped(
    "options",
    _Options,
    click.argument("prefix", type=FILE, metavar="OUT.sif"),
    *_BASE,
    *_CONTENT,
    *_HOW,
    with_console,
)
def build(console: Console, options: _Options) -> None:
    """Build one portable SIF: a base image with an environment, active in exec, run and shell.

    The base is copied, never unpacked; the environment is a layer over it. The file runs wherever
    Singularity or Apptainer does. All of cotainr's command lines work.

    \b
    Example:
      containerize build torch.sif --base-image rocm.sif --conda-env env.yml
      singularity exec torch.sif python3 my_program.py
    """
    from wrapper.cli import report
    from wrapper.commands.build_sif import build_sif

    _check_base(options)
    force = _may_replace(options)
    tmpdir, compression = options.tmpdir, options.compression
    site = configured(console, tmpdir=tmpdir, compression=compression)
    request = _request(options, site, force=force)
    if options.log_to_file:
        console.copy_log(Path(time.strftime("containerize_build_%Y%m%d_%H%M%S.log")))
    result = build_sif(request, console)
    for line in report.sif_lines(result, site.host_programs):
        console.info(line)
    if options.as_json:
        say(report.result_json(result))


def _check_base(options: _Options) -> None:
    named = [name for name in (options.base_image, options.system) if name]
    if options.update:
        if named or options.os_packages:
            raise click.UsageError("--update keeps the base image: name none, and no --os-package")
    elif len(named) != 1:
        raise click.UsageError("name the base image with --base-image or --system, one of the two")


def _may_replace(options: _Options) -> bool:
    """Whether OUT may be replaced: the user said so, or says so now, on a terminal."""
    from wrapper.images.sif.output import check_kind, output_path

    there = os.path.isfile(options.prefix)  # noqa: PTH113 - false, not raised, if forbidden
    if options.force or options.update or not there:
        return options.force
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    check_kind(output_path(options.prefix))
    try:
        return click.confirm(f"{options.prefix} exists already. Replace it?", err=True)
    except click.Abort:  # the end of the input
        return False


def _request(options: _Options, site: Site, *, force: bool) -> SifRequest:
    """:raises InputError: this machine has no image for the system."""
    from wrapper.conda import channels
    from wrapper.images.sif.systems import base_of, find_systems
    from wrapper.requests import SifRequest

    base_image = options.base_image
    if options.system:
        base_image = base_of(options.system, find_systems(os.environ))
    return SifRequest(
        prefix=options.prefix,
        environment=options.environment,
        requirements=options.requirements,
        channels=tuple(map(channels.absolute, options.channels)),
        require_hashes=options.require_hashes,
        system_site=options.system_site,
        os_packages=options.os_packages,
        pre_install=options.pre_install,
        post_install=options.post_install,
        environ=options.environ,
        base_image=base_image,
        reuse_base=options.reuse_base,
        update=options.update,
        force=force,
        flatten=options.flatten,
        mpi=options.mpi,
        use_cache=not options.nocache,
        compression=chosen_compression(site),
        site=site,
    )
