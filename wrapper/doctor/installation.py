"""An installation on disk: is it whole, where it was made, as readable as it should be?

Only looks at files. What it needs besides itself is looked at in :mod:`wrapper.doctor.needs`.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from wrapper import layout
from wrapper.console import counted, human_size, shortened
from wrapper.doctor.finding import Finding, failed, ok, warning
from wrapper.errors import ContainerizeError
from wrapper.images.format import read_format
from wrapper.manifest import Manifest, load_manifest, no_installation, read_manifest
from wrapper.prefix import checks as prefix
from wrapper.prefix import host_programs, shims
from wrapper.prefix.generations import UNFINISHED, program_names
from wrapper.prefix.staging import ADOPTING
from wrapper.util.lock import holder as lock_holder

_ANEW = "build it anew from the lock and inputs in current, or: containerize rollback {}"
_LITTER = (f".{layout.CURRENT}.new", prefix.STAGING_NAME, ADOPTING)
_OTHERS = "programs go on without; put it back, or update with others: --with DIR, --with none"
_TYKKY_LINKS = (layout.IMAGE, layout.BASE, layout.COMMON, layout.PROGRAMS, layout.SHARE)


def with_manifest(
    target: Path, look: Callable[[Path, Manifest], Sequence[Finding]]
) -> Sequence[Finding]:
    """Look with the manifest of the generation in use; where it cannot be read, that was told."""
    try:
        manifest = read_manifest(target)
    except ContainerizeError:
        return []
    return look(target, manifest)


# -- is it whole? --------------------------------------------------------------------------------
def generation_in_use(target: Path) -> list[Finding]:
    """``current`` and the shell's file of facts, without which no program starts."""
    link = target / layout.CURRENT
    if not link.is_symlink():
        what = "has no link 'current'" if target.is_dir() else "is not there"
        return [failed("installation", f"{target} {what}", no_installation(target).hint)]
    goal = link.readlink()
    if not link.is_dir():
        others = sorted(entry.name for entry in (target / layout.GENERATIONS).glob("[0-9]*"))
        there = ", ".join(others) or "none"
        hint = f"containerize rollback {_word(target)} N, to one that is there ({there})"
        return [failed("installation", f"current leads to {goal}, which has gone", hint)]
    found = [ok("installation", f"{target}, generation {goal.name} in use")]
    if not os.access(link / layout.ENV, os.R_OK):
        state = "cannot be read" if (link / layout.ENV).exists() else "has gone"
        found.append(failed("env", f"{link / 'env'} {state}", _again(target, state)))
    return found


def _again(target: Path, state: str) -> str:
    if state == "cannot be read":
        return "ask its owner for read permission"
    return _anew(target)


def _anew(target: Path) -> str:
    return _ANEW.format(_word(target))


def _word(path: Path) -> str:
    """A path as one can type it."""
    return shlex.quote(str(path))


def manifest(target: Path) -> list[Finding]:
    """The record, and who made it when."""
    if not (target / layout.CURRENT).is_symlink():
        return []
    data = read_manifest(target)
    detail = f"format {data.format}, {data.kind}, made {data.created} by {data.tool}"
    return [ok("manifest", detail)]


def image(target: Path, data: Manifest) -> list[Finding]:
    """The image file: there, whole, and of the recorded size."""
    if data.kind == "container":
        return []
    path = target / layout.CURRENT / layout.IMAGE
    if not path.exists():
        return [failed("image", f"{path} has gone", _anew(target))]
    found = read_format(path)
    size = path.stat().st_size
    if size != data.image.size:
        detail = f"{path} has {size} bytes, the manifest says {data.image.size}"
        return [failed("image", detail, _anew(target))]
    return [ok("image", f"{found.kind}, {found.compressors[0]}, {human_size(size)}")]


def generations(target: Path) -> list[Finding]:
    """The others: how many, how large, and whether one could go back to them."""
    number = (
        (target / layout.CURRENT).readlink().name if (target / layout.CURRENT).is_symlink() else ""
    )
    found, sizes = list[Finding](), list[int]()
    for directory in sorted(
        (target / layout.GENERATIONS).glob("[0-9]*"), key=lambda path: path.name
    ):
        if directory.name == number:
            continue
        try:
            load_manifest(directory / layout.MANIFEST, target)
        except ContainerizeError:
            hint = f"no rollback leads there; free its room: rm -r {_word(directory)}"
            found.append(warning("generations", f"{directory.name} is damaged", hint))
            continue
        picture = directory / layout.IMAGE
        sizes.append(picture.stat().st_size if picture.exists() else 0)
    if sizes:
        size = human_size(sum(sizes))
        detail = f"{counted(len(sizes), 'other')}, {size} ('containerize prune' frees it)"
    else:
        detail = "no others"
    return [*found, ok("generations", detail)]


# -- who is at work, and what was left? ----------------------------------------------------------
def lock(target: Path) -> list[Finding]:
    """A build that holds the installation, or one that died."""
    holder = lock_holder(target)
    if holder is None:
        return [ok("lock", "nobody holds it")]
    if holder.dead:
        hint = f"nothing: the next build takes it over; or: rm {_word(holder.lock)}"
        return [warning("lock", f"of a build that died: {holder.text}", hint)]
    return [warning("lock", f"a build is at work: {holder.text}", "wait for it to end")]


