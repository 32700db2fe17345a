"""Binds, the runtime, other installations, and calls from inside a container."""

from __future__ import annotations

import os
import pwd
import re
import shlex
import stat
import tempfile
from pathlib import Path

import pytest

from tests.shell.conftest import (
    NOWHERE,
    Install,
    Prefix,
    write_environment,
    write_program,
    write_runtime,
)
from wrapper.models import HostPrograms, Site
from wrapper.runtime.binds import NEVER_BOUND, UNBINDABLE, unbindable

TOP = [
    f"/{entry.name}"
    for entry in sorted(Path("/").iterdir())
    if entry.is_dir()
    and f"/{entry.name}" not in NEVER_BOUND
    and not entry.name.startswith(".")
    and not unbindable(entry.name)
]
TOP_LINKS = [path for path in TOP if Path(path).is_symlink()]


# -- binds ---------------------------------------------------------------------------------------
def ours(prefix: Prefix) -> str:
    return f"{prefix.root}/.generations/1/_bin:{prefix.root}/bin"


def test_every_directory_of_the_host_is_bound_and_programs_over_shims(prefix: Prefix) -> None:
    binds = prefix.run().binds
    assert sorted(binds[:-1]) == TOP
    assert binds[-1] == ours(prefix)


def test_the_skeletons_links_are_not_bound(install: Install) -> None:
    assert TOP_LINKS, "a host without /bin -> usr/bin cannot show it"
    prefix = install(links=TOP_LINKS)
    assert sorted(prefix.run().binds[:-1]) == [path for path in TOP if path not in TOP_LINKS]


USER_VARIABLES = [
    "SINGULARITY_BIND",
    "SINGULARITY_BINDPATH",
    "APPTAINER_BIND",
    "APPTAINER_BINDPATH",
    "CW_EXTRA_BIND_MOUNTS",
]


@pytest.mark.parametrize("name", USER_VARIABLES)
def test_the_users_binds_are_kept(prefix: Prefix, name: str) -> None:
    call = prefix.run(env={name: "/usr/lib,/etc:/out:ro"})
    assert call.binds[-3:] == ["/usr/lib", "/etc:/out:ro", ours(prefix)]


@pytest.mark.parametrize("name", USER_VARIABLES)
def test_a_users_bind_that_is_not_on_this_node_is_told_and_left_out(
    prefix: Prefix, name: str
) -> None:
    """The runtime would end the program. The rest counts, also what the missing one would cover."""
    given = {name: "/no/such:/usr,/etc:/out,/nor/this"}
    call = prefix.call(prefix.program(), env=given)
    assert call.binds[-2:] == ["/etc:/out", ours(prefix)]
    assert "/usr" in call.binds and not {"/no/such:/usr", "/nor/this"} & {*call.binds}
    assert call.stderr.count("[ WARNING ]") == 2
    assert "this node has no /no/such\n" in call.stderr
    for rank in ("SLURM_PROCID", "PMI_RANK"):
        assert prefix.call(prefix.program(), env={**given, rank: "1"}).stderr == ""


def test_options_of_the_users_binds_stay_with_their_bind(prefix: Prefix) -> None:
    given = "/etc:/img:id=1,image-src=/,ro,/no/such:/x:image-src=/,ro,/etc:/out"
    call = prefix.call(prefix.program(), env={"APPTAINER_BIND": given})
    expected = ["/etc:/img:id=1", "image-src=/", "ro", "/etc:/out", ours(prefix)]
    assert call.binds[-5:] == expected and call.stderr.count("[ WARNING ]") == 1


def test_words_with_escaped_commas_are_the_runtimes_to_read(prefix: Prefix) -> None:
    given = r"/no/such\,file:/in,/etc:/out"
    assert given in ",".join(prefix.run(env={"APPTAINER_BIND": given}).binds)


def test_all_variables_for_binds_count_at_once(prefix: Prefix) -> None:
    env = {name: f"/usr:/source-{number}" for number, name in enumerate(USER_VARIABLES)}
    assert prefix.run(env=env).binds[-6:-1] == list(env.values())


def test_binds_that_two_variables_name_are_not_doubled(prefix: Prefix) -> None:
    binds = prefix.run(env=dict.fromkeys(USER_VARIABLES, "/usr/lib,/etc:/out")).binds
    assert binds.count("/usr/lib") == 1 and binds.count("/etc:/out") == 1


