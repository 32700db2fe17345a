"""``containerize base``, and base images from registries."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import registry
from tests.account import Account
from tests.channel.elf import printing
from tests.e2e.conftest import (
    BASE_CACHE,
    BIN,
    CONDA,
    PIP,
    UMBRELLA,
    base_cache,
    entries,
    environment_text,
)
from tests.images import OLD_SIF, system_files
from tests.index import write_wheel
from tests.registry import Registry
from wrapper.errors import ExitCode
from wrapper.images.sif.record import LOCKS, RECORD

WRAP = BIN / "wrap-container"
HELLO = {"opt/bin/hello": printing(b"hello\n")}
PLAIN_HTTP = {"APPTAINER_NOHTTPS": "1", "SINGULARITY_NOHTTPS": "1"}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# -- the images that come with containerize --------------------------------------------------------
def test_everybody_builds_the_same_image(
    account: Account, minimal: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # accounts are in several processes
        shared = shared.parent
    (shared / f"{account.name}.minimal").write_text(sha256(minimal))
    assert len({path.read_text() for path in shared.glob("*.minimal")}) == 1
    assert stat.S_IMODE(minimal.stat().st_mode) == 0o644
    assert entries(minimal.parent) == {"minimal.sif"}


def test_it_runs_and_is_what_its_catalogue_says(account: Account, minimal: Path) -> None:
    environ = {"CONTAINERIZE_BASE_IMAGES": str(minimal.parent)}
    system = "ps -p $$ >/dev/null && "  # Nextflow asks it
    system += "apt-get --version && dpkg -s libc6 && awk 'BEGIN {print ENVIRON[\"LC_ALL\"]}'"
    told = account.ok(account.runtime, "-s", "exec", minimal, "bash", "-c", system)
    assert "apt 3" in told and "Version: 2.41" in told and "C.UTF-8" in told
    data = json.loads(account.ok(UMBRELLA, "base", "show", "--json", "minimal", env=environ))
    assert data["digest"] == f"sha256:{sha256(minimal)}"
    found: dict[str, Any] = data["found"]
    assert (found["os_id"], found["libc"], found["libc_version"]) == ("debian", "glibc", "2.41")
    assert found["bash"] and found["package_manager"] == "apt-get"
    assert found["labels"]["org.opencontainers.image.title"] == "containerize-minimal"


def test_it_passes_its_check(account: Account, minimal: Path) -> None:
    environ = {"CONTAINERIZE_BASE_IMAGES": str(minimal.parent)}
    checks = json.loads(account.ok(UMBRELLA, "base", "check", "--json", "minimal", env=environ))
    assert {c["what"]: c["good"] for c in checks} == {
        **{"there": True, "unchanged": None, "architecture": True, "starts": True, "ROCm": None}
    }


def test_an_environment_on_it(account: Account, minimal: Path, channel: Path) -> None:
    environ = {"CONTAINERIZE_BASE_IMAGES": str(minimal.parent)}
    file = account.file("on-minimal.yml", environment_text(channel, "python"))
    prefix = account.work / "on-minimal"
    account.ok(CONDA, "new", "--prefix", prefix, "--base-image", "minimal", file, env=environ)
    code = "import platform; print(platform.libc_ver(), open('/etc/os-release').read())"
    told = account.ok(prefix / "bin/python3", "-c", code)
    assert "Debian GNU/Linux 13" in told and "2.41" in told
    base = json.loads((prefix / "current/manifest.json").read_text())["base"]
    assert base["path"] == str(minimal) and base["digest"] == f"sha256:{sha256(minimal)}"
    assert base["virtual_packages"]["__glibc"] == "2.41"


@pytest.fixture(scope="session")
def alpha(account: Account, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A requirements file for a package of a directory."""
    wheels = account.directory("slim-wheels")
    for version in ("1.0", "2.0"):
        account.owns(write_wheel(wheels, "alpha", version))
    return account.file("slim.txt", f"--no-index\n--find-links {wheels}\nalpha==1.0\n")


