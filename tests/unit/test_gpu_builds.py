"""Builds for NVIDIA's GPUs where the base image is for AMD's."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from wrapper import rocm
from wrapper.build.gpu_builds import require_amd, tell_builds
from wrapper.build.inputs import Inputs
from wrapper.console import Console
from wrapper.errors import InputError
from wrapper.inputs.pylock import parse_pylock
from wrapper.inputs.requirements import Requirements, read_requirements
from wrapper.models import Base, EnvironmentSpec, Gpus, Site
from wrapper.packages import LockedPackage

AMD = Base(image=Path("/x.sif"), name="x.sif", rocm="7.2.1")
HERE = Site()
LUMI = Site(file=Path("sites/lumi.yml"), gpus=Gpus(kind="gfx90a"))
ROIHU = Site(file=Path("sites/roihu.yml"), gpus=Gpus(kind="GH200"))
INDEX = "https://download.pytorch.org/whl/rocm7.2"


def asked(*lines: str) -> Inputs:
    return Inputs(requirements=read_requirements(lines, Path("/nowhere"), "r.txt"))


def package(name: str, version: str, manager: str = "pip", build: str = "") -> LockedPackage:
    return LockedPackage(manager=manager, name=name, version=version, url="u", build=build)


@pytest.mark.parametrize(
    ("name", "version", "build"),
    [
        *[("nvidia-cublas-cu12", "", ""), ("nvidia-cuda-runtime-cu13", "", "")],
        *[("torch", "2.7.1+cu126", ""), ("pytorch", "2.9.1", "cuda129_mkl_py312_0")],
        *[("cudatoolkit", "11", ""), ("cuda-cudart", "12", ""), ("cupy-cuda12x", "13", "")],
    ],
)
def test_what_is_for_nvidia(name: str, version: str, build: str) -> None:
    assert rocm.for_nvidia(name, version, build)


@pytest.mark.parametrize(
    ("name", "version", "build"),
    [
        *[("torch", "2.7.1+rocm6.4", ""), ("torch", "2.7.1", ""), ("scudata", "1", "")],
        *[("pytorch", "2.9", "cpu_mkl_0"), ("nvidia-ml-py", "12", ""), ("cuda-version", "12", "")],
        *[("numpy", "2.0+cubist", ""), ("bitsandbytes", "0.45", "")],
    ],
)
def test_what_is_not(name: str, version: str, build: str) -> None:
    assert not rocm.for_nvidia(name, version, build)


def test_lines_to_write() -> None:
    assert rocm.lines_for("7.2.1", {"torch": "2.10.0", "nvidia-cublas-cu12": "12"}) == [
        *(f"--extra-index-url {INDEX}", "torch==2.10.0+rocm7.2")
    ]
    assert rocm.lines_for("6.4", {"pytorch": ""})[1] == "torch==VERSION+rocm6.4"
    assert rocm.lines_for("10.0", {"torch": "2.10"})[1] == "torch[device-gfx90a]"
    assert rocm.lines_for("5.7", {"torch": "2.10"}) == rocm.lines_for("7.2", {"jax": ""}) == []


@pytest.mark.parametrize(
    "inputs",
    [
        asked("numpy", "torch==2.10.0+cu126"),
        asked("torch @ https://host/torch-2.10.0%2Bcu126-cp311-cp311-linux_x86_64.whl"),
        Inputs(locked=(package("torch", "2.10.0+cu126"), package("nvidia-nccl-cu12", "2"))),
        Inputs(
            environment=EnvironmentSpec(
                source=Path("lock.yml"),
                locked=(package("pytorch", "2.10.0", "conda", "cuda129_generic_0"),),
            )
        ),
    ],
)
def test_builds_for_nvidia_on_a_base_for_amd(inputs: Inputs) -> None:
    with pytest.raises(InputError, match="is for NVIDIA's GPUs") as caught:
        require_amd(inputs, AMD, HERE)
    assert "x.sif has ROCm 7.2.1" in caught.value.what and caught.value.where
    assert caught.value.detail == f"--extra-index-url {INDEX}\ntorch==2.10.0+rocm7.2"
    require_amd(inputs, Base(), HERE)


def test_what_is_not_for_this_machine_does_not_count() -> None:
    elsewhere = "nvidia-nccl-cu12==2 ; sys_platform == 'win32'"
    require_amd(asked(elsewhere, "numpy", "torch"), AMD, HERE)
    lock = """lock-version = "1.0"
