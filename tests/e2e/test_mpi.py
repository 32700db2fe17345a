"""Ranks of a real MPICH in the world of the machine's own, on the host's system and in an image."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.account import REPOSITORY, Account, setuid_user
from tests.conftest import require
from tests.e2e.conftest import (
    CONDA,
    PIP,
    SLURM,
    UMBRELLA,
    Installation,
    environment_text,
    open_directory,
    slurm_cluster,
)
from tests.images import system_files, write_files
from tests.index import write_wheel
from tests.runtimes import KERNEL

MPICH = REPOSITORY / ".cache/mpich"
RANKS, LIBRARY = 4, "lib/libmpich.so.12.2.2"
SRUN = (SLURM / "srun", "-N2", f"-n{RANKS}", "--mpi=pmi2")
# MPICH's ABI has numbers for its handles. What a rank prints: its number, their number, a digest of
# what it got around a ring and of a sum over all, and the library that it has.
PROGRAM = """\
import array, ctypes, hashlib, os, random
mpi = ctypes.CDLL("libmpi.so.12")
world, double, total = 0x44000000, 0x4c00080b, 0x58000003
mpi.MPI_Init(None, None)
rank, size = ctypes.c_int(), ctypes.c_int()
mpi.MPI_Comm_rank(world, ctypes.byref(rank))
mpi.MPI_Comm_size(world, ctypes.byref(size))
rank, size = rank.value, size.value
numbers = random.Random(rank)
mine = array.array("d", (numbers.random() for _ in range(500)))
sums, ring = array.array("d", bytes(4000)), array.array("d", bytes(4000))
at = lambda values: ctypes.c_void_p(values.buffer_info()[0])
mpi.MPI_Allreduce(at(mine), at(sums), 500, double, total, world)
status = ctypes.create_string_buffer(64)
mpi.MPI_Sendrecv(at(mine), 500, double, (rank + 1) % size, 0,
    at(ring), 500, double, (rank - 1) % size, 0, world, status)
digest = hashlib.sha256(sums.tobytes() + ring.tobytes()).hexdigest()
with open("/proc/self/maps") as maps:
    library = next(line.split()[-1] for line in maps if "/libmpi" in line)
os.write(1, f"{rank} {size} {digest} {library}\\n".encode())  # in one piece
mpi.MPI_Barrier(world)  # who is in MPI_Finalize may not help the others any more
mpi.MPI_Finalize()
"""

# What mpi4py is where its wheel is not wanted: compiled by mpicc, for the library that this finds.
SOURCES = {
    "pyproject.toml": """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
""",
    "PKG-INFO": "Metadata-Version: 2.1\nName: mpi4py\nVersion: 4.1\n",
    "mpi.c": "int MPI_Init(int *, char ***);\nint start(void) { return MPI_Init(0, 0); }\n",
    "init.py": 'import ctypes\nmpi = ctypes.CDLL(__file__.replace("__init__.py", "mpi.so"))\n',
    "backend.py": """\
import subprocess, zipfile
def build_wheel(directory, settings=None, metadata=None):
    subprocess.run(["mpicc", "-shared", "-fPIC", "mpi.c", "-o", "mpi.so"], check=True)
    name, info = "mpi4py-4.1-py3-none-any.whl", "mpi4py-4.1.dist-info"
    with zipfile.ZipFile(f"{directory}/{name}", "w") as wheel:
        wheel.write("init.py", "mpi4py/__init__.py")
        wheel.write("mpi.so", "mpi4py/mpi.so")
        wheel.write("PKG-INFO", f"{info}/METADATA")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n")
        wheel.writestr(f"{info}/RECORD", "")
    return name
""",
}

# The last of 64 is ended by a signal.
TELLS = """\
import os, signal, sys
rank = os.environ["SLURM_PROCID"]
os.write(1, f"{rank} {sys.argv[1:]}\\n".encode())
if rank == "63":
    os.kill(os.getpid(), signal.SIGTERM)
