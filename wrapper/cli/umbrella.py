"""``containerize``: everything that is not building."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from wrapper.cli.base import base
from wrapper.cli.build import build
from wrapper.cli.common import CONTEXT, Group, say, with_console
from wrapper.cli.doctor import doctor
from wrapper.cli.editors import export_sources, kernel
from wrapper.cli.extend import extend, freeze, thaw
from wrapper.cli.jobs import jobscript
from wrapper.cli.modules import modulefile
from wrapper.cli.options import COMPRESSION, FILE, TMPDIR, apply, configured, flag
from wrapper.cli.shell import activate, deactivate, shell_init
from wrapper.console import Console, counted


@click.group("containerize", cls=Group, context_settings=CONTEXT)
@click.version_option(package_name="containerize", prog_name="containerize")
def containerize() -> None:
    """Build portable images, look after installations, see what this machine offers to them."""


for _command in (
    *(base, build, activate, deactivate, shell_init, doctor, modulefile, jobscript),
    *(kernel, export_sources, extend, freeze, thaw),
):
    containerize.add_command(_command)


@containerize.command("info")
@with_console
def info(console: Console) -> None:
    """Show the tools, directories and settings of a build here.

    Each setting with its value and where it comes from: a default, a file, a variable. With -v also
    what it means.
    """
    from wrapper import settings as site
    from wrapper.commands.info import tools_and_places
    from wrapper.errors import ContainerizeError
    from wrapper.settings_keys import KEYS

    settings = site.load(os.environ)
    missing = []
    for title, found in tools_and_places(settings):
        if isinstance(found, ContainerizeError):
            missing.append(found)
        answer = f"none: {found.what}" if isinstance(found, ContainerizeError) else found
        say(f"{title:<12} {answer}")
    say(f"cache        {settings.cache or 'none (CONTAINERIZE_CACHE_DIR)'}")
    say(f"site         {site.describe_site(settings)}")
    say("\nsetting            value  (where it comes from)")
    for name, value, origin in site.describe(settings):
        say(f"{name:<18} {value or '-'}  ({origin})")
        if console.verbosity > 0:
            say(f"{'':<18} {KEYS[name].help}")
            if source := site.source_of(settings, name):
                say(f"{'':<18} from: {source}")
    for warning in settings.warnings:
        console.warning(warning)
    if missing:
        raise missing[0]


@containerize.command("inspect", short_help="Print the manifest of an installation or an image.")
@click.argument("prefix", type=FILE, metavar="DIR")
@flag(
    "--settings",
    help="Print what programs are told by variables instead: why, since when, by which source.",
)
@with_console
def inspect(_console: Console, prefix: Path, settings: bool) -> None:
    """Print the manifest of the installation DIR, or of an image of 'build', as JSON."""
    if settings:
        from wrapper.commands.explain import explain

        say(explain(prefix, os.environ))
        return
    from wrapper.images.sif.record import read_sif_manifest
    from wrapper.manifest import as_json, read_manifest

    read = read_sif_manifest if prefix.is_file() else read_manifest
    say(json.dumps(as_json(read(prefix)), indent=1))


@containerize.command("list")
@click.argument("prefix", type=FILE, metavar="DIR")
@flag("--json", "as_json", help="Print the list as JSON.")
@with_console
def list_generations(_console: Console, prefix: Path, as_json: bool) -> None:
    """List the generations of the installation DIR.

    A line each: number, '*' for the one in use, when it was made, the size of its image, what all
    of it takes on disk, and what it changed against the one before. Files and blocks that
    generations share, where the file system lets them, count for the oldest: the sum is what all of
    them take.
    """
    from wrapper.cli import report
    from wrapper.commands.history import history

    entries = history(prefix)
    say(report.history_json(entries) if as_json else report.history_table(entries))


@containerize.command("repack", short_help="Compress an installation or a SIF otherwise.")
@click.argument("target", type=FILE, metavar="DIR|SIF")
@apply(COMPRESSION, TMPDIR, with_console)
def repack(console: Console, target: Path, compression: str | None, tmpdir: Path | None) -> None:
    """Pack the files of the installation DIR, or of the image SIF, in another compression.

    For what the container runtime does not start: SingularityCE knows no zstd. Nothing is solved or
    installed anew. The installation gets a further generation ('containerize rollback DIR' goes
    back), the SIF file is replaced by one rename. Without --compression an installation gets the
    best that starts here, a SIF gzip, which starts everywhere.
    """
    from wrapper.cli import report
    from wrapper.commands.repack import repack as run
    from wrapper.requests import RepackRequest

    settings = configured(console, tmpdir=tmpdir, compression=compression)
    request = RepackRequest(target=target, compression=compression, site=settings)
    console.info(report.describe_repack(run(request, console)))


@containerize.command(
    "profile", short_help="Put an image's files in the order in which a program opens them."
)
@click.argument("words", nargs=-1, required=True, metavar="DIR|SIF -- COMMAND...")
@apply(TMPDIR, with_console)
def profile(console: Console, words: tuple[str, ...], tmpdir: Path | None) -> None:
    """Put the files of the installation DIR, or of a SIF, in the order in which COMMAND opens them.

    COMMAND, a program in it, is run once. It should do what most programs do when they begin.
    The first start on a node then reads the image forward, and unpacks less of it. Nothing but the
    place of files in the image changes. The installation gets a further generation ('containerize
    rollback DIR' goes back), the SIF of 'containerize build' is replaced; updates keep the order.

    \b
    Example:
      containerize profile DIR -- python3 -c 'import torch'
    """
    from wrapper.cli import report
    from wrapper.commands.profile import profile as run
    from wrapper.requests import ProfileRequest

    target, *command = words
    if not command:
        raise click.UsageError("Missing argument 'COMMAND...': what is to run, after --.")
    settings = configured(console, tmpdir=tmpdir)
    request = ProfileRequest(target=Path(target), words=tuple(command), site=settings)
    console.info(report.describe_profile(run(request, console)))


@containerize.command("rollback", short_help="Switch to the generation before, or another one.")
@click.argument("prefix", type=FILE, metavar="DIR")
@click.argument("generation", type=int, required=False, metavar="[N]")
@with_console
def rollback(console: Console, prefix: Path, generation: int | None) -> None:
    """Switch the installation DIR to generation N, or to the one before.

    Programs that run keep the generation with which they started.
    """
    from wrapper.commands import history as past

    past.rollback(prefix, generation, console)


@containerize.command("mend", short_help="Take the machine's MPI as it is today.")
@click.argument("prefix", type=FILE, metavar="DIR")
@TMPDIR
@with_console
def mend(console: Console, prefix: Path, tmpdir: Path | None) -> None:
    """Take the machine's MPI as it is today, for the generation in use of the installation DIR.

    For an installation with --mpi host, where 'doctor' says that libraries have changed or gone.
    Nothing is built. Programs that run keep what they have.
    """
    from wrapper.commands.mend import mend as run

    record = run(prefix, configured(console, tmpdir=tmpdir), console)
    console.info(f"MPI: {record.abi} {record.version} ({record.library})")


@containerize.command("prune")
@click.argument("prefix", type=FILE, metavar="DIR")
@click.option(
    "--keep",
    type=click.IntRange(min=1),
    required=True,
    metavar="N",
    help="How many generations stay: the one in use, and of the others the most recent ones.",
)
@with_console
def prune(console: Console, prefix: Path, keep: int) -> None:
    """Remove old generations of the installation DIR.

    Each is named. After a rollback newer ones than the one in use may be among them. Never the one
    in use goes, nor one whose programs run on this node. Programs on other nodes cannot be seen
    from here: make sure that no job still uses what you remove.
    """
    from wrapper.commands import history as past

    past.prune(prefix, keep, console)


@containerize.command("adopt", short_help="Take over an installation of Tykky.")
@click.argument("prefix", type=FILE, metavar="DIR")
@TMPDIR
@with_console
def adopt(console: Console, prefix: Path, tmpdir: Path | None) -> None:
    """Take over the installation DIR that Tykky made, without building it again.

    The image stays the same file at the same path inside. Then 'update', 'list' and 'rollback'
    work. Tykky's own files stay in DIR/.tykky, which is still a working installation of Tykky:
    to go back, move it to the place of DIR; to free its room, remove it.
    """
    from wrapper.commands import adopt as adoption

    settings = configured(console, tmpdir=tmpdir)
    manifest = adoption.adopt(prefix, settings, console).manifest
    programs = counted(manifest.programs, "program")
    console.info(f"{programs} in {prefix / 'bin'} ({manifest.kind})")
