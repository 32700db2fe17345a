"""``conda`` and ``mamba`` for post-install scripts, in an environment that has neither.

Runs in the build's container. Understands what such scripts do (install, remove, list, env update)
and does it with the solver and the checks of a build; anything else says what is supported.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from rattler import MatchSpec, PrefixRecord
from rattler.exceptions import InvalidMatchSpecError

from wrapper import installed
from wrapper import settings as site
from wrapper.base_python.session import PINNED_VARIABLE
from wrapper.build.scripts import CACHE_VARIABLE, CHANNELS_VARIABLE, post_link_jobs
from wrapper.conda.channels import absolute, choose
from wrapper.conda.fetch import fetch
from wrapper.conda.install import link_packages, split
from wrapper.conda.resolve import resolve
from wrapper.console import unseen
from wrapper.credentials import public_url
from wrapper.errors import ContainerizeError, InputError
from wrapper.inputs import read_spec, read_text
from wrapper.models import Base, EnvironmentSpec, Located
from wrapper.packages import changes_between, describe_changes
from wrapper.util.removal import remove_tree

PREFIX_VARIABLE = "CONDA_PREFIX"
_SUPPORTED = (
    "supported in a build: install [-c CHANNEL] [--file FILE] PACKAGE…, remove PACKAGE…, list, "
    "env update --file ENV_FILE"
)


def main() -> None:
    """The command line; ends the process."""
    for name in ("PYTHONHOME", "PYTHONPATH"):  # they were for us, see wrapper.build.scripts
        os.environ.pop(name, None)
    try:
        _run(sys.argv[1:])
        code = 0
    except ContainerizeError as error:
        more = (error.where, *error.detail.splitlines(), error.hint)
        print(f"conda: {error.what}", *filter(None, more), sep="\n  ", file=sys.stderr)
        code = error.code
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # rattler's threads outlive its calls, see wrapper.cli.common


class _Parser(argparse.ArgumentParser):
    """One that says what is supported where it meets anything else."""

    def error(self, message: str) -> NoReturn:
        raise InputError(message, hint=_SUPPORTED)


def _run(words: Sequence[str]) -> None:
    parser = _Parser(prog="conda", description=_SUPPORTED)
    parser.add_argument("--version", action="version", version="conda (containerize)")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    common = _Parser(add_help=False)
    common.add_argument("-y", "--yes", action="store_true")
    common.add_argument("-q", "--quiet", action="store_true")
    common.add_argument("-p", "--prefix", help=argparse.SUPPRESS)
    common.add_argument("-n", "--name", help=argparse.SUPPRESS)  # there is one environment
    common.add_argument("-c", "--channel", action="append", default=[])
    common.add_argument("--override-channels", action="store_true")
    install = commands.add_parser("install", parents=[common])
    install.add_argument("--file", action="append", default=[], type=Path)
    install.add_argument("packages", nargs="*")
    remove = commands.add_parser("remove", aliases=["uninstall"], parents=[common])
    remove.add_argument("packages", nargs="+")
    commands.add_parser("list", parents=[common])
    env = commands.add_parser("env", parents=[common])
    env.add_argument("action", choices=["update"])
    env.add_argument("-f", "--file", required=True, type=Path)
    env.add_argument("--prune", action="store_true")

    options = parser.parse_args(words)
    tree = Path(os.environ[PREFIX_VARIABLE])
    if options.prefix and Path(options.prefix) != tree:
        raise InputError(f"only {tree} can be changed here", hint=_SUPPORTED)
    if (tree / "pyvenv.cfg").exists() and PINNED_VARIABLE not in os.environ:
        raise InputError(
            "this is no conda environment but a virtual one of pip's",
            where=tree,
            hint="use 'pip install', or build with conda-containerize",
        )
    present = installed.conda_records(tree)
    if options.command == "list":
        _list(tree)
    elif options.command == "install":
        _install(tree, present, options)
    elif options.command == "env":
        _update(tree, present, options)
    else:
        _remove(tree, present, options)


def _list(tree: Path) -> None:
    for package in installed.conda_packages(tree):
        print(f"{package.name:<28} {package.version:<16} {package.build}")


def _install(tree: Path, present: Sequence[PrefixRecord], options: argparse.Namespace) -> None:
    wanted = list(options.packages)
    for file in options.file:
        lines = (line.strip() for line in read_text(file).splitlines())
        wanted += [line for line in lines if line and not line.startswith("#")]
    if not wanted:
        raise InputError("no packages named", hint=_SUPPORTED)
    kept = [record.name.normalized for record in present]
    _change(tree, present, [*wanted, *_others(kept, wanted)], _channels(options))


def _update(tree: Path, present: Sequence[PrefixRecord], options: argparse.Namespace) -> None:
    asked = read_spec(options.file)
    if asked.pip_lines or asked.variables or asked.locked is not None:
        raise InputError(
            f"{options.file} has more than 'channels:' and conda packages in 'dependencies:'",
            hint="here only these can be changed: give the file to conda-containerize itself, or "
            "install the rest with 'pip install' in the script",
        )
    names = [spec.text for spec in asked.specs]
    kept = [] if options.prune else [record.name.normalized for record in present]
    _change(tree, present, [*names, *_others(kept, names)], [*options.channel, *asked.channels])


def _remove(tree: Path, present: Sequence[PrefixRecord], options: argparse.Namespace) -> None:
    """The named packages and those that need them."""
    gone = {_name(package) for package in options.packages}
    unknown = gone - {record.name.normalized for record in present}
    if unknown:
        raise InputError(f"not installed: {', '.join(sorted(unknown))}", hint="see 'conda list'")
    size = 0
    while size != len(gone):
        size = len(gone)
        gone |= {
            record.name.normalized
            for record in present
            if any(depend.split()[0] in gone for depend in record.depends)
        }
    kept = [r.name.normalized for r in present if r.name.normalized not in gone]
    _change(tree, present, kept, _channels(options))


def _channels(options: argparse.Namespace) -> list[str]:
    known = os.environ.get(CHANNELS_VARIABLE, "").split("\n")
    return [*options.channel, *([] if options.override_channels else filter(None, known))]


def _others(names: Sequence[str], specs: Sequence[str]) -> list[str]:
    """Those of ``names`` that no spec speaks of."""
    spoken = {_name(spec) for spec in specs}
    return [name for name in names if name not in spoken]


def _name(spec: str) -> str:
    try:
        name = MatchSpec(spec).name
    except InvalidMatchSpecError as error:
        raise InputError(f"'{spec}' is not a package: {error}", hint=_SUPPORTED) from None
    return name.normalized if name is not None else spec


def _change(
    tree: Path, present: Sequence[PrefixRecord], specs: Sequence[str], channels: Sequence[str]
) -> None:
    cache = Path(os.environ[CACHE_VARIABLE])
    chosen = site.load(os.environ)
    asked = EnvironmentSpec(
        source=Path.cwd() / "command line",
        specs=tuple(Located(text=spec, line=1) for spec in specs),
    )
    names, _ = choose(asked, [*map(absolute, channels)], chosen)
    asked = replace(asked, channels=names)
    before = installed.conda_packages(tree)
    folder = os.environ.get(PINNED_VARIABLE)
    base = Path(folder) if folder else None
    pinned = installed.records_in(base) if base else []
    resolution = resolve(
        asked, cache=cache, base=Base(), site=chosen, preferred=present, pinned=pinned
    )
    _, added = split(resolution.records, pinned)  # the base's are there
    staying, fresh = split(added, present)
    unpacked = Path(os.environ["CW_WORKDIR"]) / "pkgs"
    remove_tree(unpacked)
    archives = fetch(fresh, cache=cache, unpacked=unpacked, advance=unseen)
    link_packages(
        archives,
        staying=staying,
        installed=present,
        urls={record.name.normalized: public_url(record.url) for record in fresh},
        tree=tree,
        install_path=str(tree),
        unpacked=unpacked,
        advance=unseen,
        base=base,
    )
    for job in post_link_jobs(tree, str(tree), archives):
        job.run_here()
    print(describe_changes(changes_between(before, installed.conda_packages(tree))))


if __name__ == "__main__":
    main()
