"""``conda-containerize``: conda environments."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wrapper.cli.building import Building, begin
from wrapper.cli.common import CONTEXT, Group
from wrapper.cli.options import (
    BUILD,
    FILE,
    HOW,
    KEEP,
    PREFIX,
    REQUIRE_HASHES,
    BuildOptions,
    apply,
    asking,
    file,
    flag,
    several,
)
from wrapper.console import Console
from wrapper.platforms import MACHINES

if TYPE_CHECKING:
    from wrapper.requests import NewRequest, Request, UpdateRequest

_MODES = ("conda", "conda_modify")  # Tykky's words for a new installation and an update


_CONDA = apply(
    file(
        "-r",
        "--requirement",
        "requirements",
        multiple=True,
        help="Also install the packages of this pip requirements file; repeatable.",
    ),
    several(
        "-c",
        "--channel",
        "channels",
        metavar="URL",
        help="Search this channel (a name, URL or path) instead of those of ENV_FILE; an update "
        "does so too. Repeatable.",
    ),
    REQUIRE_HASHES,
    flag("--dry-run", help="Solve, print what would be done, and stop."),
    flag("--mamba", help="Accepted as Tykky's; changes nothing."),
    flag("--uv", help="Accepted as Tykky's; changes nothing."),
)


@click.group("conda-containerize", cls=Group, context_settings=CONTEXT)
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
@asking(
    "NewRequest",
    click.argument("environment", type=FILE, metavar="ENV_FILE"),
    PREFIX,
    click.option(
        "--platform",
        type=click.Choice(list(MACHINES)),
        help="With --dry-run or --lock: solve for machines of this kind instead of this one's.",
    ),
    file(
        "--lock",
        help="Solve, write the packages into FILE as a conda-lock.yml, and stop.",
    ),
    _CONDA,
    BUILD,
    HOW,
)
def new(
    console: Console,
    *,
    asked: partial[NewRequest],
    prefix: Path | None,
    dry_run: bool,
    mamba: bool,
    uv: bool,
    options: BuildOptions,
) -> None:
    """Install the environment that ENV_FILE describes.

    ENV_FILE is an env.yml, a list of packages (conda list --explicit or --export), a
    conda-lock.yml or a pixi.lock. The build happens in a directory of its own; DIR appears when it
    is complete, or not at all.
    """
    _tell_of_tykky(mamba or uv, console)
    _new(begin(console, options, _MODES), asked, prefix, dry_run=dry_run)


@conda_containerize.command("update")
@asking(
    "UpdateRequest",
    click.argument("prefix", type=FILE, metavar="DIR"),
    click.argument("environment", type=FILE, metavar="[ENV_FILE]", required=False),
    KEEP,
    _CONDA,
    BUILD,
    HOW,
)
def update(
    console: Console,
    *,
    asked: partial[UpdateRequest],
    prefix: Path,
    dry_run: bool,
    mamba: bool,
    uv: bool,
    options: BuildOptions,
) -> None:
    """Change the installation DIR, which keeps working all the time.

    ENV_FILE is solved anew, keeping the installed versions where it allows; without it the conda
    packages stay and only -r, --post-install and so on are applied. The result is a further
    generation: programs that run keep theirs, and 'containerize rollback DIR' switches back.
    """
    _tell_of_tykky(mamba or uv, console)
    _update(begin(console, options, _MODES), asked, prefix, dry_run=dry_run)


@conda_containerize.command("advanced")
@asking("Request", click.argument("tool_file", type=FILE, metavar="YAML"), BUILD, HOW)
def advanced(
    console: Console, *, asked: partial[Request], tool_file: Path, options: BuildOptions
) -> None:
    """Build what a file in Tykky's format says.

    Its keys are listed in docs/tykky.md: mode (conda or conda_modify), env_file,
    requirements_file, installation_prefix, pre_install, post_install, extra_envs, wrapper_paths.
    """

    from wrapper.requests import NewRequest, UpdateRequest

    building = begin(console, options, _MODES, tool_file)
    if building.tool.mode == _MODES[1]:
        _update(building, partial(UpdateRequest, **asked.keywords), None)
    else:
        _new(building, partial(NewRequest, **asked.keywords), None)


def _tell_of_tykky(named: bool, console: Console) -> None:
    if named:
        console.info("--mamba and --uv change nothing: both are always in use")


def _new(
    building: Building, asked: partial[NewRequest], prefix: Path | None, *, dry_run: bool = False
) -> None:
    from wrapper.commands.new import new
    from wrapper.commands.plan import plan_new

    request = building.request(asked, prefix)
    building.require(request.environment, "env_file: ENV_FILE")
    building.run(request, new, plan_new if dry_run or request.lock else None)


def _update(
    building: Building, asked: partial[UpdateRequest], prefix: Path | None, *, dry_run: bool = False
) -> None:
    from wrapper.commands.plan import plan_update
    from wrapper.commands.update import update

    building.run(building.request(asked, prefix), update, plan_update if dry_run else None)
