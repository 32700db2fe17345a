"""Conda packages that say anything of themselves, as no builder of packages would make them."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import zstandard

Content = str | bytes
NAME = "hostile"


def link(target: str) -> tuple[bytes, str]:
    """A symbolic link, as the content of a member."""
    return tarfile.SYMTYPE, target


def listed(path: str, content: bytes = b"x", kind: str = "hardlink") -> dict[str, Any]:
    """An entry of ``paths.json``."""
    digest = hashlib.sha256(content).hexdigest()
    size = {"sha256": digest, "size_in_bytes": len(content)}
    return {"_path": path, "path_type": kind, **size}


def write_package(
    directory: Path,
    members: Mapping[str, Content | tuple[bytes, str]],
    paths: Sequence[Mapping[str, Any]],
    *,
    name: str = NAME,
    version: str = "1",
    entry_points: Sequence[str] = (),
    extension: str = ".conda",
    index: Mapping[str, Any] | None = None,
) -> Path:
    """A package of build 0 with these members and this ``paths.json``.

    :param entry_points: makes it a noarch Python package. :param index: more for ``index.json``.
    """
    said = {"name": name, "version": version, "build": "0", "build_number": 0, "depends": []}
    said |= {"subdir": "noarch", "noarch": "python" if entry_points else "generic"}
    info: dict[str, Content | tuple[bytes, str]] = {
        "info/index.json": json.dumps({**said, **(index or {})}),
        "info/paths.json": json.dumps({"paths": list(paths), "paths_version": 1}),
    }
    if entry_points:
        kind = {"type": "python", "entry_points": list(entry_points)}
        info["info/link.json"] = json.dumps({"noarch": kind, "package_metadata_version": 1})
    directory.mkdir(parents=True, exist_ok=True)
    stem = f"{name}-{version}-0"
    archive = directory / f"{stem}{extension}"
    if extension == ".tar.bz2":
        with tarfile.open(archive, "w:bz2") as tar:
            _add(tar, {**info, **members})
        return archive
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("metadata.json", '{"conda_pkg_format_version": 2}')
        file.writestr(f"pkg-{stem}.tar.zst", _tar(members))
        file.writestr(f"info-{stem}.tar.zst", _tar(info))
    return archive


def _tar(members: Mapping[str, Content | tuple[bytes, str]]) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        _add(tar, members)
    return zstandard.compress(raw.getvalue())


def _add(tar: tarfile.TarFile, members: Mapping[str, Content | tuple[bytes, str]]) -> None:
    for name, content in members.items():
        member = tarfile.TarInfo(name)
        data = b""
        if isinstance(content, tuple):
            member.type, member.linkname = content
        else:
            data = content.encode() if isinstance(content, str) else content
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
