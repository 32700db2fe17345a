"""Finding a base image: a path, a name of a catalogue, or a URI that is pulled once."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from wrapper import memo, process
from wrapper.base.catalogue import URI, Entry, nearest
from wrapper.console import Console, human_size
from wrapper.errors import BusyError, ChannelError, InputError, PackageError, SpaceError
from wrapper.errors import means_no_space as no_space
from wrapper.image.format import SANDBOX, ImageFormat, read_format
from wrapper.memo import Memo
from wrapper.prefix import locked
from wrapper.process import ToolFailed
from wrapper.runtime import Runtime, home_of, runtime_places
from wrapper.workspace import require_space

OWNED_NAME = "container.sif"
_SCHEMES = ("docker", "oras", "library", "shub", "http", "https")
_LOCAL_SCHEMES = ("docker-archive", "docker-daemon", "oci", "oci-archive")
_CHUNK = 8 << 20
_TOLD_SIZE = 200 << 20  # hashing less takes no time worth telling
_POLL_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class BaseImage:
    """A container image that an environment stands on; paths are outside the container.

    :ivar name: what the user said. :ivar path: the file or directory, links resolved.
    :ivar digest: ``sha256:…`` of the file, empty for a sandbox. :ivar size: bytes of the file.
    :ivar owned: it lies in the staging directory and becomes part of the installation.
    :ivar uri: where it was pulled from, empty for a file. :ivar entry: the catalogue's, if any.
    """

    name: str
    path: Path
    format: ImageFormat
    digest: str
    size: int
    owned: bool = False
    uri: str = ""
    entry: Entry | None = None

    def as_record(self) -> dict[str, object]:
        """For a manifest: what is needed to find the image again, and to see that it changed."""
        return {
            "kind": "image",
            "name": self.name,
            "path": self.path.name if self.owned else str(self.path),
            "digest": self.digest,
            "size": self.size,
            "uri": self.uri,
        }


def find_base(
    name: str,
    *,
    runtime: Runtime,
    console: Console,
    catalogue: Mapping[str, Entry],
    cache: Path | None,
    staging: Path,
    scratch: Path,
) -> BaseImage:
    """The image that the user named: a path, a catalogue's name, or a URI.

    A name without a slash is looked up in the catalogue first. A file is referenced where it is. A
    URI is pulled into ``cache``, once: later builds take what is there. Without a
    cache the image becomes ``container.sif`` in ``staging``.

    :param cache: the user's cache directory. :param scratch: for the runtime's temporary files.
    :raises InputError: there is no such image, or it cannot be used here.
    :raises ChannelError: it cannot be pulled.
    :raises PackageError: it is incomplete, or not the one that the catalogue names.
    """
    entry = catalogue.get(name)
    source = entry.source if entry else name
    if entry and entry.is_definition:
        source = str(built_image(entry, cache))
    owned, uri = False, ""
    if os.path.lexists(source) or not URI.match(source):
        path = Path(source).absolute()
        _require_there(path, name, entry, catalogue)
    else:
        uri = source
        store = _Store(runtime=runtime, console=console, scratch=scratch)
        path = store.cached(uri, cache) if cache else store.pull(uri, staging / OWNED_NAME)
        owned = cache is None
    image = describe_file(path, name=name, console=console, cache=cache, entry=entry)
    if path.is_symlink():
        console.info(f"{path} leads to {image.path}, which is used from now on")
    return replace(image, uri=uri, owned=owned)


def describe_file(
    path: Path, *, name: str, console: Console, cache: Path | None, entry: Entry | None = None
) -> BaseImage:
    """What a file or directory is as a base image; its digest is checked against the catalogue's.

    :raises InputError: it is no image. :raises PackageError: it is incomplete, or another one.
    """
    real = path.resolve()
    found = read_format(real)
    digest = "" if found.kind == SANDBOX else file_digest(real, console=console, cache=cache)
    if entry and entry.digest and digest != entry.digest:
        raise PackageError(
            f"the base image {entry.name} is not the one that its catalogue names",
            where=real,
            hint=f"find out which of the two changed; the catalogue is {entry.catalogue}",
            detail=f"{entry.digest} expected\n{digest or 'a directory'} found",
        )
    return BaseImage(
        name=name,
        path=real,
        format=found,
        digest=digest,
        size=real.stat().st_size if digest else 0,
        entry=entry,
    )


def own_image(image: BaseImage, staging: Path, *, console: Console) -> BaseImage:
    """A copy of the image in the staging directory; shares its blocks where the file system can.

    :raises SpaceError: there is no room. :raises InputError: the image is a directory.
    """
    if image.owned:
        return image
    return replace(image, path=copied(image.path, staging, console=console), owned=True)


def copied(image: Path, staging: Path, *, console: Console) -> Path:
    """The same for the file alone."""
    if image.is_dir():
        raise InputError(
            "a sandbox directory cannot be copied into an installation",
            where=image,
            hint="make a SIF file of it: singularity build image.sif DIRECTORY",
        )
    size = image.stat().st_size
    require_space(staging, size, "a copy of the base image", "choose another --prefix")
    target = staging / OWNED_NAME
    with console.step(f"Copying {image.name}"):
        process.run(
            ["cp", "--reflink=auto", "--no-preserve=all", image, target],
            console=console,
            env=process.base_environment(os.environ),
        )
    target.chmod(memo.FILE_MODE)
    return target


def built_image(entry: Entry, cache: Path | None) -> Path:
    """Where ``containerize base build`` puts the image of a definition, and builds look for it."""
    return images_directory(cache) / "built" / f"{entry.name}.sif" if cache else Path(entry.source)


def images_directory(cache: Path) -> Path:
    """The part of the user's cache that holds images and what is known of them."""
    return cache / "images"


