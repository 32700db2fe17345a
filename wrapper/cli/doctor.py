"""``containerize doctor``: the one command that support staff ask users to run."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

import click

from wrapper.cli.common import say, with_console
from wrapper.cli.options import FILE, flag
from wrapper.console import Console

_COLOURS = {"ok": "green", "warning": "yellow", "failed": "red"}


@click.command("doctor")
@click.argument(
    "target",
    type=FILE,  # what cannot be read is a finding
    required=False,
    metavar="[DIR]",
)
@flag(
    "--deep",
    help="Read images as a whole, to compare their SHA-256 with the manifest.",
)
@flag(
    "--start",
    help="Start programs of DIR also where it belongs to somebody else, who decides what runs.",
)
@flag(
    "--mpi",
    help="Of DIR, an installation or a SIF: which MPI, libfabric and RCCL its programs would load.",
)
@flag("--json", "as_json", help="Print the findings as JSON.")
@with_console
def doctor(
    console: Console,
    target: Path | None,
    *,
    deep: bool,
    start: bool,
    mpi: bool,
    as_json: bool,
) -> None:
    """Find out what does not work, and what to do about it.

    Without DIR, of this machine: runtime, tools, directories, variables, GPUs. With DIR, of that
    installation, or of an image of 'build'. A line for each check: 'ok', 'warning' or 'failed',
    what was looked at, what was found, and what to do. Nothing is changed, and no program of
    somebody else's installation is started.

    Ends with status 12 where something failed. With -q only warnings and failures are shown.
    """
    from wrapper.doctor import FAILED, OK, Finding, diagnose
    from wrapper.errors import ChecksFailed

    if mpi and target is None:
        raise click.UsageError("--mpi needs DIR, an installation or a SIF")
    found: list[Finding] = []
    findings = diagnose(
        target, deep=deep, start=start, mpi=mpi, environ=dict(os.environ), console=console
    )
    with contextlib.closing(findings):  # who reads our output may leave
        for finding in findings:
            found.append(finding)
            if not as_json and (finding.state != OK or console.verbosity >= 0):
                _show(finding.state, finding.line)
    if as_json:
        say(json.dumps([asdict(finding) for finding in found], indent=1))
    failures = [finding.what for finding in found if finding.state == FAILED]
    if failures:
        raise ChecksFailed(
            f"{len(failures)} of {len(found)} checks failed: {', '.join(failures)}",
            where=target or "this machine",
            hint="do what the lines that begin with 'failed' say, the first of them first",
        )


def _show(state: str, line: str) -> None:
    coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    word = f"{state:<8}"
    if coloured:
        click.secho(word, fg=_COLOURS[state], nl=False)
        word = ""
    say(f"{word} {line}")
    sys.stdout.flush()
