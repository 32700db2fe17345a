"""Debian 12's MPICH in a directory, as a machine's own MPI: ``python -m tests.mpich DIR``.

``DIR/bin/mpirun`` starts ranks; ``DIR/lib`` has the libraries, which LD_LIBRARY_PATH alone finds.
``DIR/abi`` has the name of the ABI, as ``lib-abi-mpich`` on a Cray. Nothing is
installed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.channel import apt
from tests.channel.debian import TRIPLET, unpack
from tests.channel.util import BuildError, fresh_directory, sha256

DEBS = (
    *("mpich", "libmpich12", "libhwloc15", "libucx0", "libibverbs1", "libnl-3-200"),
    *("libnl-route-3-200", "librdmacm1", "libnuma1", "libslurm38", "libudev1", "libgfortran5"),
    "libquadmath0",
)
_PROGRAMS = ("usr/bin/mpiexec.hydra", "usr/bin/hydra_pmi_proxy")


def build(directory: Path) -> bool:
    """Make it, unless it is there already; whether something was done.

    :raises BuildError: it cannot be made.
    """

    def finish(made: Path) -> None:
        (made / "abi").mkdir()
        (made / "abi/libmpi.so.12").symlink_to("../lib/libmpich.so.12")
        (made / "bin/mpirun").symlink_to("mpiexec.hydra")

    return unpacked(directory, DEBS, _PROGRAMS, finish)


def unpacked(
    directory: Path, debs: Sequence[str], programs: Sequence[str], finish: Callable[[Path], None]
) -> bool:
    """Debian's packages in a directory: ``bin``, whose programs find their libraries, and ``lib``.

    :param programs: below the system's root. :param finish: what else there is to do, before it
        appears. :raises BuildError: they cannot be had.
    """
    stamp = directory / ".stamp"
    wanted = f"{sha256(Path(__file__))} {' '.join([*debs, *programs])} {directory}\n"
    if stamp.is_file() and stamp.read_text() == wanted:
        return False
    work = directory.with_name(f"{directory.name}-work")
    apt.download(work / "debs", debs)
    root = unpack(work / "debs", debs, work / "root")
    partial = fresh_directory(directory.with_name(f"{directory.name}.partial"))
    for name in ("bin", "lib"):
        (partial / name).mkdir()
    for folder in (root / "lib" / TRIPLET, root / "usr/lib" / TRIPLET):
        if folder.is_dir():
            shutil.copytree(folder, partial / "lib", symlinks=True, dirs_exist_ok=True)
    for path in (root / program for program in programs):
        name = path.name.removesuffix("-wlm")  # one of Debian's alternatives
        (partial / "bin" / name).write_text(_STARTER.format(name=name, lib=directory / "lib"))
        (partial / "bin" / name).chmod(0o755)
        shutil.copy2(path, partial / "bin" / f".{name}")
    finish(partial)
    (partial / ".stamp").write_text(wanted)
    shutil.rmtree(directory, ignore_errors=True)
    partial.rename(directory)
    shutil.rmtree(work / "root")
    return True


# The loader by name: what a rank gets must not have these libraries on LD_LIBRARY_PATH.
_STARTER = """\
#!/bin/sh
exec /lib64/ld-linux-x86-64.so.2 --library-path {lib}:{lib}/slurm-wlm \\
    --argv0 "$0" "${{0%/*}}/.{name}" "$@"
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