def test_a_runtime_does_not_see_the_variables_again(prefix: Prefix) -> None:
    """Apptainer drops SINGULARITY_BIND, with a warning, where APPTAINER_BIND differs."""
    call = prefix.run(env=dict.fromkeys(USER_VARIABLES, "/usr/lib"))
    seen = {name: call.variable(name) for name in USER_VARIABLES}
    assert seen == {**dict.fromkeys(USER_VARIABLES), "CW_EXTRA_BIND_MOUNTS": "/usr/lib"}


@pytest.mark.parametrize("bind", ["/usr", "/usr/", "/etc:/usr", "/etc:/usr/:ro"])
def test_a_users_bind_to_one_of_our_places_takes_it(prefix: Prefix, bind: str) -> None:
    binds = prefix.run(env={"APPTAINER_BIND": f"/usr/lib,{bind},/usr/bin"}).binds
    assert [b for b in binds if re.fullmatch(r"(.*:)?/usr/?(:ro)?", b)] == [bind]
    assert binds[-4:] == ["/usr/lib", bind, "/usr/bin", ours(prefix)]


def test_a_users_bind_cannot_cover_the_programs(prefix: Prefix) -> None:
    """Runtimes mount in the order of the list; sites bind /scratch, /projappl… by a module."""
    top = f"/{prefix.root.parts[1]}"
    binds = prefix.run(env={"SINGULARITY_BIND": top}).binds
    assert binds.index(top) < binds.index(ours(prefix))


# -- the runtime ---------------------------------------------------------------------------------
def test_a_runtime_at_a_hostile_path(install: Install, tmp_path: Path) -> None:
    runtime = tmp_path / 'it\'s a } $(touch pwned) "`x`" __FLAGS__/apptainer'
    prefix = install(runtime=runtime)
    assert prefix.run().argv[0] == os.fsencode(runtime)


def test_the_user_can_name_another_runtime(prefix: Prefix, tmp_path: Path) -> None:
    other = write_runtime(tmp_path / "o ther/run", prefix.out)
    call = prefix.run(env={"CONTAINERIZE_RUNTIME": str(other)})
    assert call.argv[0] == os.fsencode(other)
    call = prefix.run(env={"CONTAINERIZE_RUNTIME": ""})
    assert call.argv[0] == os.fsencode(prefix.runtime)


def test_the_user_can_name_a_runtime_on_path(prefix: Prefix, tmp_path: Path) -> None:
    other = write_runtime(tmp_path / "tools/special", prefix.out)
    env = {"CONTAINERIZE_RUNTIME": "special", "PATH": f"{other.parent}:/usr/bin:/bin"}
    assert prefix.run(env=env).argv[0] == os.fsencode(other)


@pytest.mark.parametrize("name", ["/nowhere/apptainer", "aptainer", "./record", "a'b"])
def test_a_wrong_runtime_of_the_user_is_no_reason_to_take_another(
    prefix: Prefix, tmp_path: Path, name: str
) -> None:
    other = write_runtime(tmp_path / "tools/apptainer", prefix.out)
    env = {"CONTAINERIZE_RUNTIME": name, "PATH": f"{other.parent}:/usr/bin:/bin"}
    call = prefix.call(prefix.program(), env=env)
    assert (call.started, call.status) == (False, 1)
    first, _, hint = call.stderr.splitlines()
    assert first == f"[ ERROR ] CONTAINERIZE_RUNTIME names '{name}', which is no program"
    assert hint.endswith("unset CONTAINERIZE_RUNTIME")


@pytest.mark.parametrize("name", ["singularity", "apptainer"])
def test_a_runtime_that_moved_is_looked_for_on_path(
    prefix: Prefix, tmp_path: Path, name: str
) -> None:
    other = write_runtime(tmp_path / "to ols" / name, prefix.out)
    prefix.runtime.unlink()
    env = {"PATH": f"/nowhere::{other.parent}:/usr/bin:/bin"}
    assert prefix.run(env=env).argv[0] == os.fsencode(other)


def test_the_name_that_was_built_with_comes_first(prefix: Prefix, tmp_path: Path) -> None:
    write_runtime(tmp_path / "tools/singularity", prefix.out)
    other = write_runtime(tmp_path / "tools/apptainer", prefix.out)
    prefix.runtime.unlink()
    env = {"PATH": f"{other.parent}:/usr/bin:/bin"}
    assert prefix.run(env=env).argv[0] == os.fsencode(other)


