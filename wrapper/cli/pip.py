"""``pip-containerize``: virtual environments for the Python on PATH."""

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
    R,
    apply,
    asking,
    file,
    flag,
    several,
)
from wrapper.console import Console

if TYPE_CHECKING:
    from wrapper.requests import NewPipRequest, Request, UpdatePipRequest

SLIM = "python"  # of base_images/catalogue.toml
_MODES = ("venv", "venv_modify")  # Tykky's words for a new installation and an update


_PIP = apply(
    several(
        "--extra",
        "extras",
        metavar="NAME",
        help="Also the optional dependencies NAME of a pyproject.toml; repeatable.",
    ),
    several(
        "--group",
        "groups",
        metavar="NAME",
        help="Also the dependency group NAME of a pyproject.toml; repeatable.",
    ),
    several(
        "--no-build-isolation",
        "no_isolation",
        metavar="NAME",
        help="Build the package NAME after all others are installed and against them (flash-attn "
        "needs torch); ':all:' for every package; repeatable.",
    ),
    REQUIRE_HASHES,
    flag("--dry-run", help="Print what would be installed, and stop."),
)


_FILES = click.argument("files", type=FILE, nargs=-1, metavar="[REQ_FILE…]")
_REQUIREMENTS = file(
    "-r",
    "--requirement",
    "--requirements-file",
    "requirements",
    multiple=True,
    help="Another REQ_FILE, written as for pip; repeatable.",
)


@click.group("pip-containerize", cls=Group, context_settings=CONTEXT)
@click.version_option(package_name="containerize", prog_name="pip-containerize")
def pip_containerize() -> None:
    """Put pip packages into one SquashFS image, for the Python on PATH.

    \b
    Example:
      module load cray-python
      pip-containerize new --prefix /projappl/project_x/env requirements.txt
      export PATH="/projappl/project_x/env/bin:$PATH"
    """


@pip_containerize.command("new")
@asking(
    "NewPipRequest",
    _FILES,
    _REQUIREMENTS,
    PREFIX,
    flag(
        "--system-site-packages",
        "system_site",
        help="See the packages of the Python on PATH too, for example Cray's numpy and mpi4py.",
    ),
    flag(
        "--slim",
        help="Stand on a small Debian with Python instead of the host's: --base-image python.",
    ),
    click.option(
        "--pyver",
        default="",
        metavar="X.Y[.Z]",
        help="Build on the Python of this version that is on PATH, or see --uv.",
    ),
    flag(
        "--uv",
        "managed",
        help="Where PATH has no Python that fits, let uv download one into the image. Packages are "
        "installed with uv in any case.",
    ),
    _PIP,
    BUILD,
    HOW,
)
def new(
    console: Console,
    *,
    asked: partial[NewPipRequest],
    files: tuple[Path, ...],
    prefix: Path | None,
    slim: bool,
    dry_run: bool,
    options: BuildOptions,
) -> None:
    """Install what REQ_FILE asks for into a virtual environment.

    REQ_FILE is a requirements file in all of pip's forms, a pyproject.toml (its dependencies), a
    uv.lock, a pylock.toml or a requirements.lock of an earlier installation. A Python on PATH stays
    where it is.
    """
    asked = _with_files(asked, files)
    if not asked.keywords["requirements"]:
        raise click.UsageError("name a file with requirements: REQ_FILE")
    if slim:
        if asked.keywords["base_image"]:
            raise click.UsageError("--slim stands for --base-image python: give one of them")
        asked = partial(asked, base_image=SLIM)
    _new(begin(console, options, _MODES), asked, prefix, dry_run=dry_run)


@pip_containerize.command("update")
@asking(
    "UpdatePipRequest",
    click.argument("prefix", type=FILE, metavar="DIR"),
    _FILES,
    _REQUIREMENTS,
    KEEP,
    flag("--uv", expose_value=False, help="Accepted as Tykky's; changes nothing."),
    _PIP,
    BUILD,
    HOW,
)
def update(
    console: Console,
    *,
    asked: partial[UpdatePipRequest],
    prefix: Path,
    files: tuple[Path, ...],
    dry_run: bool,
    options: BuildOptions,
) -> None:
    """Change the installation DIR, which keeps working all the time.

    REQ_FILE, see 'new', is what to install besides, or in another version. The result is a further
    generation: programs that run keep theirs, and 'containerize rollback DIR' switches back.
    """
    asked = _with_files(asked, files)
    _update(begin(console, options, _MODES), asked, prefix, dry_run=dry_run)


@pip_containerize.command("advanced")
@asking("Request", click.argument("tool_file", type=FILE, metavar="YAML"), BUILD, HOW)
def advanced(
    console: Console, *, asked: partial[Request], tool_file: Path, options: BuildOptions
) -> None:
    """Build what a file in Tykky's format says.

    Its keys are listed in docs/tykky.md: mode (venv or venv_modify), requirements_file,
    installation_prefix, pre_install, post_install, extra_envs, wrapper_paths,
    enable_site_packages.
    """

    from wrapper.requests import NewPipRequest, UpdatePipRequest

    building = begin(console, options, _MODES, tool_file)
    if building.tool.mode == _MODES[1]:
        _update(building, partial(UpdatePipRequest, **asked.keywords), None)
    else:
        _new(building, partial(NewPipRequest, **asked.keywords), None)


def _with_files(asked: partial[R], files: tuple[Path, ...]) -> partial[R]:
    """:param files: those that are named without ``-r``, which come first."""
    return partial(asked, requirements=(*files, *asked.keywords["requirements"]))


def _new(
    building: Building, asked: partial[NewPipRequest], prefix: Path | None, *, dry_run: bool = False
) -> None:
    from wrapper.commands.new import new_pip
    from wrapper.commands.plan import plan_pip

    request = building.request(asked, prefix)
    building.require(request.requirements, "requirements_file: REQ_FILE")
    building.run(request, new_pip, plan_pip if dry_run else None)


def _update(
    building: Building,
    asked: partial[UpdatePipRequest],
    prefix: Path | None,
    *,
    dry_run: bool = False,
) -> None:
    from wrapper.commands.plan import plan_pip
    from wrapper.commands.update import update_pip

    building.run(building.request(asked, prefix), update_pip, plan_pip if dry_run else None)
