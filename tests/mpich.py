"""Debian 12's MPICH in a directory, as a machine's own MPI: ``python -m tests.mpich DIR``.

``DIR/bin/mpirun`` starts ranks; ``DIR/lib`` has the libraries, which LD_LIBRARY_PATH alone finds.
``DIR/abi`` has the name of the ABI, as ``lib-abi-mpich`` on a Cray. Nothing is
installed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests.channel import apt
from tests.channel.debian import TRIPLET, unpack
from tests.channel.util import BuildError, fresh_directory, sha256

DEBS = (
    *("mpich", "libmpich12", "libhwloc15", "libucx0", "libibverbs1", "libnl-3-200"),
    *("libnl-route-3-200", "librdmacm1", "libnuma1", "libslurm38", "libudev1", "libgfortran5"),
    "libquadmath0",
)
_PROGRAMS = ("mpiexec.hydra", "hydra_pmi_proxy")
_TOP = Path(__file__)


def build(directory: Path) -> bool:
    """Make it, unless it is there already; whether something was done.

    :raises BuildError: it cannot be made.
    """
    stamp = directory / ".stamp"
    wanted = f"{sha256(_TOP)} {directory}\n"
    if stamp.is_file() and stamp.read_text() == wanted:
        return False
    work = directory.with_name(f"{directory.name}-work")
    apt.download(work / "debs", DEBS)
    root = unpack(work / "debs", DEBS, work / "root")
    partial = fresh_directory(directory.with_name(f"{directory.name}.partial"))
    for name in ("bin", "lib", "abi"):
        (partial / name).mkdir()
    for folder in (root / "lib" / TRIPLET, root / "usr/lib" / TRIPLET):
        for path in folder.glob("*.so*"):
            shutil.copy2(path, partial / "lib" / path.name, follow_symlinks=False)
    (partial / "abi/libmpi.so.12").symlink_to("../lib/libmpich.so.12")
    for name in _PROGRAMS:
        (partial / "bin" / name).write_text(_STARTER.format(name=name, lib=directory / "lib"))
        (partial / "bin" / name).chmod(0o755)
        shutil.copy2(root / "usr/bin" / name, partial / "bin" / f".{name}")
    (partial / "bin/mpirun").symlink_to(_PROGRAMS[0])
    (partial / ".stamp").write_text(wanted)
    shutil.rmtree(directory, ignore_errors=True)
    partial.rename(directory)
    shutil.rmtree(work / "root")
    return True


# The loader by name: what a rank gets must not have these libraries on LD_LIBRARY_PATH.
_STARTER = """\
#!/bin/sh
exec /lib64/ld-linux-x86-64.so.2 --library-path {lib} --argv0 "$0" "${{0%/*}}/.{name}" "$@"
"""


def main() -> int:
    """Make what the command line names; return the exit status."""
    directory = Path(sys.argv[1]).absolute()
    try:
        built = build(directory)
    except (BuildError, OSError, subprocess.SubprocessError) as error:
        print(f"cannot make {directory}: {error}", file=sys.stderr)
        return 1
    print(f"{directory} is {'ready' if built else 'up to date'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
