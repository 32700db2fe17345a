"""``containerize profile``: the files of an image in the order in which a program opens them.

A cold start then reads forward, and unpacks no block for one small file in it. Nothing but the
place of files in the image changes.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from wrapper import layout, process
from wrapper.base.built import Tools
from wrapper.commands.prepare import find_programs, finish, finish_sif, next_generation
from wrapper.commands.repack import carry_over, next_sif, require_image, write_sif
from wrapper.console import Console
from wrapper.errors import PrefixError, ToolError
from wrapper.images.sif import output as sif_output
from wrapper.images.sif.file import read_sif
from wrapper.images.sif.record import INSTALL_PATH, environment_layer, read_sif_manifest
from wrapper.images.squashfs.layout import Directory, File, Node, Unsupported
from wrapper.images.squashfs.reader import Image, read_image
from wrapper.prefix import checks as prefix
from wrapper.prefix import generations, shims
from wrapper.prefix.reading_order import write_order
from wrapper.prefix.record import identity
from wrapper.process import Conversation, ToolFailed
from wrapper.requests import ProfileRequest, Repacked
from wrapper.runtime.opened import OpenedFiles

# What a shell in the container does: it tells its number, and begins when all is watched.
_MARK = "containerize-profile-pid"
_WAITING = f'echo {_MARK} $$ && read -r go && exec "$@" >&2 </dev/null'
_NOT_LOOKED_INTO = "the container's files cannot be watched from outside"


def profile(request: ProfileRequest, console: Console) -> Repacked:
    """Start a program, and write the image in its order: of an installation a further generation,
    of a SIF a file in its place.

    :raises PrefixError: it has no image of its own, or none that can be put in order.
    :raises ToolError: the program does not start, fails, or opens nothing of the installation.
    """
    if os.path.isfile(request.target):  # noqa: PTH113 - false, not raised, where we may not look
        return _profile_sif(request, sif_output.output_path(request.target), console)
    target = prefix.absolute_prefix(request.target)
    generation = generations.current_generation(target)
    require_image(generation, target)
    prefix.check_update(target)
    programs = find_programs(request.site)
    with console.step("Recording what is opened"):
        manifest = generation.manifest
        image = _read(generation.image, target)
        own = str(generation.within_image(manifest.install_path))
        argv = [str(target / layout.BIN / shims.DEBUG_NAMES[0])]
        order = _recorded(
            target, argv, request.words, _below(image, own), console, image_root=manifest.image_root
        )
    with next_generation(target, request.site, console) as (space, staging, previous):
        tools = Tools(request.site, *programs, space, console)
        image = _read(previous.image, target)
        with console.step("Writing the image") as advance:
            tools.squasher.arrange(image, staging.image, order, advance)
        write_order(staging.directory, order)
        asked = previous.manifest.options.compression
        manifest = carry_over(previous, staging, tools.runtime, compression=asked)
        finish(staging, manifest, runtime=tools.runtime, space=space, console=console)
    return Repacked(prefix=target, image=manifest.image, manifest=manifest, seconds=console.seconds)


def _profile_sif(request: ProfileRequest, target: Path, console: Console) -> Repacked:
    """Of the file the environment's file system is written anew; a base below it stays as it is."""
    sif_output.check_output(target, update=True, force=False)
    read_sif_manifest(target)
    ownership = sif_output.Ownership.of(target)
    with next_sif(target, request.site, console) as (tools, draft):
        sif, before = read_sif(target), read_sif_manifest(target)
        layer = environment_layer(sif)
        image = _read(target, target, layer.offset)
        argv = [str(tools.runtime.path), "exec", str(target)]
        with console.step("Recording what is opened"):
            files = _below(image, INSTALL_PATH.lstrip("/"))
            order = _recorded(target, argv, request.words, files, console)
        order = [path for path in order if path.isprintable()]
        packed = tools.space.root / "layer.sqfs"
        with console.step("Writing the environment's layer") as advance:
            tools.squasher.arrange(image, packed, order, advance)
        if not before.flatten:
            console.info(
                "what is opened of the base image stays where it is: only the layer changes"
            )
        manifest = replace(before, read_first=len(order), image=identity(packed))
        text = "\n".join(order)
        write_sif(sif, draft, {layer.number: packed}, manifest, console, order=text)
        finish_sif(draft, target, inside=manifest.install_path, ownership=ownership, tools=tools)
    return Repacked(prefix=target, image=manifest.image, manifest=manifest, seconds=console.seconds)


