"""What links lead to is there too, and what is bound in the minimal mode."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.shell.conftest import RUNNER, Install, Prefix, write_environment, write_runtime
from wrapper.manifest import MpiRecord
from wrapper.models import Site
from wrapper.runtime.binds import OWN_SYSTEM
from wrapper.util.removal import remove_tree


@pytest.fixture
def based(prefix: Prefix, tmp_path: Path) -> Prefix:
    """An installation on an image with a system of its own."""
    image = tmp_path / "base.sif"
    image.touch()
    write_environment(prefix.root, image=str(image), layer=True)
    return prefix


@pytest.fixture
def in_var() -> Iterator[Path]:
    """A directory where every system has its own: it is bound only if something needs it."""
    place = Path(tempfile.mkdtemp(dir="/var/tmp"))
    yield place
    remove_tree(place)


# -- on an image ---------------------------------------------------------------------------------
def test_a_working_directory_behind_a_link(based: Prefix, tmp_path: Path, in_var: Path) -> None:
    """The kernel is asked for the same directory inside, and its name stays that of the caller."""
    (tmp_path / "here").symlink_to(in_var)
    env = {"PWD": f"{tmp_path}/here", "OLDPWD": "/usr"}
    call = based.run(cwd=tmp_path / "here", env=env)
    assert str(in_var) in call.binds
    assert (call.cwd, call.inside("PWD")) == (in_var, f"{tmp_path}/here")
    assert call.variable("OLDPWD") == "/usr"
    assert call.binds[-1].endswith(f":image-src={based.install_path}")
    assert any(bind.endswith(f"_bin:{based.root}/bin") for bind in call.binds)


def test_a_home_directory_behind_a_link(based: Prefix, tmp_path: Path, in_var: Path) -> None:
    (tmp_path / "home").symlink_to(in_var)
    assert str(in_var) in based.run(env={"HOME": f"{tmp_path}/home"}).binds


def test_what_a_window_needs_is_bound(based: Prefix, in_var: Path) -> None:
    """Its file is in the home, in /tmp, or in /run, which an image has of its own."""
    cookie = in_var / "xauth"
    assert str(cookie) not in based.run(env={"XAUTHORITY": str(cookie)}).binds
    cookie.touch()
    assert str(cookie) in based.run(env={"XAUTHORITY": str(cookie)}).binds
    elsewhere = based.out / "xauth"
    elsewhere.touch()
    for known in (str(elsewhere), "var/tmp", ""):
        assert known not in based.run(env={"XAUTHORITY": known}, cwd=Path("/")).binds


def test_what_is_bound_already_is_bound_once(based: Prefix, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(based.out)
    binds = based.run(env={"HOME": f"{tmp_path}/link"}).binds
    tops = [bind for bind in binds if ":" not in bind]
    assert len(tops) == len(set(tops))
    assert f"/{based.out.parts[1]}" in tops and str(based.out) not in tops


def test_a_link_to_what_no_bind_can_express_is_left(based: Prefix, tmp_path: Path) -> None:
    (tmp_path / "a:b").mkdir()
    (tmp_path / "link").symlink_to("a:b")
    env = {"PWD": f"{tmp_path}/link"}
    assert based.run(cwd=tmp_path / "link", env=env).status == 0


def test_on_the_host_there_is_nothing_to_follow(
    prefix: Prefix, tmp_path: Path, in_var: Path
) -> None:
    (tmp_path / "here").symlink_to(in_var)
    call = prefix.run(cwd=tmp_path / "here", env={"PWD": f"{tmp_path}/here"})
    assert str(in_var) not in call.binds and "/var" in call.binds
    assert call.variable("PWD") == f"{tmp_path}/here"


# -- the minimal mode ----------------------------------------------------------------------------
MINIMAL = {"CONTAINERIZE_MINIMAL_BINDS": "1"}


@pytest.fixture
def hidden() -> Iterator[Path]:
    """A directory at the top that no pattern finds, as the ``/.lustre`` of some machines."""
    place = Path("/.containerize-test")
    try:
        place.mkdir()
    except OSError as error:
        pytest.skip(f"only root can make one: {error}")
    yield place
    place.rmdir()


def test_what_only_links_lead_to_is_not_bound_there(
    prefix: Prefix, tmp_path: Path, hidden: Path
) -> None:
    (tmp_path / "flash").symlink_to(hidden)
    write_environment(prefix.root, links=[f"{tmp_path}/flash"])
    assert str(hidden) in prefix.run().binds
    assert str(hidden) not in prefix.run(env=MINIMAL).binds


def test_the_hosts_mpi_in_an_image_would_bind_all_of_the_host(
    based: Prefix, tmp_path: Path
) -> None:
    record = MpiRecord(kind="host", directory="mpi-1")
    write_environment(based.root, image=str(tmp_path / "base.sif"), mpi=record)
    assert "/:/.containerize-host" in based.run().binds
    call = based.call(based.program(), env=MINIMAL)
    assert (call.started, call.status) == (False, 1)
    assert "unset CONTAINERIZE_MINIMAL_BINDS" in call.stderr
    write_environment(based.root, mpi=record)
    assert based.run(env=MINIMAL).status == 0  # on the host's system it is in what is bound


def test_little_is_bound_where_the_user_wants_that(prefix: Prefix, tmp_path: Path) -> None:
    binds = prefix.run(env=MINIMAL).binds
    tops = {bind for bind in binds if ":" not in bind} - {str(prefix.root)}
    assert tops == {str(path) for path in Path("/").iterdir()} & {*OWN_SYSTEM, "/tmp"}
    assert str(prefix.root) in binds
    bound = prefix.run(env={**MINIMAL, "APPTAINER_BIND": f"{prefix.out}:/workdir"}).binds
    assert f"{prefix.out}:/workdir" in bound


def test_on_an_image_even_less(based: Prefix) -> None:
    binds = based.run(env=MINIMAL).binds
    generation = f"{based.root}/.generations/1"
    assert binds == [
        *(str(based.root), "/tmp", f"{generation}/_bin:{based.root}/bin"),
        f"{generation}/img.sqfs:{based.install_path}:image-src={based.install_path}",
    ]


@pytest.mark.parametrize(
    ("bind", "inside"),
    [
        ("{cwd}:/workdir", "/workdir"),
        ("{cwd}:/workdir/:ro", "/workdir"),
        ("{above}:/data", "/data/job"),
        ("/etc:/x,{above}", "{above}/job"),
    ],
)
def test_the_working_directory_is_where_the_user_bound_it(
    install: Install, tmp_path: Path, in_var: Path, bind: str, inside: str
) -> None:
    prefix = install()
    cwd = in_var / "job"
    cwd.mkdir()
    given = bind.format(cwd=cwd, above=in_var)
    call = prefix.run(cwd=cwd, env={**MINIMAL, "APPTAINER_BIND": given})
    assert call.cwd == Path("/")
    code = os.fsdecode(call.command[call.command.index(b"shim") + 1])
    assert f"_cw_cwd={inside.format(above=in_var)} " in code


def test_a_working_directory_that_is_not_bound_is_told(install: Install) -> None:
    prefix = install()
    places = [Path(place) for place in ("/work", "/home", "/mnt", "/media") if Path(place).is_dir()]
    call = prefix.call(prefix.program(), cwd=places[0], env=MINIMAL)
    assert (call.started, call.status) == (False, 1)
    assert f"the current directory is not bound: {places[0]}" in call.stderr
    assert 'export SINGULARITY_BIND="$PWD:/workdir"' in call.stderr


def test_links_out_of_what_is_bound_are_told(install: Install, tmp_path: Path) -> None:
    """They are looked at inside: one that leads nowhere there."""
    prefix = install()
    write_runtime(prefix.runtime, prefix.out, then=RUNNER)
    job = tmp_path / "job"
    job.mkdir()
    (job / "file").touch()
    (job / "good").symlink_to("file")
    (job / "data").symlink_to("/no/such/place/here")
    (prefix.root / ".generations/1/_bin").mkdir(exist_ok=True)
    env = {**MINIMAL, "APPTAINER_BIND": str(job)}
    call = prefix.call(prefix.program("_debug_exec"), "true", cwd=job, env=env)
    assert call.status == 0
    assert f"{job}/data is a link to what is not bound" in call.stderr
    assert "bind that too" in call.stderr and "good" not in call.stderr
    quiet = prefix.call(
        prefix.program("_debug_exec"), "true", cwd=job, env={**env, "SLURM_PROCID": "1"}
    )
    assert (quiet.status, quiet.stderr) == (0, "")  # the first rank of a step tells it for all


def test_of_a_large_directory_the_first_entries_are_looked_at(
    install: Install, tmp_path: Path
) -> None:
    """And none of what the site binds."""
    prefix = install()
    write_runtime(prefix.runtime, prefix.out, then=RUNNER)
    (prefix.root / ".generations/1/_bin").mkdir(exist_ok=True)
    job, sites = tmp_path / "job", tmp_path / "sites"
    for folder in (job, sites):
        folder.mkdir()
        (folder / "a").symlink_to("/no/such/place/here")
    for number in range(1000):
        (job / f"file-{number:04}").touch()
    (job / "z").symlink_to("/no/such/place/here")
    write_environment(prefix.root, site=Site(binds=(str(sites),)))
    env = {**MINIMAL, "APPTAINER_BIND": str(job)}
    call = prefix.call(prefix.program("_debug_exec"), "true", cwd=job, env=env)
    assert call.status == 0 and call.stderr.count("[ WARNING ]") == 1
    assert f"{job}/a is a link" in call.stderr
