"""The container of a build: what programs in it see, how their failures are told."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.conftest import Program, names, without_powers
from wrapper.console import Console
from wrapper.errors import ScriptError, ToolError
from wrapper.runtime.container import OWN_CACHE, BuildContainer
from wrapper.runtime.runtime import Runtime

# Records its arguments and environment beside itself, and then does what FAKE says.
RECORD = """\
printf '%s\\0' "$@" >"${0%/*}/argv"
/usr/bin/env -0 >"${0%/*}/environ"
eval "$SINGULARITYENV_FAKE"
"""


@pytest.fixture
def container(program: Program, console: Console, tmp_path: Path) -> BuildContainer:
    runtime = program("apptainer", RECORD)
    (tmp_path / "scratch").mkdir()
    return BuildContainer(
        runtime=Runtime(path=runtime, name="apptainer", version="1.4.5"),
        image=tmp_path / "skeleton.sqfs",
        binds=["/usr", "/tmp"],
        tree=tmp_path / "tree",
        install_path="/containerize-1",
        scratch=tmp_path / "scratch",
        console=console,
        environ={"PATH": "/usr/bin:/bin$x", "HOME": "/h", "PYTHONPATH": "/p", "PIP_INDEX_URL": "u"},
    )


def recorded(container: BuildContainer, name: str) -> list[str]:
    data = (container.runtime.path.parent / name).read_bytes()
    return [os.fsdecode(word) for word in data.split(b"\0")[:-1]]


def environment(container: BuildContainer) -> dict[str, str]:
    pairs = (item.partition("=") for item in recorded(container, "environ"))
    return {name: value for name, _, value in pairs}


def test_the_tree_is_at_its_place_beside_the_whole_host(container: BuildContainer) -> None:
    container.run(["prog", "a b", ""], what="x")
    argv = recorded(container, "argv")
    binds = argv[argv.index("-B") + 1].split(",")
    assert binds[-1] == f"{container.tree}:/containerize-1"
    assert binds[:-1] == ["/usr", "/tmp"]
    assert argv[argv.index("-B") + 2 :] == [str(container.image), "prog", "a b", ""]
    assert argv[argv.index("--home") + 1] == "/h"


def test_the_users_binds_reach_the_runtime_once(container: BuildContainer) -> None:
    binds = {"SINGULARITY_BIND": "/a", "APPTAINER_BINDPATH": "/b", "APPTAINERENV_X": "1"}
    replace(container, environ={**container.environ, **binds}).run(["prog"], what="x")
    seen = environment(container)
    assert {name: seen.get(name) for name in binds} == {
        **dict.fromkeys(binds),
        "APPTAINERENV_X": "1",
    }


def test_programs_start_in_the_scratch_directory_unless_told(container: BuildContainer) -> None:
    container.run(["prog"], what="x")
    argv = recorded(container, "argv")
    assert argv[argv.index("--pwd") + 1] == str(container.scratch)
    container.run(["prog"], what="x", cwd=Path("/inside"))
    argv = recorded(container, "argv")
    assert argv[argv.index("--pwd") + 1] == "/inside"


def test_the_environment_comes_first_on_path(container: BuildContainer) -> None:
    container.run(["prog"], what="x", path=[Path("/more")])
    seen = environment(container)
    expected = "/containerize-1/bin:/more:/usr/bin:/bin\\$x"
    assert seen["APPTAINERENV_PATH"] == expected
    assert "SINGULARITYENV_PATH" not in seen


def test_uvs_logins_are_the_users_where_there_are_some(
    container: BuildContainer, tmp_path: Path
) -> None:
    environ = {**container.environ, "HOME": str(tmp_path)}
    replace(container, environ=environ).run(["prog"], what="x")
    assert environment(container)["UV_CREDENTIALS_DIR"] == f"{container.scratch}/uv-credentials"
    known = tmp_path / ".local/share/uv/credentials"
    known.mkdir(parents=True)
    (known / "credentials.toml").touch()
    replace(container, environ=environ).run(["prog"], what="x")
    assert "UV_CREDENTIALS_DIR" not in environment(container)
    replace(container, environ={**environ, "UV_CREDENTIALS_DIR": "/own"}).run(["prog"], what="x")
    assert environment(container)["UV_CREDENTIALS_DIR"] == "/own"


def test_a_home_that_is_closed_to_the_user_has_no_logins(
    container: BuildContainer, open_place: Path
) -> None:
    """``su USER`` leaves HOME=/root."""
    home = open_place / "home"
    home.mkdir(mode=0)
    container = replace(container, environ={**container.environ, "HOME": str(home)})
    with without_powers():
        assert "UV_CREDENTIALS_DIR" in container._uv_logins(container.environ)


def test_certificates_are_the_hosts_in_an_image_with_its_own_system(
    container: BuildContainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inherited ones, and those that a step has out of pip's configuration."""
    monkeypatch.chdir(tmp_path)
    environ = {**container.environ, "PIP_CERT": "own.pem", "SSL_CERT_DIR": "/etc/a:/etc/b"}
    given = {"SSL_CERT_FILE": "/etc/pki/ca.pem", "UV_INDEX": "/etc/x"}
    replace(container, environ=environ, own_system=True).run(["prog"], what="x", env=given)
    seen, host = environment(container), "/.containerize-host"
    assert seen["APPTAINERENV_SSL_CERT_FILE"] == f"{host}/etc/pki/ca.pem"
    assert seen["APPTAINERENV_PIP_CERT"] == f"{host}{tmp_path}/own.pem"
    assert seen["APPTAINERENV_SSL_CERT_DIR"] == f"{host}/etc/a:{host}/etc/b"
    assert seen["APPTAINERENV_UV_INDEX"] == "/etc/x"
    replace(container, environ=environ).run(["prog"], what="x", env=given)
    assert environment(container)["SSL_CERT_FILE"] == "/etc/pki/ca.pem"


