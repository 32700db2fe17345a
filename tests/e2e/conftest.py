"""Installations that end-to-end tests share, built with the installed commands."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.account import REPOSITORY, Account
from tests.conftest import require
from wrapper.base import debian
from wrapper.base.definition import read_definition
from wrapper.util.removal import remove_tree

BIN = Path(sys.executable).parent
CONDA = BIN / "conda-containerize"
PIP = BIN / "pip-containerize"
UMBRELLA = BIN / "containerize"
BASE_CACHE = REPOSITORY / ".cache" / "base"  # packages that base images are made of
SLURM = REPOSITORY / ".cache/slurm/bin"


@dataclass(frozen=True, kw_only=True)
class Installation:
    """A prefix and the account that made it."""

    prefix: Path
    account: Account

    def program(self, name: str) -> Path:
        return self.prefix / "bin" / name

    def python(self, code: str, *args: str, **options: Any) -> str:
        """Standard output of ``bin/python3 -c CODE ARGS``, which must succeed."""
        return self.account.ok(self.program("python3"), "-c", code, *args, **options)

    @property
    def manifest(self) -> dict[str, Any]:
        data: dict[str, Any] = json.loads((self.prefix / "current/manifest.json").read_text())
        return data


def environment_text(channel: Path, *specs: str, more: str = "") -> str:
    """An env.yml that takes ``specs`` from the local channel."""
    lines = "\n".join(f"  - {spec}" for spec in specs)
    return f"channels:\n  - {channel.as_uri()}\ndependencies:\n{lines}\n{more}"


Builder = Callable[..., Installation]


@pytest.fixture(scope="session")
def build(channel: Path, runtime: Path) -> Builder:
    """Build an environment: ``build(account, name, *specs, options=(), more="")``."""

    def builder(
        account: Account, name: str, *specs: str, options: tuple[str, ...] = (), more: str = ""
    ) -> Installation:
        file = account.file(f"{name}.yml", environment_text(channel, *specs, more=more))
        prefix = account.work / name
        account.ok(CONDA, "new", "--prefix", prefix, file, *options)
        return Installation(prefix=prefix, account=account)

    return builder


@pytest.fixture(scope="session")
def scientific(account: Account, build: Builder) -> Installation:
    """numpy and scipy, and packages that activate, link and hook in every way."""
    return build(
        account,
        "scientific",
        *("python", "numpy", "scipy", "pip", "demo-activate", "demo-postlink", "demo-noarch"),
        *("demo-pathlike", "demo-hostile-env", "demo-tool", "demo-textprefix", "demo-binprefix"),
        "demo-activations",
        more='variables:\n  MY_VARIABLE: "it\'s $HOME"\n',
    )


@pytest.fixture(scope="session")
def venv(scientific: Installation) -> Path:
    """A virtual environment of that Python with a pip of its own, which takes long to make."""
    place = scientific.account.work / "venv"
    scientific.account.ok(scientific.program("python3"), "-m", "venv", place)
    return place


@pytest.fixture(scope="session")
def small(account: Account, build: Builder) -> Installation:
    """A second installation, to be used with the first."""
    return build(account, "small", "python", "demo-noarch")


@pytest.fixture(scope="session")
def cluster() -> Iterator[dict[str, str]]:
    """The variables of who uses :func:`slurm_cluster`."""
    with slurm_cluster() as variables:
        yield variables


@contextlib.contextmanager
def slurm_cluster(account: Account | None = None) -> Iterator[dict[str, str]]:
    """A real Slurm of two nodes with eight GPUs each, run by ``account``, by default the tester.

    Gives the variables by which one uses it.
    """
    if not (SLURM / "slurmctld").is_file():  # on no other system than Debian
        pytest.skip("there is no Slurm (make slurm)")
    with open_directory() as root:
        line = [str(REPOSITORY / "tools/slurm-cluster"), str(root / "slurm"), "8"]
        argv = account.argv(line) if account else line
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as daemons:
            try:
                assert daemons.stdout and daemons.stdout.readline() == "ready\n"
                yield {"SLURM_CONF": f"{root}/slurm/slurm.conf"}
            finally:  # else a test that fails waits for them without an end
                daemons.terminate()


@contextlib.contextmanager
def open_directory() -> Iterator[Path]:
    """A new directory that every account may enter, unlike those of pytest."""
    root = Path(tempfile.mkdtemp(prefix="test-containerize-"))
    root.chmod(0o755)
    try:
        yield root
    finally:
        remove_tree(root)


def entries(directory: Path) -> set[str]:
    """Names in a directory, to see that nothing was left there."""
    return {path.name for path in directory.iterdir()}


def seen(root: Path) -> dict[str, object]:
    """All that a user can see of a tree: kinds, modes, links and contents."""
    found: dict[str, object] = {}
    for folder, names, files in os.walk(root):
        for path in (Path(folder, name) for name in (*names, *files)):
            status = path.lstat()
            content: object = None
            if path.is_symlink():
                content = str(path.readlink())
            elif path.is_file():
                content = path.read_bytes()
            found[str(path.relative_to(root))] = (stat.filemode(status.st_mode), content)
    return found


@contextlib.contextmanager
def untouched(directory: Path, *, but: frozenset[str] = frozenset()) -> Iterator[None]:
    """Nothing appears in ``directory`` (a home that tests share) meanwhile, ``but`` these names."""
    before = entries(directory)
    yield
    assert entries(directory) - before <= but


needs_root = pytest.mark.root("only root can mount a file system")


@contextlib.contextmanager
def small_file_system(directory: Path, megabytes: int) -> Iterator[Path]:
    """A tmpfs; only root can mount one. An ordinary user's run of the tests has /dev/full only."""
    directory.mkdir()
    options = f"size={megabytes}m,mode=1777"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "full", directory], check=True)
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", directory], check=True)


