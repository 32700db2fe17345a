"""``pip-containerize``: virtual environments for the Python on PATH."""

from __future__ import annotations

from typing import Any

import click

from wrapper.cli.common import CONTEXT, run_command
from wrapper.cli.options import BUILD, FILE, KEEP, PREFIX, Decorator, apply, request_fields
from wrapper.console import Console

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
    click.option("--uv", is_flag=True, help="Accepted as Tykky's; changes nothing (always uv)."),
    *BUILD,
]


@click.group("pip-containerize", context_settings=CONTEXT)
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
@apply(*_PIP)
def new(**options: Any) -> None:
    """Install what REQ_FILE asks for into a virtual environment.

    REQ_FILE is a requirements file in all of pip's forms, a pyproject.toml (its dependencies), or
    a requirements.lock of an earlier installation. The Python itself stays where it is.
    """
    _build(options, new=True)


@pip_containerize.command("update")
@click.argument("prefix", type=FILE, metavar="DIR")
@click.option(
    "-r",
    "--requirement",
    "requirements",
    type=FILE,
    multiple=True,
    metavar="FILE",
    help="Install what this file asks for: see REQ_FILE of 'new'.",
)
@KEEP
@apply(*_PIP)
def update(**options: Any) -> None:
    """Change the installation DIR, which keeps working all the time.

    The result is a further generation: programs that run keep theirs, and
    'containerize rollback DIR' switches back.
    """
    _build(options, new=False)


def _build(options: dict[str, Any], *, new: bool) -> None:
    options.pop("uv")
    as_json = options.pop("as_json")
    verbosity, debug = options.pop("verbosity"), options.pop("debug")
    fields = {**request_fields(options), **options}

    def work(console: Console) -> None:
        from wrapper import models, pipeline
        from wrapper.cli import report

        if new:
            result = pipeline.new_pip(models.NewPipRequest(**fields), console)
        else:
            result = pipeline.update_pip(models.UpdatePipRequest(**fields), console)
        console.info(report.describe(result))
        if as_json:
            click.echo(report.result_json(result))

    run_command(work, verbosity=verbosity, debug=debug)
