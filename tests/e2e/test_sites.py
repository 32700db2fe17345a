"""On a cluster's file systems: links at the top, and into ``/pfs``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.account import Account
from tests.e2e.conftest import CONDA, environment_text, open_directory
from tests.images import system_files

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
