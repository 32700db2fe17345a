"""``wrap-install`` and ``wrap-container``."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import runtimes
from tests.account import Account, own_account
from tests.archive import write_archive
from tests.channel.elf import printing
from tests.conftest import require
from tests.e2e.conftest import BIN, UMBRELLA, entries
from tests.index import write_wheel
from wrapper.errors import ExitCode
from wrapper.prefix.generations import program_names

INSTALL = BIN / "wrap-install"
CONTAINER = BIN / "wrap-container"


# -- wrap-install --------------------------------------------------------------------------------
@pytest.fixture
def source(account: Account, request: pytest.FixtureRequest, runtime: Path) -> Path:
    """An installation that has stored its own path, with links of every kind."""
    root = account.directory(f"source-{abs(hash(request.node.name)) % 10**8}")
    for name in ("bin", "lib"):
        (root / name).mkdir()
    tool = root / "bin/tool"
    tool.write_text(f'#!/bin/sh\ncat "{root}/lib/data"; printf "%s\\n" "$@"\n')
    tool.chmod(0o755)
    (root / "bin/absolute").symlink_to(tool)
    (root / "bin/relative").symlink_to("tool")
    (root / "lib/data").write_text("data\n")
    (root / "lib/hard").hardlink_to(root / "lib/data")
    (root / "lib/secret").write_text("s\n")
    (root / "lib/secret").chmod(0o600)
    for path in root.rglob("*"):
        account.owns(path)
    return root


@pytest.mark.every_runtime
def test_an_installation_becomes_an_image(account: Account, source: Path) -> None:
    prefix = Path(f"{source}-wrapped")
    account.ok(INSTALL, "-w", "bin", "--prefix", prefix, source)
    for name in ("tool", "absolute", "relative"):
        assert account.ok(prefix / "bin" / name, "a b", "") == "data\na b\n\n"
    inside = (prefix / "current/_bin/absolute").readlink()
    debug = prefix / "bin/_debug_exec"
    assert account.ok(debug, "readlink", inside).strip() == str(inside.with_name("tool"))
    same = account.ok(debug, "stat", "-c", "%i", f"{inside.parents[1]}/lib/data").strip()
    assert account.ok(debug, "stat", "-c", "%i", f"{inside.parents[1]}/lib/hard").strip() == same


@pytest.mark.every_runtime
@pytest.mark.parametrize("kept", [False, True])
def test_who_reads_a_file_reads_it_in_the_image(account: Account, source: Path, kept: bool) -> None:
    """Where the kernel mounts the image it enforces modes: they are good for nobody without owners,
    and a file of 0600 would be root's alone.
    """
    prefix = Path(f"{source}-modes")
    env = {"CW_NO_FIX_PERM": "1"} if kept else {}
    account.ok(INSTALL, "-w", "bin", "--prefix", prefix, source, env=env)
    inside = (prefix / "current/_bin/tool").readlink().parents[1]
    assert account.ok(prefix / "bin/_debug_exec", "cat", inside / "lib/secret") == "s\n"
    command = ["unsquashfs", "-lln", prefix / "img.sqfs", str(inside)[1:] + "/lib/secret"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    mode, owner = told.splitlines()[-1].split()[:2]
    expected = str(account.uid or os.getuid() if kept else 0)
    assert (mode, owner.split("/")[0]) == ("-rw-------" if kept else "-rw-r--r--", expected)


@pytest.mark.every_runtime
def test_masking_covers_the_original(account: Account, source: Path) -> None:
    prefix = Path(f"{source}-masked")
    account.ok(INSTALL, "-w", "bin/tool", "--mask", "--prefix", prefix, source)
    (source / "lib/data").write_text("changed on disk\n")
    assert account.ok(prefix / "bin/tool") == "data\n\n"
    assert entries(prefix / "bin") >= {"tool"} and not (prefix / "bin/relative").exists()
    shutil.rmtree(source)
    gone = account.run(prefix / "bin/tool")
    assert gone.returncode == 1 and f"mkdir -p {source}" in gone.stderr
    source.mkdir()
    assert account.ok(prefix / "bin/tool") == "data\n\n"


def test_a_runtime_that_would_cover_the_image(runtime: Path, tmp_path: Path) -> None:
    """SingularityCE before 4.0 mounts it first, and the directory over it."""
    require(bool(runtimes.real_apptainer()), "Apptainer")
    older = own_account(tmp_path / "account", runtimes.strict_path(tmp_path / "older", "3.11.4"))
    tool = older.directory("tool/bin") / "tool"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    prefix = older.work / "masked"
    done = older.run(INSTALL, "-w", "bin", "--mask", "--prefix", prefix, tool.parents[1])
    assert done.returncode == ExitCode.TOOL, done.stderr
    assert "3.11.4 lays no image over a directory of the host" in done.stderr
    assert "do without --mask" in done.stderr and not prefix.exists()
    older.ok(INSTALL, "-w", "bin", "--prefix", prefix, tool.parents[1])


def test_a_python_that_nobody_uses_may_be_broken(me: Account, runtime: Path) -> None:
    """Nothing has to be compiled, and there is no lock for which an index would be asked."""
    root = me.directory("with-python")
    me.ok("python3", "-m", "venv", "--without-pip", root)
    (library,) = root.glob("lib/python3*")
    wheel = write_wheel(root, "alpha", "1.0")
    me.ok("python3", "-m", "zipfile", "-e", wheel, library / "site-packages")
    for path in (root / "bin").glob("python*"):
        path.unlink()
        path.symlink_to(f"/nowhere/{library.name}")
    (root / "bin" / library.name).unlink(missing_ok=True)
    (root / "bin" / library.name).symlink_to(f"/nowhere/{library.name}")
    shutil.copy("/bin/true", root / "bin/tool")
    done = me.run(INSTALL, "-w", "bin/tool", "--prefix", me.work / "wrapped-python", root)
    assert done.returncode == 0, done.stderr
    assert "modules are left as they are" in done.stderr and "lock" not in done.stderr
    me.ok(me.work / "wrapped-python/bin/tool")
    manifest = json.loads((me.work / "wrapped-python/current/manifest.json").read_text())
    assert [package["name"] for package in manifest["packages"]] == ["alpha"]


def test_a_source_that_cannot_be_read_whole(account: Account, source: Path) -> None:
    if account.name == "root":
        pytest.skip("root may read everything; the ordinary user's turn tests it")
    (source / "lib/secret").chmod(0)
    done = account.run(INSTALL, "-w", "bin", "--prefix", f"{source}-none", source)
    assert done.returncode == ExitCode.INPUT
    assert f"{source} cannot be copied" in done.stderr and "lib/secret" in done.stderr
    assert not Path(f"{source}-none").exists()


def test_a_source_behind_a_link(me: Account, runtime: Path, tmp_path: Path) -> None:
    """/scratch/project_x is one: links and -w paths are written with either spelling."""
    real, link = tmp_path / "pfs/tool", tmp_path / "scratch/tool"
    (real / "bin").mkdir(parents=True)
    (tmp_path / "scratch").symlink_to("pfs")
    (real / "bin/tool").write_text("#!/bin/sh\necho $0\n")
    (real / "bin/tool").chmod(0o755)
    (real / "bin/by-link").symlink_to(link / "bin/tool")
    (real / "bin/by-path").symlink_to(real / "bin/tool")
    prefix = tmp_path / "wrapped"
    me.ok(INSTALL, "-w", f"{link}/bin", "--prefix", prefix, link)
    shutil.rmtree(real)
    for name in ("tool", "by-link", "by-path"):
        assert me.ok(prefix / "bin" / name).strip() == str(prefix / "bin" / name)


def test_a_prefix_inside_what_is_masked(me: Account, runtime: Path, tmp_path: Path) -> None:
    (tmp_path / "src/bin").mkdir(parents=True)
    options = ("-w", "bin", "--mask", "--prefix", tmp_path / "src/wrapped", tmp_path / "src")
    done = me.run(INSTALL, *options)
    assert done.returncode == ExitCode.INPUT and "inside the directory" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-w", "bin", "nowhere"), "nowhere is not a directory"),
        (("-w", "no/bin", "src"), "'no/bin' is no program"),
        (("-w", "b$n", "src"), "cannot be wrapped"),
        (("-w", "bin", "."), "the prefix is inside the directory"),
        (("-w", "bin", "ours"), "ours is an installation of containerize itself"),
    ],
)
def test_bad_installations(
    me: Account, runtime: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "ours/current").mkdir(parents=True)
    (tmp_path / "ours/current/env").touch()
    done = me.run(INSTALL, "--prefix", tmp_path / "p", *arguments, cwd=tmp_path)
    assert done.returncode == ExitCode.INPUT
    assert message in done.stderr and "Copying" not in done.stderr
    assert entries(tmp_path) == {"src", "ours"}


# -- wrap-container ------------------------------------------------------------------------------
@pytest.fixture(scope="session")
def image(account: Account, runtime: Path) -> Path:
    """A container with static programs and nothing else: no shell, no libc."""
    return _scratch(account)


@pytest.fixture(scope="module")
def my_image(me: Account, runtime: Path) -> Path:
    """The same where the account does not matter."""
    return _scratch(me)


def _scratch(account: Account) -> Path:
    root = account.work / "scratch-root"
    for directory in ("opt/tool/bin", "opt/other", "proc", "sys", "dev", "tmp", "etc"):
        (root / directory).mkdir(parents=True)
    for path, message in (
        ("opt/tool/bin/hello", b"hello from the container\n"),
        ("opt/tool/bin/bye", b"bye\n"),
        ("opt/other/hello", b"another hello\n"),
    ):
        (root / path).write_bytes(printing(message))
        (root / path).chmod(0o755)
    (root / "opt/tool/bin/readme").write_text("no program\n")
    (root / "bin").symlink_to("opt/tool/bin")  # as in every image of today: /bin -> usr/bin
    (root / "opt/tool/bin/to-readme").symlink_to("readme")
    (root / "opt/tool/bin/to-directory").symlink_to("/opt/other")
    (root / "opt/tool/bin/dangling").symlink_to("/no/such")
    target = account.work / "scratch.sqfs"
    subprocess.run(
        ["mksquashfs", root, target, "-quiet", "-no-progress", "-all-root"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return account.owns(target)


@pytest.mark.every_runtime
def test_programs_of_a_container_are_wrapped(account: Account, image: Path) -> None:
    prefix = account.work / "wrapped-container"
    done = account.run(CONTAINER, "-w", "/opt/tool/bin,/opt/other/hello", "--prefix", prefix, image)
    assert done.returncode == 0, done.stderr
    assert "hello is /opt/tool/bin/hello; /opt/other/hello is left out" in done.stderr
    assert account.ok(prefix / "bin/hello") == "hello from the container\n"
    assert account.ok(prefix / "bin/bye") == "bye\n"
    assert str((prefix / "current/_bin/hello").readlink()) == "/opt/tool/bin/hello"
    assert not (prefix / "bin/readme").exists()
    assert not (prefix / "current/img.sqfs").exists(), "the image is referenced, not copied"
    assert account.ok(UMBRELLA, "list", prefix).endswith("  2 programs\n")


def venv_of_a_container(me: Account, root: Path) -> Path:
    """The image is all of this host's Python: its own, and a virtual environment of it."""
    python = Path("/usr/bin/python3")
    require(python.exists(), "a system Python")
    for directory in ("proc", "sys", "dev", "tmp", "etc", "usr", "opt"):
        (root / directory).mkdir(parents=True)
    for name in ("bin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    me.ok(python, "-m", "venv", "--without-pip", root / "opt/venv")
    site = next((root / "opt/venv/lib").glob("python3*/site-packages"))
    (site / "inside.py").write_text("")
    return root


def test_a_virtual_environment_of_a_container_is_active(
    me: Account, runtime: Path, tmp_path: Path
) -> None:
    root = venv_of_a_container(me, tmp_path / "root")
    prefix = tmp_path / "wrapped"
    bind = {"SINGULARITY_BIND": "/usr", "APPTAINER_BIND": "/usr"}
    done = me.run(CONTAINER, "-w", "/opt/venv/bin", "--prefix", prefix, root, env=bind)
    assert done.returncode == 0, done.stderr
    code = "import inside, os, sys; print(os.environ['VIRTUAL_ENV'], sys.executable)"
    said = me.ok(prefix / "bin/python3", "-c", code, env=bind)
    assert said.split() == ["/opt/venv", str(prefix / "bin/python3")]
    beside = 'test "$1/include" -ef /opt/venv/include && test "$1/share" -ef /opt/venv/share'
    (root / "opt/venv/share").mkdir()
    me.ok(prefix / "bin/_debug_exec", "sh", "-c", beside, "sh", prefix, env=bind)


def test_a_virtual_environment_on_disk_into_an_image(
    me: Account, runtime: Path, tmp_path: Path
) -> None:
    root = tmp_path / "on-disk"
    me.ok("/usr/bin/python3", "-m", "venv", "--without-pip", root)
    site = next((root / "lib").glob("python3*/site-packages"))
    (site / "alpha.py").write_text("")
    prefix = tmp_path / "wrapped"
    me.ok(INSTALL, "-w", "bin", "--prefix", prefix, root)
    code = "import alpha, sys; print(sys.prefix, sys.base_prefix)"
    assert me.ok(prefix / "bin/python3", "-c", code) == f"{prefix} /usr\n"


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive", "oci"])
def test_archives_of_other_tools(me: Account, my_image: Path, tmp_path: Path, form: str) -> None:
    uri = write_archive(my_image.parent / "scratch-root", tmp_path / "archive", form)
    prefix = tmp_path / "wrapped"
    me.ok(CONTAINER, "-w", "/opt/tool/bin", "--prefix", prefix, uri)
    shutil.rmtree(tmp_path / "archive")
    assert me.ok(prefix / "bin/hello") == "hello from the container\n"


def test_a_linked_directory_of_a_container(account: Account, image: Path) -> None:
    prefix = account.work / "wrapped-link"
    account.ok(CONTAINER, "-w", "/bin", "--prefix", prefix, image)
    assert program_names(prefix / "current/_bin") == {"hello", "bye"}
    assert account.ok(prefix / "bin/bye") == "bye\n"


def test_an_image_that_has_gone_is_told(account: Account, image: Path) -> None:
    copy = account.owns(Path(shutil.copy(image, account.work / "copy.sqfs")))
    prefix = account.work / "wrapped-copy"
    account.ok(CONTAINER, "-w", "/opt/tool/bin", "--prefix", prefix, copy)
    copy.unlink()
    done = account.run(prefix / "bin/hello")
    assert done.returncode == 1
    assert "the container image has gone" in done.stderr and str(copy) in done.stderr


def test_an_image_that_was_replaced_is_told(account: Account, image: Path) -> None:
    copy = account.owns(Path(shutil.copy(image, account.work / "replaced.sqfs")))
    prefix = account.work / "wrapped-replaced"
    account.ok(CONTAINER, "-w", "/opt/tool/bin", "--prefix", prefix, copy)
    assert account.run(prefix / "bin/hello").stderr == ""
    copy.unlink()
    root = image.parent / "scratch-root"
    line = ["mksquashfs", root, copy, "-quiet", "-no-progress", "-all-root", "-mkfs-time", "1"]
    subprocess.run(line, check=True, stdout=subprocess.DEVNULL)
    done = account.run(prefix / "bin/hello")
    assert done.stdout == "hello from the container\n"
    assert f"[ WARNING ] {copy} is not the image that this was built on" in done.stderr
    assert "was replaced by another one" in account.run(UMBRELLA, "doctor", prefix).stdout


def test_a_uri_that_cannot_be_pulled(me: Account, runtime: Path, tmp_path: Path) -> None:
    uri = f"docker-archive:{tmp_path}/none.tar"
    done = me.run(CONTAINER, "-w", "/opt/bin", "--prefix", tmp_path / "p", uri)
    assert done.returncode == ExitCode.CHANNEL
    assert "cannot pull docker-archive:" in done.stderr
    assert entries(tmp_path) == set()


def test_variables_are_read_before_anything_is_made(
    me: Account, my_image: Path, tmp_path: Path
) -> None:
    options = ("-w", "/opt/tool/bin", "--prefix", "p", "--environ", "none")
    done = me.run(CONTAINER, *options, my_image, cwd=me.owns(tmp_path))
    assert done.returncode == ExitCode.INPUT
    assert done.stderr == "[ ERROR ] no such file\n  where:  none\n  to do:  check the path\n"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("-w", "/opt/tool/bin", "nowhere.sif"), ExitCode.INPUT, "no such image"),
        (("-w", "/no/such", "IMAGE"), ExitCode.INPUT, "'/no/such' is no program"),
        (("-w", "opt/tool/bin", "IMAGE"), ExitCode.INPUT, "not an absolute path"),
        (("-w", "/opt/tool/bin", "/etc/hostname"), ExitCode.INPUT, "is no container image"),
    ],
)
def test_bad_containers(
    my_image: Path, tmp_path: Path, arguments: tuple[str, ...], code: ExitCode, message: str
) -> None:
    words = [str(my_image) if word == "IMAGE" else word for word in arguments]
    me = own_account(tmp_path / "account")
    tmp_path = me.directory("place")
    done = me.run(CONTAINER, "--prefix", tmp_path / "p", *words, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert message in done.stderr and "Traceback" not in done.stderr
    assert entries(tmp_path) == set()