"""


@pytest.fixture(scope="session")
def mpich() -> Path:
    require((MPICH / "bin/mpirun").is_file(), "Debian's MPICH (make mpich)")
    return MPICH


@pytest.fixture(scope="session")
def site(account: Account, mpich: Path) -> dict[str, str]:
    assert mpich
    return site_of(account)


def site_of(account: Account) -> dict[str, str]:
    """A site whose MPI lies where no loader looks."""
    text = f"mpi: {{directories: [{MPICH}/abi], search: [{MPICH}/lib], srun: {{host: pmi2}}}}\n"
    return {"CONTAINERIZE_SITE": str(account.file("mpi-site.yml", text))}


@dataclass(frozen=True, kw_only=True)
class World:
    """An account that starts ranks, and its program."""

    account: Account
    program: Path

    def ranks(self, python: Path, **env: str) -> list[list[str]]:
        """What each rank of ``mpirun -n 4 PYTHON PROGRAM`` prints, in their order."""
        argv = (MPICH / "bin/mpirun", "-n", str(RANKS), python, self.program)
        return rows_of(self.account.ok(*argv, env=env, timeout=60))

    def native(self) -> list[list[str]]:
        """The same of ranks without a container."""
        return self.ranks(Path(sys.executable), LD_LIBRARY_PATH=f"{MPICH}/abi:{MPICH}/lib")

    def srun(self, python: Path, cluster: dict[str, str]) -> list[list[str]]:
        """The same of ranks on two nodes."""
        argv = (*SRUN, python, self.program)
        return rows_of(self.account.ok(*argv, env=cluster, timeout=60))


def rows_of(told: str) -> list[list[str]]:
    """The words that each rank has printed."""
    rows = [line.split() for line in told.splitlines()]
    return sorted(row for row in rows if row[0].isdigit())  # libraries warn there too


@pytest.fixture(scope="session")
def world(account: Account, mpich: Path) -> World:
    assert mpich
    return World(account=account, program=account.file("ring.py", PROGRAM))


@pytest.fixture(scope="session")
def native(world: World) -> list[list[str]]:
    return world.native()


@pytest.fixture(scope="session")
def on_host(world: World, channel: Path, site: dict[str, str], runtime: Path) -> Installation:
    assert runtime
    return build(world.account, channel, "mpi-host", **site)


def build(
    account: Account, channel: Path, name: str, *options: str | Path, **env: str
) -> Installation:
    file = account.file(f"{name}.yml", environment_text(channel, "python"))
    prefix = account.work / name
    done = account.run(CONDA, "new", "--mpi", "host", "--prefix", prefix, file, *options, env=env)
    assert done.returncode == 0, done.stderr
    assert "MPI: this machine's, MPICH 4.0.2" in done.stderr
    assert "srun --mpi=pmi2" in done.stderr
    return Installation(prefix=prefix, account=account)


def assert_same(inside: list[list[str]], native: list[list[str]]) -> None:
    """One world, the machine's library, and bit for bit what they are without a container."""
    assert [row[:2] for row in native] == [[str(rank), str(RANKS)] for rank in range(RANKS)]
    assert [row[:3] for row in inside] == [row[:3] for row in native]
    assert all(row[3].endswith(str(MPICH / LIBRARY)) for row in inside)


def test_ranks_on_the_hosts_system(
    on_host: Installation, world: World, native: list[list[str]]
) -> None:
    assert_same(world.ranks(on_host.program("python3")), native)
    mpi = on_host.manifest["mpi"]
    assert (mpi["kind"], mpi["srun"], mpi["version"]) == ("host", "pmi2", "4.0.2")
    assert on_host.manifest["site"] == "mpi-site"
    names = {library["name"] for library in mpi["libraries"]}
    assert names > {"libhwloc.so.15", "libucp.so.0"}
    assert not {"libc.so.6", "libm.so.6"} & names


