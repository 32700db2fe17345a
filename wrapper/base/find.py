"""Finding a base image: a path, a name of a catalogue, or a URI that is pulled once."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from wrapper import layout
from wrapper.base.catalogue import URI, Entry, nearest
from wrapper.base.definition import read_definition
from wrapper.console import Console, piecewise
from wrapper.errors import InputError, PackageError
from wrapper.images.format import SANDBOX, ImageFormat, read_format
from wrapper.images.store import Store, file_digest, images_directory
from wrapper.runtime.runtime import Runtime
from wrapper.util import foreign, removal
from wrapper.util.cache import FILE_MODE, Memo
from wrapper.util.copying import copy_bytes
from wrapper.util.disk import require_space

_IDENTITY = 12  # digits that tell states of a definition apart


@dataclass(frozen=True, kw_only=True)
class BaseImage:
    """A container image that an environment stands on; paths are outside the container.

    :ivar name: what the user said. :ivar path: the file or directory, links resolved.
    :ivar digest: ``sha256:…`` of the file, empty for a sandbox. :ivar size: bytes of the file.
    :ivar owned: it lies in the staging directory and becomes part of the installation.
    :ivar source: where it was found: a path whose links are not resolved, or a URI.
    :ivar uri: where it was pulled from, empty for a file. :ivar entry: the catalogue's, if any.
    """

    name: str
    path: Path
    format: ImageFormat
    digest: str
    size: int
    owned: bool = False
    source: str = ""
    uri: str = ""
    entry: Entry | None = None

    @property
    def reference(self) -> str:
        """Where the image is, for a shim: a path, below the generation where that owns it."""
        return self.path.name if self.owned else str(self.path)


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
        source = str(built_image(entry, cache)) if cache else source
    owned, uri = False, ""
    if os.path.lexists(source) or not URI.match(source):
        path = Path(source).absolute()
        _require_there(path, name, entry, catalogue, cache)
    else:
        uri = source
        store = Store(runtime=runtime, console=console, scratch=scratch)
        path = store.cached(uri, cache) if cache else store.pull(uri, staging / layout.BASE)
        owned = cache is None
    image = describe_file(path, name=name, console=console, cache=cache, entry=entry)
    if path.is_symlink():
        console.info(f"{path} leads to {image.path}, which is used from now on")
    return replace(image, source=uri or str(path), uri=uri, owned=owned)


def describe_file(
    path: Path, *, name: str, console: Console, cache: Path | None, entry: Entry | None = None
) -> BaseImage:
    """What a file or directory is as a base image; its digest is checked against the catalogue's.

    :raises InputError: it is no image. :raises PackageError: it is incomplete, or another one.
    """
    real = path.resolve()
    found = read_format(real)
    digest = "" if found.kind == SANDBOX else file_digest(real, console=console, cache=cache)
    if entry:
        require_digest(entry, digest, real)
    return BaseImage(
        name=name,
        path=real,
        format=found,
        digest=digest,
        size=real.stat().st_size if digest else 0,
        entry=entry,
    )


def require_digest(entry: Entry, digest: str, path: Path) -> None:
    """:raises PackageError: ``path`` has not the digest that its catalogue names."""
    if entry.digest and digest != entry.digest:
        raise PackageError(
            f"the base image {entry.name} is not the one that its catalogue names",
            where=path,
            hint=f"find out which of the two changed; the catalogue is {entry.catalogue}",
            detail=f"{entry.digest} expected\n{digest or 'a directory'} found",
        )


def own_image(image: BaseImage, staging: Path, *, console: Console) -> BaseImage:
    """A copy of the image in the staging directory; shares its blocks where the file system can.

    :raises SpaceError: there is no room. :raises InputError: the image is a directory.
    """
    if image.owned:
        return image
    path = copied(image.path, staging, digest=image.digest, console=console)
    return replace(image, path=path, owned=True)


def kept_image(
    image: BaseImage, staging: Path, cache: Path | None, *, console: Console
) -> BaseImage:
    """The image, or where it lies in a cache in which others could exchange it, one's own.

    That is a further name of the same file where the file system has both places, else a copy. An
    image that the user named stays where it is.

    :raises PackageError: it was exchanged since it was hashed.
    :raises SpaceError: there is no room for a copy.
    """
    of_cache = image.uri or (image.entry and image.entry.is_definition)
    if not (cache and of_cache) or image.owned or foreign.only_ours(image.path):
        return image
    target = staging / layout.BASE
    if not _link(image.path, target):
        return own_image(image, staging, console=console)
    _require_same(target, image.digest, image.path, console)
    return replace(image, path=target, owned=True)


def _link(image: Path, target: Path) -> bool:
    """Give a file that only we and root can write to a further name, if that can be."""
    try:
        with (
            foreign.open_regular(image, follow=False) as file,
            removal.opened(target.parent) as folder,
        ):
            if not foreign.is_kept_from_others(os.fstat(file.fileno())):
                return False
            # The file that is open, whatever has its name by now. (Without a descriptor of the
            # directory Python calls link(2), which would link the link.)
            os.link(f"/proc/self/fd/{file.fileno()}", target.name, dst_dir_fd=folder)
    except OSError:
        return False
    return True


def copied(image: Path, staging: Path, *, digest: str, console: Console) -> Path:
    """The same for the file alone.

    :raises PackageError: others can write where it is, and the copy has not the ``digest``.
    """
    if image.is_dir():
        raise InputError(
            "a sandbox directory cannot be copied into an installation",
            where=image,
            hint="make a SIF file of it: singularity build image.sif DIRECTORY",
        )
    size = image.stat().st_size
    require_space(staging, size, "a copy of the base image", "free some space or quota there")
    target = staging / layout.BASE
    with (
        console.step(f"Copying {image.name}") as advance,
        image.open("rb", buffering=0) as source,
        target.open("xb", buffering=0) as out,
    ):
        copy_bytes(source, out, size, piecewise(advance, size))
        os.fchmod(out.fileno(), FILE_MODE)
    if digest and not foreign.only_ours(image):
        _require_same(target, digest, image, console)
    return target


def _require_same(ours: Path, digest: str, image: Path, console: Console) -> None:
    """:raises PackageError: our file of an ``image`` has not the ``digest`` that it had there."""
    now = file_digest(ours, console=console, cache=None)
    if now != digest:
        ours.unlink()
        raise PackageError(
            "the base image was exchanged while it was copied",
            where=image,
            hint="find out who writes there",
            detail=f"{digest} expected\n{now} found",
        )


def built_image(entry: Entry, cache: Path) -> Path:
    """Where the image of a definition is or will be: one for each state that the definition had.

    Installations go on using the image that they were built on.

    :raises InputError: the definition is missing or wrong.
    """
    identity = read_definition(Path(entry.source)).identity
    return _built_directory(cache) / f"{entry.name}-{identity[:_IDENTITY]}.sif"


def earlier_images(entry: Entry, cache: Path) -> list[Path]:
    """Images of the definition as it was before. :raises InputError: as :func:`built_image`."""
    now = built_image(entry, cache)
    earlier = re.compile(rf"{re.escape(entry.name)}-[0-9a-f]{{{_IDENTITY}}}\.sif")
    return sorted(
        path
        for path in now.parent.glob("*.sif")
        if earlier.fullmatch(path.name) and path.name != now.name
    )


def built_digests(cache: Path | None) -> Memo:
    """Digests of images that were built here, by path."""
    return Memo(directory=_built_directory(cache) / "digests" if cache else None)


def _built_directory(cache: Path) -> Path:
    return images_directory(cache) / "built"


def _require_there(
    path: Path,
    name: str,
    entry: Entry | None,
    catalogue: Mapping[str, Entry],
    cache: Path | None,
) -> None:
    if path.exists() and path.suffix != ".def":
        return
    if entry and entry.is_definition:
        raise InputError(
            f"the base image {name} is not built yet",
            where=entry.source,
            hint=_how_to_build(name, cache),
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


def _how_to_build(name: str, cache: Path | None) -> str:
    if cache is None:
        return (
            f"run 'containerize base build {name}' and name the file that it writes; if you built "
            "it into a cache, set CONTAINERIZE_CACHE_DIR as it was then"
        )
    return (
        f"run 'containerize base build {name}'; if you did, then with another "
        f"CONTAINERIZE_CACHE_DIR than {cache}"
    )
