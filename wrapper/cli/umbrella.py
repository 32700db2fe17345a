"""``containerize``: everything that is not building."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from wrapper.cli.common import CONTEXT, common_options, run_command
from wrapper.console import Console, human_size


@click.group("containerize", context_settings=CONTEXT)
@click.version_option(package_name="containerize", prog_name="containerize")
def containerize() -> None:
    """Look at installations and at what this machine offers to them."""


@containerize.command("info")
@common_options
def info(verbosity: int, debug: bool) -> None:
    """Show the container runtime, mksquashfs and directories that a build would use."""

    def work(_console: Console) -> None:
        from wrapper.runtime import find_runtime
        from wrapper.squash import find_squasher
        from wrapper.workspace import CACHE_VARIABLE, free_space, parent_directory

        runtime, squasher = find_runtime(os.environ), find_squasher(os.environ)
        parent = parent_directory(None, os.environ)
        click.echo(f"runtime      {runtime.name} {runtime.version} ({runtime.path})")
        click.echo(f"mksquashfs   {squasher.version[0]}.{squasher.version[1]} ({squasher.path})")
        click.echo(f"builds in    {parent} ({human_size(free_space(parent))} free)")
        click.echo(f"cache        {os.environ.get(CACHE_VARIABLE) or f'none ({CACHE_VARIABLE})'}")

    run_command(work, verbosity=verbosity, debug=debug)


@containerize.command("inspect")
@click.argument("prefix", type=click.Path(path_type=Path), metavar="DIR")
@common_options
def inspect(prefix: Path, verbosity: int, debug: bool) -> None:
    """Print the manifest of the installation DIR as JSON."""

    def work(_console: Console) -> None:
        from wrapper.manifest import read_manifest

        click.echo(json.dumps(read_manifest(prefix), indent=1))

    run_command(work, verbosity=verbosity, debug=debug)