def test_ranks_of_srun(
    on_host: Installation, world: World, native: list[list[str]], cluster: dict[str, str]
) -> None:
    """Of two nodes in one world; their exit status is srun's."""
    account, python = world.account, on_host.program("python3")
    assert_same(world.srun(python, cluster), native)
    fails = "import os, sys; sys.exit(int(os.environ['SLURM_PROCID']) and 7)"
    assert account.run(*SRUN, python, "-c", fails, env=cluster, timeout=60).returncode == 7


@pytest.mark.setuid
def test_ranks_of_srun_under_a_set_uid_runtime(channel: Path, mpich: Path, runtime: Path) -> None:
    """Slurm's daemons, so all tasks, have no user namespaces: the kernel mounts the image."""
    assert mpich and runtime
    with open_directory() as place:
        account = setuid_user(place, KERNEL)
        world = World(account=account, program=account.file("ring.py", PROGRAM))
        python = build(account, channel, "mpi-setuid", **site_of(account)).program("python3")
        with slurm_cluster(account.as_root()) as cluster:
            refused = account.run(*SRUN, "unshare", "--user", "true", env=cluster)
            assert "unshare failed: Operation not permitted" in refused.stderr
            assert_same(world.srun(python, cluster), world.native())


def test_64_programs_at_once(
    on_host: Installation, account: Account, cluster: dict[str, str]
) -> None:
    """Each with its words as they are; and of one that a signal ends srun's status tells which."""
    srun = (SLURM / "srun", "-N2", "-n64", "--overcommit", "--cpu-bind=none")
    line = (*srun, on_host.program("python3"), "-c", TELLS)
    words = ["a  b", "", "$x*", "ü'\""]
    done = account.run(*line, *words, env=cluster, timeout=120)
    assert sorted(done.stdout.splitlines()) == sorted(f"{rank} {words}" for rank in range(64))
    assert done.returncode == 128 + signal.SIGTERM, done.stderr


def test_ranks_in_an_image(
    world: World, channel: Path, site: dict[str, str], minimal: Path, native: list[list[str]]
) -> None:
    options = ("--base-image", minimal)
    installed = build(world.account, channel, "mpi-image", *options, **site)
    assert_same(world.ranks(installed.program("python3")), native)


def test_ranks_of_a_package_that_is_compiled(
    world: World, site: dict[str, str], native: list[list[str]], runtime: Path
) -> None:
    """With the first mpicc of PATH; what it is linked with, the machine's MPI is put in for."""
    require(shutil.which("gcc") is not None, "a C compiler")
    account, prefix = world.account, world.account.work / "mpi-compiled"
    account.directory("mpi-compiler")
    gcc = f'exec gcc "$@" -L{MPICH}/abi -l:libmpi.so.12\n'
    account.file("mpi-compiler/mpicc", f"#!/bin/sh\n{gcc}").chmod(0o755)
    path = f"{account.work}/mpi-compiler:{account.path}"
    with open_directory() as packages:
        write_wheel(packages, "mpi4py", "4.1")  # which has no MPI
        with tarfile.open(packages / "mpi4py-4.1.tar.gz", "w:gz") as archive:
            sources = write_files(packages / "sources", SOURCES)
            archive.add(sources, "mpi4py-4.1")
        text = f"--no-index\n--find-links {packages}\n--no-binary mpi4py\nmpi4py\n"
        file = account.file("mpi-compiled.txt", text)
        line = (PIP, "new", "--mpi", "host", "--prefix", prefix, file)
        account.ok(*line, env={**site, "PATH": path})
    program = PROGRAM.replace('ctypes.CDLL("libmpi.so.12")', '__import__("mpi4py").mpi')
    compiled = World(account=account, program=account.file("compiled.py", program))
    assert_same(compiled.ranks(prefix / "bin/python3"), native)


