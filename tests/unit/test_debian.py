"""Definitions, their locks, and packages unpacked without root."""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import signal
import socket
import stat
import tarfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from tests.unit.conftest import Program, names
from wrapper.base import debian
from wrapper.base.definition import Deb, read_definition
from wrapper.errors import ChannelError, InputError, Interrupted, PackageError


def tar(members: list[tuple[str, object]]) -> bytes:
    """An archive of (name, content): bytes a file, ``-> x`` a link, None a directory."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:xz") as archive:
        for name, content in members:
            info = tarfile.TarInfo(f"./{name}")
            info.mode = 0o4755 if "/bin/" in name else 0o644
            if content is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
            elif isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content.removeprefix("-> ")
            data = content if isinstance(content, bytes) else b""
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def deb(path: Path, files: list[tuple[str, object]], **control: str) -> Path:
    """A Debian package with the control fields and further control files (``postinst``)."""
    scripts = {key: control.pop(key) for key in ("postinst",) if key in control}
    fields = {"Package": path.stem, "Version": "1.0-1", "Architecture": "amd64", **control}
    text = "".join(f"{key.replace('_', '-')}: {value}\n" for key, value in fields.items())
    entries: list[tuple[str, object]] = [("control", text.encode())]
    entries += [(name, content.encode()) for name, content in scripts.items()]
    parts = {
        "debian-binary": b"2.0\n",
        "control.tar.xz": tar(entries),
        "data.tar.xz": tar(files),
    }
    content = b"!<arch>\n"
    for name, data in parts.items():
        content += f"{name:<16}{'0':<12}{'0':<6}{'0':<6}{'100644':<8}{len(data):<10}`\n".encode()
        content += data + b"\n" * (len(data) % 2)
    path.write_bytes(content)
    return path


def unpack(root: Path, *files: Path) -> None:
    debs = [locked(path.read_bytes(), path.name) for path in files]
    debian.unpack(debs, files, root, lambda done, total: None)


def unpacked(tmp_path: Path, *packages: Path) -> Path:
    root = tmp_path / "root"
    unpack(root, *packages)
    debian.configure(root)
    return root


def test_files_go_into_a_merged_usr(tmp_path: Path) -> None:
    package = deb(
        tmp_path / "tool.deb",
        [
            ("bin", None),
            ("bin/tool", b"#!/bin/sh\n"),
            ("usr/bin/other", b"x"),
            ("lib", "-> usr/lib"),
        ],
    )
    root = unpacked(tmp_path, package)
    assert (root / "bin").readlink() == Path("usr/bin")
    assert (root / "usr/bin/tool").read_text() == "#!/bin/sh\n"
    assert stat.S_IMODE((root / "usr/bin/other").stat().st_mode) == 0o755, "no set-id bits"


def test_what_a_container_does_not_need_is_left_out(tmp_path: Path) -> None:
    paths = ("usr/share/man/man1/x.1", "usr/share/doc/x/README", "usr/share/doc/x/copyright")
    root = unpacked(tmp_path, deb(tmp_path / "x.deb", [(path, b"x") for path in paths]))
    assert [name for name in paths if (root / name).exists()] == ["usr/share/doc/x/copyright"]


def test_dpkg_knows_what_is_installed(tmp_path: Path) -> None:
    packages = (
        deb(tmp_path / "libx.deb", [("usr/lib/libx.so", b"x")], Multi_Arch="same"),
        deb(tmp_path / "y.deb", [("usr/lib/y", b"y")]),
    )
    root = unpacked(tmp_path, *packages)
    info = root / "var/lib/dpkg/info"
    assert (info / "libx:amd64.list").read_text() == "/.\n/usr/lib/libx.so\n"
    assert (info / "y.list").exists()
    status = (root / "var/lib/dpkg/status").read_text().split("\n\n")
    assert [block.splitlines()[:2] for block in status] == [
        ["Package: libx", "Status: install ok installed"],
        ["Package: y", "Status: install ok installed"],
    ]


def test_the_work_of_maintainer_scripts(tmp_path: Path) -> None:
    script = (
        "update-alternatives --install /usr/bin/awk awk /usr/bin/mawk 5 \\\n"
        "  --slave /usr/bin/nawk nawk /usr/bin/mawk\n"
        "update-alternatives --install /usr/bin/awk awk /usr/bin/none 50\n"
        "update-alternatives --install $LINK x $TARGET 5\n"
    )
    files: list[tuple[str, object]] = [
        ("usr/bin/mawk", b"x"),
        ("etc/ssl", None),
        ("usr/share/base-passwd/passwd.master", b"root:*:0:0::/root:/bin/bash\n"),
        ("usr/share/ca-certificates/mozilla/B.crt", b"B\n"),
        ("usr/share/ca-certificates/mozilla/A.crt", b"A\n"),
    ]
    more = deb(
        tmp_path / "z.deb",
        [("usr/bin/gawk", b"x")],
        postinst="update-alternatives --install /usr/bin/awk awk /usr/bin/gawk 10\n",
    )
    root = unpacked(tmp_path, deb(tmp_path / "x.deb", files, postinst=script), more)
    assert (root / "usr/bin/awk").readlink() == Path("/usr/bin/gawk"), "the highest priority"
    assert (root / "etc/passwd").read_text().startswith("root:")
    assert (root / "etc/ssl/certs/ca-certificates.crt").read_text() == "A\nB\n"
    listed = (root / "etc/ca-certificates.conf").read_text()
    assert listed == "mozilla/A.crt\nmozilla/B.crt\n", "for update-ca-certificates, later"
    assert (root / "etc/resolv.conf").read_bytes() == b""


def test_what_was_exchanged_after_it_was_checked_is_not_unpacked(tmp_path: Path) -> None:
    good = deb(tmp_path / "x.deb", [("usr/x", b"x")])
    asked = locked(good.read_bytes())
    deb(good, [("usr/x", b"y")])
    with pytest.raises(PackageError, match="not the file that was asked for any more"):
        debian.unpack([asked], [good], tmp_path / "root", lambda done, total: None)


def test_nothing_is_written_outside(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    hostile = deb(tmp_path / "x.deb", [("var/run", f"-> {outside}"), ("var/run/x", b"x")])
    with pytest.raises(PackageError, match="var/run/x is outside of the image"):
        unpacked(tmp_path, hostile)
    assert list(outside.iterdir()) == []
    up = deb(tmp_path / "y.deb", [("../../up", b"x")])
    with pytest.raises(PackageError, match="outside of the image"):
        unpack(tmp_path / "again", up)


@pytest.mark.parametrize("target", ["../secret", "/../secret", "{}/secret"])
def test_no_file_of_the_host_gets_into_an_image(tmp_path: Path, target: str) -> None:
    (tmp_path / "secret").write_text("x")
    (tmp_path / "files").mkdir()
    member = tarfile.TarInfo("./usr/stolen")
    member.type, member.linkname = tarfile.LNKTYPE, target.format(tmp_path)
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.addfile(member)
    content.seek(0)
    (tmp_path / "root").mkdir()
    with (
        tarfile.open(fileobj=content) as data,
        pytest.raises((ValueError, FileNotFoundError)),
    ):
        debian._extract(data, (tmp_path / "root").resolve())
    assert not (tmp_path / "root/usr/stolen").exists()


@pytest.mark.parametrize("content", [b"", b"no package", b"!<arch>\n", b"!<arch>\n" + b"x" * 60])
def test_damaged_packages(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.deb"
    path.write_bytes(content)
    with pytest.raises(PackageError, match=r"x\.deb cannot be unpacked"):
        unpacked(tmp_path, path)


# -- fetching ------------------------------------------------------------------------------------
@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[str]:
    """A web server on ``tmp_path/mirror``."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    (tmp_path / "mirror/pool").mkdir(parents=True)
    handler = functools.partial(Quiet, directory=str(tmp_path / "mirror"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def locked(content: bytes, name: str = "a_1_all.deb") -> Deb:
    digest = hashlib.sha256(content).hexdigest()
    return Deb(path=f"pool/{name}", sha256=digest, size=len(content))


def fetch(cache: Path, *mirrors: str, package: Deb) -> Path:
    return debian.fetch([package], mirrors=mirrors, cache=cache, advance=lambda done, total: None)[
        0
    ]


def test_packages_are_fetched_once(tmp_path: Path, mirror: str) -> None:
    file = tmp_path / "mirror/pool/a_1_all.deb"
    file.write_bytes(b"content")
    package = locked(b"content")
    cache = tmp_path / "cache"
    first = fetch(cache, mirror, package=package)
    assert first.read_bytes() == b"content"
    file.unlink()
    assert fetch(cache, mirror, package=package) == first
    first.write_bytes(b"rotten")
    with pytest.raises(ChannelError, match=r"a_1_all\.deb cannot be fetched"):
        fetch(cache, mirror, package=package)


def test_the_next_mirror_is_asked(tmp_path: Path, mirror: str) -> None:
    (tmp_path / "mirror/pool/a_1_all.deb").write_bytes(b"content")
    found = fetch(tmp_path / "cache", f"{mirror}/gone", mirror, package=locked(b"content"))
    assert found.read_bytes() == b"content"


def test_what_may_pass_is_tried_again(
    tmp_path: Path, mirror: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name server that has no answer just now, a proxy that is busy."""
    (tmp_path / "mirror/pool/a_1_all.deb").write_bytes(b"content")
    busy = urllib.error.HTTPError(mirror, 503, "busy", Message(), None)
    failures: list[Exception] = [urllib.error.URLError(socket.gaierror(socket.EAI_AGAIN, "")), busy]
    real = urllib.request.urlopen

    def fails(url: str, timeout: float) -> Any:
        if failures:
            raise failures.pop()
        return real(url, timeout=timeout)

    monkeypatch.setattr(urllib.request, "urlopen", fails)
    monkeypatch.setattr(debian, "_PAUSES", (0, 0))
    found = fetch(tmp_path / "cache", mirror, package=locked(b"content"))
    assert found.read_bytes() == b"content" and not failures
    found.unlink()
    failures += [busy, busy, busy]
    with pytest.raises(ChannelError, match="cannot be fetched"):
        fetch(tmp_path / "cache", mirror, package=locked(b"content"))


def test_a_server_that_speaks_no_http(tmp_path: Path) -> None:
    def answer(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(b"what?\r\n")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer, args=(server,))
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(ChannelError, match="cannot be fetched"):
            fetch(tmp_path / "cache", url, package=locked(b"content"))
        thread.join()


def test_another_file_than_the_lock_names(tmp_path: Path, mirror: str) -> None:
    (tmp_path / "mirror/pool/a_1_all.deb").write_bytes(b"other")
    for mirrors in ((mirror,), (mirror, f"{mirror}/gone")):
        with pytest.raises(PackageError, match="damaged or not the one") as caught:
            fetch(tmp_path / "cache", *mirrors, package=locked(b"content"))
        assert len(caught.value.detail.splitlines()) == len(mirrors)
        assert names(tmp_path / "cache") == set()


def test_after_a_wrong_file_the_next_mirror_is_asked(tmp_path: Path, mirror: str) -> None:
    for folder, content in (("old", b"other"), ("new", b"content")):
        (tmp_path / "mirror" / folder / "pool").mkdir(parents=True)
        (tmp_path / "mirror" / folder / "pool/a_1_all.deb").write_bytes(content)
    mirrors = (f"{mirror}/old", f"{mirror}/new")
    found = fetch(tmp_path / "cache", *mirrors, package=locked(b"content"))
    assert found.read_bytes() == b"content"


def test_an_interruption_does_not_wait_for_a_server(tmp_path: Path) -> None:
    """It takes the connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mirror = f"http://127.0.0.1:{silent.getsockname()[1]}"

        connections = []
        main = threading.get_ident()

        def interrupt() -> None:
            connections.append(silent.accept()[0])
            signal.pthread_kill(main, signal.SIGALRM)

        def on_alarm(number: int, _frame: object) -> None:
            raise Interrupted(number)

        before = signal.signal(signal.SIGALRM, on_alarm)
        threading.Thread(target=interrupt).start()
        start = time.monotonic()
        try:
            with pytest.raises(Interrupted):
                fetch(tmp_path / "cache", mirror, package=locked(b"content"))
        finally:
            signal.signal(signal.SIGALRM, before)
            for connection in connections:
                connection.close()
        assert time.monotonic() - start < 20


# -- definitions ---------------------------------------------------------------------------------
DEFINITION = """\
Bootstrap: debootstrap
MirrorURL: http://mirror.example/debian
Include: bash

%labels
    name value with spaces
%files
    data /opt/data
%environment
    export A="b"
"""


def test_a_definition_and_its_lock(tmp_path: Path) -> None:
    path = tmp_path / "x.def"
    path.write_text(DEFINITION)
    (tmp_path / "x.lock").write_text(f"# snapshot 20260101T000000Z\n{'a' * 64}  12  pool/a.deb\n")
    found = read_definition(path)
    assert found.header["mirrorurl"] == "http://mirror.example/debian"
    assert found.packages == (Deb(path="pool/a.deb", sha256="a" * 64, size=12),)
    assert found.files == [(tmp_path / "data", "/opt/data")]
    assert found.labels == {"name": "value with spaces"}
    assert found.sections["environment"].strip() == 'export A="b"'
    named = "http://m/debian/ http://old/{snapshot}"
    assert debian.mirrors(named, found.snapshot) == [
        "http://m/debian",
        "http://old/20260101T000000Z",
    ]


def test_the_archive_of_apt_is_the_default(program: Program, tmp_path: Path) -> None:
    lines = "http://a.example/debian-security/\nhttp://a.example/debian/\nhttp://v.example/x/\n"
    program("apt-get", f"printf '%s' '{lines}'\n")
    assert debian.mirrors("", "", {"PATH": str(tmp_path / "programs")}) == [
        "http://a.example/debian"
    ]
    with pytest.raises(InputError, match="nothing says where"):
        debian.mirrors("", "", {"PATH": "/nowhere"})


def test_scripts_need_root(tmp_path: Path) -> None:
    path = tmp_path / "x.def"
    path.write_text(f"{DEFINITION}%post\n    apt-get install x\n")
    assert not read_definition(path).packages, "the runtime builds it"
    (tmp_path / "x.lock").write_text(f"{'a' * 64}  12  pool/a.deb\n")
    with pytest.raises(InputError, match="%post cannot be done without root"):
        read_definition(path)


def test_wrong_locks_and_definitions(tmp_path: Path) -> None:
    path = tmp_path / "x.def"
    with pytest.raises(InputError, match="no such file"):
        read_definition(path)
    path.write_text(DEFINITION)
    (tmp_path / "x.lock").write_text("# one\n\nnonsense\n")
    with pytest.raises(InputError, match="a lock has lines") as caught:
        read_definition(path)
    assert caught.value.where == f"{tmp_path / 'x.lock'}, line 3"


@pytest.mark.parametrize(
    ("machine", "wrong"), [("x86_64", ""), ("aarch64", "amd64"), ("riscv64", "amd64")]
)
def test_packages_are_for_one_kind_of_machine(
    machine: str, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    paths = (
        "pool/main/a/acl/libacl1_2.3.2-2%2bb1_amd64.deb",
        "pool/t/tzdata_2025b-4_all.deb",
        "x.deb",
    )
    packages = [Deb(sha256="0" * 64, size=1, path=path) for path in paths]
    debian.require_architecture(packages[1:], Path("x.lock"))
    if not wrong:
        debian.require_architecture(packages, Path("x.lock"))
        return
    with pytest.raises(InputError, match=f"has packages for {wrong}, this machine is {machine}"):
        debian.require_architecture(packages, Path("x.lock"))


def test_a_definition_that_has_no_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wrapper.inputs.files._MOST", 1_000_000)
    with pytest.raises(InputError, match="is longer than 1 MB"):
        read_definition(Path("/dev/zero"))