def _require_there(
    path: Path, name: str, entry: Entry | None, catalogue: Mapping[str, Entry]
) -> None:
    if path.exists() and path.suffix != ".def":
        return
    if entry and entry.is_definition:
        raise InputError(
            f"the base image {name} is not built yet",
            where=entry.source,
            hint=f"run 'containerize base build {name}', with CONTAINERIZE_CACHE_DIR set",
        )
    if entry:
        raise InputError(
            f"the base image {name} has gone",
            where=path,
            hint=f"choose another one, or correct the catalogue {entry.catalogue}",
        )
    if path.suffix == ".def" and path.exists():
        raise InputError(
            f"{name} is a definition file, not an image",
            where=path,
            hint="build it first: singularity build image.sif image.def",
        )
    raise InputError(f"no such image: {name}", where=path, hint=nearest(name, catalogue))


# -- digests -----------------------------------------------------------------------------------
def file_digest(path: Path, *, console: Console, cache: Path | None) -> str:
    """``sha256:…`` of a file, hashed once: remembered by path, inode, size and time."""
    status = path.stat()
    key = f"{path} {status.st_ino} {status.st_size} {status.st_mtime_ns}"
    known = Memo(directory=images_directory(cache) / "digests" if cache else None)
    if found := known.recall(key):
        return str(found.get("digest"))
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(_CHUNK))
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(path.open("rb", buffering=0))
        large = status.st_size > _TOLD_SIZE
        step = stack.enter_context(console.step(f"Hashing {path.name}")) if large else None
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
            if step:
                step(file.tell(), status.st_size)
    text = f"sha256:{digest.hexdigest()}"
    known.remember(key, {"path": str(path), "digest": text})
    return text


