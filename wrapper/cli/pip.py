"""``pip-containerize``: virtual environments for the Python on PATH."""

from __future__ import annotations

from typing import Any

import click

from wrapper.cli.building import Kind, Steps, run_build
from wrapper.cli.common import CONTEXT, Group
from wrapper.cli.options import BUILD, FILE, KEEP, PREFIX, REQUIRE_HASHES, Decorator, apply

SLIM = "python"  # of base_images/catalogue.toml

_PIP: list[Decorator] = [
    click.option(
        "--extra",
        "extras",
        multiple=True,
        metavar="NAME",
        help="Also the optional dependencies NAME of a pyproject.toml; repeatable.",
    ),
    click.option(
        "--group",
        "groups",
        multiple=True,
        metavar="NAME",
        help="Also the dependency group NAME of a pyproject.toml; repeatable.",
    ),
    click.option(
        "--no-build-isolation",
        "no_isolation",
        multiple=True,
        metavar="NAME",
        help="Build the package NAME after all others are installed and against them (flash-attn "
        "needs torch); ':all:' for every package; repeatable.",
    ),
    REQUIRE_HASHES,
    click.option("--dry-run", is_flag=True, help="Print what would be installed, and stop."),
    *BUILD,
]


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
@click.argument("requirements", type=FILE, nargs=-1, required=True, metavar="REQ_FILE…")
@PREFIX
@click.option(
    "--system-site-packages",
    "system_site",
    is_flag=True,
    help="See the packages of the Python on PATH too, for example Cray's numpy and mpi4py.",
)
@click.option(
    "--slim",
    is_flag=True,
    help="Stand on a small Debian with Python instead of the host's: --base-image python.",
)
@click.option(
    "--pyver",
    default="",
    metavar="X.Y[.Z]",
    help="Build on the Python of this version that is on PATH, or see --uv.",
)
@click.option(
    "--uv",
    "managed",
    is_flag=True,
    help="Where PATH has no Python that fits, let uv download one into the image. Packages are "
    "installed with uv in any case.",
)
@apply(*_PIP)
def new(**options: Any) -> None:
    """Install what REQ_FILE asks for into a virtual environment.

    REQ_FILE is a requirements file in all of pip's forms, a pyproject.toml (its dependencies), a
    uv.lock, a pylock.toml or a requirements.lock of an earlier installation. A Python on PATH stays
    where it is.
    """
    _build(options, new=True)


@pip_containerize.command("update")
@click.argument("prefix", type=FILE, metavar="DIR")
@click.option(
    "-r",
    "--requirement",
    "--requirements-file",
    "requirements",
    type=FILE,
    multiple=True,
    metavar="FILE",
    help="Install what this file asks for: see REQ_FILE of 'new'; repeatable.",
)
@KEEP
@click.option("--uv", "managed", is_flag=True, help="Accepted as Tykky's; changes nothing.")
@apply(*_PIP)
def update(**options: Any) -> None:
    """Change the installation DIR, which keeps working all the time.

    The result is a further generation: programs that run keep theirs, and
    'containerize rollback DIR' switches back.
    """
    _build(options, new=False)


@pip_containerize.command("advanced")
@click.argument("tool_file", type=FILE, metavar="YAML")
@apply(*BUILD)
def advanced(**options: Any) -> None:
    """Build what a file in Tykky's format says.

    Its keys are listed in docs/tykky.md: mode (venv or venv_modify), requirements_file,
    installation_prefix, pre_install, post_install, extra_envs, wrapper_paths,
    enable_site_packages.
    """
    _build(options, new=None)


def _build(options: dict[str, Any], *, new: bool | None) -> None:
    if options.pop("slim", False):
        if options["base_image"]:
            raise click.UsageError("--slim stands for --base-image python: give one of them")
        options["base_image"] = SLIM
    kind = Kind(
        modes=("venv", "venv_modify"),
        steps=_steps,
        asks=lambda request: bool(request.requirements),
        needed="requirements_file: REQ_FILE",
    )
    run_build(options, kind, new=new)


def _steps(new: bool) -> Steps[Any]:
    from wrapper import requests
    from wrapper.commands.new import new_pip
    from wrapper.commands.plan import plan_pip
    from wrapper.commands.update import update_pip

    if new:
        return Steps(request=requests.NewPipRequest, plan=plan_pip, build=new_pip)
    return Steps(request=requests.UpdatePipRequest, plan=plan_pip, build=update_pip)
