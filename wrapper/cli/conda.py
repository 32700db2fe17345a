"""``conda-containerize``: conda environments."""

from __future__ import annotations

from typing import Any

import click

from wrapper.cli.building import Kind, Steps, run_build
from wrapper.cli.common import CONTEXT, Group
from wrapper.cli.options import BUILD, FILE, KEEP, PREFIX, REQUIRE_HASHES, Decorator, apply
from wrapper.console import Console
from wrapper.platforms import MACHINES

_CONDA: list[Decorator] = [
    click.option(
        "-r",
        "--requirement",
        "requirements",
        type=FILE,
        multiple=True,
        metavar="FILE",
        help="Also install the packages of this pip requirements file; repeatable.",
    ),
    click.option(
        "-c",
        "--channel",
        "channels",
        multiple=True,
        metavar="URL",
        help="Search this channel (a name, URL or path) instead of those of ENV_FILE; an update "
        "does so too. Repeatable.",
    ),
    REQUIRE_HASHES,
    click.option("--dry-run", is_flag=True, help="Solve, print what would be done, and stop."),
    click.option("--mamba", is_flag=True, help="Accepted as Tykky's; changes nothing."),
    click.option("--uv", is_flag=True, help="Accepted as Tykky's; changes nothing."),
    *BUILD,
]


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
@click.option(
    "--lock",
    type=FILE,
    metavar="FILE",
    help="Solve, write the packages into FILE as a conda-lock.yml, and stop.",
)
@apply(*_CONDA)
def new(**options: Any) -> None:
    """Install the environment that ENV_FILE describes.

    ENV_FILE is an env.yml, a list of packages (conda list --explicit or --export), a
    conda-lock.yml or a pixi.lock. The build happens in a directory of its own; DIR appears when it
    is complete, or not at all.
    """
    _build(options, new=True)


@conda_containerize.command("update")
@click.argument("prefix", type=FILE, metavar="DIR")
@click.argument("environment", type=FILE, metavar="[ENV_FILE]", required=False)
@KEEP
@apply(*_CONDA)
def update(**options: Any) -> None:
    """Change the installation DIR, which keeps working all the time.

    ENV_FILE is solved anew, keeping the installed versions where it allows; without it the conda
    packages stay and only -r, --post-install and so on are applied. The result is a further
    generation: programs that run keep theirs, and 'containerize rollback DIR' switches back.
    """
    _build(options, new=False)


@conda_containerize.command("advanced")
@click.argument("tool_file", type=FILE, metavar="YAML")
@apply(*BUILD)
def advanced(**options: Any) -> None:
    """Build what a file in Tykky's format says.

    Its keys are listed in docs/tykky.md: mode (conda or conda_modify), env_file,
    requirements_file, installation_prefix, pre_install, post_install, extra_envs, wrapper_paths.
    """
    _build(options, new=None)


def _build(options: dict[str, Any], *, new: bool | None) -> None:
    of_tykky = options.pop("mamba", False) | options.pop("uv", False)
    if of_tykky:
        Console(options["verbosity"]).info(
            "--mamba and --uv change nothing: both are always in use"
        )
    kind = Kind(
        modes=("conda", "conda_modify"),
        steps=_steps,
        asks=lambda request: bool(request.environment),
        needed="env_file: ENV_FILE",
    )
    run_build(options, kind, new=new)


def _steps(new: bool) -> Steps[Any]:
    from wrapper import requests
    from wrapper.commands.new import new as build_new
    from wrapper.commands.plan import plan_new, plan_update
    from wrapper.commands.update import update

    if new:
        return Steps(request=requests.NewRequest, plan=plan_new, build=build_new)
    return Steps(request=requests.UpdateRequest, plan=plan_update, build=update)
