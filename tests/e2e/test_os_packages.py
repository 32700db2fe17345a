"""``containerize build --os-package``: apt runs in the image, and installs a package for real."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.account import REPOSITORY, Account
from tests.conftest import require
from tests.e2e.conftest import UMBRELLA, entries, environment_text, takes_definitions
from wrapper.errors import ExitCode

_CONTROL = """\
Package: tiny-tool
Version: 1.2
Architecture: all
Depends: tiny-data
Maintainer: Nobody <nobody@example.org>
Description: says what its installation script wrote
"""
_SCRIPT = '#!/bin/sh\nset -e\nid -u >/usr/share/tiny/installed-by\ntest "$1" = configure\n'
# What anybody may ask of apt, in an image that knows one archive.
_FILES = """\
%files
    tiny-tool.deb /opt/archive/tiny-tool.deb
    tiny-data.deb /opt/archive/tiny-data.deb
    Packages /opt/archive/Packages
    sources.list /etc/apt/sources.list
"""


def _package(root: Path, control: str, files: dict[str, str]) -> str:
    """Make a package with ``dpkg-deb``; returns its entry of an index."""
    name = control.split()[1]
    tree = root / name
    for path, text in {"DEBIAN/control": control, **files}.items():
        target = tree / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(0o755 if text.startswith("#!") else 0o644)
    deb = root / f"{name}.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", tree, deb], check=True)
    digest = hashlib.sha256(deb.read_bytes()).hexdigest()
    place = f"Filename: ./{deb.name}\nSize: {deb.stat().st_size}\nSHA256: {digest}\n"
    return control.rstrip("\n") + f"\n{place}\n"


@pytest.fixture(scope="session")
def with_archive(account: Account, runtime: Path, network: dict[str, str]) -> Path:
    """The base image ``minimal`` with an archive of two packages inside."""
    require(bool(shutil.which("dpkg-deb")), "dpkg-deb")
    root = account.directory("archive")
    data = _CONTROL.replace("tiny-tool", "tiny-data").replace("Depends: tiny-data\n", "")
    tool = {"usr/bin/tiny-tool": "#!/bin/sh\ncat /usr/share/tiny/*\n", "DEBIAN/postinst": _SCRIPT}
    index = _package(root, data, {"usr/share/tiny/data": "data\n"})
    index += _package(root, _CONTROL, tool)
    (root / "Packages").write_text(index)
    (root / "sources.list").write_text("deb [trusted=yes] file:/opt/archive ./\n")
    minimal = REPOSITORY / "base_images/minimal"
    (root / "own.def").write_text(f"{minimal.with_suffix('.def').read_text()}\n{_FILES}")
    shutil.copy(minimal.with_suffix(".lock"), root / "own.lock")
    image = root / "own.sif"
    account.ok(UMBRELLA, "base", "build", root / "own.def", "--output", image, env=network)
    return image


def can_build(account: Account) -> bool:
    """Whether the runtime can run ``%post``: Apptainer gives root all capabilities there are.

    Users become root in a namespace, and /root is their home there: it hides a clone below it.
    """
    if account.uid is not None or os.getuid() != 0:
        return takes_definitions(account) and Path("/root") not in REPOSITORY.parents
    held = next(
        line.split()[1]
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("CapEff:")
    )
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    return int(held, 16) == (1 << last + 1) - 1


def test_packages_are_installed(
    account: Account, runtime: Path, with_archive: Path, channel: Path
) -> None:
    file = account.file("with-packages.yml", environment_text(channel, "demo-tool"))
    words = ("--base-image", with_archive, "--os-package", "tiny-tool", "--conda-env", file)
    image = account.work / "with-packages.sif"
    done = account.run(UMBRELLA, "build", image, *words)
    if not can_build(account):
        assert done.returncode == ExitCode.TOOL, done.stderr
        without = ("cannot build from a definition file here", "proot is not on PATH")
        assert any(reason in done.stderr for reason in without)
        assert os.getuid() != 0 or account.uid is not None or "capability" in done.stderr
        assert not image.exists()
        return
    assert done.returncode == 0, done.stderr
    assert account.ok(account.runtime, "exec", image, "tiny-tool") == "data\n0\n", "its script ran"
    told = account.ok(account.runtime, "exec", image, "dpkg-query", "-W", "tiny-tool", "tiny-data")
    assert told == "tiny-data\t1.2\ntiny-tool\t1.2\n"
    assert account.ok(account.runtime, "exec", image, "demo-tool"), "and the environment over them"
    # An update changes the environment; the system stays.
    file.write_text(environment_text(channel, "demo-sh-only"))
    account.ok(UMBRELLA, "build", "--update", image, "--conda-env", file)
    assert account.ok(account.runtime, "exec", image, "tiny-tool") == "data\n0\n"
    assert '"tiny-tool"' in account.ok(UMBRELLA, "inspect", image)


def test_a_package_that_does_not_exist(account: Account, runtime: Path, with_archive: Path) -> None:
    place = account.directory("unknown-package")
    words = ("--base-image", with_archive, "--os-package", "tiny-toool")
    done = account.run(UMBRELLA, "build", "out.sif", *words, cwd=place)
    assert entries(place) == set()
    if can_build(account):
        assert done.returncode == ExitCode.SCRIPT, done.stderr
        assert "apt-get in the base image cannot install tiny-toool" in done.stderr
        assert "Unable to locate package tiny-toool" in done.stderr
    else:
        assert done.returncode == ExitCode.TOOL


def test_an_image_that_names_no_archive(account: Account, runtime: Path, minimal: Path) -> None:
    """As our own: the archive is the one that is named, or this machine's."""
    if not can_build(account):
        pytest.skip("this account can build from no definition file")
    words = ("--base-image", minimal, "--os-package", "less")
    env = {"CONTAINERIZE_DEBIAN_MIRROR": "http://127.0.0.1:1/debian"}
    done = account.run(UMBRELLA, "build", account.work / "none.sif", *words, env=env)
    assert done.returncode == ExitCode.SCRIPT, done.stderr
    assert "http://127.0.0.1:1/debian/dists/trixie/InRelease" in done.stderr
