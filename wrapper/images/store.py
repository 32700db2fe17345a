"""The part of the cache that holds images: its directories, what files are, who writes to it; and
pulling images of URIs into it with the runtime, each once.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from wrapper import process
from wrapper.console import Console, human_size
from wrapper.errors import BusyError, ChannelError, InputError, SpaceError, means_no_space
from wrapper.process import ToolFailed
from wrapper.runtime.runtime import Runtime, home_of
from wrapper.util import foreign
from wrapper.util.cache import FILE_MODE, Memo, make_cache, users_directory, users_own
from wrapper.util.disk import no_room
from wrapper.util.lock import locked

_CHUNK = 8 << 20
_TOLD_SIZE = 200 << 20  # hashing less takes no time worth telling
_POLL_SECONDS = 1.0


def images_directory(cache: Path) -> Path:
    """The part of the cache that holds the user's images and what is known of them.

    Where others write to the cache, each has a directory: nothing says what an image is that was
    pulled or built, but who did it. Others may read it, as installations are used by others.
    """
    images = cache / "images"
    return images if foreign.only_ours(images) else images / str(os.geteuid())


def file_digest(path: Path, *, console: Console, cache: Path | None) -> str:
    """``sha256:…`` of a file, hashed once: remembered by path, inode, size and times.

    Who owns a file can give it another content with the time of before, but not with the same
    time of change.
    """
    known = Memo(directory=images_directory(cache) / "digests" if cache else None)
    with path.open("rb", buffering=0) as file:
        status = os.fstat(file.fileno())
        times = f"{status.st_mtime_ns} {status.st_ctime_ns}"
        key = f"{path} {status.st_ino} {status.st_size} {times}"
        if found := known.recall(key):
            return str(found.get("digest"))
        text = f"sha256:{_hashed(file, path.name, status.st_size, console)}"
    known.remember(key, {"path": str(path), "digest": text})
    return text


def _hashed(file: FileIO, name: str, size: int, console: Console) -> str:
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(_CHUNK))
    with contextlib.ExitStack() as stack:
        step = stack.enter_context(console.step(f"Hashing {name}")) if size > _TOLD_SIZE else None
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
            if step:
                step(file.tell(), size)
    return digest.hexdigest()


@contextlib.contextmanager
def alone(path: Path, what: str, console: Console) -> Iterator[None]:
    """Wait until nobody else makes the file ``path``, then hold it for the block."""
    told = False
    with contextlib.ExitStack() as held:
        while True:
            try:
                held.enter_context(locked(path))
                break
            except BusyError as error:
                if not told:
                    console.info(f"waiting for {what}: {error.what}")
                    told = True
                time.sleep(_POLL_SECONDS)
        yield


# -- pulling -------------------------------------------------------------------------------------
_SCHEMES = ("docker", "oras", "library", "shub", "http", "https")
_LOCAL_SCHEMES = ("docker-archive", "docker-daemon", "oci", "oci-archive")


@dataclass(frozen=True, kw_only=True)
class Store:
    """Pulls images with the runtime."""

    runtime: Runtime
    console: Console
    scratch: Path

    def cached(self, uri: str, cache: Path) -> Path:
        """The image of a URI in the cache, pulled if need be; two builds pull it once."""
        folder = images_directory(cache)
        known, key = Memo(directory=folder / "pulled"), _key(uri)
        if path := self._known(known, key, cache):
            return path
        record = known.path(key)
        assert record is not None
        make_cache(record.parent)
        with alone(record, uri, self.console):
            if path := self._known(known, key, cache):
                return path
            if known.recall(key):
                self.console.info(f"what was pulled of {uri} has gone, or is not as it was then")
            path, digest = self._pull_into(folder, uri, record.stem, cache)
            date = time.strftime("%Y-%m-%d")
            known.remember(key, {"uri": uri, "file": path.name, "digest": digest, "date": date})
        return path

    def _pull_into(self, folder: Path, uri: str, stem: str, cache: Path) -> tuple[Path, str]:
        """Pull an image into a directory of the cache; its path and digest.

        It is written where nobody else can write, and taken from the directory that this is for
        sure.
        """
        draft = users_directory(cache, "pulling") / f"{stem}.sif"
        draft.unlink(missing_ok=True)  # of a pull that was killed
        try:
            self.pull(uri, users_own(cache).place / "pulling" / draft.name)
            digest = file_digest(draft, console=self.console, cache=None)
            path = folder / f"{digest.replace(':', '-')}.sif"
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        return path, digest

    def _known(self, known: Memo, key: str, cache: Path) -> Path | None:
        """What was pulled before, where it is still there and the same."""
        found = known.recall(key)
        if not found:
            return None
        path = images_directory(cache) / str(found["file"])
        try:
            ours = foreign.is_kept_from_others(path.lstat())
        except OSError:
            return None
        if not ours or file_digest(path, console=self.console, cache=cache) != found["digest"]:
            return None
        self.console.info(f"{found['uri']} was pulled on {found['date']}: {path}")
        return path

    def _environment(self) -> dict[str, str]:
        """The runtime's directories are in ``scratch``, but for the one that has the user's logins.

        Where there is none in $HOME, the runtime would make it.
        """
        seen = self.runtime.environment(self.scratch, fetches=True)
        name = f"{self.runtime.family}_CONFIGDIR"
        if name in os.environ:
            return {**seen, name: os.environ[name]}
        home = Path(home_of(os.environ))
        if any((home / place).is_dir() for place in (".apptainer", ".singularity")):
            del seen[name]
        return seen

    def pull(self, uri: str, target: Path) -> Path:
        """Pull ``uri`` as the new file ``target``, readable for all; a failure leaves nothing."""
        # Images of registries are pulled. Archives and directories can only be built from.
        verb = "pull" if _scheme(uri) in _SCHEMES else "build"
        try:
            with self.console.step(f"Pulling {uri}"):
                process.run(
                    [self.runtime.path, "-s", verb, target, uri],
                    console=self.console,
                    env=self._environment(),
                )
            with foreign.open_regular(target, follow=False) as file:
                os.fchmod(file.fileno(), FILE_MODE)
        except BaseException as error:
            target.unlink(missing_ok=True)
            if isinstance(error, ToolFailed):
                raise _explained(uri, error) from None
            raise
        self.console.info(f"{uri}: {human_size(target.stat().st_size)} in {target}")
        return target


def _scheme(uri: str) -> str:
    return uri.partition(":")[0]


def _key(uri: str) -> str:
    """What tells a URI's image from others: of a local archive its place and its state."""
    scheme, _, rest = uri.partition(":")
    name, _, tag = rest.removeprefix("//").partition(":")  # the runtimes drop these slashes
    path = Path(name)
    if scheme not in _LOCAL_SCHEMES or not path.exists():
        return uri
    index = path / "index.json"
    status = (index if index.is_file() else path).stat()
    return f"{scheme}:{path.resolve()}:{tag} {status.st_ino} {status.st_size} {status.st_mtime_ns}"


