"""What a generation keeps of how it was made: manifest, package table, inputs, log."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from wrapper import layout
from wrapper.console import visible
from wrapper.credentials import public_file
from wrapper.images.format import read_format
from wrapper.images.squashfs.compressors import NAMES
from wrapper.images.squashfs.reader import read_superblock
from wrapper.inputs.files import InputFile, encoding_of
from wrapper.manifest import ImageRecord, Manifest, write_manifest
from wrapper.packages import LockedPackage
from wrapper.util.hashing import sha256


def write_record(directory: Path, manifest: Manifest, log: Path) -> None:
    """Complete a generation's ``directory``, whose image and inputs are in place."""
    write_manifest(directory / layout.MANIFEST, manifest)
    shutil.copyfile(log, directory / layout.LOG)
    # What made it, by Tykky's keys, where Tykky has it: share/VERSION.yml.
    version = {"tag": manifest.tool, "commit": "", "build-time": manifest.created}
    lines = [f"{key}: {value}".rstrip() for key, value in version.items()]
    (directory / layout.VERSION).write_text("\n".join(lines) + "\n")


def write_inputs(
    directory: Path, packages: Sequence[LockedPackage], inputs: Sequence[InputFile]
) -> tuple[str, ...]:
    """The package table and copies of the user's files, as they were read; returns their names.

    A copy is as closed to others as the file, and has no passwords and tokens of URLs.
    """
    (directory / layout.PACKAGES).write_text(_package_table(packages))
    return tuple(_write_inputs(inputs, directory / layout.INPUTS))


def now() -> str:
    """The time for a manifest: UTC, ISO 8601."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def identity(image: Path, offset: int = 0) -> ImageRecord:
    """What a manifest says of an image file, or of the image that begins in it at ``offset``."""
    if image.is_dir():  # a sandbox has no digest
        return ImageRecord(sha256=None, size=0)
    number = read_superblock(image, offset).compression if offset else 0
    compressor = NAMES[number] if offset else read_format(image).compressors[0]
    size = image.stat().st_size - offset
    return ImageRecord(sha256=sha256(image, offset), size=size, compression=compressor)


def _package_table(packages: Sequence[LockedPackage]) -> str:
    rows = [("# name", "version", "build", "from")]
    for package in sorted(packages, key=lambda p: p.name):
        channel = package.url.rsplit("/", 2)[0] if package.manager == "conda" else "pip"
        rows.append((package.name, package.version, package.build, channel))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        f"{name:<{widths[0]}}  {version:<{widths[1]}}  {build:<{widths[2]}}  {origin}"
        for name, version, build, origin in rows
    ]
    return visible("\n".join(lines)) + "\n"


def _write_inputs(given: Sequence[InputFile], directory: Path) -> list[str]:
    directory.mkdir()
    names: list[str] = []
    for file in given:
        name = file.name
        while name in names:
            name = f"{len(names)}-{name}"
        copy = directory / name
        copy.touch(mode=0o600)
        copy.write_bytes(_public(file.content))
        copy.chmod(0o600 | file.readable_by(copy.stat().st_gid))
        names.append(name)
    return names


def _public(content: bytes) -> bytes:
    mark, encoding = encoding_of(content)
    # UTF-16 has no place for bytes that mean nothing; a text with such is no input of ours.
    wrong = "surrogateescape" if encoding == "utf-8" else "replace"
    text = content[len(mark) :].decode(encoding, wrong)
    return mark + public_file(text).encode(encoding, wrong)
