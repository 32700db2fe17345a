"""The host's MPI before any other: what a shim hands to the runtime for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.shell.conftest import Prefix, write_environment
from wrapper.manifest import MpiRecord
from wrapper.runtime.host_program import HOST_ROOT

RECORD = MpiRecord(kind="host", directory="mpi-1", variables={"UCX_TLS": "^cma"})
OWN = "${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"  # what the image sets, known inside alone


@pytest.fixture
def links(prefix: Prefix) -> str:
    write_environment(prefix.root, mpi=RECORD)
    return f"{prefix.root}/.generations/1/mpi-1"


def inside(prefix: Prefix, **env: str) -> str | None:
    return prefix.run(env=env).inside("LD_LIBRARY_PATH")


def test_its_links_come_first(prefix: Prefix, links: str) -> None:
    assert inside(prefix) == f"{links}{OWN}"
    assert inside(prefix, LD_LIBRARY_PATH="/mine:/$x") == rf"{links}:/mine:/\$x"
    assert inside(prefix, APPTAINERENV_LD_LIBRARY_PATH="/given") == f"{links}:/given"
    assert inside(prefix, SINGULARITYENV_LD_LIBRARY_PATH="/given") == f"{links}:/given"
    assert inside(prefix, LD_LIBRARY_PATH=f"{links}:/mine") == f"{links}:/mine"


def test_the_hosts_root_is_bound_only_beside_another_system(
    prefix: Prefix, links: str, tmp_path: Path
) -> None:
    assert not any(HOST_ROOT in bind for bind in prefix.run().binds)
    (tmp_path / "x.sif").touch()
    write_environment(prefix.root, image=str(tmp_path / "x.sif"), mpi=RECORD)
    call = prefix.run(env={"LD_LIBRARY_PATH": "/of/the/host"})
    assert f"/:{HOST_ROOT}" in call.binds
    assert call.inside("LD_LIBRARY_PATH") == f"{links}{OWN}"


@pytest.mark.usefixtures("links")
def test_a_moved_installation_has_them_with_it(prefix: Prefix, tmp_path: Path) -> None:
    moved = prefix.at(prefix.root.rename(tmp_path / "moved"))
    assert inside(moved) == f"{moved.root}/.generations/1/mpi-1{OWN}"


def test_the_users_word_wins(prefix: Prefix, links: str) -> None:
    env = {"LD_LIBRARY_PATH": "/mine", "CONTAINERIZE_KEEP": "LD_LIBRARY_PATH"}
    assert links not in str(inside(prefix, **env))
    assert inside(prefix, CW_NO_CONDA_ACTIVATE="1") == f"{links}{OWN}"


def test_without_one_nothing_is_done(prefix: Prefix) -> None:
    assert inside(prefix, _cw_mpi="mpi-of-the-users") is None


@pytest.mark.usefixtures("links")
def test_variables_are_defaults(prefix: Prefix) -> None:
    assert prefix.run().variable("UCX_TLS") == "^cma"
    assert prefix.run(env={"UCX_TLS": "tcp"}).variable("UCX_TLS") == "tcp"
    assert prefix.run(env={"UCX_TLS": ""}).variable("UCX_TLS") == ""
    assert prefix.run(env={"APPTAINERENV_UCX_TLS": "tcp"}).variable("UCX_TLS") is None


@pytest.mark.usefixtures("links")
def test_variables_stay_where_nothing_is_activated(prefix: Prefix) -> None:
    """As the libraries do that they are for."""
    off = {"CW_NO_CONDA_ACTIVATE": "1"}
    assert prefix.run(env=off).variable("UCX_TLS") == "^cma"
    assert prefix.run(env={**off, "UCX_TLS": "tcp"}).variable("UCX_TLS") == "tcp"


def test_variables_without_one_are_nobodys(prefix: Prefix) -> None:
    assert prefix.run(env={"_cw_mpi_defaults": "UCX_TLS=x"}).variable("UCX_TLS") is None