@pytest.fixture(scope="session")
def slim(account: Account, network: dict[str, str]) -> dict[str, str]:
    """Variables for builds on an image that is built with a cache of this account's."""
    if account.uid is None:
        return network
    cache = account.directory("slim-cache")
    if (BASE_CACHE / "debs").exists():
        account.owns(Path(shutil.copytree(BASE_CACHE / "debs", cache / "debs")))
    return {**network, "CONTAINERIZE_CACHE_DIR": str(cache)}


def test_slim_is_a_small_debian_with_python_and_nothing_of_the_host(
    account: Account, runtime: Path, slim: dict[str, str], alpha: Path
) -> None:
    prefix = account.work / "on-slim"
    account.ok(PIP, "new", "--slim", "--prefix", prefix, alpha, env=slim)
    code = (
        "import alpha, shutil, sys; "
        "print(alpha.VERSION, sys.base_prefix, shutil.which('make', path='/usr/bin:/bin'), "
        "open('/etc/os-release').read())"
    )
    assert shutil.which("make", path="/usr/bin:/bin"), "the host has one"
    told = account.ok(prefix / "bin/python3", "-c", code)
    assert told.startswith("1.0 /usr None ") and "Debian GNU/Linux 13" in told
    venv = account.work / "on-slim-venv"  # its Python is in the image only
    words = ("-m", "venv", "--without-pip", "--system-site-packages", venv)
    account.ok(prefix / "bin/python3", *words)
    code = "import alpha, sys; print(sys.base_prefix, sys.version_info[:2])"
    assert account.ok(venv / "bin/python", "-c", code).startswith(f"{prefix} (3, 13)")
    more = account.file("slim2.txt", alpha.read_text().replace("1.0", "2.0"))
    account.ok(PIP, "update", prefix, "-r", more, env=slim)
    assert account.ok(prefix / "bin/alpha-run") == "alpha 2.0\n"


def test_a_portable_image_of_pip_packages_alone(
    account: Account, runtime: Path, slim: dict[str, str], alpha: Path
) -> None:
    image = account.work / "pip-only.sif"
    words = ("build", image, "--base-image", "python", "--requirements", alpha)
    account.ok(UMBRELLA, *words, env=slim)
    code = "import alpha, sys; print(alpha.VERSION, sys.prefix, sys.base_prefix)"
    told = account.ok(account.runtime, "exec", image, "python3", "-c", code)
    assert told == "1.0 /containerize /usr\n"
    assert account.ok(account.runtime, "run", image, "alpha-run") == "alpha 1.0\n"
    lock = account.ok(account.runtime, "exec", image, "cat", f"/{RECORD}/{LOCKS[1]}")
    assert "\nalpha @ " in lock


def test_a_catalogue_pins_an_image(me: Account, runtime: Path, minimal: Path) -> None:
    pin = f'format = 1\n[images.pinned]\nsource = "{minimal}"\nsha256 = '
    good = me.file("good.toml", f'{pin}"{sha256(minimal)}"\n')
    other = me.file("other.toml", f'{pin}"{"0" * 64}"\n')
    told = me.ok(UMBRELLA, "base", "check", "pinned", env={"CONTAINERIZE_BASE_IMAGES": str(good)})
    assert f"ok      unchanged     sha256:{sha256(minimal)}" in told
    done = me.run(UMBRELLA, "base", "check", "pinned", env={"CONTAINERIZE_BASE_IMAGES": str(other)})
    assert done.returncode == ExitCode.PACKAGE
    assert "not the one that its catalogue names" in done.stderr


def test_the_images_that_come_with_it_are_listed(me: Account) -> None:
    listed = me.ok(UMBRELLA, "base", "list")
    for name in ("minimal", "python", "mpich", "rocm"):
        assert f"{name} " in listed
    assert "not built" in listed


