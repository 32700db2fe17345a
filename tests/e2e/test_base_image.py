"""``--base-image``: installations on an image with a system of its own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.account import Account
from tests.e2e.conftest import CONDA, UMBRELLA, Builder, Installation, change, environment_text
from tests.images import system_files, write_files
from wrapper.errors import ExitCode

# What a base image's own environment must not do to ours.
HOSTILE = """\
export PYTHONPATH="/opt/base/python"
export VIRTUAL_ENV="/opt/base/venv"
export CONDA_PREFIX="/opt/base/conda"
export FROM_BASE="yes"
"""
PACKAGES = ("python", "demo-activate", "demo-dynamic", "demo-postlink")


def make_image(
    account: Account, name: str, *, without: tuple[str, ...] = (), rocm: str = ""
) -> Path:
    """A small SIF of an account's own, with a system that calls itself ``Base Linux``."""
    sandbox = system_files(account.work / f"{name}.d", HOSTILE)
    (sandbox / "etc/os-release").write_text('ID=base\nPRETTY_NAME="Base Linux"\n')
    if rocm:
        write_files(sandbox, {"opt/rocm/.info/version": f"{rocm}-98\n"})
    for program in without:
        (sandbox / "usr/bin" / program).unlink()
    image = account.work / f"{name}.sif"
    subprocess.run([account.runtime, "-s", "build", image, sandbox], check=True)
    shutil.rmtree(sandbox)
    return account.owns(image)


@pytest.fixture(scope="session")
def image(account: Account, runtime: Path) -> Path:
    return make_image(account, "base")


@pytest.fixture(scope="session")
def based(account: Account, build: Builder, image: Path) -> Installation:
    """An environment on the image, whose script called conda."""
    account.file("more.sh", "conda install demo-tool\n[[ $(</etc/os-release) == *Base* ]]\n")
    options = ("--base-image", str(image), "--post-install", "more.sh")
    return build(account, "based", *PACKAGES, options=options)


@pytest.mark.every_runtime
def test_programs_run_in_the_base_image(based: Installation) -> None:
    code = (
        "import json, os, sys; print(json.dumps({'system': open('/etc/os-release').read(), "
        "'path': sys.path, 'executable': sys.executable, 'cwd': os.getcwd(), "
        "'environ': dict(os.environ)}))"
    )
    seen = json.loads(based.python(code))
    assert "Base Linux" in seen["system"]
    assert seen["executable"] == str(based.program("python3"))
    assert seen["cwd"] == str(based.account.work), "directories of users are there"
    assert "/opt/base/python" not in seen["path"], "the image's PYTHONPATH would come first"
    environ = seen["environ"]
    assert environ["FROM_BASE"] == "yes"
    assert environ["VIRTUAL_ENV"] == "", "uv and others would take it for the active environment"
    assert environ["CONDA_PREFIX"] == based.manifest["install_path"]
    assert environ["DEMO_ACTIVATE_HOME"].startswith(based.manifest["install_path"])
    assert environ["PATH"].startswith(f"{based.prefix}/bin:")
    assert based.account.ok(based.program("demo-tool")).strip() == based.manifest["install_path"]


@pytest.mark.every_runtime
def test_venvs_and_nested_calls_on_a_base_image(based: Installation) -> None:
    account = based.account
    account.ok(based.program("python3"), "-m", "venv", "--without-pip", account.work / "ve")
    code = "import sys; print(sys.prefix)"
    assert account.ok(account.work / "ve/bin/python", "-c", code).strip() == str(
        account.work / "ve"
    )
    tool = str(based.program("demo-tool"))
    nested = f"import subprocess; print(subprocess.check_output([{tool!r}], text=True))"
    assert based.python(nested).strip() == based.manifest["install_path"]


def test_the_users_pythonpath_counts(based: Installation) -> None:
    based.account.directory("mine")
    module = based.account.file("mine/my_module.py", "")
    env = {"PYTHONPATH": str(module.parent)}
    assert based.python("import my_module; print(1)", env=env) == "1\n"


def test_the_base_is_recorded_and_a_changed_or_vanished_one_is_told(
    account: Account, build: Builder, runtime: Path
) -> None:
    image = make_image(account, "changing")
    done = build(account, "on-changing", "demo-sh-only", options=("--base-image", str(image)))
    hello = done.program("demo-hello")
    base = done.manifest["base"]
    assert base["path"] == str(image) and base["digest"].startswith("sha256:")
    assert done.account.run(hello).stderr == ""
    with image.open("r+b") as file:  # another UUID: an image that was built anew
        file.seek(48)
        file.write(os.urandom(16))
    told = account.run(hello)
    assert (
        told.returncode == 0 and f"{image} is not the image that this was built on" in told.stderr
    )
    account.file("again.sh", "true\n")
    told_by_update = change(done, "--post-install", "again.sh")
    assert f"say so: --base-image {image}" in told_by_update
    assert "accept it: conda-containerize update" in account.ok(UMBRELLA, "doctor", done.prefix)
    change(done, "--copy-base", "--base-image", str(image))
    image.unlink()
    told = account.run(hello)
    assert (told.returncode, told.stderr) == (0, ""), "it has its own now"
    change(done, "--post-install", "again.sh")
    copies = [done.prefix / ".generations" / n / "container.sif" for n in ("3", "4")]
    assert copies[0].samefile(copies[1]), "one copy for all generations"
    account.ok(UMBRELLA, "rollback", done.prefix, "1")
    told = account.run(hello)
    assert told.returncode == 1 and f"the container image has gone: {image}" in told.stderr
    told = account.run(CONDA, "update", done.prefix, "--post-install", "again.sh")
    assert told.returncode == ExitCode.PREFIX and "the base image has gone" in told.stderr


