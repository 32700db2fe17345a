"""``conda-containerize``: conda environments."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from wrapper.cli.common import CONTEXT, common_options, run_command
from wrapper.console import Console

_FILE = click.Path(path_type=Path)
_BUILD_OPTIONS: list[Callable[[Callable[..., Any]], Callable[..., Any]]] = [
    click.option(
        "-r",
        "--requirement",
        "requirements",
        type=_FILE,
        multiple=True,
        metavar="FILE",
        help="Also install the packages of this pip requirements file.",
    ),
    click.option(
        "--pre-install",
        type=_FILE,
        multiple=True,
        metavar="FILE",
        help="Bash script to run in the container before packages are installed.",
    ),
    click.option(
        "--post-install",
        type=_FILE,
        multiple=True,
        metavar="FILE",
        help="Bash script to run in the container afterwards, the environment active. It may call "
        "pip, uv, conda and mamba.",
    ),
    click.option(
        "--environ",
        type=_FILE,
        metavar="FILE",
        help="File of NAME=VALUE lines to set whenever a program runs.",
    ),
    click.option(
        "-w",
        "--wrapper-paths",
        multiple=True,
        metavar="PATHS",
        help="More programs, or directories of programs, to make available: a comma-separated "
        "list of paths in the environment. All programs in its bin are anyway.",
    ),
    click.option(
        "-c",
        "--channel",
        "channels",
        multiple=True,
        metavar="URL",
        help="Search this channel (a name, URL or path) instead of those in ENV_FILE; repeatable.",
    ),
    click.option(
        "--nocache",
        is_flag=True,
        help="Neither use nor fill the download cache (CONTAINERIZE_CACHE_DIR).",
    ),
    click.option(
        "--tmpdir",
        type=_FILE,
        metavar="DIR",
        help="Where to build; default: CW_BUILD_TMPDIR, TMPDIR or /tmp. Node-local is fastest.",
    ),
    click.option(
        "--compression",
        type=click.Choice(["fast", "default", "small"]),
        help="Of the image: time against size. An update keeps the one before.",
    ),
    click.option("--dry-run", is_flag=True, help="Solve, print what would be done, and stop."),
    click.option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
    click.option("--mamba", is_flag=True, help="Accepted as Tykky's; changes nothing."),
    click.option("--uv", is_flag=True, help="Accepted as Tykky's; changes nothing."),
    common_options,
]


def _build_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_BUILD_OPTIONS):
        command = option(command)
    return command


@click.group("conda-containerize", context_settings=CONTEXT)
@click.version_option(package_name="containerize", prog_name="conda-containerize")
def conda_containerize() -> None:
    """Put a conda environment into one SquashFS image, with a bin/ of transparent programs.

    \b
    Example:
      conda-containerize new --prefix /projappl/project_x/env env.yml
      export PATH="/projappl/project_x/env/bin:$PATH"
      python3 my_program.py
      conda-containerize update /projappl/project_x/env new-env.yml
    """


@conda_containerize.command("new")
@click.argument("environment", type=_FILE, metavar="ENV_FILE")
@click.option(
    "--prefix",
    type=_FILE,
    required=True,
    metavar="DIR",
    help="Where to install: a new or an empty directory.",
)
@_build_options
def new(**options: Any) -> None:
    """Install the environment that ENV_FILE describes.

    ENV_FILE is an env.yml, an explicit list (conda list --explicit) or a conda-lock.yml. The
    build happens in a directory of its own; DIR appears when it is complete, or not at all.
    """
    _build(options, new=True)


@conda_containerize.command("update")
@click.argument("prefix", type=_FILE, metavar="DIR")
@click.argument("environment", type=_FILE, metavar="[ENV_FILE]", required=False)
@click.option(
    "--keep",
    type=click.IntRange(min=1),
    metavar="N",
    help="Remove old generations afterwards so that N stay. Default: all stay.",
)
@_build_options
def update(**options: Any) -> None:
    """Change the installation DIR, which keeps working all the time.

    ENV_FILE is solved anew, keeping the installed versions where it allows; without it the conda
    packages stay and only -r, --post-install and so on are applied. The result is a further
    generation: programs that run keep theirs, and 'containerize rollback DIR' switches back.
    """
    _build(options, new=False)


def _build(options: dict[str, Any], *, new: bool) -> None:
    """Run ``new`` or ``update`` of the pipeline on the command line's options."""
    if options.pop("mamba") | options.pop("uv"):
        click.echo("[ INFO ] --mamba and --uv change nothing: both are always in use", err=True)
    dry_run, as_json = options.pop("dry_run"), options.pop("as_json")
    verbosity, debug = options.pop("verbosity"), options.pop("debug")
    paths = options.pop("wrapper_paths")
    options["wrapper_paths"] = tuple(path for word in paths for path in word.split(",") if path)
    options["use_cache"] = not options.pop("nocache")

    def work(console: Console) -> None:
        from wrapper import models, pipeline
        from wrapper.cli import report

        request: Any = (models.NewRequest if new else models.UpdateRequest)(**options)
        if dry_run:
            plan = (pipeline.plan_new if new else pipeline.plan_update)(request, console)
            click.echo(report.plan_json(plan) if as_json else report.plan_table(plan))
            return
        result = (pipeline.new if new else pipeline.update)(request, console)
        console.info(report.describe(result))
        if as_json:
            click.echo(report.result_json(result))

    run_command(work, verbosity=verbosity, debug=debug)
