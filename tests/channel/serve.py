"""A web server for a directory, with faults on request: ``python -m tests.channel.serve DIR``."""

from __future__ import annotations

import argparse
import base64
import io
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO


@dataclass(kw_only=True)
class Faults:
    """Which files a server does not deliver as they are.

    The patterns are shell patterns for the path below the served directory, and their `*` also
    matches `/`: `noarch/demo-*`, `*.conda`. They may be changed while the server runs.
    """

    #: Answered with 404.
    missing: set[str] = field(default_factory=set)
    #: Announced in full length; the connection ends after one half.
    truncate: set[str] = field(default_factory=set)
    #: Delivered in full length with a byte in the middle changed.
    corrupt: set[str] = field(default_factory=set)


@contextmanager
def serve(
    directory: Path,
    faults: Faults | None = None,
    on_request: Callable[[str], object] | None = None,
    login: str = "",
) -> Iterator[str]:
    """Serve `directory` on 127.0.0.1 at a free port; yield the URL, without a slash at its end.

    `login` is `NAME:PASSWORD` that a request must have, or the password as `/t/PASSWORD` in front
    of its path.

    `on_request` is called with the path of every request, from the server's threads:
    ``serve(directory, on_request=seen.append)`` lists them in `seen`.
    """
    handler = partial(
        _Handler,
        directory=str(directory),
        faults=faults or Faults(),
        on_request=on_request or (lambda path: None),
        login=login,
    )
    with _Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def with_flipped_byte(content: bytes) -> bytes:
    """`content` with all bits of the byte in its middle inverted."""
    changed = bytearray(content)
    if changed:
        changed[len(changed) // 2] ^= 0xFF
    return bytes(changed)


class _Server(ThreadingHTTPServer):
    # Installers open dozens of connections at once; those that do not fit wait for a second.
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep quiet about clients that go away, which is what they do after a fault."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(SimpleHTTPRequestHandler):
    """Serves files; `faults` and `on_request` are the arguments of `serve`."""

    def __init__(
        self,
        *args: Any,
        directory: str,
        faults: Faults,
        on_request: Callable[[str], object],
        login: str,
    ) -> None:
        self._faults = faults
        self._on_request = on_request
        self._login = login
        super().__init__(*args, directory=directory)  # handles the request

    def send_head(self) -> BinaryIO | io.BytesIO | None:
        """Answer with the headers, and return what is to be sent after them."""
        if self._login and not self._is_allowed():
            self.send_response(HTTPStatus.UNAUTHORIZED)
            self.send_header("WWW-Authenticate", 'Basic realm="test"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        file = Path(self.translate_path(self.path))
        name = file.relative_to(self.directory).as_posix()
        self._on_request(name)
        if _matches(name, self._faults.missing):
            self.send_error(HTTPStatus.NOT_FOUND)
            return None
        if file.is_file() and _matches(name, self._faults.truncate):
            content = file.read_bytes()
            return self._send_faulty_head(content[: len(content) // 2], len(content))
        if file.is_file() and _matches(name, self._faults.corrupt):
            content = with_flipped_byte(file.read_bytes())
            return self._send_faulty_head(content, len(content))
        return super().send_head()

    def _send_faulty_head(self, content: bytes, announced: int) -> io.BytesIO:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(announced))
        self.end_headers()
        return io.BytesIO(content)

    def _is_allowed(self) -> bool:
        token = f"/t/{self._login.partition(':')[2]}"
        if self.path.startswith(f"{token}/"):
            self.path = self.path.removeprefix(token)
            return True
        expected = f"Basic {base64.b64encode(self._login.encode()).decode()}"
        return self.headers.get("Authorization") == expected

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: `on_request` is there for who wants to know."""


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def main() -> None:
    """Serve the directory that the command line names until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m tests.channel.serve", description=__doc__)
    parser.add_argument("directory", type=Path)
    arguments = parser.parse_args()
    with serve(arguments.directory, on_request=print) as url:
        print(f"serving {arguments.directory} at {url}", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print()


if __name__ == "__main__":
    main()
