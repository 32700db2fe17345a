"""``containerize repack``: the same files in an image of another compression.

For what was built where another runtime was: SingularityCE starts no image of zstd. Nothing is
solved or installed, and nothing unpacked where :mod:`wrapper.images.squashfs` knows the image: its
blocks are compressed anew.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from wrapper import __version__, layout, process, workspace
from wrapper.base.built import Tools
from wrapper.commands.prepare import find_programs, finish, finish_sif, next_generation
from wrapper.console import Advance, Console
from wrapper.errors import PrefixError
from wrapper.images.compression import Compression, travelling, wanted
from wrapper.images.format import SIF, mark, rarest_compression, read_format
from wrapper.images.sif import file as sif
from wrapper.images.sif import output as sif_output
from wrapper.images.sif.file import NewObject, Sif, SifWriter
from wrapper.images.sif.record import (
    MANIFEST_NAME,
    READING,
    environment_layer,
    manifest_of,
    object_text,
)
from wrapper.images.squashfs.layout import Unsupported
from wrapper.manifest import Manifest, manifest_text
from wrapper.models import Site
from wrapper.prefix import checks as prefix
from wrapper.prefix import generations, shims
from wrapper.prefix.generations import Generation
from wrapper.prefix.reading_order import read_order
from wrapper.prefix.record import identity, now
from wrapper.prefix.staging import NextGeneration
from wrapper.requests import Repacked, RepackRequest
from wrapper.runtime.runtime import Runtime
from wrapper.util import removal
from wrapper.util.copying import copy_bytes
from wrapper.util.lock import locked

_IMAGES = (layout.IMAGE, layout.SKELETON)


def repack(request: RepackRequest, console: Console) -> Repacked:
    """Repack an installation, which gets a further generation, or a SIF file, which is replaced.

    :raises PrefixError: it is neither, or has no image of its own.
    :raises ContainerizeError: of other kinds; nothing has changed then.
    """
    if os.path.isfile(request.target):  # noqa: PTH113 - false, not raised, where we may not look
        return _repack_sif(request, sif_output.output_path(request.target), console)
    return _repack_installation(request, prefix.absolute_prefix(request.target), console)


# -- an installation -----------------------------------------------------------------------------
def _repack_installation(request: RepackRequest, target: Path, console: Console) -> Repacked:
    require_image(generations.current_generation(target), target)
    prefix.check_update(target)
    programs = find_programs(request.site)
    with next_generation(target, request.site, console) as (space, staging, previous):
        tools = Tools(request.site, *programs, space, console)
        word = request.compression or request.site.compression
        options = () if request.compression else request.site.squashfs_options
        compression = tools.trials.choose(wanted(word, options))
        order = read_order(previous.directory)
        with console.step(f"Packing with {compression.name}") as advance:
            for name in _IMAGES:
                if (previous.directory / name).is_file():
                    old, new = previous.directory / name, staging.directory / name
                    _recompress(old, new, compression, tools, advance, order=order)
        _repack_own_base(previous, staging, compression, tools)
        asked = compression.asked
        manifest = carry_over(previous, staging, tools.runtime, compression=asked)
        finish(staging, manifest, runtime=tools.runtime, space=space, console=console)
    return Repacked(
        prefix=target,
        image=manifest.image,
        manifest=manifest,
        seconds=console.seconds,
    )


def require_image(generation: Generation, target: Path) -> None:
    """:raises PrefixError: a generation has none of its own."""
    if not generation.image.is_file():
        raise PrefixError(
            f"{target.name} has no image of its own: it wraps a container image",
            where=target,
            hint="wrap a repacked image: 'containerize repack' takes SIF files too",
        )


def _repack_own_base(
    previous: Generation, staging: NextGeneration, compression: Compression, tools: Tools
) -> None:
    """A base image that is the installation's own starts no better than it is compressed."""
    old = previous.directory / layout.BASE
    if not (previous.manifest.base.owned and old.is_file()):
        return
    found = read_format(old)
    if found.kind == SIF and {*found.compressors} != {compression.name}:
        image = sif.read_sif(old)
        packed = _repacked_partitions(image, compression, tools)
        new = staging.directory / layout.BASE
        write_sif(image, new, packed, None, tools.console)
        new.chmod(stat.S_IMODE(old.stat().st_mode))


def carry_over(
    previous: Generation, staging: NextGeneration, runtime: Runtime, *, compression: str
) -> Manifest:
    """All of a generation that is not there yet, as it is; returns the manifest, which says what
    has changed. :param compression: as it was asked for.
    """
    for entry in previous.directory.iterdir():
        if entry.name in (
            layout.PROGRAMS,
            layout.ENV,
            layout.MANIFEST,
            generations.USED_MARK,
        ) or os.path.lexists(staging.directory / entry.name):
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.copytree(entry, staging.directory / entry.name, symlinks=True)
        elif entry.is_symlink():
            (staging.directory / entry.name).symlink_to(entry.readlink())
        else:
            _same_file(entry, staging.directory / entry.name)
    staging.keep_programs(previous.directory, shims.shim(staging.prefix, runtime.path))
    text = (previous.directory / layout.ENV).read_text(encoding="utf-8", errors="surrogateescape")
    text = re.sub(r"^_cw_generation=.*$", f"_cw_generation={staging.generation}", text, flags=re.M)
    text = re.sub(r"^_cw_(compression|compressed|built_with)=.*\n", "", text, flags=re.M)
    images, base = {layout.IMAGE: staging.image}, previous.manifest.base
    if base.path:
        image = staging.directory / base.path
        images[base.path] = image
        if base.owned and not image.samefile(previous.directory / base.path):
            text = text.replace(shims.mark_line(base.mark), shims.mark_line(mark(image)))
            digest = f"sha256:{identity(image).sha256}" if base.digest else ""
            base = replace(base, mark=mark(image), digest=digest, size=image.stat().st_size)
    text += shims.start_facts(rarest_compression(images), runtime.path)
    shims.write_environment(staging.directory, text)
    manifest = replace(
        previous.manifest,
        tool=__version__,
        created=now(),
        generation=staging.generation,
        options=replace(previous.manifest.options, compression=compression),
        read_first=len(read_order(staging.directory)),
        image=identity(staging.image),
        base=base,
    )
    # (The values of its variables are a file of their own, which has not changed.)
    (staging.directory / layout.MANIFEST).write_text(manifest_text(manifest))
    return manifest