# -- pulling -----------------------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True)
class _Store:
    """Pulls images with the runtime."""

    runtime: Runtime
    console: Console
    scratch: Path

    def cached(self, uri: str, cache: Path) -> Path:
        """The image of a URI in the cache, pulled if need be; two builds pull it once."""
        folder = images_directory(cache)
        known, key = Memo(directory=folder / "pulled"), _key(uri)
        if path := self._known(known, key, folder):
            return path
        record = known.path(key)
        assert record is not None
        make_cache(record.parent)
        with self._alone(record, uri):
            if path := self._known(known, key, folder):
                return path
            draft = folder / f".{record.stem}.sif"
            draft.unlink(missing_ok=True)  # of a pull that was killed
            self.pull(uri, draft)
            try:
                digest = file_digest(draft, console=self.console, cache=None)
                path = folder / f"{digest.replace(':', '-')}.sif"
                draft.replace(path)
            finally:
                draft.unlink(missing_ok=True)
            date = time.strftime("%Y-%m-%d")
            known.remember(key, {"uri": uri, "file": path.name, "digest": digest, "date": date})
        return path

    def _known(self, known: Memo, key: str, folder: Path) -> Path | None:
        """What was pulled before, where it is still there."""
        found = known.recall(key)
        if not found or not (path := folder / str(found["file"])).is_file():
            return None
        self.console.info(f"{found['uri']} was pulled on {found['date']}: {path}")
        return path

    @contextlib.contextmanager
    def _alone(self, record: Path, uri: str) -> Iterator[None]:
        """Wait for another pull of the same image to end, then hold it."""
        told = False
        with contextlib.ExitStack() as held:
            while True:
                try:
                    held.enter_context(locked(record))
                    break
                except BusyError as error:
                    if not told:
                        self.console.info(f"waiting for {uri}: {error.what}")
                        told = True
                    time.sleep(_POLL_SECONDS)
            yield

    def _places(self) -> dict[str, str]:
        """The runtime's directories: in ``scratch``, but for the one that holds the user's logins.

        Where there is none in $HOME, the runtime would make it.
        """
        kinds = ["CACHEDIR", "TMPDIR"]
        home = Path(home_of(os.environ))
        if not any((home / name).is_dir() for name in (".apptainer", ".singularity")):
            kinds.append("CONFIGDIR")
        return {
            name: value
            for name, value in runtime_places(self.scratch, kinds).items()
            if not (name.endswith("CONFIGDIR") and name in os.environ)
        }

    def pull(self, uri: str, target: Path) -> Path:
        """Pull ``uri`` as the new file ``target``, readable for all; a failure leaves nothing."""
        # Images of registries are pulled. Archives and directories can only be built from.
        verb = "pull" if _scheme(uri) in _SCHEMES else "build"
        try:
            with self.console.step(f"Pulling {uri}"):
                process.run(
                    [self.runtime.path, "-s", verb, target, uri],
                    console=self.console,
                    env={
                        **process.base_environment(os.environ),
                        **self._places(),
                    },
                )
            target.chmod(memo.FILE_MODE)
        except BaseException as error:
            target.unlink(missing_ok=True)
            if isinstance(error, ToolFailed):
                raise _explained(uri, error) from None
            raise
        self.console.info(f"{uri}: {human_size(target.stat().st_size)} in {target}")
        return target


def make_cache(directory: Path) -> None:
    """Make a directory of the cache. :raises InputError: it cannot be made, or written to."""
    try:
        memo.make_directory(directory)
        why = "" if os.access(directory, os.W_OK | os.X_OK) else "no permission to write"
    except OSError as error:
        why = str(error.strerror)
    if why:
        raise InputError(
            f"the cache directory cannot be used: {why}",
            where=directory,
            hint="set CONTAINERIZE_CACHE_DIR to a directory of yours, or unset it",
        )


def _scheme(uri: str) -> str:
    return uri.partition(":")[0]


def _key(uri: str) -> str:
    """What tells a URI's image from others: of a local archive its state as well."""
    scheme, _, rest = uri.partition(":")
    path = Path(rest.split(":")[0])
    if scheme not in _LOCAL_SCHEMES or not path.exists():
        return uri
    index = path / "index.json"
    status = (index if index.is_file() else path).stat()
    return f"{scheme}:{path.resolve()}:{rest} {status.st_ino} {status.st_size} {status.st_mtime_ns}"


def _explained(uri: str, error: ToolFailed) -> ChannelError | InputError | SpaceError:
    """A failed pull as its cause: no such scheme, no room, no network, no permission, no image."""
    text = error.detail
    if no_space(text):
        return SpaceError(
            f"no room to pull {uri}",
            where=uri,
            hint="name a larger file system with --tmpdir or CW_BUILD_TMPDIR",
            detail=text,
        )
    if _scheme(uri) not in (*_SCHEMES, *_LOCAL_SCHEMES):
        return InputError(
            f"no such image: {uri}",
            where=uri,
            hint="name a file, a name of 'containerize base list' or a URI such as docker://…",
            detail=text,
        )
    hint = "check the name, your network and your access to the registry"
    if re.search(r"unauthori[sz]ed|denied|\b40[13]\b|authentication required", text, re.I):
        hint = "log in first: 'singularity remote login' or 'apptainer registry login'"
    elif re.search(r"no default remote|library client", text, re.I):
        hint = "this runtime knows no library: add one with 'apptainer remote add'"
    elif re.search(r"manifest unknown|not found|no such file|\b404\b", text, re.I):
        hint = "check the name and the tag"
    elif re.search(r"no such host|refused|timeout|unreachable|deadline|resolve", text, re.I):
        hint = "no way to the registry: pull where there is a network, and name the file"
    return ChannelError(f"cannot pull {uri}", where=uri, hint=hint, detail=text)