[[packages]]
name = "nvidia-nccl-cu12"
version = "2.1"
marker = "MARKER"
archive = { url = "https://host/x.tar.gz", hashes = { sha256 = "00" } }
"""
    for marker, counts in (("sys_platform == 'win32'", False), ("sys_platform == 'linux'", True)):
        found = parse_pylock(lock.replace("MARKER", marker), Path("pylock.toml"), (), ())
        inputs = Inputs(requirements=Requirements(locks=[found]))
        if not counts:
            require_amd(inputs, AMD, HERE)
            continue
        with pytest.raises(InputError, match="nvidia-nccl-cu12 is for NVIDIA's GPUs") as caught:
            require_amd(inputs, AMD, HERE)
        assert "leave it out" in caught.value.hint


def test_what_was_installed_is_told(
    console: Console, screen: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONTAINERIZE_ROCM_DRIVER", "6.3")
    installed = [package("torch", "2.10.0"), package("nvidia-cublas-cu12", "12.8")]
    tell_builds([*installed, package("torchvision", "0.2+rocm7.1")], AMD, HERE, console)
    told = " ".join(screen.getvalue().split())
    assert "nvidia-cublas-cu12 is for NVIDIA's GPUs, and x.sif has ROCm 7.2.1" in told
    assert f"'--extra-index-url {INDEX}', 'torch==2.10.0+rocm7.2'" in told
    assert "torchvision 0.2+rocm7.1 brings ROCm 7.1, and may not use" in told
    assert "torchvision is for ROCm 7.1: the driver 6.3 serves 6.1 to 7.0" in told
    monkeypatch.delenv("CONTAINERIZE_ROCM_DRIVER")
    screen.truncate(0)
    tell_builds([package("torch", "2.10.0+rocm7.2"), package("numpy", "2")], AMD, HERE, console)
    tell_builds(installed, Base(), HERE, console)
    assert screen.getvalue() == ""


# -- sites ---------------------------------------------------------------------------------------
def test_a_site_with_amds_gpus_needs_no_base_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its driver tells for which ROCm the lines are."""
    monkeypatch.setenv("CONTAINERIZE_ROCM_DRIVER", "6.3")
    with pytest.raises(InputError, match="is for NVIDIA's GPUs, and lumi has AMD's") as caught:
        require_amd(asked("torch==2.10.0+cu126"), Base(), LUMI)
    assert caught.value.detail.splitlines()[1] == "torch==2.10.0+rocm7.0"
    monkeypatch.setenv("CONTAINERIZE_ROCM_DRIVER", "31.50")
    with pytest.raises(InputError) as caught:
        require_amd(asked("torch==2.10.0+cu126"), Base(), LUMI)
    assert caught.value.detail.splitlines()[1] == "torch[device-gfx90a]"
    require_amd(asked("torch==2.10.0+cu126"), Base(), ROIHU)


def test_where_no_driver_tells_the_hint_is_without_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTAINERIZE_ROCM_DRIVER", "nobody's")
    with pytest.raises(InputError) as caught:
        require_amd(asked("torch==2.10.0+cu126"), Base(), LUMI)
    assert not caught.value.detail and "its build for ROCm and the index" in caught.value.hint


def test_what_a_resolution_brought_is_told_there_too(
    console: Console, screen: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONTAINERIZE_ROCM_DRIVER", "6.3")
    brought = [package("torch", "2.10.0"), package("nvidia-cublas-cu12", "12.8")]
    tell_builds(brought, Base(), LUMI, console)
    told = " ".join(screen.getvalue().split())
    assert "lumi has AMD's (gfx90a)" in told and "'torch==2.10.0+rocm7.0'" in told


def test_packages_that_are_rocm_are_compared_too(
    console: Console, screen: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONTAINERIZE_ROCM_DRIVER", "6.3")
    tell_builds([package("rocm-sdk-core", "7.14.0")], AMD, HERE, console)
    told = " ".join(screen.getvalue().split())
    assert "rocm-sdk-core 7.14.0 brings ROCm 7.14" in told
    assert "rocm-sdk-core is for ROCm 7.14: the driver 6.3 serves 6.1 to 7.0" in told


@pytest.mark.parametrize(
    ("name", "version", "release"),
    [
        *[("torch", "2.3.0+rocm6.2.4", "6.2"), ("rocm", "7.14.0a1", "7.14")],
        *[("rocm-sdk-libraries-gfx90a", "7.0.1", "7.0"), ("cupy-rocm-5-0", "13.3.0", "5.0")],
        *[("jax-rocm60-plugin", "0.5", "6.0"), ("jax-rocm7-plugin", "0.8", "")],
        *[("rocm-docs-core", "1.2", ""), ("torch", "2.3.0", ""), ("numpy", "2.0", "")],
    ],
)
def test_for_which_rocm_a_package_is(name: str, version: str, release: str) -> None:
    assert rocm.release_of(name, version) == release