def _same_file(old: Path, new: Path) -> None:
    """One file by two names, as a base image of the installation's own is large."""
    try:
        new.hardlink_to(old)
    except OSError:  # it is another member's, or the file system has no hard links
        shutil.copyfile(old, new)


# -- a SIF file ----------------------------------------------------------------------------------
@contextlib.contextmanager
def next_sif(target: Path, site: Site, console: Console) -> Iterator[tuple[Tools, Path]]:
    """What a SIF is written anew with, by nobody else: the tools, and the draft of the new file."""
    programs = find_programs(site)
    with (
        locked(target),
        workspace.workspace(console, site=site) as space,
        sif_output.drafted(target) as draft,
        process.umask(0o022),
    ):
        yield Tools(site, *programs, space, console), draft


def _repack_sif(request: RepackRequest, target: Path, console: Console) -> Repacked:
    sif_output.check_output(target, update=True, force=False)
    image = sif.read_sif(target)
    read_format(target)  # whole, and for this machine?
    ownership = sif_output.Ownership.of(target)
    with next_sif(target, request.site, console) as (tools, draft):
        compression = travelling(request.compression, request.site.compression)
        tools.trials.choose([compression])
        packed = _repacked_partitions(image, compression, tools)
        manifest = _sif_manifest(image, packed, compression)
        write_sif(image, draft, packed, manifest, console)
        inside = manifest.install_path if manifest else "/"
        finish_sif(draft, target, inside=inside, ownership=ownership, tools=tools)
    return Repacked(
        prefix=target,
        image=manifest.image if manifest else identity(target),
        manifest=manifest,
        seconds=console.seconds,
    )


def _repacked_partitions(image: Sif, compression: Compression, tools: Tools) -> dict[int, Path]:
    """The image's file systems, repacked: by number of their objects. Others stay as they are."""
    found: dict[int, Path] = {}
    for item in image.objects:
        if item.kind != sif.PARTITION or item.partition[0] != sif.SQUASHFS:
            continue
        plain = tools.space.root / f"partition-{item.number}.sqfs"
        with image.path.open("rb", buffering=0) as source, plain.open("xb", buffering=0) as out:
            source.seek(item.offset)
            copy_bytes(source, out, item.size, lambda _: None)
        found[item.number] = plain.with_suffix(".new.sqfs")
        what, own = item.name or "the system", item == environment_layer(image)
        order = (object_text(image, READING) or "").splitlines() if own else []
        with tools.console.step(f"Packing {what} with {compression.name}") as advance:
            _recompress(plain, found[item.number], compression, tools, advance, order=order)
        plain.unlink()
    return found


def _sif_manifest(image: Sif, packed: dict[int, Path], compression: Compression) -> Manifest | None:
    """The manifest as it is to be, ``None`` in an image of another program's."""
    manifest = manifest_of(image)
    if manifest is None:
        return None
    layer = environment_layer(image)
    return replace(
        manifest,
        options=replace(manifest.options, compression=compression.asked),
        image=identity(packed[layer.number]),
    )


def write_sif(
    image: Sif,
    draft: Path,
    packed: dict[int, Path],
    manifest: Manifest | None,
    console: Console,
    *,
    order: str | None = None,
) -> None:
    """Write an image with other file systems. :param packed: by number of their objects.

    :param order: the record of a reading order, where it is a new one.
    """
    if any(item.kind == sif.SIGNATURE for item in image.objects):
        console.warning("the image's signature is of other bytes now and is left out")
    gone = (MANIFEST_NAME,) if order is None else (MANIFEST_NAME, READING)
    keep = [o for o in image.objects if o.kind != sif.SIGNATURE and o.name not in gone]
    with (
        console.step(f"Writing {image.path.name}") as advance,
        SifWriter(draft, base=image, keep=keep, instead=packed) as out,
    ):
        out.copy_base(advance)
        if manifest is not None:
            content = manifest_text(manifest).encode()
            out.add(NewObject(kind=sif.JSON, name=MANIFEST_NAME, content=content))
        if order:
            out.add(NewObject(kind=sif.GENERIC, name=READING, content=order.encode()))
        out.finish()


# -- both ----------------------------------------------------------------------------------------
def _recompress(
    image: Path,
    target: Path,
    compression: Compression,
    tools: Tools,
    advance: Advance,
    *,
    order: Sequence[str] = (),
) -> None:
    """Write the files of ``image`` as ``target``; by way of a tree where that takes one."""
    try:
        tools.squasher.recompress(image, target, compression, advance, order=order)
        return
    except Unsupported as why:
        target.unlink(missing_ok=True)
        tools.console.log(f"{image.name} is unpacked: {why}")
    tree = tools.space.root / "unpacked"
    tools.squasher.unsquash(image, tree, console=tools.console, over=True)
    tools.squasher.squash(
        tree,
        target,
        compression=compression,
        console=tools.console,
        advance=advance,
        order=order,
    )
    removal.remove_tree(tree)
