"""Profiles of sites: what they say, and by what the machine's own is found."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from wrapper import settings as module
from wrapper import sites
from wrapper.models import Base, Site
from wrapper.settings import describe, describe_site, load, source_of
from wrapper.settings_keys import KEYS
from wrapper.util import yaml_nodes

PROFILES = sites.shipped()


def put(root: Path, path: str, text: str = "") -> None:
    file = root / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def name_of(found: sites.Found | None) -> str:
    return found.path.stem if found else ""


# -- the profiles --------------------------------------------------------------------------------
def test_there_are_profiles() -> None:
    assert set(PROFILES) == {"lumi", "roihu", "frontier", "generic-slurm", "local"}


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_is_right_and_every_value_has_its_source(name: str) -> None:
    found = load({"CONTAINERIZE_SITE": name})
    assert (found.warnings, found.name) == ((), name)
    path = PROFILES[name]
    keys = set(yaml_nodes.top_level(path.read_text(), path, "")) - {"sources"}
    assert set(found.sources) == keys
    assert "detect" in keys and "mounts" in keys


def test_the_code_knows_no_site() -> None:
    """Names of sites are in their data; what a name stands for beside them is listed here."""
    stems = "|".join(set(PROFILES) - {"local", "generic-slurm"})
    texts = {path: path.read_text() for path in Path(sites.__file__).parent.rglob("*.py")}
    code = {
        path: re.sub(r'""".*?"""|#[^\n]*', "", text, flags=re.S) for path, text in texts.items()
    }
    named = {path.name for path, text in code.items() if re.search(rf"(?i)\b({stems})\b", text)}
    assert named == set()


def test_masks_of_a_node_are_of_different_processors() -> None:
    for name in PROFILES:
        gpus = load({"CONTAINERIZE_SITE": name}).gpus
        masks = [int(mask, 16) for mask in gpus.cpu_masks]
        assert len(masks) in (0, gpus.per_node)
        assert sum(masks) == sum(set(masks))
        assert all(a & b == 0 for a in masks for b in masks if a is not b)


def test_lumis_masks_are_those_of_its_documentation() -> None:
    """Dies 0 to 7 are next to the core complexes 6, 7, 2, 3, 0, 1, 4, 5, of eight cores each."""
    masks = load({"CONTAINERIZE_SITE": "lumi"}).gpus.cpu_masks
    assert [int(mask, 16) for mask in masks] == [0xFE << 8 * n for n in (6, 7, 2, 3, 0, 1, 4, 5)]


# -- finding it ----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("environ", "file", "text", "name"),
    [
        ({}, "/etc/hostname", "", "local"),
        ({"SLURM_CLUSTER_NAME": "lumi"}, "/etc/hostname", "", "lumi"),
        ({"SLURM_CLUSTER_NAME": "roihu"}, "/etc/hostname", "", "roihu"),
        ({"SLURM_CLUSTER_NAME": "moon"}, "/etc/hostname", "", "generic-slurm"),
        ({"SLURM_CLUSTER_NAME": ""}, "/etc/hostname", "", "local"),
        ({"LMOD_SYSTEM_NAME": "frontier"}, "/etc/hostname", "", "frontier"),
        ({"LMOD_SYSTEM_NAME": "other"}, "/etc/hostname", "", "local"),
        ({"LUMI_STACK_NAME": "CrayEnv"}, "/etc/hostname", "", "lumi"),
        ({}, "/etc/slurm/slurm.conf", "# x\nClusterName=roihu\n", "roihu"),
        ({}, "/run/slurm/conf/slurm.conf", "clustername = lumi\n", "lumi"),
        ({}, "/etc/slurm/slurm.conf", "#ClusterName=lumi\n", "generic-slurm"),
        ({}, "/etc/cray-pe.d/cray-pe-configuration.sh", 'mpaths="/appl/lumi/modules"', "lumi"),
        ({}, "/etc/cray-pe.d/cray-pe-configuration.sh", 'mpaths="/opt/site"', "local"),
    ],
)
def test_a_site_is_found(
    tmp_path: Path, environ: dict[str, str], file: str, text: str, name: str
) -> None:
    put(tmp_path, file, text)
    assert name_of(sites.find(environ, tmp_path)) == name


def test_a_jobs_variable_counts_before_a_file(tmp_path: Path) -> None:
    put(tmp_path, "/etc/slurm/slurm.conf", "ClusterName=lumi\n")
    found = sites.find({"SLURM_CLUSTER_NAME": "roihu"}, tmp_path)
    assert found and (name_of(found), found.why) == (
        "roihu",
        "the cluster's name in SLURM_CLUSTER_NAME",
    )


def test_who_names_a_site_is_asked_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lumi = {"SLURM_CLUSTER_NAME": "lumi"}
    found = load(lumi)
    assert (found.name, found.found_by) == ("lumi", "the cluster's name in SLURM_CLUSTER_NAME")
    assert describe_site(found).startswith("lumi (found by itself: the cluster's name in SLURM_")
    assert load({**lumi, "CONTAINERIZE_SITE": "roihu"}).name == "roihu"
    nothing = load({**lumi, "CONTAINERIZE_SITE": ""})
    assert (nothing.name, nothing.processors) == ("", 16)
    assert describe_site(nothing) == "none (CONTAINERIZE_SITE)"
    put(tmp_path, "etc/containerize/site.yml", "processors: 3\n")
    monkeypatch.setattr(module.sys, "prefix", str(tmp_path))  # type: ignore[attr-defined]
    assert load(lumi).processors == 3


def test_looking_opens_nothing_that_a_file_server_has(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    looked: list[str] = []
    exists = os.path.exists
    monkeypatch.setattr(os.path, "exists", lambda path: looked.append(str(path)) or exists(path))
    monkeypatch.setattr(sites, "_content", lambda _, file: looked.append(file) or "")
    sites.find({})
    assert looked and all(path.startswith(("/etc/", "/run/")) for path in looked)


def test_a_file_that_cannot_be_read_shows_nothing(tmp_path: Path) -> None:
    (tmp_path / "etc/slurm/slurm.conf").mkdir(parents=True)
    assert name_of(sites.find({}, tmp_path)) == "generic-slurm"


# -- what is shown -------------------------------------------------------------------------------
def test_each_value_is_shown_with_its_source_as_long_as_it_is_the_files() -> None:
    found = load({"CONTAINERIZE_SITE": "lumi", "CONTAINERIZE_RUNTIME": "apptainer"})
    rows = {name: value for name, value, _ in describe(found)}
    assert set(rows) == set(KEYS) - {"sources"}
    of_a_node = "cores=56 memory=480G gpus=8 whole_nodes=yes"
    assert f"standard-g=(nodes=1024 time=2-00:00:00 {of_a_node})" in rows["partitions"]
    assert rows["gpus"].startswith("per_node=8 kind=gfx90a cpu_masks=(0xfe000000000000 0xfe")
    assert "202-Binding" in source_of(found, "gpus")
    assert source_of(found, "runtime") == "", "the user's own"
    assert source_of(found, "log_level") == ""


# -- binds of images -----------------------------------------------------------------------------
def on(name: str, source: str = "", site: str = "lumi") -> tuple[str, ...]:
    base = Base(image=Path("/images") / name, name="x", source=source)
    return load({"CONTAINERIZE_SITE": site}).on_image(base.names).binds


def test_binds_go_by_the_image() -> None:
    new = on("lumi-multitorch-full-u24r72f21m50t211-20260929_104918.sif")
    old = on("lumi-pytorch-rocm-5.6.1-python-3.10-pytorch-v2.2.0.sif")
    between = on("lumi-pytorch-rocm-6.2.4-python-3.12-pytorch-v2.7.1.sif")
    jansson, cxi = "/usr/lib64/libjansson.so.4", "/usr/lib64/libcxi.so.1"
    assert new == ("/var/spool/slurmd",)
    assert {jansson, cxi, "/opt/cray"} <= set(old)
    assert cxi in between and jansson not in between
    assert on("anything.sif") == ("/var/spool/slurmd",)
    assert on("base.sif", "/there/lumi-multitorch-latest.sif") == new, (
        "a copy of the installation's"
    )
    assert Site().on_image(Base().names).binds == ()


def test_on_the_host_no_image_has_needs() -> None:
    site = load({"CONTAINERIZE_SITE": "lumi"})
    assert site.on_image(Base().names) == site
    assert site.shaping() == ""
    assert site.shaping(mpi=True) == site.on_image(["x.sif"]).shaping() == "lumi"


def test_mount_points_are_those_of_all_sites() -> None:
    assert {"appl", "pfs", "scratch", "dataset", "lustre", "users", "work"} <= sites.mounts()
