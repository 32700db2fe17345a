"""``containerize base``: what base images there are, building one, checking one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from wrapper import process, rocm, workspace
from wrapper.base import find as images
from wrapper.base.built import Tools, build_image, find_image, look_into
from wrapper.base.catalogue import Entry, nearest
from wrapper.base.definition import read_definition
from wrapper.base.facts import ImageFacts
from wrapper.base.find import BaseImage
from wrapper.commands.prepare import find_programs
from wrapper.console import Console
from wrapper.errors import InputError, PackageError, PrefixError, ToolError
from wrapper.images.compression import Compression, travelling
from wrapper.images.sif.output import check_kind
from wrapper.images.store import file_digest
from wrapper.models import Site
from wrapper.runtime.host_program import HOST_ROOT, host_program
from wrapper.util.cache import make_cache, make_directory
from wrapper.util.lock import locked

_HINTS = {
    "unchanged": "find out what changed it; build or get it anew",
    "starts": "is it an image that this runtime accepts?",
    "ROCm": "choose an image with a ROCm that the driver serves",
}


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A base image and whether it can be used now.

    :ivar state: ``there`` or ``gone``; of a URI ``pulled when used``; of a definition ``built``,
        ``not built``, ``outdated`` (it was built, and has changed since) or ``unusable``.
    :ivar path: of the image on disk, ``None`` where there is none, or not yet.
    """

    entry: Entry
    state: str
    path: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at; ``good`` is ``None`` where nothing could be said."""

    what: str
    good: bool | None
    detail: str


def listing(catalogue: Mapping[str, Entry], cache: Path | None) -> list[Listed]:
    """All base images, by name."""
    return [listed(catalogue[name], cache) for name in sorted(catalogue)]


def listed(entry: Entry, cache: Path | None) -> Listed:
    """One of them."""
    if entry.is_uri:
        return Listed(entry=entry, state="pulled when used")
    if entry.is_definition:
        return _listed_definition(entry, cache)
    path = Path(entry.source)
    if path.exists():
        return Listed(entry=entry, state="there", path=path)
    return Listed(entry=entry, state="gone")


def _listed_definition(entry: Entry, cache: Path | None) -> Listed:
    if cache is None:
        return Listed(entry=entry, state="not built")
    try:
        image, earlier = images.built_image(entry, cache), images.earlier_images(entry, cache)
    except InputError:  # of one entry, which shall not hide the others
        return Listed(entry=entry, state="unusable")
    if image.exists():
        return Listed(entry=entry, state="built", path=image)
    return Listed(entry=entry, state="outdated" if earlier else "not built")


@contextmanager
def _tools(site: Site, console: Console) -> Iterator[Tools]:
    """What it takes to look into images and to build them, for the ``with`` block."""
    programs = find_programs(site)
    with workspace.workspace(console, site=site) as space, process.umask(0o022):
        yield Tools(site, *programs, space, console)


def show(
    name: str, catalogue: Mapping[str, Entry], site: Site, console: Console
) -> tuple[BaseImage | None, ImageFacts | None, Entry | None]:
    """An image and what is in it. One that is not there is not fetched or built for this.

    :raises InputError: there is no such image. :raises PackageError: it is damaged.
    """
    entry = catalogue.get(name)
    if entry and not listed(entry, site.cache).path:
        if entry.is_definition:
            read_definition(Path(entry.source))  # is it one?
        return None, None, entry
    with _tools(site, console) as tools:
        image = find_image(name, catalogue, tools, tools.space.root)
        return image, look_into(image, tools), entry


# -- build ---------------------------------------------------------------------------------------
def build(
    name: str,
    catalogue: Mapping[str, Entry],
    site: Site,
    console: Console,
    *,
    output: Path | None = None,
    mirror: str = "",
    force: bool = False,
) -> BaseImage:
    """Build an image from its definition; it appears whole or not at all.

    :param name: of the catalogue, or the path of a definition file.
    :param output: where to; where nothing is said, a catalogue's in the cache directory, if there
        is one, else into the working directory.
    :raises InputError: there is no such definition. :raises PrefixError: the output
        exists, or cannot be written.
    """
    definition_path = _definition(name, catalogue)
    definition = read_definition(definition_path)
    cached = None if output else _cached_output(name, catalogue, site)
    target = (cached or output or Path(f"{definition_path.stem}.sif")).absolute()
    check_kind(target)
    if target.exists() and not force:
        raise PrefixError("the image exists", where=target, hint="use --force to build it anew")
    with _tools(site, console) as tools:
        if cached:
            make_cache(target.parent)
        else:
            _make_parent(target)
        with locked(target):
            return build_image(
                definition,
                target,
                tools,
                entry=catalogue.get(name),
                mirror=mirror,
                compression=tools.trials.choose([_compression(site)]),
            )


def _compression(site: Site) -> Compression:
    asked = site.compression if "compression" in site.chosen else None
    return travelling(asked, site.compression)


def _definition(name: str, catalogue: Mapping[str, Entry]) -> Path:
    entry = catalogue.get(name)
    if entry and entry.is_definition:
        return Path(entry.source)
    if entry:
        raise InputError(
            f"{name} has no definition to build it from",
            where=entry.catalogue,
            hint=f"it is used as it is: {entry.source}",
        )
    if name.endswith(".def"):
        return Path(name).absolute()
    raise InputError(f"no such base image: {name}", hint=nearest(name, catalogue))


def _cached_output(name: str, catalogue: Mapping[str, Entry], site: Site) -> Path | None:
    """Where builds find the image by its name; ``None`` where they would not."""
    cache, entry = site.cache, catalogue.get(name)
    return images.built_image(entry, cache) if cache and entry else None


def _make_parent(target: Path) -> None:
    try:
        make_directory(target.parent)
    except OSError as error:
        raise PrefixError(
            f"the directory cannot be made: {error.strerror}",
            where=target.parent,
            hint="choose another --output",
        ) from None


# -- prune ---------------------------------------------------------------------------------------
def outdated_images(catalogue: Mapping[str, Entry], site: Site) -> list[Path]:
    """Images in the cache whose definitions have changed since.

    :raises InputError: there is no cache, or a definition is missing or wrong.
    """
    if not site.cache:
        raise InputError(
            "there is no cache directory, so no images in it",
            where="CONTAINERIZE_CACHE_DIR",
            hint="set it to the directory where images were built",
        )
    definitions = [entry for entry in catalogue.values() if entry.is_definition]
    return [path for entry in definitions for path in images.earlier_images(entry, site.cache)]


def remove_images(paths: Sequence[Path]) -> None:
    """:raises PrefixError: one cannot be removed."""
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise PrefixError(
                f"the image cannot be removed: {error.strerror}",
                where=path,
                hint="remove it as its owner",
            ) from None


# -- check ---------------------------------------------------------------------------------------
def check(name: str, catalogue: Mapping[str, Entry], site: Site, console: Console) -> list[Check]:
    """Whether an image is there, unchanged, starts, and fits this machine.

    :raises ContainerizeError: it is not there, damaged, changed, or for other machines.
    """
    with _tools(site, console) as tools:
        image = find_image(name, catalogue, tools, tools.space.root)
        checks = [Check(what="there", good=True, detail=str(image.path))]
        checks.append(_unchanged(image, tools))
        facts = look_into(image, tools)
        machine = facts.architecture or "an unknown architecture"
        checks.append(
            Check(what="architecture", good=bool(facts.architecture) or None, detail=machine)
        )
        checks.append(_starts(image, tools))
        checks.append(_rocm(facts))
    return checks


def _unchanged(image: BaseImage, tools: Tools) -> Check:
    """Against the catalogue's digest (which was looked at already), or that of the build."""
    if not image.digest:
        return Check(what="unchanged", good=None, detail="a directory has no digest")
    now = file_digest(image.path, console=tools.console, cache=None)  # all of it, whatever is known
    pinned = image.entry.digest if image.entry else ""
    record = images.built_digests(tools.space.lasting_cache).recall(str(image.path)) or {}
    expected = pinned or str(record.get("digest", ""))
    if not expected:
        return Check(what="unchanged", good=None, detail=f"nothing to compare with: {now}")
    detail = now if now == expected else f"{now}, expected {expected}"
    return Check(what="unchanged", good=now == expected, detail=detail)


