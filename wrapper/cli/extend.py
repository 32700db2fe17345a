"""``containerize extend``, ``freeze`` and ``thaw``."""

from __future__ import annotations

from pathlib import Path

import click

from wrapper.cli.common import Command, with_console
from wrapper.cli.options import FILE, TMPDIR, apply, configured, split_paths
from wrapper.console import Console, human_size


@click.command("extend", cls=Command, short_help="Make a place for packages on top of it.")
@click.argument("target", type=FILE, metavar="DIR|IMAGE")
@click.option(
    "--to",
    "place",
    type=FILE,
    metavar="MYDIR",
    help="The directory; default: 'extension' in DIR. The installation may be another's. Of an "
    "IMAGE its programs and 'extension' in it.",
)
@click.option(
    "-w",
    "--wrapper-paths",
    multiple=True,
    metavar="PATHS",
    help="Of an IMAGE: as for wrap-container. Default: the directory of its python3.",
)
@with_console
def extend(
    console: Console, target: Path, place: Path | None, wrapper_paths: tuple[str, ...]
) -> None:
    """Make MYDIR, a virtual environment on top of the installation DIR.

    'MYDIR/bin/pip install NAME' installs into it. It keeps the versions of all packages of DIR.
    MYDIR/bin has the programs of DIR too, and these see what you add. Of many files make one:
    'containerize freeze MYDIR'. After an update of DIR run 'extend' again.

    Of an image (a SIF file) MYDIR gets shims of its programs, and MYDIR/extension is on top.

    \b
    Example:
      containerize extend /project/shared/env --to /project/me/more
      /project/me/more/bin/pip install NAME
      /project/me/more/bin/python x.py
    """
    from wrapper.commands import extend as command

    is_image = target.is_file()
    site = configured(console, building=is_image)
    if is_image:
        from wrapper.requests import WrapContainerRequest

        if place is None:
            raise click.UsageError("--to MYDIR is needed, for shims of the image's programs")
        request = WrapContainerRequest(
            prefix=place,
            image=str(target),
            wrapper_paths=split_paths(wrapper_paths),
            site=site,
        )
        found = command.extend_image(request, console)
    elif wrapper_paths and target.is_dir():
        raise click.UsageError("-w is for an image, and that is a directory")
    else:
        found = command.extend(target, place, console)
    console.info(
        f"{found.directory}/bin/pip install NAME adds packages to"
        f" {target if is_image else found.installation} (Python {found.python})"
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
