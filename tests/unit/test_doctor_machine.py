"""What ``containerize doctor`` finds of a machine: tools, directories, variables, hardware."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.unit.conftest import Program, names
from wrapper import microarch
from wrapper.doctor import machine, places, variables
from wrapper.doctor.finding import FAILED, OK, WARNING, Finding
from wrapper.doctor.places import FileSystem, build_directory, cache_directory, file_system
from wrapper.models import Site
from wrapper.packages import LockedPackage
from wrapper.prefix import shims
from wrapper.util.removal import remove_tree

NO_SITE = Site()


def told(found: Sequence[Finding]) -> list[tuple[str, str]]:
    assert all(f.hint for f in found if f.state != OK), "what is not well has advice"
    return [(f.what, f.state) for f in found]


def text(found: Sequence[Finding]) -> str:
    return "\n".join(f.line for f in found)


# -- tools ---------------------------------------------------------------------------------------
def on_path(*programs: Path) -> dict[str, str]:
    return {"PATH": ":".join(str(p.parent) for p in programs)}


def apptainer(program: Program, libexec: Path) -> Path:
    answer = f"[ $1 = buildcfg ] && echo LIBEXECDIR={libexec} || echo apptainer version 1.4.5"
    return program("apptainer", answer)


def test_the_runtime_is_named(program: Program, tmp_path: Path) -> None:
    path = apptainer(program, tmp_path)
    found = machine.runtime_found(on_path(path), NO_SITE)
    assert told(found) == [("runtime", OK)]
    assert f"apptainer 1.4.5 ({path})" in text(found)
    other = program("singularity", "echo singularity-ce version 3.11.4-1", tmp_path / "other")
    found = machine.runtime_found(on_path(other, path), NO_SITE)
    assert f"singularity 3.11.4-1 ({other}); {path} is on PATH too" in text(found)


def test_squash_tools(program: Program) -> None:
    path = program("mksquashfs", "echo mksquashfs version 4.6.1")
    assert told(machine.squash_tools(on_path(path), NO_SITE)) == [
        ("mksquashfs", OK),
        ("unsquashfs", FAILED),
    ]
    program("unsquashfs", "echo unsquashfs version 4.5; exit 1")
    found = machine.squash_tools(on_path(path), NO_SITE)
    assert told(found) == [("mksquashfs", OK), ("unsquashfs", OK)]
    assert "unsquashfs: 4.5" in text(found)


def test_bash(program: Program, tmp_path: Path) -> None:
    assert told(machine.bash()) == [("bash", OK)]
    assert told(machine.bash(tmp_path / "none")) == [("bash", FAILED)]
    old = program("bash", "echo GNU bash, version 3.2.57")
    assert "3.2 is too old" in text(machine.bash(old))


# -- directories ---------------------------------------------------------------------------------
def mounts(tmp_path: Path, kind: str, at: Path) -> Path:
    file = tmp_path / "mountinfo"
    place = str(at).replace(" ", "\\040")
    file.write_text(
        "21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda rw\n"
        f"36 21 0:30 / {place} rw,relatime shared:2 master:1 - {kind} somewhere rw\n"
    )
    return file


def test_the_file_system_of_a_path(tmp_path: Path) -> None:
    place = tmp_path / "a b"
    place.mkdir()
    table = mounts(tmp_path, "lustre", place)
    assert file_system(place / "x", table) == FileSystem(kind="lustre", mount=str(place))
    assert file_system(tmp_path / "a bc", table).kind == "ext4"
    link = tmp_path / "link"
    link.symlink_to(place)
    assert file_system(link, table).kind == "lustre"


@pytest.mark.parametrize(
    ("kind", "free", "expected"),
    [
        ("ext4", 10**11, (OK, "local")),
        ("xfs", 10**9, (WARNING, "large environments")),
        ("ext4", 10**8, (FAILED, "too little")),
        ("tmpfs", 10**11, (WARNING, "memory")),
        ("lustre", 10**11, (WARNING, "small files")),
        ("nfs4", 10**11, (WARNING, "small files")),
        ("fuse.sshfs", 10**11, (WARNING, "shared")),
    ],
)
def test_build_directories(
    kind: str,
    free: int,
    expected: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    state, word = expected
    monkeypatch.setattr(places, "free_space", lambda _: free)
    site = Site(tmpdir=tmp_path)
    found = build_directory(site, mounts(tmp_path, kind, tmp_path))
    assert told(found) == [("build directory", state)]
    assert word in text(found)


def test_caches(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path / "home")}
    assert told(cache_directory(NO_SITE, home)) == [("cache directory", OK)]
    assert told(cache_directory(Site(cache=tmp_path / "new/cache"), home))[0][1] == OK
    assert not (tmp_path / "new").exists()
    (tmp_path / "home").mkdir()
    assert told(cache_directory(Site(cache=tmp_path / "home/c"), home))[0][1] == WARNING
    (tmp_path / "file").touch()
    assert told(cache_directory(Site(cache=tmp_path / "file/c"), home))[0][1] == FAILED


def test_temporary_directories_that_cannot_be_bound_are_left_out(tmp_path: Path) -> None:
    odd = tmp_path / 'a"b'
    odd.mkdir()
    made = places.temporary_directory(Site(tmpdir=odd))
    assert made is not None
    remove_tree(made)
    assert made.parent != odd


def test_a_killed_doctors_directory_goes(tmp_path: Path) -> None:
    site = Site(tmpdir=tmp_path)
    made = places.temporary_directory(site)
    assert made is not None and made.parent == tmp_path
    (tmp_path / "containerize-build").mkdir()
    with subprocess.Popen(["/bin/true"]) as ended:
        ended.wait()
    record = json.loads((made / "owner.json").read_text())
    (made / "owner.json").write_text(json.dumps({**record, "pid": ended.pid}))
    later = places.temporary_directory(site)
    assert later is not None
    assert names(tmp_path) == {later.name, "containerize-build"}


# -- variables -----------------------------------------------------------------------------------
def conda_library(tmp_path: Path) -> str:
    (tmp_path / "miniforge/conda-meta").mkdir(parents=True)
    return str(tmp_path / "miniforge/lib")


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, ("variables", OK)),
        ({"PYTHONHOME": "/usr"}, ("PYTHONHOME", FAILED)),
        ({"PYTHONPATH": "/x"}, ("PYTHONPATH", WARNING)),
        ({"PYTHONPATH": ""}, ("variables", OK)),
        ({"LD_LIBRARY_PATH": "@conda@:/usr/lib"}, ("LD_LIBRARY_PATH", WARNING)),
        ({"LD_LIBRARY_PATH": "/usr/lib"}, ("variables", OK)),
        ({"LD_PRELOAD": "/no/lib.so"}, ("LD_PRELOAD", WARNING)),
        ({"SINGULARITY_BIND": "/tmp", "APPTAINER_BIND": "/usr"}, ("SINGULARITY_BIND", WARNING)),
        ({"SINGULARITY_BIND": "/tmp", "APPTAINER_BIND": "/tmp"}, ("variables", OK)),
        ({"APPTAINER_BINDPATH": "/tmp:/x,/no/where:/y"}, ("APPTAINER_BINDPATH", WARNING)),
        ({"CW_EXTRA_BIND_MOUNTS": "/no/where"}, ("CW_EXTRA_BIND_MOUNTS", WARNING)),
        (
            {"SINGULARITYENV_A": "1", "APPTAINERENV_A": "2"},
            ("SINGULARITYENV_A", WARNING),
        ),
        ({"SINGULARITYENV_A": "1"}, ("variables", OK)),
        ({"CONTAINERIZE_WITH": "/no/where"}, ("CONTAINERIZE_WITH", FAILED)),
        (
            {"HOME": "/home/me", "SINGULARITY_CACHEDIR": "/home/me/.singularity"},
            ("SINGULARITY_CACHEDIR", WARNING),
        ),
        ({"HOME": "/", "APPTAINER_TMPDIR": "/tmp"}, ("variables", OK)),
    ],
)
def test_variables(environ: Mapping[str, str], expected: tuple[str, str], tmp_path: Path) -> None:
    conda = conda_library(tmp_path)
    given = {name: value.replace("@conda@", conda) for name, value in environ.items()}
    assert told(variables.variables(given)) == [expected]


def test_an_installation_to_be_used_with_others(tmp_path: Path) -> None:
    (tmp_path / "current").mkdir()
    (tmp_path / "current/env").touch()
    assert told(variables.variables({"CONTAINERIZE_WITH": f"{tmp_path}:"})) == [("variables", OK)]


def installation(prefix: Path, *programs: str) -> str:
    """The directory of programs of something that looks like an installation."""
    folder = prefix / "bin"
    folder.mkdir(parents=True)
    for name in (*shims.DEBUG_NAMES, shims.LIST_PACKAGES, *programs):
        (folder / name).touch(0o755)
    (prefix / "current").mkdir()
    (prefix / "current/env").touch()
    return str(folder)


def test_installations_on_path(tmp_path: Path) -> None:
    one, two = installation(tmp_path / "1", "python3", "a"), installation(tmp_path / "2", "b")
    assert "none hides" in text(variables.path({"PATH": f"{one}:/nowhere:{two}:{one}"}))
    three = installation(tmp_path / "3", "python3", "a", "c")
    found = variables.path({"PATH": f"{one}:{two}:{three}"})
    assert told(found) == [("PATH", WARNING)]
    assert f"{one} hides a, python3 of {three}" in text(found)


def test_another_python_before_an_installation(tmp_path: Path) -> None:
    ours = installation(tmp_path / "1", "python3", "a")
    (tmp_path / "usr").mkdir()
    (tmp_path / "usr/python3").touch(0o755)
    found = variables.path({"PATH": f"{tmp_path}/usr:{ours}"})
    assert f"{tmp_path}/usr hides python3 of {ours}" in text(found)
    assert told(variables.path({"PATH": f"{ours}:{tmp_path}/usr"})) == [("PATH", OK)]


def test_a_broken_installation_on_path(tmp_path: Path) -> None:
    folder = installation(tmp_path / "1", "python3")
    (tmp_path / "1/current/env").unlink()
    assert told(variables.path({"PATH": folder})) == [("PATH", FAILED)]
    (tmp_path / "1/common.sh").touch()  # Tykky's
    assert told(variables.path({"PATH": folder})) == [("PATH", OK)]


def test_two_versions_of_the_program(program: Program, tmp_path: Path) -> None:
    one = program("containerize", ":")
    link = tmp_path / "links"
    link.mkdir()
    (link / "containerize").symlink_to(one)
    assert variables.commands({"PATH": f"{one.parent}:{link}"}) == []
    other = program("containerize", ":", tmp_path / "other")
    found = variables.commands(on_path(one, other))
    assert told(found) == [("containerize", WARNING)]


@pytest.mark.parametrize("name", [".containerize", ".singularity.d"])
def test_inside_a_container(name: str, tmp_path: Path) -> None:
    assert variables.inside_container(tmp_path) == []
    (tmp_path / name).mkdir()
    assert told(variables.inside_container(tmp_path)) == [("container", FAILED)]


# -- hardware ------------------------------------------------------------------------------------
def amdgpu(root: Path, version: str | None) -> Path:
    module = root / "sys/module/amdgpu"
    module.mkdir(parents=True)
    if version:
        (module / "version").write_text(f"{version}\n")
    return root


def test_gpus(tmp_path: Path) -> None:
    assert "no AMD GPU" in text(machine.gpu({}, tmp_path))
    found = machine.gpu({}, amdgpu(tmp_path, "6.8.5"))
    assert told(found) == [("GPU", OK)]
    assert "driver 6.8.5, serves ROCm 6.0 to 7.0" in text(found)
    found = machine.gpu({"CONTAINERIZE_ROCM_DRIVER": "6.0"}, tmp_path)
    assert "serves ROCm 5.6 to 6.2" in text(found)


@pytest.mark.parametrize("version", [None, "99.1"])
def test_a_driver_that_is_not_known(version: str | None, tmp_path: Path) -> None:
    assert told(machine.gpu({}, amdgpu(tmp_path, version))) == [("GPU", WARNING)]


def test_gpus_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = amdgpu(tmp_path, "6.8.5")
    (root / "dev").mkdir()
    (root / "dev/kfd").touch()
    assert told(machine.gpu({}, root)) == [("GPU", OK)]
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert told(machine.gpu({}, root)) == [("GPU", OK), ("/dev/kfd", WARNING)]


def test_slingshot(tmp_path: Path, program: Program) -> None:
    assert "no Slingshot" in text(machine.network({"PATH": ""}, tmp_path))
    (tmp_path / "sys/class/cxi/cxi0").mkdir(parents=True)
    assert told(machine.network({"PATH": ""}, tmp_path)) == [("network", WARNING)]
    library = tmp_path / "opt/cray/libfabric/1.15/bin"
    library.mkdir(parents=True)
    program("fi_info", "echo cxi:; echo '    version: 0.1'", library)
    assert told(machine.network({"PATH": ""}, tmp_path)) == [("network", OK)]
    tcp = program("fi_info", "echo 'tcp;ofi_rxm:'")
    found = machine.network(on_path(tcp), tmp_path)
    assert told(found) == [("network", WARNING)] and "TCP" in text(found)


V2 = "cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3"
V4 = "avx512f avx512bw avx512cd avx512dq avx512vl"
V3 = f"{V2} avx avx2 bmi1 bmi2 f16c fma abm movbe xsave"


@pytest.mark.parametrize(
    ("flags", "level"),
    [
        *(("fpu sse2", 1), (V2, 2), (V3, 3), (f"{V3} avx512f", 3)),
        *(("avx avx2", 1), (f"{V3} {V4}", 4)),
    ],
)
def test_levels_of_processors(flags: str, level: int, tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {flags}\n\n")
    assert microarch.here(tmp_path) == level


@pytest.mark.parametrize(
    ("package", "level"),
    [
        ({"name": "numpy", "version": "2.3", "build": "py312_0", "url": "file:///numpy-2.3"}, 1),
        ({"name": "_x86_64-microarch-level", "version": "4", "url": ""}, 4),
        ({"name": "a", "version": "1", "url": "", "build": "h1_x86_64_v3"}, 3),
        ({"name": "a", "version": "1", "url": "https://p/a-1-cp312-linux_x86_64-x86_64_v2.whl"}, 2),
        ({"name": "a", "version": "1", "url": "", "depends": ("__archspec 1.* x86_64_v3",)}, 3),
        ({"name": "a", "version": "1", "url": "", "depends": ("_x86_64-microarch-level >=2",)}, 2),
        ({"name": "a", "version": "1", "url": "file:///x86_64_v3/a-1.conda"}, 1),
    ],
)
def test_what_packages_ask_of_a_processor(package: dict[str, Any], level: int) -> None:
    assert microarch.needed([LockedPackage(manager="conda", **package)]) == level


@pytest.mark.parametrize(
    ("text", "flag"),
    [
        *(("make CFLAGS='-O3 -march=native'", "-march=native"), ("-mcpu=native", "-mcpu=native")),
        *(("-xHost", "-xHost"), ("-C target-cpu=native", "target-cpu=native")),
        *(("-mtune=native -march=x86-64-v3", ""), ("rsync -xHosts", "")),
    ],
)
def test_flags_for_this_processor_alone(text: str, flag: str) -> None:
    assert microarch.native_flag(text) == flag


def test_what_a_c_library_asks_of_a_processor() -> None:
    note = b"\x7fELF\0\0GNU\0\x02\x80\0\xc0\x04\0\0\0%b\0\0\0"
    levels = [microarch.of_library(note % bytes([bits])) for bits in (1, 3, 2, 7, 0)]
    assert levels == [1, 2, 2, 3, 1]
    assert microarch.of_library(b"\x7fELF") == 1