def test_a_directory_is_no_runtime(prefix: Prefix, tmp_path: Path) -> None:
    prefix.runtime.unlink()
    prefix.runtime.mkdir()
    (tmp_path / "project/singularity").mkdir(parents=True)
    other = write_runtime(tmp_path / "tools/singularity", prefix.out)
    env = {"PATH": f"{tmp_path}/project:{other.parent}"}
    assert prefix.run(env=env).argv[0] == os.fsencode(other)


def test_a_shim_called_apptainer_is_no_runtime(prefix: Prefix, tmp_path: Path) -> None:
    """Environments may hold the package apptainer; its shim would start itself for ever."""
    prefix.runtime.unlink()
    prefix.program("apptainer").hardlink_to(prefix.program())
    other = write_runtime(tmp_path / "tools/apptainer", prefix.out)
    env = {"PATH": f"{prefix.root}/bin:{other.parent}"}
    assert prefix.run(env=env).argv[0] == os.fsencode(other)


def test_without_any_runtime_it_says_what_to_do(prefix: Prefix) -> None:
    prefix.runtime.unlink()
    call = prefix.call(prefix.program(), env={"PATH": "/nowhere"})
    assert call.status == 1
    assert call.stdout == b""
    first, where, hint = call.stderr.splitlines()
    assert first == (
        f"[ ERROR ] no container runtime: neither {prefix.runtime} nor singularity or apptainer "
        "on PATH"
    )
    assert where == f"  where:  {prefix.program()}"
    assert hint.startswith("  to do:  ") and "CONTAINERIZE_RUNTIME" in hint


# -- the Python of the host that it may be built on ------------------------------------------------
def test_a_program_of_the_host_that_has_gone_is_named(prefix: Prefix, tmp_path: Path) -> None:
    python = write_program(tmp_path / "py thon3", "")
    write_environment(prefix.root, required_program=str(python))
    assert prefix.run().started
    python.unlink()
    call = prefix.call(prefix.program())
    assert (call.started, call.status) == (False, 1)
    assert f"has gone: {python}" in call.stderr.splitlines()[0]


# -- pip in a virtual environment, where it looks for no notice ------------------------------------
def link_programs(prefix: Prefix, *names: str) -> None:
    for name in names:
        (prefix.root / "bin" / name).hardlink_to(prefix.program())


@pytest.mark.parametrize(
    "line",
    [
        "pip install x",
        "pip3 install --user x",
        "pip3.11 uninstall -y x",
        "python3 -m pip install x",
        "uv pip install x",
        "uv pip sync x.txt",
    ],
)
def test_nothing_is_installed_into_a_virtual_environment(prefix: Prefix, line: str) -> None:
    link_programs(prefix, "pip", "pip3", "pip3.11", "uv")
    name, *words = line.split()
    assert prefix.run(*words, name=name).started, "a conda environment's pip sees the notice itself"
    write_environment(prefix.root, venv=True)
    call = prefix.call(prefix.program(name), *words)
    assert (call.started, call.status) == (False, 1)
    assert "the image is read-only" in call.stderr
    assert f"pip-containerize update {prefix.root} -r" in call.stderr
    assert f"containerize extend {prefix.root} --to MYDIR" in call.stderr


def test_a_command_to_type_has_quotes(prefix: Prefix) -> None:
    odd = prefix.root.rename(prefix.root.with_name("it's a $(touch pwned)"))
    link = odd / "bin/pip"
    link.hardlink_to(odd / "bin" / prefix.program().name)
    write_environment(odd, venv=True)
    told = prefix.call(link, "install", "x").stderr
    (line,) = [line for line in told.splitlines() if "to do:" in line]
    assert shlex.split(line)[2:] == [
        "pip-containerize",
        "update",
        str(odd),
        "-r",
        "requirements.txt",
    ]


@pytest.mark.parametrize(
    "line",
    [
        "pip list",
        "pip --version",
        "pip download install x",
        "pip install --target t x",
        "pip install --prefix=p x",
        "pip install --help",
        "python3 -m pip freeze",
        "python3 -m venv install",
        "python3 install",
        "tool pip install x",
    ],
)
def test_what_leaves_a_virtual_environment_alone_runs(prefix: Prefix, line: str) -> None:
    link_programs(prefix, "pip")
    write_environment(prefix.root, venv=True)
    name, *words = line.split()
    assert prefix.run(*words, name=name).command[1:] == tuple(map(os.fsencode, words))