def test_programs_see_what_a_build_needs_and_nothing_of_the_user(
    container: BuildContainer,
) -> None:
    container.run(["prog"], what="x", env={"MORE": "1", "HOME": "/other"})
    seen = environment(container)
    assert (seen["MORE"], seen["HOME"], seen["PIP_INDEX_URL"]) == ("1", "/other", "u")
    assert "PYTHONPATH" not in seen


def test_nothing_is_written_to_the_home(container: BuildContainer) -> None:
    container.run(["prog"], what="x")
    seen = environment(container)
    scratch = str(container.scratch)
    assert seen["TMPDIR"] == scratch
    for kind in ("CACHEDIR", "CONFIGDIR", "TMPDIR"):
        assert seen[f"APPTAINER_{kind}"] == scratch


def test_a_failure_is_told_by_what_it_was_to_the_user(container: BuildContainer) -> None:
    with pytest.raises(ScriptError) as caught:
        container.run(
            ["prog"],
            what="the post-link script of x",
            env={"SINGULARITYENV_FAKE": "echo why; exit 7"},
        )
    assert caught.value.what == "the post-link script of x failed with status 7"
    assert caught.value.detail == "why"
    assert caught.value.__suppress_context__
    assert names(container.scratch) == set()


def test_a_start_for_want_of_a_loop_device_is_no_failure_of_the_program(
    container: BuildContainer,
) -> None:
    words = "FATAL: could not attach image file: no loop devices available"
    with pytest.raises(ToolError, match="no loop device of this node is free: x could") as caught:
        container.run(["prog"], what="x", env={"SINGULARITYENV_FAKE": f"echo '{words}'; exit 255"})
    assert "shared loop devices = yes" in caught.value.hint and words in caught.value.detail


def test_progress_is_taken_from_the_output(container: BuildContainer) -> None:
    seen: list[str] = []

    def on_line(line: str) -> bool:
        seen.append(line)
        return True

    container.run(["prog"], what="x", env={"SINGULARITYENV_FAKE": "echo 1"}, on_line=on_line)
    assert seen == ["1\n"]


# -- what uv and pip download ----------------------------------------------------------------------
def test_downloads_are_kept_in_the_users_own_part_of_the_cache(
    container: BuildContainer, tmp_path: Path
) -> None:
    tmp_path.chmod(0o755)
    replace(container, cache=tmp_path / "cache").run(["prog"], what="x")
    place = tmp_path / "cache/users" / str(os.geteuid())
    seen = environment(container)
    assert (seen["UV_CACHE_DIR"], seen["PIP_CACHE_DIR"]) == (f"{place}/uv", f"{place}/pip")
    assert recorded(container, "argv")[-1] == "prog"


def test_in_a_shared_cache_that_part_is_bound_and_looked_at(
    container: BuildContainer, tmp_path: Path
) -> None:
    """Others can put another directory there until it is bound."""
    cache = tmp_path / "cache"
    cache.mkdir()
    cache.chmod(0o2770)
    replace(container, cache=cache).run(["prog", "a b"], what="x")
    argv, place = recorded(container, "argv"), cache / "users" / str(os.geteuid())
    assert f"{place}:{OWN_CACHE}" in argv[argv.index("-B") + 1].split(",")
    assert environment(container)["UV_CACHE_DIR"] == f"{OWN_CACHE}/uv"
    start = argv.index("/bin/bash")
    assert Path(argv[start + 1]).name == "own-cache.sh"
    status = place.stat()
    assert argv[start + 2 : start + 4] == [OWN_CACHE, f"{status.st_dev}:{status.st_ino}"]
    assert argv[argv.index("--", start) + 1 :] == ["prog", "a b"]
