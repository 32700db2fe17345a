"""What an image holds, read from its files; here from a sandbox."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import msgspec
import pytest

from tests.images import write_files
from wrapper import runscripts
from wrapper.base.facts import ImageFacts, inspect_image, read_facts
from wrapper.base.find import describe_file
from wrapper.console import Console
from wrapper.errors import InputError
from wrapper.images.format import ImageFormat
from wrapper.images.tree import ImageTree, read_tree

X86, ARM = (b"\x7fELF".ljust(18, b"\0") + bytes([number, 0]) for number in (62, 183))
LIBC = X86 + b"\0GNU C Library (Debian GLIBC 2.36-9) stable release version 2.36.\n"


def tree_of(root: Path, console: Console) -> ImageTree:
    sandbox = ImageFormat(kind="sandbox")
    return read_tree(root, format=sandbox, unsquashfs=Path("none"), scratch=root, console=console)


def facts_of(root: Path, console: Console, **files: str | bytes) -> ImageFacts:
    write_files(root, files)
    return read_facts(tree_of(root, console))


def test_a_debian_with_rocm(tmp_path: Path, console: Console) -> None:
    write_files(
        tmp_path,
        {
            "etc/os-release": "-> ../usr/lib/os-release",
            "usr/lib/os-release": 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian 12"\n',
            "lib": "-> usr/lib",
            "bin": "-> usr/bin",
            "usr/lib/x86_64-linux-gnu/libc.so.6": LIBC,
            "usr/bin/bash": X86,
            "usr/bin/apt-get": X86,
            "opt/rocm": "-> /etc/alternatives/rocm",
            "etc/alternatives/rocm": "-> /opt/rocm-6.2.4",
            "opt/rocm-6.2.4/.info/version": "6.2.4-134\n",
            "opt/rocm-6.2.4/lib/rocblas/library/Kernels_gfx90a.hsaco": "",
            "opt/rocm-6.2.4/lib/rocblas/library/Tensile_gfx942.dat": "",
        },
    )
    facts = facts_of(tmp_path, console)
    assert (facts.os_id, facts.os_version, facts.os_name) == ("debian", "12", "Debian 12")
    assert (facts.libc, facts.libc_version, facts.architecture) == ("glibc", "2.36", "x86_64")
    assert facts.rocm == "6.2.4" and facts.gpu == ("gfx90a", "gfx942")
    assert facts.bash and facts.package_manager == "apt-get"
    assert msgspec.convert(json.loads(json.dumps(asdict(facts))), ImageFacts) == facts


def test_runscripts_of_its_own_are_told_from_ours(tmp_path: Path, console: Console) -> None:
    ours = {f"runscripts/{name}": "" for name in runscripts.NAMES}
    assert not facts_of(tmp_path / "none", console, **{"bin/sh": ""}).runscripts
    assert not facts_of(tmp_path / "ours", console, **ours).runscripts
    del ours["runscripts/torchrun-distributed"]
    own = facts_of(tmp_path / "own", console, **ours).runscripts
    assert runscripts.programs(own).keys() == {*runscripts.NAMES} - {"torchrun-distributed"}
    assert runscripts.programs().keys() == {*runscripts.NAMES}


def test_a_musl_image_without_bash(tmp_path: Path, console: Console) -> None:
    write_files(
        tmp_path,
        {
            "lib/ld-musl-x86_64.so.1": X86 + b"\x001.2.4\0",
            "bin/busybox": X86,
            "bin/sh": "-> /bin/busybox",
            "sbin/apk": "",
        },
    )
    (tmp_path / "sbin/apk").chmod(0o755)
    facts = facts_of(tmp_path, console)
    assert (facts.libc, facts.libc_version) == ("musl", "1.2.4")
    assert not facts.bash and facts.package_manager == "apk"


def test_pythons_conda_and_virtual_environments(tmp_path: Path, console: Console) -> None:
    write_files(
        tmp_path,
        {
            "usr/bin/python3.11": X86 + b"\x003.11.2\0",
            "usr/bin/python3": "-> python3.11",
            "usr/bin/python3.9": X86,
            "usr/lib64/libpython3.9.so.1.0": b"\x003.9.19\0",
            "opt/conda/bin/conda": X86,
            "opt/conda/bin/python3.12": X86,
            "opt/conda/bin/python3": "-> python3.12",
            "opt/conda/conda-meta/history": "",
            "opt/conda/conda-meta/python-3.12.7-hc5c86c4_0_cpython.json": "{}",
            "opt/conda/envs/pytorch/conda-meta/history": "",
            "opt/venv/pyvenv.cfg": "home = /usr/bin\n",
            "opt/venv/bin/python3.11": "-> /usr/bin/python3.11",
            ".singularity.d/env/10-docker2singularity.sh": '#!/bin/sh\nexport PATH="/opt/conda/bin:'
            '/usr/bin"\nexport PYTHONPATH="${PYTHONPATH:-"/opt/x"}"\n',
            ".singularity.d/env/90-environment.sh": "export WITH_CONDA='. act; x'\n"
            'export BAD="$(date)"; echo\n',
            ".singularity.d/env/01-base.sh": 'export IGNORED="1"\n',
            ".singularity.d/labels.json": '{"maintainer": "us"}',
        },
    )
    facts = facts_of(tmp_path, console)
    assert list(facts.pythons.items()) == [
        ("/opt/conda/bin/python3.12", "3.12.7"),
        ("/usr/bin/python3.11", "3.11.2"),
        ("/usr/bin/python3.9", "3.9.19"),
    ]
    assert facts.condas == ("/opt/conda",)
    assert facts.environments == ("/opt/conda", "/opt/conda/envs/pytorch")
    assert facts.venvs == ("/opt/venv",)
    assert facts.environment == {
        "PATH": "/opt/conda/bin:/usr/bin",
        "PYTHONPATH": "/opt/x",
        "WITH_CONDA": ". act; x",
    }
    assert facts.labels == {"maintainer": "us"}


@pytest.mark.parametrize(
    ("files", "mpi", "version"),
    [
        (
            {
                "opt/mpich/lib/libmpi.so.12.3.0": X86,
                "opt/mpich/lib/pkgconfig/mpich.pc": "Version: 3.4",
            },
            "MPICH",
            "3.4",
        ),
        (
            {
                "usr/lib/x86_64-linux-gnu/libmpich.so.12": X86,
                "var/lib/dpkg/status": "Package: libmpich12\nVersion: 4.0.2-3+b1\n\n",
            },
            "MPICH",
            "4.0.2",
        ),
        ({"usr/lib/libmpi.so.40": X86 + b"\0Open MPI v4.1.4, package\0"}, "Open MPI", "4.1.4"),
        ({}, "", ""),
    ],
)
def test_mpi(
    tmp_path: Path, console: Console, files: dict[str, bytes | str], mpi: str, version: str
) -> None:
    facts = facts_of(tmp_path, console, **files)
    assert (facts.mpi, facts.mpi_version) == (mpi, version)


def test_libfabric(tmp_path: Path, console: Console) -> None:
    facts = facts_of(
        tmp_path,
        console,
        **{
            "opt/fabric/lib/libfabric.so.1.25.0": X86 + b"\0cxi\0tcp\0",
            "opt/fabric/lib/libfabric.so.1": "-> libfabric.so.1.25.0",
            "opt/fabric/lib/libfabric/libefa-fi.so": X86,
            "opt/fabric/lib/pkgconfig/libfabric.pc": "Version: 1.22.0\n",
        },
    )
    assert facts.libfabric == "1.22.0"
    assert facts.libfabric_providers == ("cxi", "efa", "tcp")


def test_an_image_for_other_machines(tmp_path: Path, console: Console) -> None:
    write_files(tmp_path, {"usr/lib/libc.so.6": ARM, "etc/hosts": ""})
    image = describe_file(tmp_path, name="x", console=console, cache=None)
    with pytest.raises(InputError, match="the image is for aarch64"):
        inspect_image(image, unsquashfs=Path("none"), scratch=tmp_path, cache=None, console=console)


def test_links_are_followed_inside_the_image_only(tmp_path: Path, console: Console) -> None:
    secret = tmp_path / "secret"
    secret.write_text("outside")
    root = write_files(
        tmp_path / "root",
        {
            "etc/hosts": "inside",
            "absolute": "-> /etc/hosts",
            "up": "-> ../../../../etc/hosts",
            "out": f"-> {secret}",
            "loop": "-> loop",
            "dangling": "-> nowhere",
        },
    )
    found = tree_of(root, console).read(["/absolute", "/up", "/out", "/loop", "/dangling", "/etc"])
    assert found == {"/absolute": b"inside", "/up": b"inside"}