def test_a_virtual_environment_on_top_may_install(prefix: Prefix, tmp_path: Path) -> None:
    write_environment(prefix.root, venv=True)
    python = tmp_path / "ve/bin/python3"
    python.parent.mkdir(parents=True)
    python.symlink_to(prefix.program())
    assert prefix.call(python, "-m", "pip", "install", "x").started


# -- images with a system of their own -------------------------------------------------------------
SYSTEM = {"/bin", "/boot", "/etc", "/lib", "/lib32", "/lib64", "/opt", "/root", "/run", "/sbin"}
SYSTEM |= {"/srv", "/usr", "/var"}


@pytest.fixture
def wrapped(prefix: Prefix, tmp_path: Path) -> Prefix:
    """An installation around another container image."""
    (tmp_path / "ju lia.sif").touch()
    write_environment(prefix.root, image=str(tmp_path / "ju lia.sif"))
    return prefix


def test_the_other_image_is_started_and_keeps_its_system(wrapped: Prefix, tmp_path: Path) -> None:
    call = wrapped.run()
    assert call.image == str(tmp_path / "ju lia.sif")
    generation = f"{wrapped.root}/.generations/1"
    assert call.binds[-2:] == [ours(wrapped), f"{generation}:{NOWHERE}"]
    assert sorted(call.binds[:-2]) == [path for path in TOP if path not in SYSTEM]


def test_an_image_in_the_generation_itself(prefix: Prefix) -> None:
    write_environment(prefix.root, image="container.sif")
    (prefix.root / ".generations/1/container.sif").touch()
    assert prefix.run().image == f"{prefix.root}/.generations/1/container.sif"


def test_an_image_that_has_gone_is_named(wrapped: Prefix, tmp_path: Path) -> None:
    (tmp_path / "ju lia.sif").unlink()
    call = wrapped.call(wrapped.program())
    assert (call.started, call.status) == (False, 1)
    assert f"the container image has gone: {tmp_path}/ju lia.sif" in call.stderr


def test_a_home_that_the_images_system_would_hide_is_bound(wrapped: Prefix) -> None:
    assert wrapped.run(env={"HOME": "/usr/share"}).binds[0] == "/usr/share"
    assert "/usr/nowhere" not in wrapped.run(env={"HOME": "/usr/nowhere"}).binds
    assert "/tmp/" not in wrapped.run(env={"HOME": "/tmp/"}).binds


@pytest.mark.parametrize("name", [f"a{letter}b" for letter in UNBINDABLE])
def test_a_home_that_a_bind_cannot_express_is_left_out(
    wrapped: Prefix, tmp_path: Path, name: str
) -> None:
    """In the system of the image it cannot be had; the program starts all the same."""
    home = Path(tempfile.mkdtemp(dir="/var/tmp")) / name
    home.mkdir()
    call = wrapped.run(env={"HOME": str(home)})
    assert call.started and not [bind for bind in call.binds if bind.startswith("/var")]
    home.rmdir()
    home.parent.rmdir()


@pytest.mark.parametrize("name", ["APPTAINERENV_PREPEND_PATH", "SINGULARITYENV_PREPEND_PATH"])
def test_the_images_own_path_is_kept_behind_ours_and_the_users(wrapped: Prefix, name: str) -> None:
    plain, given = wrapped.run(), wrapped.run(env={name: "/mine"})
    assert plain.inside("PATH") is None
    assert plain.inside("PREPEND_PATH") == f"{wrapped.root}/bin"
    assert given.inside("PREPEND_PATH") == f"{wrapped.root}/bin:/mine"


def test_libraries_of_the_host_are_not_handed_to_it(wrapped: Prefix) -> None:
    call = wrapped.run(env={"LD_LIBRARY_PATH": "/host/lib"})
    assert call.inside("LD_LIBRARY_PATH") is None


def test_an_installation_that_stored_its_path_is_seen_there(prefix: Prefix, tmp_path: Path) -> None:
    mask = tmp_path / "to ol"
    mask.mkdir()
    write_environment(prefix.root, mask=str(mask))
    image = f"{prefix.root}/.generations/1/img.sqfs"
    assert prefix.run().binds[-1] == f"{image}:{mask}:image-src={NOWHERE}"
    mask.rmdir()
    call = prefix.call(prefix.program())
    assert (call.started, call.status) == (False, 1)
    assert f"{mask} has gone" in call.stderr