def _read(file: Path, target: Path, offset: int = 0) -> Image:
    try:
        return read_image(file, offset)
    except Unsupported as why:
        raise PrefixError(
            f"the image is not of a kind that can be put in order: {why}",
            where=target,
            hint="'containerize repack' writes one that is, then try again",
        ) from None


def _below(image: Image, own: str) -> dict[str, Node]:
    """What an image has of the environment ``own``, by paths in the image."""
    above = "" if own == "." else f"{own}/"
    return {path: node for path, node in image.root.walk() if f"{path}/".startswith(above)}


def _recorded(
    target: Path,
    start: list[str],
    words: tuple[str, ...],
    nodes: Mapping[str, Node],
    console: Console,
    *,
    image_root: str = "",
) -> list[str]:
    """Files among ``nodes`` in the order in which a program opens them.

    :param start: what its line begins with. :param image_root: where the container has the image.
    """
    directories = [path for path, node in nodes.items() if isinstance(node, Directory)]
    argv = [*start, "/bin/sh", "-c", _WAITING, "sh", *words]
    with _opened_files() as opened, process.conversation(argv, env=os.environ) as program:
        number = _number(program, target)
        root = Path(f"/proc/{number}/root{image_root}")
        _watch(opened, root, directories)
        program.say("go")
        opened.follow(program.ended)
        if program.status:
            raise ToolFailed(
                f"{words[0]} ended with status {program.status}: nothing has changed",
                status=program.status,
                hint="name a program of it that ends by itself and succeeds",
            )
    if opened.lost:
        console.warning("more was opened at once than could be noted: the order has gaps")
    found = [path for path in opened.paths if isinstance(nodes.get(path), File)]
    if not found:
        raise ToolError(
            f"{words[0]} opened no file of the installation: nothing has changed",
            where=target,
            hint="name one of its programs: containerize profile DIR -- python3 -c 'import numpy'",
        )
    return found


def _number(program: Conversation, target: Path) -> int:
    """That of the shell's process. What scripts of the activation print comes before it."""
    said = []
    while line := program.hear():
        if match := re.search(rf"{_MARK} (\d+)$", line):
            return int(match[1])
        said.append(line)
    raise ToolError(
        "the container does not start",
        where=target,
        hint="see what is wrong: containerize doctor",
        detail="".join(said),
    )


def _opened_files() -> OpenedFiles:
    try:
        return OpenedFiles()
    except OSError as error:
        raise ToolError(
            f"{_NOT_LOOKED_INTO}: {error.strerror}",
            where="/proc/sys/fs/inotify/max_user_instances",
            hint="end programs of yours that watch files, as editors do, or record on another node",
        ) from None


def _watch(opened: OpenedFiles, root: Path, directories: list[str]) -> None:
    try:
        opened.watch(root, directories)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            limit = Path("/proc/sys/fs/inotify/max_user_watches").read_text().strip()
            raise ToolError(
                f"{_NOT_LOOKED_INTO}: a user may watch {limit} directories, and it has "
                f"{len(directories)}",
                where="/proc/sys/fs/inotify/max_user_watches",
                hint="record where more may be watched; compute nodes often have another limit",
            ) from None
        raise ToolError(
            f"{_NOT_LOOKED_INTO}: {error.strerror}",
            where=error.filename,
            hint="this runtime hides its processes: record on another machine",
        ) from None
