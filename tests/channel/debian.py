"""Debian's shared libraries as conda packages."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .apt import deb_path
from .condapkg import Package, write_package
from .util import fresh_directory, run, set_rpath

TRIPLET = "x86_64-linux-gnu"

#: Debian 12's glibc. Its binaries may ask for symbols of this version.
GLIBC = "__glibc >=2.36,<3.0.a0"


@dataclass(frozen=True)
class Library:
    """A conda package that is made of the libraries in some Debian packages."""

    name: str
    debs: tuple[str, ...]
    depends: tuple[str, ...] = ()


LIBRARIES = (
    Library("bzip2", ("libbz2-1.0",)),
    Library("libexpat", ("libexpat1",)),
    Library("libffi", ("libffi8",)),
    Library("libgcc", ("libgcc-s1",)),
    Library("liblzma", ("liblzma5",)),
    Library("libsqlite", ("libsqlite3-0",)),
    Library("libstdcxx", ("libstdc++6",), ("libgcc",)),
    Library("libuuid", ("libuuid1",)),
    Library("libxcrypt", ("libcrypt1",)),
    Library("libzlib", ("zlib1g",)),
    Library("ncurses", ("libtinfo6", "libncursesw6", "ncurses-base")),
    Library("openssl", ("libssl3",), ("ca-certificates",)),
    Library("readline", ("libreadline8",), ("ncurses >=6.4,<7.0a0",)),
)


def unpack(debs: Path, names: Iterable[str], directory: Path) -> Path:
    """Unpack the named Debian packages into `directory`, which is made anew, and return it."""
    fresh_directory(directory)
    for name in names:
        run(["dpkg-deb", "-x", deb_path(debs, name), directory])
    return directory


def deb_version(deb: Path) -> str:
    """The version of a .deb file, as Debian writes it."""
    return run(["dpkg-deb", "-f", deb, "Version"]).strip()


def upstream_version(version: str) -> str:
    """The upstream part of a Debian version: 1:1.2.13.dfsg-1 becomes 1.2.13."""
    match = re.match(r"(?:\d+:)?(\d+(?:\.\d+)*)", version)
    if match is None:
        raise ValueError(f"not a Debian version: {version}")
    return match[1]


def stage(library: Library, debs: Path, work: Path) -> Path:
    """Lay out a library's files as in an environment and return the prefix."""
    root = unpack(debs, library.debs, work / "unpacked" / library.name)
    prefix = fresh_directory(work / "stage" / library.name)
    for source in (root / "lib" / TRIPLET, root / "usr/lib" / TRIPLET):
        if source.is_dir():
            _copy_libraries(source, prefix / "lib")
    if (root / "lib/terminfo").is_dir():
        shutil.copytree(root / "lib/terminfo", prefix / "share/terminfo", symlinks=True)
    _copy_licences(root, prefix / "share/licenses" / library.name)
    _relocate(prefix / "lib")
    return prefix


def write(library: Library, debs: Path, work: Path, channel: Path) -> Path:
    """Write the package of a staged library."""
    version = deb_version(deb_path(debs, library.debs[0]))
    package = Package(
        name=library.name,
        version=upstream_version(version),
        build="deb12_0",
        depends=(*library.depends, GLIBC),
        summary=f"{library.debs[0]} {version} of Debian 12",
    )
    return write_package(package, work / "stage" / library.name, channel)


def _copy_libraries(source: Path, destination: Path) -> None:
    shutil.copytree(source, destination, symlinks=True, dirs_exist_ok=True)
    for link in destination.iterdir():
        # An absolute link leads from /usr/lib to /lib, which are one directory here.
        if link.is_symlink() and (target := link.readlink()).is_absolute():
            link.unlink()
            link.symlink_to(target.name)


def _copy_licences(root: Path, destination: Path) -> None:
    destination.mkdir(parents=True)
    for copyright_file in root.glob("usr/share/doc/*/copyright"):
        # Packages of one source share a file through a link that leads out of the package.
        if copyright_file.is_file():
            shutil.copyfile(copyright_file, destination / copyright_file.parent.name)


def _relocate(lib: Path) -> None:
    """Make every library below `lib` search `lib` for the others."""
    by_depth: dict[int, list[Path]] = {}
    for path in sorted(lib.rglob("*")):
        if _is_elf(path):
            path.chmod(0o755)
            by_depth.setdefault(len(path.relative_to(lib).parts) - 1, []).append(path)
    for depth, files in by_depth.items():
        set_rpath("/".join(["$ORIGIN", *[".."] * depth]), files)


def _is_elf(path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"
