"""The command that builds the channel: ``python -m tests.channel DIR``."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from .build import build
from .util import BuildError


def main() -> int:
    """Build the channel that the command line names; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.channel", description=__doc__)
    parser.add_argument("channel", type=Path, help="the directory to become the channel")
    parser.add_argument(
        "--work", type=Path, help="keeps the downloads (default: DIR-work, beside the channel)"
    )
    arguments = parser.parse_args()
    channel = arguments.channel.absolute()
    work = arguments.work or channel.with_name(f"{channel.name}-work")
    start = time.monotonic()
    try:
        built = build(channel, work.absolute())
    except (BuildError, OSError) as error:
        print(f"cannot build the channel: {error}", file=sys.stderr)
        return 1
    if built:
        print(f"built {channel} in {time.monotonic() - start:.0f} s")
    else:
        print(f"{channel} is up to date")
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: rattler's threads sometimes crash the interpreter while it shuts down.
    os._exit(status)
