"""The platforms that packages are for, as conda calls them, and the machines behind them."""

from __future__ import annotations

import platform

NOARCH = "noarch"
# conda's name -> what ``uname -m`` says.
MACHINES = {"linux-64": "x86_64", "linux-aarch64": "aarch64", "linux-ppc64le": "ppc64le"}
# What Debian calls the machines.
DEBIAN = {"x86_64": "amd64", "aarch64": "arm64", "ppc64le": "ppc64el"}
# What bash was compiled for, where that is known: it has names of its own for some.
_BASH_NAMES = {"x86_64": "x86_64", "aarch64": "aarch64", "ppc64le": "powerpc64le"}


def machine() -> str:
    """This machine's architecture (``x86_64``), as ``uname -m`` says it."""
    return platform.machine()


def here() -> str:
    """conda's name of this machine's platform (``linux-64``)."""
    names = {name: platform for platform, name in MACHINES.items()}
    return names.get(machine(), f"linux-{machine()}")


def bash_machine() -> str:
    """What ``${BASH_VERSINFO[5]}`` begins with on this machine, empty where that is not known.

    ``HOSTTYPE`` and ``MACHTYPE`` say the same only where no variable of that name is inherited:
    tcsh and SUSE's profile export them, and Slurm brings those of the login node.
    """
    return _BASH_NAMES.get(machine(), "")
