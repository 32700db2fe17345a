"""What a site and Tykky's variables change in a shim."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.activation import activation, defaults, dynamic, prepends, recorded, unsets
from tests.conftest import require
from tests.shell.conftest import Install, Prefix, can_trace, write_environment
from tests.shell.test_calls import ONLY_THE_TWO, traced
from tests.shell.test_gpu import JOB
from wrapper import settings
from wrapper.gpu import Use, settings_for
from wrapper.manifest import MpiRecord
from wrapper.models import Site

ACTIVATION = activation(
    recorded(defaults("D", "default"), prepends("P", "/first"), unsets("U")),
    dynamic("/script.sh"),
    CONDA_PREFIX="/env",
    MINE="1",
)


def test_activation_can_be_switched_off(prefix: Prefix) -> None:
    """``CW_NO_CONDA_ACTIVATE`` counts by being set; the user's variables stay."""
    write_environment(prefix.root, activation=ACTIVATION, variables={"MINE": "1"})
    on = prefix.run(env={"U": "u", "P": "p"})
    assert (on.variable("CONDA_PREFIX"), on.variable("D")) == ("/env", "default")
    assert b"/script.sh" in b" ".join(on.command)
    for value in ("1", ""):
        off = prefix.run(env={"U": "u", "P": "p", "CW_NO_CONDA_ACTIVATE": value})
        assert off.variable("CONDA_PREFIX") is None and off.variable("D") is None
        assert (off.variable("P"), off.variable("U"), off.variable("MINE")) == ("p", "u", "1")
        assert b"/script.sh" not in b" ".join(off.command)


def test_activation_in_a_virtual_environment_needs_no_force(prefix: Prefix, tmp_path: Path) -> None:
    """Tykky leaves it out there unless ``CW_FORCE_CONDA_ACTIVATE`` is set; here it is always on."""
    write_environment(prefix.root, activation=ACTIVATION)
    (tmp_path / "venv/bin").mkdir(parents=True)
    (tmp_path / "venv/pyvenv.cfg").touch()
    (tmp_path / "venv/bin/python").symlink_to(prefix.program("python3"))
    for env in ({}, {"CW_FORCE_CONDA_ACTIVATE": "1"}):
        call = prefix.call(tmp_path / "venv/bin/python", env=env)
        assert call.variable("CONDA_PREFIX") == "/env"


def test_a_sites_binds_are_there_where_their_source_is(prefix: Prefix, tmp_path: Path) -> None:
    site = Site(binds=(f"{tmp_path}:/mnt:ro", "/no/such/source:/opt"), exclude_binds=("/usr",))
    write_environment(prefix.root, site=site)
    binds = prefix.run(env={"CW_EXTRA_BIND_MOUNTS": "/etc:/media"}).binds
    assert f"{tmp_path}:/mnt:ro" in binds and "/etc:/media" in binds
    assert not any(bind.startswith("/no/such") for bind in binds)
    assert "/mnt" not in binds and "/usr" not in binds


def test_one_installation_serves_nodes_of_every_kind(prefix: Prefix, tmp_path: Path) -> None:
    """What a node lacks, and what only some nodes have, is seen at each start."""
    libraries, device = tmp_path / "opt/gpu", tmp_path / "gpu.so"
    site = Site(image_binds={"gpu-*": (str(libraries), f"{device}:/usr/lib/gpu.so")})
    image = tmp_path / "gpu-1.sif"
    image.touch()
    for there in (site.on_image([image.name]), site.on_image(["other.sif"])):
        write_environment(prefix.root, site=there, image=str(image))
        assert not any("gpu" in bind.partition(":")[2] for bind in prefix.run().binds)
    write_environment(prefix.root, site=site.on_image([image.name]), image=str(image))
    libraries.mkdir(parents=True)
    assert str(libraries) in prefix.run().binds
    device.touch()
    assert {str(libraries), f"{device}:/usr/lib/gpu.so"} <= set(prefix.run().binds)


def test_a_whole_profile_starts_no_process(prefix: Prefix, tmp_path: Path) -> None:
    """LUMI's, on an AI image with the host's MPI, on a node with GPUs."""
    require(can_trace(), "strace")
    device, image = tmp_path / "kfd", tmp_path / "lumi-multitorch-latest.sif"
    device.touch()
    image.touch()
    gpu = settings_for(Use(gpu="amd", rocm="7.0", image=image.name, site="lumi"))
    write_environment(
        prefix.root,
        site=settings.load({"CONTAINERIZE_SITE": "lumi"}).on_image([image.name]),
        image=str(image),
        layer=True,
        mpi=MpiRecord(kind="host", directory="mpi-1", variables={"UCX_TLS": "^cma"}),
        gpu=replace(gpu, device=str(device), cache=str(tmp_path)),
        scripts=True,
    )
    assert prefix.run(env=JOB).variable("MIOPEN_USER_DB_PATH")  # whose directory it makes
    assert traced(prefix, prefix.program(), env=JOB) == ONLY_THE_TWO


def test_a_sites_bind_to_a_top_level_directory_takes_its_place(
    install: Install, tmp_path: Path
) -> None:
    prefix = install()
    write_environment(prefix.root, site=Site(binds=(f"{tmp_path}:/etc",)))
    binds = prefix.run().binds
    assert f"{tmp_path}:/etc" in binds and "/etc" not in binds
