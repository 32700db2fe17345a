"""``containerize shell-init``, ``activate`` and ``deactivate``: what a user's shell needs.

Only a shell itself can change its PATH. So ``activate`` and ``deactivate`` are functions of the
shell, see ``templates/shell-init.*``; the commands here explain that.
"""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path
from typing import NoReturn

import click

from wrapper.cli.common import say

_FILES = {"bash": "shell-init.sh", "zsh": "shell-init.sh", "fish": "shell-init.fish"}


@click.command("shell-init", short_help="Print the functions that activate needs.")
@click.argument("shell", type=click.Choice(list(_FILES)), metavar="SHELL")
@click.option("--path", "as_path", is_flag=True, help="Print where the file is, not what it says.")
def shell_init(shell: str, as_path: bool) -> None:
    """Print the functions that 'containerize activate' needs in SHELL: bash, zsh or fish.

    \b
    Once, in ~/.bashrc or ~/.zshrc:         eval "$(containerize shell-init bash)"
    In ~/.config/fish/config.fish:          containerize shell-init fish | source
    In a module (starts nothing at load):   source the file that --path names
    """
    file = Path(str(files("wrapper") / "templates" / _FILES[shell]))
    say(file if as_path else file.read_text(), end="\n" if as_path else "")


@click.command("activate", short_help="Put the programs of an installation first on PATH.")
@click.argument("names", nargs=-1, required=True, metavar="NAME_OR_DIR...")
def activate(names: tuple[str, ...]) -> None:
    """Put the programs of an installation first on PATH, until 'containerize deactivate'.

    NAME is looked up in the directories that CONTAINERIZE_PATH and TYKKY_PATH list, separated by
    colons, then here. Of several installations the first comes first, and their programs can call
    each other. Another 'activate' takes the place of the one before. CONTAINERIZE_CHANGE_PS1=0
    leaves the prompt alone.

    This needs functions in your shell: see 'containerize shell-init --help'.
    """
    _explain()


@click.command("deactivate", short_help="Undo 'containerize activate'.")
@click.argument("names", nargs=-1, metavar="[NAME_OR_DIR]")
def deactivate(names: tuple[str, ...]) -> None:
    """Undo 'containerize activate'; what else came to PATH since then stays."""
    _explain()


def _explain() -> NoReturn:
    name = Path(os.environ.get("SHELL", "")).name
    line = 'eval "$(containerize shell-init bash)"'
    if name == "fish":
        line = "containerize shell-init fish | source"
    elif name == "zsh":
        line = line.replace("bash", "zsh")
    raise click.UsageError(f"this shell does not know the function yet. Type first:  {line}")
