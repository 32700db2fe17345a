"""``conda-containerize``: conda environments."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from wrapper.cli.building import Building, begin
from wrapper.cli.common import CONTEXT, Group
from wrapper.cli.options import (
    BUILD,
    FILE,
    KEEP,
    PREFIX,
    REQUIRE_HASHES,
    BuildOptions,
    apply,
    file,
    flag,
    grouped,
    several,
)
from wrapper.console import Console
from wrapper.platforms import MACHINES

_MODES = ("conda", "conda_modify")  # Tykky's words for a new installation and an update


@dataclass(frozen=True, kw_only=True)
class _CondaOptions:
    """What ``new`` and ``update`` can be told besides."""

    requirements: tuple[Path, ...] = ()
    channels: tuple[str, ...] = ()
    require_hashes: bool = False
    dry_run: bool = False
    mamba: bool = False
    uv: bool = False


_CONDA = grouped(
    "conda",
    _CondaOptions,
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
@click.argument("environment", type=FILE, metavar="ENV_FILE")
@PREFIX
@click.option(
    "--platform",
    type=click.Choice(list(MACHINES)),
    help="With --dry-run or --lock: solve for machines of this kind instead of this one's.",
)
@file(
    "--lock",
    help="Solve, write the packages into FILE as a conda-lock.yml, and stop.",
)
@apply(_CONDA, BUILD)
def new(
    console: Console,
    *,
    environment: Path,
    prefix: Path | None,
    platform: str | None,
    lock: Path | None,
    conda: _CondaOptions,
    options: BuildOptions,
) -> None:
    """Install the environment that ENV_FILE describes.

    ENV_FILE is an env.yml, a list of packages (conda list --explicit or --export), a
    conda-lock.yml or a pixi.lock. The build happens in a directory of its own; DIR appears when it
    is complete, or not at all.
    """
    _tell_of_tykky(conda, console)
    building = begin(console, options, _MODES)
    _new(building, conda, environment, prefix, platform=platform, lock=lock)


@conda_containerize.command("update")
@click.argument("prefix", type=FILE, metavar="DIR")
@click.argument("environment", type=FILE, metavar="[ENV_FILE]", required=False)
@KEEP
@apply(_CONDA, BUILD)
def update(
    console: Console,
    *,
    prefix: Path,
    environment: Path | None,
    keep: int | None,
    conda: _CondaOptions,
    options: BuildOptions,
) -> None:
    """Change the installation DIR, which keeps working all the time.

    ENV_FILE is solved anew, keeping the installed versions where it allows; without it the conda
    packages stay and only -r, --post-install and so on are applied. The result is a further
    generation: programs that run keep theirs, and 'containerize rollback DIR' switches back.
    """
    _tell_of_tykky(conda, console)
    _update(begin(console, options, _MODES), conda, environment, prefix, keep=keep)


@conda_containerize.command("advanced")
@click.argument("tool_file", type=FILE, metavar="YAML")
@BUILD
def advanced(console: Console, *, tool_file: Path, options: BuildOptions) -> None:
    """Build what a file in Tykky's format says.

    Its keys are listed in docs/tykky.md: mode (conda or conda_modify), env_file,
    requirements_file, installation_prefix, pre_install, post_install, extra_envs, wrapper_paths.
    """

    building = begin(console, options, _MODES, tool_file)
    build = _update if building.tool.mode == _MODES[1] else _new
    build(building, _CondaOptions(), None, None)


def _tell_of_tykky(conda: _CondaOptions, console: Console) -> None:
    if conda.mamba or conda.uv:
        console.info("--mamba and --uv change nothing: both are always in use")


def _new(
    building: Building,
    conda: _CondaOptions,
    environment: Path | None,
    prefix: Path | None,
    *,
    platform: str | None = None,
    lock: Path | None = None,
) -> None:
    from wrapper.commands.new import new
    from wrapper.commands.plan import plan_new
    from wrapper.conda import channels
    from wrapper.requests import NewRequest

    request = building.completed(
        NewRequest(
            prefix=building.prefix(prefix),
            environment=environment,
            requirements=conda.requirements,
            channels=tuple(map(channels.absolute, conda.channels)),
            require_hashes=conda.require_hashes,
            platform=platform,
            lock=lock,
        )
    )
    building.require(request.environment, "env_file: ENV_FILE")
    building.run(request, new, plan_new if conda.dry_run or lock else None)


def _update(
    building: Building,
    conda: _CondaOptions,
    environment: Path | None,
    prefix: Path | None,
    *,
    keep: int | None = None,
) -> None:
    from wrapper.commands.plan import plan_update
    from wrapper.commands.update import update
    from wrapper.conda import channels
    from wrapper.requests import UpdateRequest

    request = building.completed(
        UpdateRequest(
            prefix=building.prefix(prefix),
            environment=environment,
            requirements=conda.requirements,
            channels=tuple(map(channels.absolute, conda.channels)),
            require_hashes=conda.require_hashes,
            keep=keep,
        )
    )
    building.run(request, update, plan_update if conda.dry_run else None)
