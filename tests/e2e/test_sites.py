"""On a cluster's file systems: links at the top, and into ``/pfs``."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.account import Account, setuid_user
from tests.conftest import require
from tests.e2e.conftest import CONDA, UMBRELLA, environment_text, open_directory
from tests.e2e.test_mpi import MPICH, PROGRAM, assert_same, rows_of
from tests.images import system_files, write_files
from tests.runtimes import KERNEL

pytestmark = pytest.mark.skipif(
    os.getuid() != 0, reason="only root can have another root directory"
)

PLACES = ("/scratch/project_1", "/pfs/appl/sub", "/appl/sub", "/flash", "/data")
LOOK = """\
set -e
env -u PWD bash -c 'pwd -P'
echo "$PWD"
for place; do cd -P "$place"; pwd; done
"""


@pytest.fixture
def root() -> Iterator[Path]:
    """What a cluster has at the top."""
    with open_directory() as place:
        for name in ("pfs/appl/sub", "pfs/p1", ".lustre/flash", "scratch", "containerize-var/data"):
            (place / name).mkdir(parents=True)
        for name, target in {
            **{"appl": "/pfs/appl", "flash": "/.lustre/flash", "scratch/project_1": "/pfs/p1"},
            "data": "/containerize-var/data",
        }.items():
            (place / name).symlink_to(target)
        yield place


def test_paths_are_the_same_inside(
    account: Account, channel: Path, runtime: Path, root: Path
) -> None:
    """In a build and in programs, on the host and on an image, also as the working directory.

    At the root of an image no link can be made: those of the host are directories there.
    """
    there = account.among(root)
    env = account.file("links.yml", environment_text(channel, "demo-tool"))
    look = account.file("look.sh", LOOK)
    post = account.file("links.sh", f'bash "{look}" {" ".join(PLACES)}\n')
    image = account.work / "links.sif"
    sandbox = system_files(account.work / "links.d")
    account.ok(account.runtime, "-s", "build", image, sandbox)
    for name, options in (("links-host", ()), ("links-image", ("--base-image", str(image)))):
        prefix = account.work / name
        there.ok(CONDA, "new", "--prefix", prefix, env, "--post-install", post, *options)
        for cwd in ("/scratch/project_1", "/appl/sub"):
            shell = ("bash", "-c", f'cd {cwd} && exec "$0" "$@"')
            own = there.ok(*shell, "bash", look, *PLACES).splitlines()
            inside = there.ok(
                *shell, prefix / "bin/_debug_exec", "bash", look, *PLACES
            ).splitlines()
            assert inside[:4] == own[:4], (name, cwd)
            assert inside[4:] == (list(PLACES[2:]) if options else own[4:])
        told = there.run(UMBRELLA, "doctor", prefix).stdout
        assert ("/appl (/pfs/appl), /data (/containerize-var/data)" in told) is bool(options)


@pytest.mark.setuid
def test_all_that_a_site_brings_under_a_set_uid_runtime(
    channel: Path, runtime: Path, root: Path, tmp_path: Path
) -> None:
    """An ordinary user's ranks on an image with ROCm, in a directory behind a link."""
    require((MPICH / "bin/mpirun").is_file(), "Debian's MPICH (make mpich)")
    with open_directory() as place:
        account = setuid_user(place, KERNEL)
        files = {"opt/rocm/.info/version": "6.4.0-1\n"}
        sandbox = write_files(system_files(tmp_path / "rocm"), files)
        image = account.work / "lumi-multitorch.sif"  # by its name the profile knows it
        subprocess.run([runtime, "-s", "build", image, sandbox], check=True)
        image.chmod(0o644)
        env = account.file("env.yml", environment_text(channel, "python"))
        program = account.file("ring.py", PROGRAM)
        mpi = {"LD_LIBRARY_PATH": f"{MPICH}/abi:{MPICH}/lib"}
        site = {"CONTAINERIZE_SITE": "lumi", "CONTAINERIZE_RUNTIME": account.runtime}
        there, prefix = account.among(root), account.work / "lumi"
        options = ("--base-image", image, "--mpi", "host")
        there.ok(CONDA, "new", "--prefix", prefix, env, *options, env={**site, **mpi})
        settings = prefix / "current/env"
        text = settings.read_bytes().replace(b"_gpu_device=/dev/kfd", b"_gpu_device=/dev/null")
        settings.write_bytes(
            text.replace(b"_gpu_cache=/tmp", f"_gpu_cache={account.work}".encode())
        )
        ranks = (MPICH / "bin/mpirun", "-n", "4", prefix / "bin/python3", program)
        inside = rows_of(there.ok("bash", "-c", 'cd /scratch/project_1 && exec "$@"', "-", *ranks))
        assert_same(inside, rows_of(account.ok(*ranks[:3], sys.executable, program, env=mpi)))
        look = "import os; print(os.environ['TRITON_CACHE_DIR'], os.path.realpath('/flash'))"
        cache, flash = there.ok(prefix / "bin/python3", "-c", look).split()
        assert Path(cache).is_dir() and cache.startswith(
            f"{account.work}/containerize.{account.uid}"
        )
        assert flash == "/flash", "at the root of an image no link can be made"