# -- other installations at the same time ----------------------------------------------------------
def other(root: Path, number: int, **facts: str) -> list[str]:
    """Another installation; returns the binds that bring it in."""
    path = f"/containerize-other-{number}"
    write_environment(root, generation=number, install_path=path, **facts)
    (root / "current").symlink_to(f".generations/{number}")
    generation = f"{root}/.generations/{number}"
    return [f"{generation}/img.sqfs:{path}:image-src={path}", f"{generation}/_bin:{root}/bin"]


def test_one_other_installation(prefix: Prefix, tmp_path: Path) -> None:
    binds = other(tmp_path / "o ther $x", 5)
    call = prefix.run(env={"CONTAINERIZE_WITH": f"{tmp_path}/o ther $x"})
    assert call.binds[-3:] == [ours(prefix), *binds]
    assert call.image == f"{prefix.root}/.generations/1/img.sqfs"


def test_two_others_and_itself(prefix: Prefix, tmp_path: Path) -> None:
    binds = [*other(tmp_path / "one", 5), *other(tmp_path / "two", 6)]
    paths = f"{tmp_path}/one:{prefix.root}::{tmp_path}/two:"
    assert prefix.run(env={"CONTAINERIZE_WITH": paths}).binds[-5:] == [ours(prefix), *binds]


def test_tykkys_way_to_name_others(prefix: Prefix, tmp_path: Path) -> None:
    """Binds of images at the install path, in CW_EXTRA_BIND_MOUNTS; one's own is left out."""
    binds = other(tmp_path / "o ther", 5)
    theirs = f"{tmp_path}/tykkys/img.sqfs:/LUMI_TYKKY_x:image-src=/"
    (tmp_path / "tykkys").mkdir()
    (tmp_path / "tykkys/img.sqfs").touch()
    extra = f"/etc:/out,{tmp_path}/o ther/img.sqfs:/containerize-other-5:image-src=/,{theirs}"
    extra += f",{prefix.root}/img.sqfs:{NOWHERE}:image-src=/"
    found = prefix.run(env={"CW_EXTRA_BIND_MOUNTS": extra}).binds
    assert found[-5:] == ["/etc:/out", theirs, ours(prefix), *binds]


def test_tykkys_users_join_binds_by_colons(prefix: Prefix, tmp_path: Path) -> None:
    one, two = other(tmp_path / "one", 5), other(tmp_path / "two", 6)
    extra = ":".join(
        f"{tmp_path}/{name}/img.sqfs:/containerize-other-{number}:image-src=/"
        for name, number in (("one", 5), ("two", 6))
    )
    found = prefix.run(env={"CW_EXTRA_BIND_MOUNTS": f"{extra}:/etc:/out:ro,/usr:/b"}).binds
    assert found[-7:] == ["/etc:/out:ro", "/usr:/b", ours(prefix), *one, *two]


def test_what_wraps_a_container_gets_none_of_them(wrapped: Prefix, tmp_path: Path) -> None:
    """As in Tykky: they would lie over a system that they were not made for."""
    (wrapped.root / "img.sqfs").unlink()  # wrap-container makes none
    other(tmp_path / "one", 5)
    extra = f"/etc:/out,{tmp_path}/one/img.sqfs:/containerize-other-5:image-src=/"
    call = wrapped.run(env={"CW_EXTRA_BIND_MOUNTS": extra, "SINGULARITY_BIND": "/usr/lib"})
    assert "/usr/lib" in call.binds and not [
        bind for bind in call.binds if f"{tmp_path}/one" in bind
    ]
    assert "/etc:/out" not in call.binds


def test_a_program_without_shim_is_told_where_the_installation_is(prefix: Prefix) -> None:
    """Tykky's users ask ``_debug_exec`` for it; other programs have the user's variables."""
    names = ("install_root", "env_root")
    seen = prefix.run("true", name="_debug_exec")
    assert [seen.variable(name) for name in names] == [NOWHERE, NOWHERE]
    assert [prefix.run().variable(name) for name in names] == [None, None]
    write_environment(prefix.root, install_path=f"{NOWHERE}/envs/env1", image_root=NOWHERE)
    seen = prefix.run("true", name="_debug_exec")
    assert [seen.variable(name) for name in names] == [NOWHERE, f"{NOWHERE}/envs/env1"]


