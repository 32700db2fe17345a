"""``containerize kernel`` and ``export-sources``: environments where people look for them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from wrapper.cli.common import CONTEXT, Command, Group, say, with_console
from wrapper.cli.options import FILE, configured, flag
from wrapper.console import Console


@click.group("kernel", cls=Group, context_settings=CONTEXT, short_help="Make Jupyter kernels.")
def kernel() -> None:
    """Make kernels for any other Jupyter on the machine.

    'jupyter kernelspec list' lists them, and 'jupyter kernelspec remove NAME' removes one.
    """


@kernel.command("install", short_help="Make a kernel of an installation or a SIF.")
@click.argument("target", type=FILE, metavar="DIR|SIF")
@click.option("--name", default="", metavar="NAME", help="Default: as DIR or SIF is named.")
@click.option(
    "--display-name", default="", metavar="TEXT", help="What Jupyter shows. Default: Python (NAME)."
)
@flag("--user", help="For yourself, in ~/.local/share/jupyter: the default.")
@click.option(
    "--prefix",
    type=FILE,
    metavar="PREFIX",
    help="For all users of the Jupyter in PREFIX, in PREFIX/share/jupyter.",
)
@with_console
def kernel_install(
    console: Console,
    *,
    target: Path,
    name: str,
    display_name: str,
    user: bool,
    prefix: Path | None,
) -> None:
    """Make a Jupyter kernel of the installation DIR or the image SIF.

    Every Jupyter on the machine can start it, whatever Python it runs in itself. DIR or SIF need
    ipykernel, and nothing of Jupyter else. The kernel is one file, kernel.json, that names
    DIR/bin/python, or the container runtime and SIF: an update of DIR or SIF needs no other one.

    \b
    Example:
      containerize kernel install DIR --name my-env --display-name "My environment"
    """
    if user and prefix:
        raise click.UsageError("--user and --prefix exclude each other")

    from wrapper.commands import kernel as kernels

    request = kernels.KernelRequest(
        target=target,
        name=name,
        display_name=display_name,
        prefix=prefix,
        site=configured(console, building=False),
    )
    say(kernels.kernel_install(request, os.environ, console))


@click.command("export-sources", cls=Command, short_help="Let editors read an installation.")
@click.argument("prefix", type=FILE, metavar="DIR")
@with_console
def export_sources(console: Console, prefix: Path) -> None:
    """Copy the sources of the packages in DIR out of its image, for editors.

    Language servers (Pylance, pyright, pylsp, Jedi) that have DIR/bin/python as their interpreter
    then know the packages, and 'go to definition' opens files below DIR/lib. Only what they read is
    copied: Python's sources, stubs, and names of compiled modules. Each generation has a copy of
    its own, which an update makes anew.

    Prints settings for VS Code, also for a language server that cannot start the interpreter.
    """
    from wrapper.commands import sources

    configured(console, building=False)
    say(json.dumps(sources.export_sources(prefix, os.environ, console).settings, indent=2))
