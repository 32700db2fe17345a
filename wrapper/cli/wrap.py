"""``wrap-container`` and ``wrap-install``: programs that exist already."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wrapper.cli.common import CONTEXT, Command
from wrapper.cli.options import (
    COMPRESSION,
    ENVIRON,
    FILE,
    MPI,
    POST_INSTALL,
    PRE_INSTALL,
    PREFIX,
    TMPDIR,
    TOOL_FILE,
    WRAPPER_PATHS,
    asking,
    configured,
    flag,
    on_site,
    prefix_of,
    require,
)
from wrapper.console import Console

if TYPE_CHECKING:
    from wrapper.requests import WrapContainerRequest, WrapInstallRequest

_PATHS = "-w' / '--wrapper-paths"


@click.command("wrap-container", cls=Command, context_settings=CONTEXT)
@click.version_option(package_name="containerize", prog_name="wrap-container")
@asking(
    "WrapContainerRequest",
    click.argument("image", metavar="IMAGE"),
    PREFIX,
    WRAPPER_PATHS,
    ENVIRON,
    MPI,
    TOOL_FILE,
    TMPDIR,
)
def wrap_container(
    console: Console,
    *,
    asked: partial[WrapContainerRequest],
    prefix: Path | None,
    tool_file: Path | None,
    tmpdir: Path | None,
) -> None:
    """Make programs of the container IMAGE available as if they were installed.

    IMAGE is a SIF file, a sandbox directory or a URI that the runtime can pull (docker://…). A
    file is used where it is; keep it there. PATHS are absolute inside the container.

    \b
    Example:
      wrap-container -w /opt/julia/bin --prefix /projappl/project_x/julia julia.sif
    """
    from wrapper.build import inputs
    from wrapper.cli import report
    from wrapper.commands.wrap_container import wrap_container

    tool = inputs.read_tool(tool_file, ("wrapcont",), console)
    site = configured(console, tmpdir=tmpdir)
    request = replace(asked(prefix=prefix_of(prefix, site, tool)), site=site)
    require(request.wrapper_paths or tool.wrapper_paths, _PATHS)
    result = wrap_container(inputs.completed_container(request, tool), console)
    for line in report.lines(result):
        console.info(line)


@click.command("wrap-install", cls=Command, context_settings=CONTEXT)
@click.version_option(package_name="containerize", prog_name="wrap-install")
@asking(
    "WrapInstallRequest",
    click.argument("source", type=FILE, metavar="SRC"),
    PREFIX,
    WRAPPER_PATHS,
    flag(
        "--mask",
        help="Let programs see the image at the path SRC itself: for installations that have "
        "stored their own path. SRC must stay, but may be emptied.",
    ),
    PRE_INSTALL,
    POST_INSTALL,
    ENVIRON,
    MPI,
    TOOL_FILE,
    TMPDIR,
    COMPRESSION,
)
def wrap_install(
    console: Console,
    *,
    asked: partial[WrapInstallRequest],
    prefix: Path | None,
    tool_file: Path | None,
    tmpdir: Path | None,
    compression: str | None,
) -> None:
    """Put the installation in the directory SRC into one image, with shims for its programs.

    PATHS are relative to SRC. SRC itself is not changed.

    \b
    Example:
      wrap-install -w bin --mask --prefix /projappl/project_x/tool /projappl/project_x/tool-1.0
    """
    from wrapper.build import inputs
    from wrapper.cli import report
    from wrapper.commands.wrap_install import wrap_install

    tool = inputs.read_tool(tool_file, ("wrapdisk",), console)
    site = configured(console, tmpdir=tmpdir, compression=compression)
    request = on_site(asked(prefix=prefix_of(prefix, site, tool)), site)
    require(request.wrapper_paths or tool.wrapper_paths, _PATHS)
    for line in report.lines(wrap_install(inputs.completed(request, tool), console)):
        console.info(line)