def test_an_image_that_lies_over_its_own_prefix(prefix: Prefix) -> None:
    """What wrap-install --mask made, moved to where the source was: its programs are there."""
    write_environment(prefix.root, mask=str(prefix.root))
    image = f"{prefix.root}/.generations/1/img.sqfs:{prefix.root}:image-src={NOWHERE}"
    binds = prefix.run().binds
    assert binds[-1] == image and ours(prefix) not in binds


def test_an_other_that_stored_its_path_is_seen_there(prefix: Prefix, tmp_path: Path) -> None:
    mask = tmp_path / "tool"
    mask.mkdir()
    image, programs = other(tmp_path / "one", 5, mask=str(mask))
    file, path, _ = image.split(":")
    env = {"CONTAINERIZE_WITH": f"{tmp_path}/one"}
    binds = [ours(prefix), image, f"{file}:{mask}:image-src={path}", programs]
    assert prefix.run(env=env).binds[-4:] == binds
    mask.rmdir()
    call = prefix.call(prefix.program(), env=env)
    assert (call.started, call.status) == (False, 1)
    assert f"{mask} has gone" in call.stderr


# -- programs of the host --------------------------------------------------------------------------
def test_programs_of_the_host_in_an_image(prefix: Prefix, tmp_path: Path) -> None:
    """Each by the host's name for it; who runs Slurm and who calls are users inside."""
    image, generation = tmp_path / "base.sif", prefix.root / ".generations/1"
    image.touch()
    users = "root:x:0:0::/root:/bin/sh\nslurm:x:64030:64030::/:/bin/false\n"
    host = HostPrograms(names=("srun", "ssh"), binds=("/:/.host", "/no/such"), users=users)
    write_environment(prefix.root, image=str(image), host=host)
    me, uid = pwd.getpwuid(os.getuid()), os.getuid()
    binds = prefix.run().binds
    programs = [f"{generation}/host/{name}:/usr/bin/{name}" for name in host.names]
    assert {"/:/.host", *programs} < set(binds) and "/no/such" not in binds
    (passwd,) = (bind.partition(":")[0] for bind in binds if bind.endswith(":/etc/passwd"))
    try:
        lines = Path(passwd).read_text().removeprefix(users)
        mine = f"{me.pw_name}:x:{uid}:{me.pw_gid}::{me.pw_dir}:/bin/bash\n"
        assert lines == ("" if uid == 0 else mine)
        assert stat.S_IMODE(Path(passwd).stat().st_mode) == 0o600
        Path(passwd).write_text("root:x:0")  # by one that was killed
        assert f"{passwd}:/etc/passwd" in prefix.run().binds
        assert Path(passwd).read_text() == users + lines
        Path(passwd).unlink()
        Path(passwd).symlink_to(tmp_path / "others")  # as somebody else could
        Path(tmp_path / "others").mkdir()
        call = prefix.run()
        assert not any(bind.endswith("/etc/passwd") for bind in call.binds)
        assert f"[ WARNING ] {passwd} is another user's, or cannot be written" in call.stderr
        assert not [*(tmp_path / "others").iterdir()]
    finally:
        Path(passwd).unlink()
    few = prefix.run(cwd=prefix.root, env={"CONTAINERIZE_MINIMAL_BINDS": "1"}).binds
    assert not {"/:/.host", *programs} & set(few)


# -- images that Tykky made ------------------------------------------------------------------------
ADOPTED = {"install_path": "/LUMI_TYKKY_x/envs/env1", "image_root": "/LUMI_TYKKY_x"}


def test_an_adopted_image_is_bound_as_a_whole(prefix: Prefix) -> None:
    write_environment(prefix.root, **ADOPTED)
    call = prefix.run()
    generation = f"{prefix.root}/.generations/1"
    assert call.image == f"{generation}/skeleton.sqfs"
    image = f"{generation}/img.sqfs:/LUMI_TYKKY_x:image-src=/"
    assert call.binds[-2:] == [ours(prefix), image]


def test_an_adopted_image_in_a_container_with_a_system(prefix: Prefix) -> None:
    generation = prefix.root / ".generations/1"
    (generation / "container.sif").touch()
    write_environment(prefix.root, **ADOPTED, image="container.sif")
    call = prefix.run()
    assert call.image == f"{generation}/container.sif"
    assert call.binds[-2:] == [ours(prefix), f"{generation}/img.sqfs:/LUMI_TYKKY_x:image-src=/"]


