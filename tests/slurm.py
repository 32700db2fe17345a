"""Debian 12's Slurm in a directory, without installing it: ``python -m tests.slurm DIR``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.channel.util import BuildError
from tests.mpich import unpacked

DEBS = (
    *("slurmd", "slurmctld", "slurm-client", "slurm-wlm-basic-plugins", "liblz4-1", "libhwloc15"),
    *("libnuma1", "libpam0g", "libaudit1", "libcap-ng0", "libudev1"),
    *("munge", "libmunge2", "libgcrypt20", "libgpg-error0", "libbz2-1.0"),
)
_CLIENTS = ("srun", "sbatch", "sinfo", "squeue", "scontrol", "scancel")
_PROGRAMS = (
    *(f"usr/sbin/{name}-wlm" for name in ("slurmd", "slurmctld", "slurmstepd")),
    *(f"usr/bin/{name}" for name in _CLIENTS),
    "usr/sbin/munged",
)


def main() -> int:
    """Make what the command line names; return the exit status."""
    directory = Path(sys.argv[1]).absolute()
    try:
        built = unpacked(directory, DEBS, _PROGRAMS, lambda _made: None)
    except (BuildError, OSError, subprocess.SubprocessError) as error:
        print(f"cannot make {directory}: {error}", file=sys.stderr)
        return 1
    print(f"{directory} is {'ready' if built else 'up to date'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