def leftovers(target: Path) -> list[Finding]:
    """What builds left that were killed."""
    holder = lock_holder(target)
    if holder and not holder.dead:
        return []  # it is that build's
    found = [target / name for name in _LITTER if os.path.lexists(target / name)]
    found += _begins(target / layout.GENERATIONS, UNFINISHED)
    found += _begins(target.parent, (f".{target.name}.new-",))
    if not found:
        return [ok("left-overs", "none")]
    names = shlex.join(map(str, found))
    if target / ADOPTING in found:
        hint = f"its owner: containerize adopt {_word(target)}"
    else:
        hint = f"its owner: rm -r {names}"
    return [warning("left-overs", f"of a build that was killed: {names}", hint)]


def _begins(directory: Path, beginnings: tuple[str, ...]) -> list[Path]:
    try:
        return sorted(entry for entry in directory.iterdir() if entry.name.startswith(beginnings))
    except OSError:  # whoever may not list it is told elsewhere
        return []


# -- permissions ---------------------------------------------------------------------------------
def permissions(target: Path) -> list[Finding]:
    """Readable for the group and for others as the prefix itself is; writable for others never."""
    top = target.stat()
    lacking, open_to_all, strange = list[str](), list[str](), list[str]()
    for path in _entries(target):
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            continue
        name = str(path.relative_to(target)) if path != target else str(target)
        if status.st_mode & stat.S_IWOTH:
            open_to_all.append(name)
        private = _is_input(path)  # as closed as the user's own file
        if not private and _wanted(top.st_mode, stat.S_ISDIR(status.st_mode)) & ~status.st_mode:
            lacking.append(name)
        if status.st_gid != top.st_gid:
            strange.append(name)
    found = []
    if open_to_all:
        detail = f"everybody can write to {shortened(open_to_all)}: and so run code as its users"
        found.append(failed("permissions", detail, f"chmod -R o-w {_word(target)}"))
    if lacking:
        detail = f"{shortened(lacking)} cannot be read by those who may use the prefix"
        modes = "u+rX" + ",g=u,g-w" * bool(top.st_mode & stat.S_IRGRP)
        modes += ",o=g" * bool(top.st_mode & stat.S_IROTH)
        but = f"-name {layout.INPUTS} -prune -o ! -type l"
        hint = f"its owner: find {_word(target)} {but} -exec chmod {modes} {{}} +"
        found.append(failed("permissions", detail, hint))
    elif strange and top.st_mode & stat.S_IRGRP:
        detail = f"{shortened(strange)} is not of the prefix's group {top.st_gid}"
        hint = f"its owner: chgrp -R {top.st_gid} {_word(target)}"
        found.append(warning("permissions", detail, hint))
    return found or [ok("permissions", f"as the prefix's own ({stat.filemode(top.st_mode)})")]


def _is_input(path: Path) -> bool:
    return path.parent.name == layout.INPUTS and path.parents[2].name == layout.GENERATIONS


def _wanted(top: int, is_directory: bool) -> int:
    """Bits that an entry needs where its prefix has mode ``top``."""
    readable = top & (stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH)
    return readable | (top & 0o111 if is_directory else 0)


def _entries(target: Path) -> Iterator[Path]:
    yield target
    for folder, names, files in os.walk(target):
        yield from (Path(folder, name) for name in (*names, *files))


# -- shims and places ----------------------------------------------------------------------------
def shims_agree(target: Path) -> list[Finding]:
    """Whether ``bin`` has what the generation in use has, and nothing of one before."""
    what, folder = "shims", target / layout.BIN
    wanted, present = (
        program_names(target / layout.CURRENT / layout.PROGRAMS),
        program_names(folder),
    )
    number = (target / layout.CURRENT).readlink().name
    hint = f"its owner: containerize rollback {_word(target)} {number}"
    if missing := sorted((wanted | set(shims.DEBUG_NAMES)) - present):
        return [failed(what, f"{shortened(missing)} is missing in {folder}", hint)]
    others = sorted(present - wanted - shims.OUR_NAMES)
    stale = [name for name in others if shims.is_shim_file(folder / name)]
    if stale:
        return [warning(what, f"{shortened(stale)} is not in the generation in use", hint)]
    if broken := sorted(name for name in wanted if not os.access(folder / name, os.R_OK | os.X_OK)):
        return [failed(what, f"{shortened(broken)} cannot be run by you", "ask its owner")]
    return [ok(what, f"{counted(len(wanted), 'program')} in {folder}")]


def place(target: Path, data: Manifest) -> list[Finding]:
    """Is it where it was built, and do Tykky's names lead somewhere?"""
    found = []
    built = Path(data.prefix)
    if not _same(built, target):
        detail = f"built as {built}"
        if (built / layout.CURRENT).is_symlink():
            detail += ", where there is another one now: the two cannot be used together"
        hint = "virtual environments and links from before lead there: make them anew, or rebuild"
        found.append(warning("place", detail, hint))
    links = [target / name for name in _TYKKY_LINKS]
    if gone := [link for link in links if link.is_symlink() and not link.exists()]:
        hint = f"remove it, or make again what it led to ({gone[0].readlink()})"
        found.append(warning("links", f"{gone[0]} leads nowhere", hint))
    return found or [ok("place", "where it was built")]


def others(_target: Path, data: Manifest) -> list[Finding]:
    """Are the installations there that it was built with?"""
    return [
        warning("others", f"{prefix} is no installation now: it was built --with it", _OTHERS)
        for prefix in data.others
        if not os.access(Path(prefix, layout.CURRENT, layout.ENV), os.R_OK)
    ]


def of_host(target: Path, _data: Manifest) -> list[Finding]:
    """Are the host's programs there that those in its image can call?"""
    found = host_programs.gone(target / layout.CURRENT)
    hint = f"update it, with what it is made of: {target / layout.CURRENT / layout.INPUTS}"
    detail = f"{', '.join(found)}: not where it was at the build"
    return [warning("host's programs", detail, hint)] if found else []


def _same(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)