def test_an_adopted_image_over_the_path_that_it_stored(prefix: Prefix, tmp_path: Path) -> None:
    write_environment(prefix.root, install_path=NOWHERE, image_root=NOWHERE, mask=str(tmp_path))
    image = f"{prefix.root}/.generations/1/img.sqfs"
    binds = [f"{image}:{tmp_path}:image-src=/", f"{image}:{NOWHERE}:image-src=/"]
    assert prefix.run().binds[-3:] == [ours(prefix), *binds]


def test_an_adopted_other(prefix: Prefix, tmp_path: Path) -> None:
    other(tmp_path / "one", 5)
    write_environment(tmp_path / "one", generation=5, **ADOPTED)
    generation = tmp_path / "one/.generations/5"
    assert prefix.run(env={"CONTAINERIZE_WITH": f"{tmp_path}/one"}).binds[-3:] == [
        ours(prefix),
        f"{generation}/img.sqfs:/LUMI_TYKKY_x:image-src=/",
        f"{generation}/_bin:{tmp_path}/one/bin",
    ]


@pytest.mark.parametrize("path", ["{tmp}/one/", "{tmp}/link", "../one", "{tmp}/x/../one"])
def test_an_other_is_bound_at_its_physical_path(prefix: Prefix, tmp_path: Path, path: str) -> None:
    """Runtimes follow no links in a bind's destination, and take no relative one."""
    binds = other(tmp_path / "one", 5)
    (tmp_path / "link").symlink_to("one")
    (tmp_path / "x").mkdir()
    call = prefix.run(env={"CONTAINERIZE_WITH": path.format(tmp=tmp_path)})
    assert call.binds[-3:] == [ours(prefix), *binds]


