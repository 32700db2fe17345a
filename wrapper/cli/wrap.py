"""``wrap-container`` and ``wrap-install``: programs that exist already."""

from __future__ import annotations

from pathlib import Path

import click

from wrapper.cli.common import CONTEXT, Command, with_console
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
    apply,
    chosen_compression,
    configured,
    flag,
    prefix_of,
    require,
    split_paths,
)
from wrapper.console import Console

_PATHS = "-w' / '--wrapper-paths"


@click.command("wrap-container", cls=Command, context_settings=CONTEXT)
@click.version_option(package_name="containerize", prog_name="wrap-container")
@click.argument("image", metavar="IMAGE")
@apply(PREFIX, WRAPPER_PATHS, ENVIRON, MPI, TOOL_FILE, TMPDIR, with_console)
def wrap_container(
    console: Console,
    *,
    image: str,
    prefix: Path | None,
    wrapper_paths: tuple[str, ...],
    environ: Path | None,
    mpi: str | None,
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
    from wrapper.requests import WrapContainerRequest

    tool = inputs.read_tool(tool_file, ("wrapcont",), console)
    site = configured(console, tmpdir=tmpdir)
    request = WrapContainerRequest(
        prefix=prefix_of(prefix, site, tool),
        image=image,
        wrapper_paths=split_paths(wrapper_paths),
        environ=environ,
        mpi=mpi,
        site=site,
    )
    require(request.wrapper_paths or tool.wrapper_paths, _PATHS)
    result = wrap_container(inputs.completed_container(request, tool), console)
    for line in report.lines(result):
        console.info(line)


@click.command("wrap-install", cls=Command, context_settings=CONTEXT)
@click.version_option(package_name="containerize", prog_name="wrap-install")
@click.argument("source", type=FILE, metavar="SRC")
@apply(PREFIX, WRAPPER_PATHS)
@flag(
    "--mask",
    help="Let programs see the image at the path SRC itself: for installations that have stored "
    "their own path. SRC must stay, but may be emptied.",
)
@apply(PRE_INSTALL, POST_INSTALL, ENVIRON, MPI, TOOL_FILE, TMPDIR, COMPRESSION, with_console)
def wrap_install(
    console: Console,
    *,
    source: Path,
    prefix: Path | None,
    wrapper_paths: tuple[str, ...],
    mask: bool,
    pre_install: tuple[Path, ...],
    post_install: tuple[Path, ...],
    environ: Path | None,
    mpi: str | None,
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
    from wrapper.requests import WrapInstallRequest

    tool = inputs.read_tool(tool_file, ("wrapdisk",), console)
    site = configured(console, tmpdir=tmpdir, compression=compression)
    request = WrapInstallRequest(
        prefix=prefix_of(prefix, site, tool),
        source=source,
        mask=mask,
        wrapper_paths=split_paths(wrapper_paths),
        pre_install=pre_install,
        post_install=post_install,
        environ=environ,
        mpi=mpi,
        compression=chosen_compression(site),
        site=site,
    )
    require(request.wrapper_paths or tool.wrapper_paths, _PATHS)
    for line in report.lines(wrap_install(inputs.completed(request, tool), console)):
        console.info(line)