def change(installation: Installation, *arguments: str | Path) -> str:
    """Run an update that must succeed; what it said."""
    account = installation.account
    done = account.run(CONDA, "update", installation.prefix, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stderr


def current(installation: Installation) -> int:
    return int((installation.prefix / "current").readlink().name)


def has(installation: Installation, module: str) -> bool:
    code = f"import importlib.util as u; print(u.find_spec({module!r}) is not None)"
    return installation.python(code) == "True\n"


def takes_definitions(account: Account) -> bool:
    """Whether a runtime builds from definition files for an account: for root, and for users who
    may be root in a namespace, or have proot.
    """
    if account.uid is None and os.getuid() == 0:
        return True
    asked = account.run("unshare", "--user", "--map-root-user", "true")
    return asked.returncode == 0 or account.run("sh", "-c", "command -v proot").returncode == 0


# -- base images from Debian's packages ------------------------------------------------------------
@pytest.fixture(scope="session")
def mirror() -> str:
    """The Debian archive to fetch from: named in the environment, else what this machine uses."""
    named = os.environ.get("CONTAINERIZE_DEBIAN_MIRROR", "")
    found = subprocess.check_output([REPOSITORY / "tools/debian-mirror"], text=True).strip()
    require(bool(named or found), "a Debian archive")
    return named or found


@contextlib.contextmanager
def base_cache() -> Iterator[Path]:
    """The cache of packages, which the tests of all accounts share, whatever process has them."""
    BASE_CACHE.mkdir(parents=True, exist_ok=True)
    with BASE_CACHE.with_suffix(".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield BASE_CACHE


@pytest.fixture(scope="session")
def network(mirror: str) -> dict[str, str]:
    """Variables for a build: mirror, downloaded packages, the way to the network.

    All packages are there before: an ordinary user cannot add to what root's tests fill.
    """
    with base_cache() as cache:
        for name in ("minimal", "python"):
            definition = read_definition(REPOSITORY / f"base_images/{name}.def")
            debian.fetch(
                definition.packages,
                mirrors=debian.mirrors(mirror, definition.snapshot),
                cache=cache / "debs",
                advance=lambda _done, _total: None,
            )
    proxies = {k: v for k, v in os.environ.items() if k.lower().endswith("_proxy")}
    return {
        **proxies,
        "CONTAINERIZE_DEBIAN_MIRROR": mirror,
        "CONTAINERIZE_CACHE_DIR": str(BASE_CACHE),
    }


@pytest.fixture(scope="session")
def minimal(account: Account, runtime: Path, network: dict[str, str]) -> Path:
    """The base image ``minimal``, built by this account; it is never written to."""
    target = account.directory("base") / "minimal.sif"
    shell = 'umask 0077; exec "$@"'
    command = (UMBRELLA, "base", "build", "minimal", "--output", target)
    with untouched(account.home):
        account.ok("bash", "-c", shell, "-", *command, env=network)
    return target
