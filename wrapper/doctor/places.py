"""Directories that builds use: are they there, how much room, on which kind of file system."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wrapper.console import human_size
from wrapper.doctor.finding import Finding, failed, ok, warning
from wrapper.models import Site
from wrapper.runtime.binds import unbindable
from wrapper.util import foreign
from wrapper.util.disk import free_space
from wrapper.util.removal import marked_directory, remove_abandoned
from wrapper.workspace import parent_directory

MOUNTS = Path("/proc/self/mountinfo")
# Names as /proc/self/mountinfo has them. On parallel and network file systems the thousands of
# small files of a build are slow, and a burden to all users.
_SHARED = re.compile(
    r"lustre|nfs\d?|gpfs|beegfs|ceph|cifs|smb3|afs|panfs|wekafs|pvfs2|9p|virtiofs|fuse\.\S+"
)
_MEMORY = ("tmpfs", "ramfs", "devtmpfs")
_LITTLE_ROOM = 5_000_000_000  # a build of NumPy and SciPy takes 0.5 GB, of PyTorch 20 GB and more
_NO_ROOM = 500_000_000
_TEMPORARY = "containerize-doctor-"  # begins as the names of build directories, which clean up


@dataclass(frozen=True, kw_only=True)
class FileSystem:
    """A mounted file system: its type as the kernel names it, and where it is mounted."""

    kind: str
    mount: str

    @property
    def shared(self) -> bool:
        return bool(_SHARED.fullmatch(self.kind))

    @property
    def memory(self) -> bool:
        return self.kind in _MEMORY

    def __str__(self) -> str:
        nature = "shared" if self.shared else "memory" if self.memory else "local"
        return f"{self.kind}, {nature}"


def file_system(path: Path, mounts: Path = MOUNTS) -> FileSystem:
    """The file system of a path: proc(5), mountinfo. The last mount of a place is what is seen."""
    found = FileSystem(kind="unknown", mount="")
    real = Path(os.path.realpath(path))
    for line in mounts.read_text(errors="surrogateescape").splitlines():
        before, _, after = line.partition(" - ")
        mount = re.sub(r"\\(\d{3})", lambda m: chr(int(m[1], 8)), before.split()[4])
        if real.is_relative_to(mount) and len(mount) >= len(found.mount):
            found = FileSystem(kind=after.split()[0], mount=mount)
    return found


def build_directory(site: Site, mounts: Path = MOUNTS) -> list[Finding]:
    """Where builds would work."""
    what = "build directory"
    parent = parent_directory(site)
    system, free = file_system(parent, mounts), free_space(parent)
    detail = f"{parent} ({system}), {human_size(free)} free"
    other = "name a disk of the node with --tmpdir or CW_BUILD_TMPDIR"
    if free < _NO_ROOM:
        return [failed(what, f"{detail}: too little", f"free some room, or {other}")]
    if system.memory:
        more = f"{other}, or ask the batch system for enough memory"
        return [warning(what, f"{detail}: a build counts as memory of yours", more)]
    if system.shared:
        return [warning(what, f"{detail}: slow with many small files", other)]
    if free < _LITTLE_ROOM:
        return [warning(what, f"{detail}: large environments need more", other)]
    return [ok(what, detail)]


def cache_directory(site: Site, environ: Mapping[str, str]) -> list[Finding]:
    """Where downloads are kept."""
    what = "cache directory"
    if site.cache is None:
        return [ok(what, "none, downloads are not kept (CONTAINERIZE_CACHE_DIR)")]
    cache = site.cache.absolute()
    origin = site.origins.get("cache", "default")
    above = next(p for p in (cache, *cache.parents) if os.path.lexists(p))
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        return [
            failed(
                what,
                f"{cache} cannot be {'used' if above == cache else 'made'} ({origin})",
                "set CONTAINERIZE_CACHE_DIR to a directory of yours, or unset it",
            )
        ]
    detail = f"{cache} ({file_system(above)}), {human_size(free_space(above))} free"
    if in_home(str(cache), environ):
        hint = "set CONTAINERIZE_CACHE_DIR to a place with a larger quota"
        return [warning(what, f"{detail}: it fills your home directory", hint)]
    return [ok(what, detail if above == cache else f"{detail}, made by the first build")]


def in_home(path: str, environ: Mapping[str, str]) -> bool:
    """Whether a path is below the user's home directory."""
    home = environ.get("HOME", "")
    return bool(home.strip("/")) and Path(path).is_relative_to(home)


def temporary_directory(site: Site) -> Path | None:
    """A new directory for what checks write, ``None`` where there is no room for one at all."""
    places: Sequence[str] = (str(site.tmpdir), "/tmp", "/var/tmp", "/dev/shm")
    for place in places:
        if unbindable(place) or foreign.why_exposed(Path(place)):
            continue
        try:
            remove_abandoned(Path(place), _TEMPORARY)
            return marked_directory(Path(place), _TEMPORARY)
        except OSError:
            continue
    return None