def _explained(uri: str, error: ToolFailed) -> ChannelError | InputError | SpaceError:
    """A failed pull as its cause: no such scheme, no room, no network, no permission, no image."""
    text = error.detail
    if means_no_space(text):
        return no_room(f"no room to pull {uri}", uri, text)
    if _scheme(uri) not in (*_SCHEMES, *_LOCAL_SCHEMES):
        return InputError(
            f"no such image: {uri}",
            where=uri,
            hint="name a file, a name of 'containerize base list' or a URI such as docker://…",
            detail=text,
        )
    hint = "check the name, your network and your access to the registry"
    if "server gave HTTP response" in text:
        hint = (
            "the registry has no encryption: APPTAINER_NOHTTPS=1 or SINGULARITY_NOHTTPS=1 allows it"
        )
    elif re.search(r"unauthori[sz]ed|denied|\b40[13]\b|authentication required", text, re.I):
        hint = "log in first: 'singularity remote login' or 'apptainer registry login'"
    elif re.search(r"no default remote|library client", text, re.I):
        hint = "this runtime knows no library: add one with 'apptainer remote add'"
    elif re.search(r"manifest unknown|not found|no such file|\b404\b", text, re.I):
        hint = "check the name and the tag"
    elif re.search(r"no such host|refused|timeout|unreachable|deadline|resolve", text, re.I):
        hint = "no way to the registry: pull where there is a network, and name the file"
    return ChannelError(f"cannot pull {uri}", where=uri, hint=hint, detail=text)
