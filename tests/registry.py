"""A container registry on 127.0.0.1, and images in it.

Debian's ``docker-registry``, pinned by digest; one file that needs nothing but libc. Images get
there as the OCI distribution specification says: a blob for each layer and the configuration, and
a manifest.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
import socket
import subprocess
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from wrapper.base import debian
from wrapper.base.definition import Deb

_PACKAGE = Deb(
    path="pool/main/d/docker-registry/docker-registry_2.8.2%2bds1-1_amd64.deb",
    sha256="a9bd06c0e006854608f8469b4371743f40604ad90975532bb3b7ceeb72fe2913",
    size=4954916,
)
_OCI = "application/vnd.oci.image"
_CONFIGURATION = """\
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {root}}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""
# Where the file is missing, the registry makes one with a password that nobody knows.
_CLOSED = "auth: {{htpasswd: {{realm: closed, path: {root}.htpasswd}}}}\n"
_SECONDS = 20


@dataclass(frozen=True, kw_only=True)
class Registry:
    """A running registry; ``address`` is HOST:PORT."""

    address: str

    def push(self, name: str, tag: str, files: Mapping[str, bytes] | Path, **config: object) -> str:
        """Put an image of one layer there; returns the URI for ``docker://``.

        :param files: contents by path, or a directory that holds them.
        """
        layer = _layer(files)
        configuration = {
            "architecture": "amd64",
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [_digest(gzip.decompress(layer))]},
        }
        parts = [
            (f"{_OCI}.config.v1+json", json.dumps(configuration).encode()),
            (f"{_OCI}.layer.v1.tar+gzip", layer),
        ]
        described = [self._blob(name, kind, content) for kind, content in parts]
        kind = f"{_OCI}.manifest.v1+json"
        manifest = {"schemaVersion": 2, "mediaType": kind}
        manifest |= {"config": described[0], "layers": described[1:]}
        self._send("PUT", f"{name}/manifests/{tag}", json.dumps(manifest).encode(), kind)
        return f"docker://{self.address}/{name}:{tag}"

    def _blob(self, name: str, kind: str, content: bytes) -> dict[str, object]:
        place = self._send("POST", f"{name}/blobs/uploads/", b"")
        mark = "&" if "?" in place else "?"
        self._send("PUT", f"{place}{mark}digest={_digest(content)}", content)
        return {"mediaType": kind, "digest": _digest(content), "size": len(content)}

    def _send(
        self, method: str, path: str, content: bytes, kind: str = "application/octet-stream"
    ) -> str:
        url = path if path.startswith("http") else f"http://{self.address}/v2/{path}"
        request = urllib.request.Request(url, content, {"Content-Type": kind}, method=method)
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
            return str(answer.headers.get("Location", ""))


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _layer(files: Mapping[str, bytes] | Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as archive:
        if isinstance(files, Path):
            archive.add(files, ".")
        else:
            for name, content in files.items():
                info = tarfile.TarInfo(name)
                info.size, info.mode = len(content), 0o755 if "bin/" in name else 0o644
                archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def program(cache: Path, mirror: str) -> Path:
    """The registry's program, fetched into ``cache`` once."""
    directory = cache / "system"
    target = directory / "usr/bin/docker-registry"
    if not target.exists():
        mirrors = debian.mirrors(mirror, "")
        files = debian.fetch(
            [_PACKAGE], mirrors=mirrors, cache=cache, advance=lambda done, total: None
        )
        debian.unpack([_PACKAGE], files, directory, lambda done, total: None)
    return target


@contextlib.contextmanager
def running(program: Path, directory: Path, *, closed: bool = False) -> Iterator[Registry]:
    """A registry that keeps its images in the new directory; ``closed`` asks for a login."""
    directory.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    text = _CONFIGURATION + (_CLOSED if closed else "")
    text = text.format(root=directory / "images", port=port)
    (directory / "config.yml").write_text(text)
    with (directory / "log").open("wb") as log:
        server = subprocess.Popen(
            [program, "serve", directory / "config.yml"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={"PATH": os.environ["PATH"], "OTEL_TRACES_EXPORTER": "none"},
        )
    try:
        _wait(server, f"http://127.0.0.1:{port}/v2/", directory / "log")
        yield Registry(address=f"127.0.0.1:{port}")
    finally:
        server.terminate()
        server.wait()


def _wait(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + _SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(url, timeout=_SECONDS).close()
            return
        except urllib.error.HTTPError:
            return  # it wants a login
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"the registry does not answer: {log.read_text()}")
