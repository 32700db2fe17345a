"""``containerize repack``: the same files in an image of another compression.

For what was built where another runtime was: SingularityCE starts no image of zstd. Nothing is
solved or installed, and nothing unpacked where :mod:`wrapper.squashfs` knows the image: its blocks
are compressed anew.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from pathlib import Path
from typing import Any

from wrapper import __version__, generations, prefix, process, removal, shims, smoke, workspace
from wrapper.base.built import Tools
from wrapper.compression import Compression, travelling, wanted
from wrapper.console import Advance, Console
from wrapper.copying import copy_bytes
from wrapper.deploy import NextGeneration
from wrapper.errors import PrefixError
from wrapper.generations import Generation
from wrapper.image.format import rarest_compression, read_format
from wrapper.lock import locked
from wrapper.manifest import FILE_NAME, manifest_text
from wrapper.models import RepackRequest, Result
from wrapper.pipeline import publish, start_once
from wrapper.record import identity
from wrapper.runtime import Runtime, find_runtime
from wrapper.sif import file as sif
from wrapper.sif import output as sif_output
from wrapper.sif.build import MANIFEST_NAME, environment_layer, manifest_of
from wrapper.sif.file import NewObject, Sif, SifObject, SifWriter
from wrapper.squash import find_squasher
from wrapper.squashfs.layout import Unsupported

_IMAGES = ("img.sqfs", "skeleton.sqfs")


def repack(request: RepackRequest, console: Console) -> Result:
    """Repack an installation, which gets a further generation, or a SIF file, which is replaced.

    :raises PrefixError: it is neither, or has no image of its own.
    :raises ContainerizeError: of other kinds; nothing has changed then.
    """
    if os.path.isfile(request.target):  # noqa: PTH113 - false, not raised, where we may not look
        return _repack_sif(request, sif_output.output_path(request.target), console)
    return _repack_installation(request, prefix.absolute_prefix(request.target), console)


# -- an installation -----------------------------------------------------------------------------
def _repack_installation(request: RepackRequest, target: Path, console: Console) -> Result:
    start = time.monotonic()
    _require_image(generations.current_generation(target), target)
    prefix.check_update(target)
    runtime = find_runtime(os.environ, request.site)
    squasher = find_squasher(os.environ, request.site)
    with contextlib.ExitStack() as stack:
        stack.enter_context(locked(target))
        space = stack.enter_context(workspace.workspace(console, site=request.site))
        generations.repair(target)
        number = generations.next_number(target)
        staging = stack.enter_context(NextGeneration(target, number, prefix.directory_mode(target)))
        stack.enter_context(process.umask(0o022))
        tools = Tools(request.site, runtime, squasher, space, console)
        previous = generations.current_generation(target)
        word = request.compression or request.site.compression
        options = () if request.compression else request.site.squashfs_options
        compression = tools.trials.choose(wanted(word, options))
        with console.step(f"Packing with {compression.name}") as advance:
            for name in _IMAGES:
                if (previous.directory / name).is_file():
                    old, new = previous.directory / name, staging.directory / name
                    _recompress(old, new, compression, tools, advance)
        manifest = _carry_over(previous, staging, compression, runtime)
        start_once(staging, manifest, runtime, space, console)
        publish(staging, console)
    return Result(prefix=target, manifest=manifest, seconds=time.monotonic() - start)


def _require_image(generation: Generation, target: Path) -> None:
    if not generation.image.is_file():
        raise PrefixError(
            f"{target.name} has no image of its own: it wraps a container image",
            where=target,
            hint="wrap a repacked image: 'containerize repack' takes SIF files too",
        )


def _carry_over(
    previous: Generation, staging: NextGeneration, compression: Compression, runtime: Runtime
) -> dict[str, Any]:
    """All else of a generation, as it is; returns the manifest, which says what has changed."""
    for entry in previous.directory.iterdir():
        if entry.name in (*_IMAGES, "_bin", "env", FILE_NAME, generations.USED_MARK):
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.copytree(entry, staging.directory / entry.name, symlinks=True)
        elif entry.is_symlink():
            (staging.directory / entry.name).symlink_to(entry.readlink())
        else:
            _same_file(entry, staging.directory / entry.name)
    staging.keep_programs(previous.directory, shims.shim(staging.prefix, runtime.path))
    text = (previous.directory / "env").read_text(encoding="utf-8", errors="surrogateescape")
    text = re.sub(r"^_cw_generation=.*$", f"_cw_generation={staging.generation}", text, flags=re.M)
    text = re.sub(r"^_cw_(compression|compressed|built_with)=.*\n", "", text, flags=re.M)
    images = {"img.sqfs": staging.image}
    if base := previous.manifest["base"].get("path"):
        images[base] = previous.directory / base
    text += shims.start_facts(rarest_compression(images), runtime.path)
    (staging.directory / "env").write_text(text, encoding="utf-8", errors="surrogateescape")
    manifest = {
        **previous.manifest,
        "tool": __version__,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "generation": staging.generation,
        "options": {**previous.manifest["options"], "compression": compression.asked},
        "image": identity(staging.image),
    }
    # (The values of its variables are a file of their own, which has not changed.)
    (staging.directory / FILE_NAME).write_text(manifest_text(manifest))
    return manifest


def _same_file(old: Path, new: Path) -> None:
    """One file by two names, as a base image of the installation's own is large."""
    try:
        new.hardlink_to(old)
    except OSError:  # it is another member's, or the file system has no hard links
        shutil.copyfile(old, new)


