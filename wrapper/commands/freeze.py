"""``containerize freeze`` and ``thaw``: an extension as one file, and as files again.

The image appears, and goes, by one rename; where there is one it counts, so what lies beside it can
be changed before or after that. A killed command is finished by the next.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from wrapper import layout, process, workspace
from wrapper.commands.extend import environment
from wrapper.console import Console, shortened
from wrapper.errors import PrefixError, ToolError, start_hint
from wrapper.images.compression import travelling
from wrapper.images.squasher import find_squasher
from wrapper.images.squashfs.layout import Directory, File, Link, Node, Unsupported
from wrapper.images.squashfs.reader import read_image
from wrapper.models import Site
from wrapper.prefix import checks as prefix
from wrapper.prefix import extension
from wrapper.prefix.extension import Extension
from wrapper.process import ToolFailed
from wrapper.util.lock import LOCK_NAME, locked
from wrapper.util.removal import remove_tree
from wrapper.util.sync import sync_directory

_DRAFT, _THAWING, _LINK = ".extension.sqfs.new", ".thawing", ".new"
_OUTSIDE = {layout.BIN, layout.VENV, layout.EXTENSION, layout.EXTENSION_IMAGE, LOCK_NAME}
_TOLD = 5  # names of what stays
_LOOK = "import os, sys; sys.exit(not os.statvfs(sys.prefix).f_flag & os.ST_RDONLY)"


def freeze(target: Path, site: Site, console: Console) -> Extension:
    """Put the files of an extension into an image; only what finds it stays outside.

    :raises PrefixError: there is none. :raises ToolError: the image does not start here.
    """
    found = extension.existing(prefix.absolute_prefix(target))
    if layout.EXTENSION_IMAGE not in found.shim.read_text(errors="replace"):
        raise PrefixError(
            "the installation's shims are of an earlier version and know no frozen extension",
            where=found.installation,
            hint=f"its owner: containerize repack {found.installation}",
        )
    with locked(found.place):
        remove_tree(found.place / _THAWING)
        if found.image.exists():  # one that was killed; or there is nothing to do
            _check_image(found, site, console)
            _clear(found, console)
            console.info(f"{found.place} is frozen already")
            return found
        draft = found.place / _DRAFT
        try:
            _pack(found, draft, site, console)
            with console.step("Starting it once"):
                _start(found, draft, console)
            process.pass_point_of_no_return(console)
            draft.rename(found.image)
        finally:
            draft.unlink(missing_ok=True)
        sync_directory(found.place)
        _clear(found, console)
    return found


def _pack(found: Extension, draft: Path, site: Site, console: Console) -> None:
    with workspace.workspace(console, site=site) as space:
        left_out = space.root / "left-out"
        left_out.write_text(f"{LOCK_NAME}\n{draft.name}\n")
        squasher = find_squasher(os.environ, site, more=("-ef", str(left_out)))
        with console.step("Writing the image") as advance:
            draft.unlink(missing_ok=True)
            squasher.squash(
                found.place,
                draft,
                compression=travelling(None),
                console=console,
                advance=advance,
                times=True,
                plain=space.root / "plain",
            )
        # Who may not look into the directory shall not read its files in the image.
        draft.chmod(draft.stat().st_mode & found.place.stat().st_mode & 0o664)
        with draft.open("rb") as file:
            os.fsync(file.fileno())


def _start(found: Extension, draft: Path, console: Console) -> None:
    """:raises ToolError: the image cannot be bound over the extension here."""
    place = os.path.realpath(found.place)
    env = environment(os.environ)
    bind = f"{place}/{draft.name}:{place}:image-src=/"
    for name in ("SINGULARITY_BIND", "APPTAINER_BIND"):
        env[name] = ",".join(filter(None, [env.get(name), bind]))
    try:
        process.run([found.place / layout.BIN / "python3", "-c", _LOOK], console=console, env=env)
    except ToolFailed as error:
        raise ToolError(
            "this container runtime lays no image over a directory of the host",
            where=found.place,
            hint=start_hint(error.detail, "it stays as it was; name another: CONTAINERIZE_RUNTIME"),
            detail=error.detail,
        ) from None


def _clear(found: Extension, console: Console) -> None:
    """Remove what is in the image as it is here; programs become links to the installation's shims.

    What is new or was changed since stays. :raises PrefixError: a directory cannot be emptied.
    """
    try:
        root = read_image(found.image).root
    except Unsupported as why:
        console.warning(f"the files stay beside {found.image}: it cannot be compared: {why}")
        return
    kept: list[Path] = []
    for entry in sorted(found.place.iterdir()):
        if entry.name not in _OUTSIDE:
            kept += _removed(entry, root.entries.get(entry.name))
    programs = root.entries.get(layout.BIN)
    known = programs.entries if isinstance(programs, Directory) else {}
    link = found.place / layout.BIN / _LINK
    for program in sorted((found.place / layout.BIN).iterdir()):
        if program.is_symlink() and program.exists():  # a program of the installation, or a shim
            continue
        if program.is_symlink() or (program.is_file() and os.access(program, os.X_OK)):
            if _is_same(program, known.get(program.name)):
                link.unlink(missing_ok=True)
                link.symlink_to(found.shim)
                link.replace(program)
            else:
                kept.append(program)
    if kept:
        names = shortened([str(path.relative_to(found.place)) for path in kept], _TOLD)
        console.warning(f"not in the image, so they stay in {found.place}: {names}")


def _removed(path: Path, node: Node | None) -> list[Path]:
    """Remove what is as in the image; returns what stays."""
    if not (_is_directory(path) and isinstance(node, Directory)):
        if not _is_same(path, node):
            return [path]
        path.unlink()
        return []
    mode = stat.S_IMODE(path.lstat().st_mode)
    if mode & stat.S_IRWXU != stat.S_IRWXU:
        path.chmod(mode | stat.S_IRWXU)
    entries = sorted(path.iterdir())
    kept = [one for entry in entries for one in _removed(entry, node.entries.get(entry.name))]
    if not kept:
        try:
            path.rmdir()
        except OSError as error:  # NFS keeps the files that programs have open
            raise PrefixError(
                f"cannot remove the directory, whose files are in the image: {error.strerror}",
                where=path,
                hint="end programs that run from there, then the same command again",
            ) from None
    return kept


def _is_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _is_same(path: Path, node: Node | None) -> bool:
    """Whether a file or a link is the one in the image, which has times in whole seconds."""
    if path.is_symlink():
        return isinstance(node, Link) and node.target == str(path.readlink())
    if not (isinstance(node, File) and path.is_file()):
        return False
    status = path.stat()
    return (status.st_size, int(status.st_mtime)) == (node.size, node.time)


def thaw(target: Path, site: Site, console: Console) -> Extension:
    """Make files of a frozen extension again, for which nothing of the installation is needed.

    :raises PrefixError: there is none, it is not frozen, or the image is of another one.
    """
    found = extension.existing(prefix.absolute_prefix(target), starts=False)
    with locked(found.place):
        unpacked = found.place / _THAWING
        begun = unpacked.exists()
        remove_tree(unpacked)
        if not found.image.exists():
            if begun:  # one that was killed when all was done but this
                return found
            raise PrefixError(
                "the extension is not frozen", where=found.place, hint="there is nothing to thaw"
            )
        try:
            with console.step("Unpacking the image"):
                find_squasher(os.environ, site).unsquash(found.image, unpacked, console=console)
            _check_same(found, unpacked)
            process.pass_point_of_no_return(console)
            _put_back(found.place, unpacked, console)
        finally:
            remove_tree(unpacked)
    return found


def _check_image(found: Extension, site: Site, console: Console) -> None:
    """:raises PrefixError: the image is of another one."""
    unpacked, paths = found.place / _THAWING, [layout.EXTENSION]
    squasher = find_squasher(os.environ, site)
    try:
        squasher.unsquash(found.image, unpacked, console=console, paths=paths)
        _check_same(found, unpacked)
    finally:
        remove_tree(unpacked)


def _check_same(found: Extension, unpacked: Path) -> None:
    inside = extension.read(unpacked)
    if inside != found or (unpacked / layout.BIN).is_symlink():
        whose = f"of {inside.directory}" if inside else "no extension"
        raise PrefixError(
            f"the image is not this extension's: it is {whose}",
            where=found.image,
            hint="put the right one in its place",
        )


def _put_back(place: Path, unpacked: Path, console: Console) -> None:
    """All of the tree ``unpacked`` into ``place``; then the image, which counted so far, goes."""
    moved: list[Path] = []
    root, programs = ((unpacked / name).stat() for name in ("", layout.BIN))
    for entry in sorted(unpacked.iterdir()):
        if entry.name != layout.BIN:
            moved += _put(entry, place / entry.name)
    for program in sorted((unpacked / layout.BIN).iterdir()):
        moved += _put(program, place / layout.BIN / program.name)
    (place / layout.BIN / _LINK).unlink(missing_ok=True)  # of a freeze that was killed
    _set_times(place / layout.BIN, programs)
    sync_directory(place / layout.BIN)
    sync_directory(place)
    (place / layout.EXTENSION_IMAGE).unlink()
    remove_tree(unpacked)
    if moved:
        names = ", ".join(str(path.relative_to(place)) for path in moved)
        console.warning(f"changed beside the image, so they have another name in {place}: {names}")
    _set_times(place, root)


def _set_times(path: Path, status: os.stat_result) -> None:
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _put(entry: Path, place: Path) -> list[Path]:
    """What is in the image takes its place; returns the new names of files that were changed there.

    Directories are merged: what is only there stays.
    """
    if _is_directory(entry) and _is_directory(place):
        status = entry.stat()
        for directory in (entry, place):
            directory.chmod(stat.S_IMODE(status.st_mode) | stat.S_IRWXU)
        moved = [one for name in sorted(entry.iterdir()) for one in _put(name, place / name.name)]
        place.chmod(stat.S_IMODE(status.st_mode))
        _set_times(place, status)
        return moved
    moved = []
    if place.is_symlink():
        if _is_directory(entry):
            place.unlink()
    elif place.exists() and not _is_copy(entry, place):
        aside = place
        while os.path.lexists(aside):
            aside = aside.with_name(f"{aside.name}.outside")
        place.rename(aside)
        moved = [aside]
    if not _is_directory(entry):
        entry.replace(place)
        return moved
    mode = stat.S_IMODE(entry.stat().st_mode)
    entry.chmod(mode | stat.S_IRWXU)  # else its owner cannot put it elsewhere
    entry.replace(place)
    place.chmod(mode)
    return moved


def _is_copy(entry: Path, place: Path) -> bool:
    """Whether a file of the image is the one that is there."""
    files = [path.lstat() for path in (entry, place)]
    first, second = ((one.st_size, int(one.st_mtime)) for one in files)
    return first == second and all(stat.S_ISREG(one.st_mode) for one in files)