def _starts(image: BaseImage, tools: Tools) -> Check:
    runtime = tools.runtime
    command = host_program("true")  # the image may have none
    argv = runtime.exec_argv(image.path, [f"/:{HOST_ROOT}"], command)
    try:
        process.run(argv, console=tools.console, env=runtime.environment(tools.space.scratch))
    except ToolError as error:
        return Check(what="starts", good=False, detail=error.detail or error.what)
    return Check(what="starts", good=True, detail=f"{runtime.name} {runtime.version}")


def _rocm(facts: ImageFacts) -> Check:
    if not facts.rocm:
        return Check(what="ROCm", good=None, detail="none in the image")
    driver = rocm.driver_release(os.environ)
    why = f"no AMD driver tells its version here, {rocm.DRIVER_VARIABLE} names it"
    if driver:
        why = rocm.misfit(facts.rocm, driver) or f"the driver {driver} serves it"
    return Check(what="ROCm", good=rocm.fits(facts.rocm, driver), detail=f"{facts.rocm}; {why}")


def require_good(name: str, checks: Sequence[Check]) -> None:
    """:raises PackageError: the image changed. :raises ToolError: it cannot be used here."""
    for check in checks:
        if check.good is False:
            kind = PackageError if check.what == "unchanged" else ToolError
            raise kind(
                f"the base image {name} cannot be relied on: {check.what}",
                where=checks[0].detail,
                hint=_HINTS[check.what],
                detail=check.detail,
            )
