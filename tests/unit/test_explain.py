"""``containerize inspect --settings``: reasons are those of what the installation has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.manifests import manifest
from tests.shell.conftest import write_environment
from wrapper.commands import explain as module
from wrapper.commands.explain import explain
from wrapper.gpu import Settings, Use, known, settings_for
from wrapper.manifest import (
    BaseRecord,
    Manifest,
    MpiRecord,
    manifest_text,
    parse_manifest,
    write_manifest,
)
from wrapper.mpi.abis import reason

BASE = BaseRecord(
    kind="image", name="x", source="/images/x.sif", path="/images/x.sif", rocm="7.0.2"
)


def installation(root: Path, settings: Settings, made: Manifest, **facts: object) -> Path:
    (root / ".generations/1").mkdir(parents=True)
    (root / "current").symlink_to(".generations/1")
    write_manifest(root / "current/manifest.json", made)
    write_environment(root, gpu=settings, **facts)  # type: ignore[arg-type]
    return root


@pytest.fixture
def made() -> Manifest:
    return replace(manifest(), base=BASE, created="2026-11-29T10:00:00+00:00", generation=3)


def test_each_setting_has_its_reason_and_source(tmp_path: Path, made: Manifest) -> None:
    root = installation(tmp_path, settings_for(Use(gpu="amd", rocm="7.0.2")), made)
    text = explain(root, {})
    assert "with /dev/kfd, where nobody has set them (since generation 3, 2026-11-29)" in text
    reason = known("TRITON_CACHE_DIR", "{cache}/triton")
    assert reason
    assert "\nTRITON_CACHE_DIR=/tmp/containerize.UID.JOB.NODE/triton\n" in text
    assert f"  why     {reason.why}\n  source  {reason.source}, read {reason.read}" in text
    assert "\nNCCL_SOCKET_IFNAME=hsn  (where there is /sys/class/net/hsn0)\n" in text


def test_what_is_harmful_is_named_and_the_users_values_too(tmp_path: Path, made: Manifest) -> None:
    root = installation(tmp_path, settings_for(Use(gpu="amd", rocm="7.0.2")), made)
    text = explain(root, {"NCCL_NET_GDR_LEVEL": "PHB", "NCCL_SOCKET_IFNAME": "eth0"})
    _, _, harmful = text.partition("Not set, though recipes do:")
    assert "NCCL_NET_GDR_LEVEL\n  why     hangs with ROCm 7" in harmful
    assert "your environment has it (PHB), and that counts" in harmful
    assert "your own value counts: eth0" in text


def test_an_earlier_versions_settings_are_shown_as_they_are(tmp_path: Path, made: Manifest) -> None:
    settings = settings_for(Use(gpu="amd", rocm="7.0.2"))
    old = replace(settings.settings[0], name="OLD", value="it's 'so'", where="")
    root = installation(tmp_path, replace(settings, settings=(old,)), made)
    assert "\nOLD=it's 'so'\n  why     of an earlier version" in explain(root, {})


def test_a_sif_is_told_by_what_it_has(
    tmp_path: Path, made: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not by what this version would set."""
    settings = settings_for(Use(gpu="amd", rocm="7.0.2"))
    old = replace(settings.settings[0], name="OLD", why="it was so", source="a page")
    sif = tmp_path / "x.sif"
    sif.touch()

    def told(gpu: Settings | None) -> str:
        text = manifest_text(replace(made, form="sif", gpu=gpu))
        monkeypatch.setattr(module, "read_sif_manifest", lambda path: parse_manifest(text, path))
        return explain(sif, {})

    text = told(replace(settings, device="/dev/old", settings=(old,)))
    assert "On nodes with /dev/old, where nobody has set them" in text
    assert "\nOLD=/tmp/containerize.UID.JOB.NODE/miopen\n  why     it was so\n" in text
    assert f"  source  a page, read {old.read}" in text
    assert "TRITON_CACHE_DIR" not in text and "/dev/" not in told(None)


def test_what_is_set_for_mpi(tmp_path: Path, made: Manifest) -> None:
    mpi = MpiRecord(kind="host", directory="mpi-1", variables={"UCX_TLS": "^cma", "OLD": "it's so"})
    root = installation(tmp_path, Settings(), replace(made, mpi=mpi), mpi=mpi)
    text = explain(root, {"OLD": "mine"})
    assert "\nLD_LIBRARY_PATH begins with DIR/.generations/3/mpi-1 (since generation 3" in text
    why, source = reason("UCX_TLS", "^cma")
    assert f"\nUCX_TLS=^cma\n  why     {why}\n  source  {source}" in text
    assert "\nOLD=it's so\n  why     of an earlier version\n  now     your own value" in text
    mpi = replace(mpi, kind="container", directory="")
    write_manifest(root / "current/manifest.json", replace(made, mpi=mpi))
    assert "UCX_TLS=^cma" in explain(root, {}) and "LD_LIBRARY_PATH" not in explain(root, {})


def test_values_of_users_variables_are_not_shown(tmp_path: Path, made: Manifest) -> None:
    made = replace(made, variables={"TOKEN": "secret"}, base=BaseRecord(), packages=())
    variables = {"TOKEN": "secret", "OF_SITE": "public"}
    root = installation(tmp_path, Settings(), made, variables=variables)
    text = explain(root, {})
    assert "TOKEN\n  why     asked for when it was built" in text
    assert "OF_SITE\n  why     settings of the site" in text and "secret" not in text


def test_an_installation_without_any_says_so(tmp_path: Path, made: Manifest) -> None:
    made = replace(made, variables={}, base=BaseRecord(), packages=())
    root = installation(tmp_path, Settings(), made)
    assert explain(root, {}).startswith("no program is told anything")
