"""``containerize modulefile``."""

from __future__ import annotations

from pathlib import Path

import click

from wrapper.cli.common import Command, say, with_console
from wrapper.cli.options import FILE, configured, flag, several
from wrapper.console import Console


@click.command("modulefile", cls=Command, short_help="Make a module of an installation or a SIF.")
@click.argument("target", type=FILE, metavar="DIR|SIF")
@click.option(
    "--lua/--tcl",
    "lua",
    default=None,
    help="For Lmod, or for Environment Modules (Lmod reads that too). Default: as FILE is named "
    "(NAME.lua), else for Lmod.",
)
@flag(
    "--easyconfig",
    help="For EasyBuild, which then copies SIF and makes its module. Default where FILE is named "
    "NAME.eb.",
)
@click.option("--output", type=FILE, metavar="FILE", help="Write the file instead of printing it.")
@click.option(
    "--name",
    default="",
    metavar="NAME[/VERSION]",
    help="What users load, and SIF... is called by. Default: as DIR or SIF is named.",
)
@click.option(
    "--fallback",
    type=FILE,
    metavar="DIR|SIF",
    help="Used instead when DIR or SIF has gone, such as one that the site shares.",
)
@several(
    "--conflict",
    "conflicts",
    metavar="NAME",
    help="A module that cannot be loaded beside it; repeatable. Other versions never can.",
)
@with_console
def modulefile(
    console: Console,
    *,
    target: Path,
    lua: bool | None,
    easyconfig: bool,
    output: Path | None,
    name: str,
    fallback: Path | None,
    conflicts: tuple[str, ...],
) -> None:
    """Print a module file: 'module load' then offers the installation DIR or the image SIF.

    Of DIR it puts the programs on PATH. Of SIF it sets SIF and SIF<NAME> to the image and adds this
    site's directories to SINGULARITY_BIND, after what is there. Both set CONTAINERROOT and
    RUNSCRIPTS. With DIR or SIF gone, 'module load' takes the fallback and says so; without one it
    is an error that names what is missing.

    \b
    Example:
      containerize modulefile DIR --name myenv/1.0 --output ~/modules/myenv/1.0.lua
      module use ~/modules
      module load myenv
    """
    if easyconfig and lua is not None:
        raise click.UsageError("--easyconfig excludes --lua and --tcl")

    from wrapper.commands import modulefile as module

    as_lua = lua if lua is not None else output is None or output.suffix == ".lua"
    language = module.LUA if as_lua else module.TCL
    if easyconfig or (lua is None and output and output.suffix == ".eb"):
        language = module.EASYCONFIG
    request = module.ModuleRequest(
        target=target,
        language=language,
        output=output,
        name=name,
        fallback=fallback,
        conflicts=conflicts,
        site=configured(console, building=False),
    )
    text = module.modulefile(request, console)
    if not output:
        say(text, end="")