def test_an_image_without_a_shell(
    account: Account, build: Builder, channel: Path, runtime: Path
) -> None:
    image = make_image(account, "bare", without=("bash", "sh"))
    options = ("--base-image", str(image))
    done = build(account, "on-bare", "python", "demo-activate", "demo-postlink", options=options)
    assert done.python("import os; print(os.environ['DEMO_ACTIVATE_HOME'])").startswith("/")
    account.file("needs-shell.sh", "true\n")
    told = account.run(CONDA, "update", done.prefix, "--post-install", "needs-shell.sh")
    assert told.returncode == ExitCode.INPUT and "has no bash" in told.stderr


def test_a_rocm_that_the_driver_does_not_serve(me: Account, channel: Path, runtime: Path) -> None:
    image = make_image(me, "gpu", rocm="5.7.1")
    file = me.file("on-gpu.yml", environment_text(channel, "demo-sh-only"))
    env, prefix = {"CONTAINERIZE_ROCM_DRIVER": "6.3"}, me.work / "on-gpu"
    told = me.run(CONDA, "new", "--prefix", prefix, "--base-image", image, file, env=env)
    assert told.returncode == 0, told.stderr
    assert f"{image} has ROCm 5.7.1: the driver 6.3 serves 6.1 to 7.0" in told.stderr
    wheels = me.file("cuda.txt", "numpy\ntorch==2.10.0+cu126\n")
    told = me.run(CONDA, "update", prefix, file, "-r", wheels)
    assert told.returncode == ExitCode.INPUT and "torch is for NVIDIA's GPUs" in told.stderr
    me.ok(CONDA, "update", prefix, file, "--compression", "fast")
    found = me.ok(UMBRELLA, "doctor", "-q", prefix, env=env)
    assert "the base image has ROCm 5.7.1: the driver 6.3 serves 6.1 to 7.0" in found


def test_bad_base_images(me: Account, channel: Path, runtime: Path) -> None:
    file = me.file("bad-base.yml", environment_text(channel, "python"))
    me.file("text.sif", "no image")
    for name, code, message in (
        ("text.sif", ExitCode.INPUT, "text.sif"),
        ("nowhere.sif", ExitCode.INPUT, "nowhere.sif"),
        ("minimall", ExitCode.INPUT, "minimal"),
    ):
        told = me.run(CONDA, "new", "--prefix", me.work / "bad", "--base-image", name, file)
        assert told.returncode == code and message in told.stderr
        assert not (me.work / "bad").exists()
    told = me.run(CONDA, "new", "--prefix", me.work / "bad", "--copy-base", file)
    assert told.returncode == ExitCode.INPUT and "no base image to copy" in told.stderr


# -- windows -------------------------------------------------------------------------------------
# What Xlib does first: it finds the server by DISPLAY, and shows it the cookie in XAUTHORITY.
OPEN_DISPLAY = """
import os, socket, struct
host, number = os.environ["DISPLAY"].split(":")
data, at, parts = open(os.environ["XAUTHORITY"], "rb").read(), 2, []
for _ in range(4):
    size, = struct.unpack_from(">H", data, at)
    parts.append(data[at + 2 : at + 2 + size])
    at += 2 + size
server = socket.create_connection((host, 6000 + int(number)))
server.sendall(parts[3])
print(server.recv(1).decode())
"""


@contextlib.contextmanager
def x_server(cookie: bytes) -> Iterator[str]:
    """A stand-in for a server of windows, as ssh offers one; its display."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    client.sendall(b"1" if client.recv(100) == cookie else b"0")

        thread = threading.Thread(target=answer)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1] - 6000}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_programs_may_show_windows(based: Installation, small: Installation) -> None:
    """The cookie may be in the home, in /tmp, and where an image has a directory of its own."""
    account, cookie = based.account, os.urandom(16)
    fields = (b"node", b"10", b"MIT-MAGIC-COOKIE-1", cookie)
    content = struct.pack(">H", 256) + b"".join(struct.pack(">H", len(f)) + f for f in fields)
    with contextlib.ExitStack() as stack:
        display = stack.enter_context(x_server(cookie))
        for place in (account.home, "/tmp", "/var/tmp"):
            file = stack.enter_context(tempfile.NamedTemporaryFile(dir=place))
            file.write(content)
            file.flush()
            account.owns(Path(file.name))
            env = {"DISPLAY": display, "XAUTHORITY": file.name}
            for installation in (based, small):
                assert installation.python(OPEN_DISPLAY, env=env) == "1\n", place