def test_nothing_is_written_over(me: Account, runtime: Path, network: dict[str, str]) -> None:
    target = me.file("there.sif", "mine")
    for force in ([], ["--force"]):
        done = me.run(UMBRELLA, "base", "build", "minimal", "-o", target, *force, env=network)
        assert done.returncode == ExitCode.PREFIX and "a file, and no SIF" in done.stderr
    assert target.read_text() == "mine"
    target.write_bytes(OLD_SIF)
    done = me.run(UMBRELLA, "base", "build", "minimal", "-o", target, env=network)
    assert done.returncode == ExitCode.PREFIX and "--force" in done.stderr
    assert target.read_bytes() == OLD_SIF


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("build", "minimla", "-o", "x.sif"), ExitCode.INPUT, "did you mean minimal?"),
        (("build", "none.def", "-o", "x.sif"), ExitCode.INPUT, "no such file"),
        (("build", "minimal", "-o", "/proc/x/y.sif"), ExitCode.PREFIX, "cannot be made"),
        (
            ("build", "minimal", "-o", "x.sif", "--mirror", "http://127.0.0.1:1"),
            ExitCode.CHANNEL,
            "cannot be fetched",
        ),
        (("show", "minimla"), ExitCode.INPUT, "did you mean minimal?"),
        (("check", "minimal"), ExitCode.INPUT, "is not built yet"),
        (("check", "/etc/hostname"), ExitCode.INPUT, "is no container image"),
    ],
)
def test_bad_calls(
    me: Account, runtime: Path, arguments: tuple[str, ...], code: ExitCode, message: str
) -> None:
    # Where the mirror refuses, the archive of all versions would be asked: no way there either.
    env = {"https_proxy": "http://127.0.0.1:1"}
    place = me.directory(f"bad-{abs(hash(arguments)) % 10**8}")
    done = me.run(UMBRELLA, "base", *arguments, env=env, cwd=place)
    assert done.returncode == code, done.stderr
    assert message in done.stderr and "Traceback" not in done.stderr
    assert entries(place) == set()


# -- registries ----------------------------------------------------------------------------------
@pytest.fixture(scope="session")
def server(mirror: str) -> Path:
    """The registry's program."""
    with base_cache() as cache:
        return registry.program(cache, mirror)


