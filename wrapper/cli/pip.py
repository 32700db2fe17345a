"""``pip-containerize``: virtual environments for the Python on PATH."""

from __future__ import annotations

from dataclasses import dataclass, replace
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

SLIM = "python"  # of base_images/catalogue.toml
_MODES = ("venv", "venv_modify")  # Tykky's words for a new installation and an update


@dataclass(frozen=True, kw_only=True)
class _PipOptions:
    """What ``new`` and ``update`` can be told besides."""

    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    no_isolation: tuple[str, ...] = ()
    require_hashes: bool = False
    dry_run: bool = False


_PIP = grouped(
    "pip",
    _PipOptions,
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
@_FILES
@_REQUIREMENTS
@PREFIX
@flag(
    "--system-site-packages",
    "system_site",
    help="See the packages of the Python on PATH too, for example Cray's numpy and mpi4py.",
)
@flag(
    "--slim",
    help="Stand on a small Debian with Python instead of the host's: --base-image python.",
)
@click.option(
    "--pyver",
    default="",
    metavar="X.Y[.Z]",
    help="Build on the Python of this version that is on PATH, or see --uv.",
)
@flag(
    "--uv",
    "managed",
    help="Where PATH has no Python that fits, let uv download one into the image. Packages are "
    "installed with uv in any case.",
)
@apply(_PIP, BUILD)
def new(
    console: Console,
    *,
    files: tuple[Path, ...],
    requirements: tuple[Path, ...],
    prefix: Path | None,
    system_site: bool,
    slim: bool,
    pyver: str,
    managed: bool,
    pip: _PipOptions,
    options: BuildOptions,
) -> None:
    """Install what REQ_FILE asks for into a virtual environment.

    REQ_FILE is a requirements file in all of pip's forms, a pyproject.toml (its dependencies), a
    uv.lock, a pylock.toml or a requirements.lock of an earlier installation. A Python on PATH stays
    where it is.
    """
    if not (files or requirements):
        raise click.UsageError("name a file with requirements: REQ_FILE")
    if slim:
        if options.base_image:
            raise click.UsageError("--slim stands for --base-image python: give one of them")
        options = replace(options, base_image=SLIM)
    _new(
        begin(console, options, _MODES),
        pip,
        (*files, *requirements),
        prefix,
        system_site=system_site,
        pyver=pyver,
        managed=managed,
    )


@pip_containerize.command("update")
@click.argument("prefix", type=FILE, metavar="DIR")
@_FILES
@_REQUIREMENTS
@KEEP
@click.option(
    "--uv", is_flag=True, expose_value=False, help="Accepted as Tykky's; changes nothing."
)
@apply(_PIP, BUILD)
def update(
    console: Console,
    *,
    prefix: Path,
    files: tuple[Path, ...],
    requirements: tuple[Path, ...],
    keep: int | None,
    pip: _PipOptions,
    options: BuildOptions,
) -> None:
    """Change the installation DIR, which keeps working all the time.

    REQ_FILE, see 'new', is what to install besides, or in another version. The result is a further
    generation: programs that run keep theirs, and 'containerize rollback DIR' switches back.
    """
    given = (*files, *requirements)
    _update(begin(console, options, _MODES), pip, given, prefix, keep=keep)


@pip_containerize.command("advanced")
@click.argument("tool_file", type=FILE, metavar="YAML")
@BUILD
def advanced(console: Console, *, tool_file: Path, options: BuildOptions) -> None:
    """Build what a file in Tykky's format says.

    Its keys are listed in docs/tykky.md: mode (venv or venv_modify), requirements_file,
    installation_prefix, pre_install, post_install, extra_envs, wrapper_paths,
    enable_site_packages.
    """

    building = begin(console, options, _MODES, tool_file)
    build = _update if building.tool.mode == _MODES[1] else _new
    build(building, _PipOptions(), (), None)


def _new(
    building: Building,
    pip: _PipOptions,
    requirements: tuple[Path, ...],
    prefix: Path | None,
    *,
    system_site: bool = False,
    pyver: str = "",
    managed: bool = False,
) -> None:
    from wrapper.commands.new import new_pip
    from wrapper.commands.plan import plan_pip
    from wrapper.requests import NewPipRequest

    request = building.completed(
        NewPipRequest(
            prefix=building.prefix(prefix),
            requirements=requirements,
            extras=pip.extras,
            groups=pip.groups,
            no_isolation=pip.no_isolation,
            require_hashes=pip.require_hashes,
            system_site=system_site,
            pyver=pyver,
            managed=managed,
        )
    )
    building.require(request.requirements, "requirements_file: REQ_FILE")
    building.run(request, new_pip, plan_pip if pip.dry_run else None)


def _update(
    building: Building,
    pip: _PipOptions,
    requirements: tuple[Path, ...],
    prefix: Path | None,
    *,
    keep: int | None = None,
) -> None:
    from wrapper.commands.plan import plan_pip
    from wrapper.commands.update import update_pip
    from wrapper.requests import UpdatePipRequest

    request = building.completed(
        UpdatePipRequest(
            prefix=building.prefix(prefix),
            requirements=requirements,
            extras=pip.extras,
            groups=pip.groups,
            no_isolation=pip.no_isolation,
            require_hashes=pip.require_hashes,
            keep=keep,
        )
    )
    building.run(request, update_pip, plan_pip if pip.dry_run else None)
