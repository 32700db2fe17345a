"""``containerize extend``, ``freeze`` and ``thaw``."""

from __future__ import annotations

from pathlib import Path

import click

from wrapper.cli.common import Command, with_console
from wrapper.cli.options import FILE, TMPDIR, apply, configured
from wrapper.console import Console, human_size


@click.command("extend", cls=Command, short_help="Make a place for packages on top of it.")
@click.argument("target", type=FILE, metavar="DIR")
@click.option(
    "--to",
    "place",
    type=FILE,
    metavar="MYDIR",
    help="The directory; default: 'extension' in DIR. The installation may be another's.",
)
@with_console
def extend(console: Console, target: Path, place: Path | None) -> None:
    """Make MYDIR, a virtual environment on top of the installation DIR.

    'MYDIR/bin/pip install NAME' installs into it. It keeps the versions of all packages of DIR.
    MYDIR/bin has the programs of DIR too, and these see what you add. Of many files make one:
    'containerize freeze MYDIR'. After an update of DIR run 'extend' again.

    \b
    Example:
      containerize extend /project/shared/env --to /project/me/more
      /project/me/more/bin/pip install NAME
      /project/me/more/bin/python x.py
    """
    from wrapper.commands.extend import extend as run

    configured(console, building=False)
    found = run(target, place, console)
    console.info(
        f"{found.directory}/bin/pip install NAME adds packages to {found.installation}"
        f" (Python {found.python})"
    )


@click.command("freeze", cls=Command, short_help="Put an extension into one file.")
@click.argument("target", type=FILE, metavar="MYDIR")
@apply(TMPDIR, with_console)
def freeze(console: Console, target: Path, tmpdir: Path | None) -> None:
    """Put the files of the extension MYDIR into one SquashFS image, MYDIR/extension.sqfs.

    Programs work as before, and pip refuses to install. End programs that run from MYDIR first.
    'containerize thaw MYDIR' makes files again. Users of LUMI's containers know this as
    make-squashfs.
    """
    from wrapper.commands.freeze import freeze as run

    found = run(target, configured(console, tmpdir=tmpdir), console)
    console.info(f"{found.image}: {human_size(found.image.stat().st_size)}")


@click.command("thaw", cls=Command, short_help="Make files of a frozen extension again.")
@click.argument("target", type=FILE, metavar="MYDIR")
@with_console
def thaw(console: Console, target: Path) -> None:
    """Make files of the frozen extension MYDIR again, so that pip can install into it.

    Users of LUMI's containers know this as unmake-squashfs.
    """
    from wrapper.commands.freeze import thaw as run

    found = run(target, configured(console, building=False), console)
    console.info(f"{found.directory}/bin/pip can install again")
