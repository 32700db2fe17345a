"""What programs on GPUs are told: the data, and what of it counts for whom."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest

from wrapper.gpu import NONE, Settings, Use, for_many_gpus, known, left_out, settings_for
from wrapper.models import Base
from wrapper.packages import LockedPackage
from wrapper.util import toml

DATA = toml.loads((Path(__file__).parents[2] / "wrapper/gpu.toml").read_text())
CACHES = {"MIOPEN_USER_DB_PATH", "MIOPEN_CUSTOM_CACHE_DIR", "AITER_JIT_DIR"}
COMMON = {"TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR"}


def package(name: str, version: str, build: str = "") -> LockedPackage:
    return LockedPackage(manager="pip", name=name, version=version, build=build, url="")


def names(settings: Settings) -> set[str]:
    return {setting.name for setting in settings.settings}


@pytest.mark.parametrize("entry", [*DATA["settings"], *DATA["left_out"]])
def test_each_entry_says_why_and_by_which_source(entry: dict[str, object]) -> None:
    assert entry["why"] and str(entry["source"]).startswith("https://")
    assert isinstance(entry["read"], date)
    assert re.fullmatch(r"[A-Z][A-Z0-9_]+", str(entry["name"]))
    allowed = {"name", "value", "gpus", "from", "below", "image", "sites", "where", "folders"}
    assert {*entry} <= allowed | {"why", "source", "read"}


def test_an_environment_without_gpus_has_none() -> None:
    assert settings_for(Use.of(Base(), [package("numpy", "2.4.0")])) is NONE


def test_the_base_image_tells_its_rocm() -> None:
    base = Base(image=Path("/images/x.sif"), source="/images/latest.sif", rocm="6.2.4")
    use = Use.of(base, [package("torch", "2.8.0+rocm6.4")])
    assert (use.gpu, use.rocm, use.image) == ("amd", "6.2.4", "latest.sif")


def test_without_a_base_image_packages_tell_it() -> None:
    assert Use.of(Base(), [package("torch", "2.8.0+rocm6.4")]).rocm == "6.4"
    assert Use.of(Base(), [package("rocm_sdk_core", "7.14.0")]).rocm == "7.14"
    assert Use.of(Base(), [package("nvidia-cublas-cu12", "12.8")]).gpu == "nvidia"


def test_caches_are_for_both_kinds_networks_of_rccl_are_not() -> None:
    amd = settings_for(Use(gpu="amd", rocm="6.4"))
    nvidia = settings_for(Use(gpu="nvidia"))
    assert names(amd) == CACHES | COMMON | {"NCCL_SOCKET_IFNAME"}
    assert names(nvidia) == COMMON
    assert (amd.device, nvidia.device) == ("/dev/kfd", "/dev/nvidiactl")
    assert amd.folders == ("aiter", "aiter/build", "inductor", "miopen", "triton")
    assert nvidia.folders == ("inductor", "triton")


@pytest.mark.parametrize(("rocm", "there"), [("5.6.1", True), ("6.1", True), ("6.2", False)])
def test_gdr_level_is_set_where_it_is_no_default(rocm: str, there: bool) -> None:
    assert ("NCCL_NET_GDR_LEVEL" in names(settings_for(Use(gpu="amd", rocm=rocm)))) is there


@pytest.mark.parametrize("rocm", ["7.0", "7.2.1", "7.14", "10.0"])
def test_what_hangs_rocm_7_is_left_out_and_said(rocm: str) -> None:
    use = Use(gpu="amd", rocm=rocm)
    assert "NCCL_NET_GDR_LEVEL" not in names(settings_for(use))
    assert "NCCL_NET_GDR_LEVEL" in {setting.name for setting in left_out(use)}
    assert "NCCL_NET_GDR_LEVEL" not in {s.name for s in left_out(Use(gpu="amd", rocm="6.4"))}


@pytest.mark.parametrize(
    ("image", "rocm", "there"),
    [
        ("lumi-multitorch-latest.sif", "7.0.2", True),
        ("lumi-multitorch-u24r72f21m50t211-20260929_104918.sif", "7.2", False),
        ("lumi-pytorch-rocm-6.2.4.sif", "6.2.4", False),
        ("", "7.0", False),
    ],
)
def test_the_monitor_of_memory_depends_on_the_image(image: str, rocm: str, there: bool) -> None:
    use = Use(gpu="amd", rocm=rocm, image=image)
    assert ("FI_MR_CACHE_MONITOR" in names(settings_for(use))) is there


def test_what_the_image_sets_stays() -> None:
    found = settings_for(Use(gpu="amd", rocm="6.4"), has=["NCCL_SOCKET_IFNAME", "PATH"])
    assert names(found) == CACHES | COMMON


def test_reasons_are_found_again_by_name_and_value() -> None:
    reason = known("TRITON_CACHE_DIR", "{cache}/triton")
    assert reason and "Lustre" in reason.why
    assert known("TRITON_CACHE_DIR", "/of/an/earlier/version") is None


def test_who_learns_on_many_gpus_is_told_by_packages() -> None:
    assert for_many_gpus(["numpy", "torch"]) and for_many_gpus(["pytorch"])
    assert not for_many_gpus(["numpy", "torchdata"])