@pytest.fixture(scope="session")
def hub(server: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that is open to all, with an image ``tool:1``."""
    with registry.running(server, tmp_path_factory.mktemp("hub") / "registry") as running:
        running.push("tool", "1", HELLO, Env=["PATH=/opt/bin", "COLOUR=blue"])
        yield running


@pytest.fixture(scope="session")
def closed(server: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that asks for a login."""
    place = tmp_path_factory.mktemp("closed") / "registry"
    with registry.running(server, place, closed=True) as running:
        yield running


def test_an_image_is_pulled_once(
    account: Account, runtime: Path, server: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cache, home = account.directory("pull-cache"), account.directory("pull-home")
    env = {**PLAIN_HTTP, "CONTAINERIZE_CACHE_DIR": str(cache), "HOME": str(home)}
    with registry.running(server, tmp_path_factory.mktemp("own") / "registry") as hub:
        uri = hub.push("tool", "1", HELLO)
        commands = [
            account.argv([WRAP, "-w", "/opt/bin", "--prefix", account.work / f"pulled-{n}", uri])
            for n in (1, 2)
        ]
        running = [
            subprocess.Popen(
                command, env=account.environment(env), cwd=account.work, stderr=subprocess.PIPE
            )
            for command in commands
        ]
        told = [process.communicate()[1].decode() for process in running]
        assert [process.returncode for process in running] == [0, 0], told
        assert sum(text.count("Pulling docker://") for text in told) == 1
        assert sum(text.count("was pulled on") for text in told) == 1
    # Without the registry: what is in the cache serves, and an installation has its own copy.
    account.ok(WRAP, "-w", "/opt/bin", "--prefix", account.work / "pulled-3", uri, env=env)
    (image,) = (path for path in (cache / "images").iterdir() if path.suffix == ".sif")
    assert image.name == f"sha256-{sha256(image)}.sif"
    assert entries(cache / "images") == {"pulled", "digests", "facts", image.name}
    assert entries(home) == set()
    image.unlink()
    for n in (1, 2, 3):
        assert account.ok(account.work / f"pulled-{n}/bin/hello") == "hello\n"


def test_a_sif_file_of_a_registry(me: Account, runtime: Path, hub: Registry) -> None:
    file, uri = me.work / "tool.sif", f"oras://{hub.address}/tool:sif"
    docker = f"docker://{hub.address}/tool:1"
    me.ok(me.runtime, "-s", "pull", file, docker, env=PLAIN_HTTP)
    me.ok(me.runtime, "-s", "push", file, uri, env={**PLAIN_HTTP, "HOME": str(me.work)})
    env = {**PLAIN_HTTP, "CONTAINERIZE_CACHE_DIR": str(me.directory("oras-cache"))}
    data = json.loads(me.ok(UMBRELLA, "base", "show", "--json", uri, env=env))
    assert data["digest"] == f"sha256:{sha256(file)}", "the very file that was pushed"
    assert data["found"]["environment"] == {"PATH": "/opt/bin", "COLOUR": "blue"}


def test_environments_on_an_image_of_a_registry(
    account: Account,
    runtime: Path,
    server: Path,
    channel: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """An installation and a SIF of one image, pulled once; neither needs the registry again.

    Where others could exchange what is in the cache, the installation has the image to itself.
    """
    place = tmp_path_factory.mktemp("system")
    root = system_files(place / "system")
    cache = account.directory("system-cache")
    env = {**PLAIN_HTTP, "CONTAINERIZE_CACHE_DIR": str(cache)}
    file = account.file("on-docker.yml", environment_text(channel, "python", "demo-tool"))
    with registry.running(server, place / "registry") as hub:
        uri = hub.push("system", "1", root, Env=["PATH=/usr/bin", "FROM_DOCKER=yes"])
        prefix, image = account.work / "on-docker", account.work / "on-docker.sif"
        told = account.run(CONDA, "new", "--prefix", prefix, "--base-image", uri, file, env=env)
        assert told.returncode == 0 and "Pulling docker://" in told.stderr, told.stderr
        members = account.directory("members-cache")
        members.chmod(0o2770)
        mine, shared = account.work / "mine-docker", {**env, "CONTAINERIZE_CACHE_DIR": str(members)}
        account.ok(CONDA, "new", "--prefix", mine, "--base-image", uri, file, env=shared)
    shutil.rmtree(members)
    told = account.run(UMBRELLA, "build", image, "--base-image", uri, "--conda-env", file, env=env)
    assert told.returncode == 0 and "was pulled on" in told.stderr, told.stderr
    code = "import os, sys; print(os.environ['FROM_DOCKER'], sys.prefix)"
    installed = account.ok(prefix / "bin/python3", "-c", code)
    assert installed == f"yes {prefix}\n"
    assert account.ok(mine / "bin/python3", "-c", code) == f"yes {mine}\n"
    assert (
        account.ok(account.runtime, "exec", image, "python3", "-c", code) == "yes /containerize\n"
    )
    (pulled,) = (cache / "images").glob("*.sif")
    base = json.loads((prefix / "current/manifest.json").read_text())["base"]
    assert (base["path"], base["digest"]) == (str(pulled), f"sha256:{sha256(pulled)}")
    # It is the cache's; an installation with a copy of its own does without.
    own = account.work / "own-docker"
    copied = ("--copy-base", "--prefix", own, "--base-image", uri, file)
    account.ok(CONDA, "new", *copied, env=env)
    pulled.unlink()
    assert account.ok(own / "bin/python3", "-c", code) == f"yes {own}\n"
    gone = account.run(prefix / "bin/python3", "-c", code)
    assert gone.returncode == 1 and str(pulled) in gone.stderr and "Traceback" not in gone.stderr


def test_pulls_that_fail(
    me: Account, runtime: Path, hub: Registry, closed: Registry, tmp_path: Path
) -> None:
    cache = me.directory("failing-cache")
    env = {**PLAIN_HTTP, "CONTAINERIZE_CACHE_DIR": str(cache)}
    for uri, hint in (
        (f"docker://{hub.address}/none:1", "check the name and the tag"),
        (f"docker://{closed.address}/tool:1", "log in first"),
        (f"oras://{closed.address}/tool:1", "log in first"),
        ("docker://127.0.0.1:1/tool:1", "no way to the registry"),
    ):
        prefix = tmp_path / "p"
        done = me.run(WRAP, "-w", "/opt/bin", "--prefix", prefix, uri, env=env, cwd=tmp_path)
        assert done.returncode == ExitCode.CHANNEL, done.stderr
        assert hint in done.stderr and "Traceback" not in done.stderr
        assert entries(tmp_path) == set()
        assert [path for path in cache.rglob("*") if path.is_file()] == []
