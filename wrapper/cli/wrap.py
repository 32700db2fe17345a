"""``wrap-container`` and ``wrap-install``: programs that exist already."""

from __future__ import annotations

from typing import Any

import click

from wrapper.cli.common import CONTEXT, Command, common_options, run_command
from wrapper.cli.options import (
    COMPRESSION,
    ENVIRON,
    FILE,
    POST_INSTALL,
    PRE_INSTALL,
    PREFIX,
    TMPDIR,
    TOOL_FILE,
    WRAPPER_PATHS,
    apply,
    prefix_of,
    request_fields,
    require,
)
from wrapper.console import Console


@click.command("wrap-container", cls=Command, context_settings=CONTEXT)
@click.version_option(package_name="containerize", prog_name="wrap-container")
@click.argument("image", metavar="IMAGE")
@apply(PREFIX, WRAPPER_PATHS, ENVIRON, TOOL_FILE, TMPDIR, common_options)
def wrap_container(**options: Any) -> None:
    """Make programs of the container IMAGE available as if they were installed.

    IMAGE is a SIF file, a sandbox directory or a URI that the runtime can pull (docker://…). A
    file is used where it is; keep it there. PATHS are absolute inside the container.

    \b
    Example:
      wrap-container -w /opt/julia/bin --prefix /projappl/project_x/julia julia.sif
    """
    _run(options, "container")


@click.command("wrap-install", cls=Command, context_settings=CONTEXT)
@click.version_option(package_name="containerize", prog_name="wrap-install")
@click.argument("source", type=FILE, metavar="SRC")
@apply(PREFIX, WRAPPER_PATHS)
@click.option(
    "--mask",
    is_flag=True,
    help="Let programs see the image at the path SRC itself: for installations that have stored "
    "their own path. SRC must stay, but may be emptied.",
)
@apply(PRE_INSTALL, POST_INSTALL, ENVIRON, TOOL_FILE, TMPDIR, COMPRESSION, common_options)
def wrap_install(**options: Any) -> None:
    """Put the installation in the directory SRC into one image, with shims for its programs.

    PATHS are relative to SRC. SRC itself is not changed.

    \b
    Example:
      wrap-install -w bin --mask --prefix /projappl/project_x/tool /projappl/project_x/tool-1.0
    """
    _run(options, "install")


def _run(options: dict[str, Any], kind: str) -> None:
    tool_file = options.pop("tool_file")

    def work(console: Console) -> None:
        from wrapper import requests
        from wrapper.build import inputs
        from wrapper.cli import report
        from wrapper.commands.wrap_container import wrap_container
        from wrapper.commands.wrap_install import wrap_install

        modes = ("wrapcont",) if kind == "container" else ("wrapdisk",)
        tool = inputs.read_tool(tool_file, modes, console)
        fields = request_fields(options, console)
        fields["prefix"] = prefix_of(fields, tool)
        require(fields["wrapper_paths"] or tool.wrapper_paths, "-w' / '--wrapper-paths")
        if kind == "container":
            asked = inputs.completed_container(requests.WrapContainerRequest(**fields), tool)
            result = wrap_container(asked, console)
        else:
            request = inputs.completed(requests.WrapInstallRequest(**fields), tool)
            result = wrap_install(request, console)
        console.info(report.describe(result))

    run_command(work, verbosity=options["verbosity"], debug=options["debug"])
