"""Write conda packages in the `.conda` format with the standard library and zstandard.

Facts: a `.conda` file is an uncompressed zip of `metadata.json`, `pkg-STEM.tar.zst` (the files)
and `info-STEM.tar.zst` (the metadata); see "Package specification" in conda's developer guide.
`info/index.json` becomes the package's record in repodata.json, `info/paths.json` tells the
installer what to link and where a placeholder must become the prefix, and `info/link.json` makes
a package `noarch: python`.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import zstandard

from .util import sha256

#: What stands for the prefix until installation. 255 characters, as in packages of conda-build:
#: a real prefix must fit in its place in binary files.
PLACEHOLDER = ("/opt/" + "_placehold" * 26)[:255]

#: The only time that is ever recorded, so that the same input gives the same bytes.
MTIME = 1_700_000_000


@dataclass(frozen=True, kw_only=True)
class Package:
    """What a package's metadata says; the fields are those of `info/index.json`."""

    name: str
    version: str
    build: str = "0"
    build_number: int = 0
    depends: tuple[str, ...] = ()
    constrains: tuple[str, ...] = ()
    noarch: Literal["generic", "python"] | None = None
    entry_points: tuple[str, ...] = ()
    python_site_packages_path: str | None = None
    summary: str = ""

    @property
    def subdir(self) -> str:
        """The channel's subdirectory that the package belongs to."""
        return "noarch" if self.noarch else "linux-64"

    @property
    def stem(self) -> str:
        """The file name without its extension."""
        return f"{self.name}-{self.version}-{self.build}"


def freeze_mtimes(root: Path) -> None:
    """Give every file below `root` the recorded time.

    To be called before byte-compiling: a .pyc holds its source's mtime, and must still match
    after the installer has unpacked both.
    """
    for directory, _, files in os.walk(root):
        for name in files:
            os.utime(Path(directory, name), (MTIME, MTIME), follow_symlinks=False)


def write_package(package: Package, prefix: Path, channel: Path) -> Path:
    """Pack the files below `prefix`, laid out as in an environment, and return the archive."""
    paths, payload = _pack_prefix(prefix)
    info = _pack(_info_files(package, paths))
    archive = channel / package.subdir / f"{package.stem}.conda"
    archive.parent.mkdir(parents=True, exist_ok=True)
    members = {
        "metadata.json": b'{"conda_pkg_format_version": 2}',
        f"pkg-{package.stem}.tar.zst": payload,
        f"info-{package.stem}.tar.zst": info,
    }
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as zip_file:
        for name, content in members.items():
            # ZipInfo's own date is 1980; writestr(name) would record the present.
            zip_file.writestr(zipfile.ZipInfo(name), content)
    return archive


def _pack_prefix(prefix: Path) -> tuple[list[dict[str, Any]], bytes]:
    """Return the entries of paths.json and the compressed tar archive of the same files.

    Every file is read once, and one at a time.
    """
    entries: list[dict[str, Any]] = []

    def members() -> Iterator[tuple[tarfile.TarInfo, bytes]]:
        for path in _files(prefix):
            member = tarfile.TarInfo(path.relative_to(prefix).as_posix())
            if path.is_symlink():
                member.type = tarfile.SYMTYPE
                member.mode = 0o777
                member.linkname = str(path.readlink())
                content = b""
                entries.append(_link_entry(member.name, path, prefix))
            else:
                member.mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
                content = path.read_bytes()
                entries.append(_file_entry(member.name, content))
            yield member, content

    return entries, _tar_zst(members())


def _files(root: Path) -> list[Path]:
    """Everything below `root` except directories, sorted.

    Directories are no entries of their own: rattler 0.28 fails on them.
    """
    found: list[Path] = []
    for directory, subdirectories, files in os.walk(root):
        links = [name for name in subdirectories if Path(directory, name).is_symlink()]
        found += (Path(directory, name) for name in (*files, *links))
    return sorted(found)


def _file_entry(name: str, content: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "_path": name,
        "path_type": "hardlink",
        "sha256": hashlib.sha256(content).hexdigest(),
        "size_in_bytes": len(content),
    }
    if PLACEHOLDER.encode() in content:
        entry["prefix_placeholder"] = PLACEHOLDER
        entry["file_mode"] = "binary" if b"\0" in content else "text"
    return entry


def _link_entry(name: str, link: Path, prefix: Path) -> dict[str, Any]:
    """A symlink is recorded with the digest and size of the file it leads to, as conda-build does.

    A link that leads to a directory or out of the package has those of an empty file.
    """
    target = link.resolve()
    known = target.is_file() and target.is_relative_to(prefix.resolve())
    return {
        "_path": name,
        "path_type": "softlink",
        "sha256": sha256(target) if known else hashlib.sha256().hexdigest(),
        "size_in_bytes": target.stat().st_size if known else 0,
    }


def _info_files(package: Package, paths: list[dict[str, Any]]) -> dict[str, bytes]:
    """The files of the `info` directory, by name."""
    index: dict[str, Any] = {
        "name": package.name,
        "version": package.version,
        "build": package.build,
        "build_number": package.build_number,
        "subdir": package.subdir,
        "arch": None if package.noarch else "x86_64",
        "platform": None if package.noarch else "linux",
        "depends": package.depends,
        "constrains": package.constrains,
        "timestamp": MTIME * 1000,
    }
    if package.noarch:
        index["noarch"] = package.noarch
    if package.python_site_packages_path:
        index["python_site_packages_path"] = package.python_site_packages_path
    documents: dict[str, Any] = {
        "info/about.json": {"summary": package.summary},
        "info/index.json": index,
        "info/paths.json": {"paths": paths, "paths_version": 1},
    }
    if package.noarch == "python":
        documents["info/link.json"] = {
            "noarch": {"type": "python", "entry_points": package.entry_points},
            "package_metadata_version": 1,
        }
    files = {name: json.dumps(content, indent=1).encode() for name, content in documents.items()}
    files["info/files"] = "".join(f"{entry['_path']}\n" for entry in paths).encode()
    return files


def _pack(files: dict[str, bytes]) -> bytes:
    return _tar_zst((tarfile.TarInfo(name), content) for name, content in sorted(files.items()))


def _tar_zst(members: Iterable[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    """A zstd-compressed tar archive: owned by root, one mtime, no hard links."""
    raw = io.BytesIO()
    compressor = zstandard.ZstdCompressor(level=3)
    with (
        compressor.stream_writer(raw, closefd=False) as stream,
        tarfile.open(fileobj=stream, mode="w|", format=tarfile.GNU_FORMAT) as tar,
    ):
        for member, content in members:
            member.mtime = MTIME
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return raw.getvalue()