@pytest.fixture(scope="session")
def other_mpich(runtime: Path) -> Iterator[Path]:
    """A base image that has another MPICH where its loader looks, one that does not work."""
    with open_directory() as root:
        sandbox = system_files(root / "sandbox")
        library = next(sandbox.rglob("libm.so.6"))
        shutil.copy(library, library.with_name("libmpi.so.12"))
        subprocess.run([runtime, "-s", "build", root / "other.sif", sandbox], check=True)
        (root / "other.sif").chmod(0o755)
        yield root / "other.sif"


@pytest.mark.every_runtime
def test_ranks_in_a_sif(
    world: World, channel: Path, site: dict[str, str], other_mpich: Path, native: list[list[str]]
) -> None:
    """Where scripts and modules of ours bind the root; without that it is as if it were not."""
    account, image = world.account, world.account.work / "mpi.sif"
    file = account.file("mpi-sif.yml", environment_text(channel, "python"))
    options = ("--base-image", other_mpich, "--conda-env", file, "--mpi", "host")
    told = account.run(UMBRELLA, "build", image, *options, env=site)
    assert told.returncode == 0, told.stderr
    assert "MPI: this machine's, MPICH 4.0.2" in told.stderr
    assert f"srun --mpi=pmi2 singularity exec -B /:/.containerize-host {image}" in told.stderr
    module = account.ok(UMBRELLA, "modulefile", image, env=site)
    assert "/:/.containerize-host" in module
    # The line of a job script, with a mpirun in the place of srun.
    srun = f'while [[ $1 = -* ]]; do shift; done\nexec {MPICH}/bin/mpirun -n {RANKS} "$@"\n'
    account.directory("mpi-bin")
    account.file("mpi-bin/srun", f"#!/bin/bash\n{srun}").chmod(0o755)
    command = ("jobscript", "--tasks-per-node", str(RANKS), image, "--", "python3", world.program)
    script = account.file("mpi-job.sh", account.ok(UMBRELLA, *command, env=site))
    path = f"{account.work}/mpi-bin:{account.path}"
    assert_same(rows_of(account.ok("bash", script, env={"PATH": path}, timeout=60)), native)
    plain = (account.runtime, "-s", "exec", image, "python3", "-c")
    look = "import os; print(os.environ.get('LD_LIBRARY_PATH', ''), os.environ.get('UCX_TLS'))"
    assert "mpi" not in account.ok(*plain, look)
    said = account.ok(UMBRELLA, "doctor", "--mpi", image, env=site)
    assert f"MPI: {MPICH / LIBRARY}, this machine's" in said


def test_what_has_changed_is_told_and_mended(
    on_host: Installation, world: World, native: list[list[str]], site: dict[str, str]
) -> None:
    account, generation = on_host.account, on_host.prefix / "current"
    said = account.ok(UMBRELLA, "doctor", "--mpi", on_host.prefix, env=site)
    assert f"MPI: {MPICH / LIBRARY}, this machine's" in said
    assert "start: srun --mpi=pmi2" in said
    # As if the library had been another one at the build.
    directory, digest = (on_host.manifest["mpi"][key] for key in ("directory", "libraries"))
    was = next(item["sha256"] for item in digest if item["path"] == str(MPICH / LIBRARY))
    for path in (generation / "manifest.json", generation / "env"):
        path.write_text(path.read_text().replace(was, "0" * 64).replace(directory, "mpi-0"))
        account.owns(path)
    (generation / directory).rename(generation / "mpi-0")
    told = account.ok(UMBRELLA, "doctor", "--mpi", on_host.prefix, env=site)
    assert f"changed since the build: {MPICH / LIBRARY}" in told
    assert f"containerize mend {on_host.prefix}" in told
    account.ok(UMBRELLA, "mend", on_host.prefix, env=site)
    assert "changed" not in account.ok(UMBRELLA, "doctor", "--mpi", on_host.prefix, env=site)
    assert f"_cw_mpi={directory}\n" in (generation / "env").read_text()
    assert_same(world.ranks(on_host.program("python3")), native)