def test_itself_under_another_name_is_not_doubled(prefix: Prefix, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(prefix.root)
    assert prefix.run(env={"CONTAINERIZE_WITH": f"{tmp_path}/link"}).binds[-1] == ours(prefix)


def test_an_other_that_is_there_already_is_not_doubled(prefix: Prefix, tmp_path: Path) -> None:
    """The runtime ends where two images are to be at one place: CONTAINERIZE_WITH names what the
    installation was built with.
    """
    binds = other(tmp_path / "one", 5)
    through_link = tuple(bind.replace(".generations/5", "current") for bind in binds)
    (tmp_path / "one/.generations/5/img.sqfs").touch()
    (tmp_path / "one/.generations/5/_bin").mkdir()
    write_environment(prefix.root, site=Site(binds=through_link))
    assert set(through_link) < set(prefix.run().binds)
    found = prefix.run(env={"CONTAINERIZE_WITH": f"{tmp_path}/one"}).binds
    assert found[-2:] == binds and not set(through_link) & set(found)


def test_an_other_with_an_image_of_its_own_cannot_be_added(prefix: Prefix, tmp_path: Path) -> None:
    other(tmp_path / "one", 5)
    write_environment(tmp_path / "one", generation=5, image="/julia.sif")
    call = prefix.call(prefix.program(), env={"CONTAINERIZE_WITH": f"{tmp_path}/one"})
    assert (call.started, call.status) == (False, 1)
    assert "wraps another container" in call.stderr


@pytest.mark.parametrize("posix", [None, "1"])
def test_a_broken_other_is_named(prefix: Prefix, tmp_path: Path, posix: str | None) -> None:
    other(tmp_path / "one", 5)
    paths = f"{tmp_path}/one:{tmp_path}/gone"
    call = prefix.call(prefix.program(), env={"CONTAINERIZE_WITH": paths, "POSIXLY_CORRECT": posix})
    assert (call.started, call.status) == (False, 1)
    lines = call.stderr.splitlines()
    assert lines[0] == (
        f"[ ERROR ] CONTAINERIZE_WITH names '{tmp_path}/gone', which is no installation"
    )
    assert "unset CONTAINERIZE_WITH" in lines[2]


# -- shells and single commands --------------------------------------------------------------------
def test_any_command_can_be_run_inside(prefix: Prefix) -> None:
    assert prefix.run("ls", "a b", "", name="_debug_exec").command == (b"ls", b"a b", b"")


def test_a_shell_can_be_opened_inside(prefix: Prefix) -> None:
    assert prefix.run(name="_debug_shell").command == (b"/bin/bash", b"--norc")
    call = prefix.run("-c", "echo", name="_debug_shell")
    assert call.command == (b"/bin/bash", b"--norc", b"-c", b"echo")


# -- inside the own container ----------------------------------------------------------------------
@pytest.fixture
def within(install: Install, tmp_path: Path) -> Prefix:
    """An installation whose path inside exists: so does a shim see where it is."""
    path = tmp_path / "inside"
    write_program(path / "bin/tool", '#!/bin/bash\nprintf "%s\\0" "$@"\nexit 3\n')
    (path / "bin/python3").symlink_to("/bin/bash")
    return install(install_path=str(path))


def test_inside_a_shim_is_the_program(within: Prefix) -> None:
    words = [b"", b"a b", b"*", b"\xff", b"a\nb"]
    call = within.call(within.program("tool"), *words)
    assert (call.started, call.status) == (False, 3)
    assert call.stdout.split(b"\0")[:-1] == words


def test_inside_the_program_has_the_name_it_was_called_by(within: Prefix, tmp_path: Path) -> None:
    link = tmp_path / "venv/bin/python3"
    link.parent.mkdir(parents=True)
    link.symlink_to(within.program())
    for path in (within.program(), link):
        call = within.call(path, "-c", 'echo "$0"')
        assert (call.started, call.stdout.decode()) == (False, f"{path}\n")


@pytest.mark.parametrize("name", ["tool", "python3"])
@pytest.mark.parametrize("copied", [False, True])
def test_inside_a_shim_never_starts_itself(within: Prefix, name: str, copied: bool) -> None:
    """What wrap-install --mask made, where the runtime mounts the host's directories over it."""
    write_environment(within.root, install_path=within.install_path, mask=str(within.root))
    if copied:  # each shim a file of its own
        content = within.program(name).read_bytes()
        within.program(name).unlink()
        write_program(within.program(name), content.decode())
    real = within.root / ".generations/1/_bin" / name
    real.unlink()
    real.symlink_to(within.program(name))
    call = within.call(within.program(name))
    assert (call.started, call.status) == (False, 1)
    assert f"the image does not lie over {within.root}" in call.stderr


def test_inside_commands_run_as_they_are(within: Prefix) -> None:
    call = within.call(within.program("_debug_exec"), "/bin/echo", "a b")
    assert (call.started, call.stdout) == (False, b"a b\n")
    call = within.call(within.program("_debug_shell"), "-c", 'echo "$0"')
    assert (call.started, call.stdout) == (False, b"/bin/bash\n")


def test_inside_nothing_starts_a_second_container(within: Prefix) -> None:
    assert not within.call(within.program("_debug_exec"), "-a", "name", "/bin/true").started


@pytest.mark.parametrize(("words", "status"), [((), 2), (("-h",), 0), (("--help",), 0)])
def test_without_a_command_it_says_how_to_use_it(
    prefix: Prefix, words: tuple[str, ...], status: int
) -> None:
    program = prefix.program("_debug_exec")
    call = prefix.call(program, *words)
    assert (call.started, call.status) == (False, status)
    assert f"usage: {program} COMMAND" in (call.stderr if status else call.stdout.decode())
    # The command's own options are its own.
    assert prefix.run("ls", "--help", name="_debug_exec").command == (b"ls", b"--help")


def test_elsewhere_the_same_shim_starts_the_container(prefix: Prefix) -> None:
    assert prefix.install_path == NOWHERE
    assert prefix.run(name="tool").command == (os.fsencode(prefix.program("tool")),)


# -- an image's entry point ----------------------------------------------------------------------
def test_programs_of_an_image_start_by_its_entry_point(prefix: Prefix, tmp_path: Path) -> None:
    image = tmp_path / "x.sif"
    image.touch()
    entry = ("/opt/entry point", "--")
    write_environment(prefix.root, image=str(image), entry_point=entry)
    words = [os.fsencode(word) for word in entry]
    program = os.fsencode(prefix.program("python3"))
    assert prefix.run("a b").command == (*words, program, b"a b")
    debug = prefix.root / "bin/_debug_exec"
    assert prefix.call(debug, "ls", "-l").command == (*words, b"ls", b"-l")
    without = prefix.run("a b", env={"CONTAINERIZE_ENTRY_POINT": "0"})
    assert without.command == (program, b"a b")


def test_scripts_for_many_gpus_have_their_place(prefix: Prefix) -> None:
    write_environment(prefix.root, scripts=True)
    assert prefix.run().binds[-1] == f"{prefix.root}/.generations/1/runscripts:/runscripts"