# -- a SIF file ----------------------------------------------------------------------------------
def _repack_sif(request: RepackRequest, target: Path, console: Console) -> Result:
    start = time.monotonic()
    sif_output.check_output(target, update=True, force=False)
    image = sif.read_sif(target)
    read_format(target)  # whole, and for this machine?
    runtime = find_runtime(os.environ, request.site)
    squasher = find_squasher(os.environ, request.site)
    ownership = sif_output.Ownership.of(target)
    with (
        locked(target),
        workspace.workspace(console, site=request.site) as space,
        sif_output.drafted(target) as draft,
        process.umask(0o022),
    ):
        tools = Tools(request.site, runtime, squasher, space, console)
        compression = travelling(request.compression, request.site.compression)
        tools.trials.choose([compression])
        packed = _repacked_partitions(image, compression, tools)
        manifest = _sif_manifest(image, packed, compression)
        _write_sif(image, draft, packed, manifest, console)
        with console.step("Starting it once"):
            smoke.start_image(
                draft,
                manifest["install_path"] if manifest else "/",
                name=target,
                runtime=runtime,
                scratch=space.scratch,
                console=console,
            )
        with console.step("Switching to it"):
            process.pass_point_of_no_return(console)
            sif_output.publish(draft, target, ownership)
    seconds = time.monotonic() - start
    return Result(prefix=target, manifest=manifest or {"image": identity(target)}, seconds=seconds)


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
        what = item.name or "the system"
        with tools.console.step(f"Packing {what} with {compression.name}") as advance:
            _recompress(plain, found[item.number], compression, tools, advance)
        plain.unlink()
    return found


def _sif_manifest(
    image: Sif, packed: dict[int, Path], compression: Compression
) -> dict[str, Any] | None:
    """The manifest as it is to be, ``None`` in an image of another program's."""
    manifest = manifest_of(image)
    if manifest is None:
        return None
    layer = environment_layer(image)
    return {
        **manifest,
        "options": {**manifest["options"], "compression": compression.asked},
        "image": identity(packed[layer.number]),
    }


def _write_sif(
    image: Sif,
    draft: Path,
    packed: dict[int, Path],
    manifest: dict[str, Any] | None,
    console: Console,
) -> None:
    if any(item.kind == sif.SIGNATURE for item in image.objects):
        console.warning("the image's signature is of other bytes now and is left out")
    keep = [item for item in image.objects if _stays(item)]
    with (
        console.step(f"Writing {image.path.name}") as advance,
        SifWriter(draft, base=image, keep=keep, instead=packed) as out,
    ):
        out.copy_base(advance)
        if manifest is not None:
            content = manifest_text(manifest).encode()
            out.add(NewObject(kind=sif.JSON, name=MANIFEST_NAME, content=content))
        out.finish()


def _stays(item: SifObject) -> bool:
    return item.kind != sif.SIGNATURE and item.name != MANIFEST_NAME


# -- both ----------------------------------------------------------------------------------------
def _recompress(
    image: Path, target: Path, compression: Compression, tools: Tools, advance: Advance
) -> None:
    """Write the files of ``image`` as ``target``; by way of a tree where that takes one."""
    try:
        tools.squasher.recompress(image, target, compression, advance)
        return
    except Unsupported as why:
        target.unlink(missing_ok=True)
        tools.console.log(f"{image.name} is unpacked: {why}")
    tree = tools.space.root / "unpacked"
    tools.squasher.unsquash(image, tree, console=tools.console, over=True)
    tools.squasher.squash(
        tree, target, compression=compression, console=tools.console, advance=advance
    )
    removal.remove_tree(tree)
