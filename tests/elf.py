"""Shared libraries without a compiler: all that a loader is told, and no code."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

X86_64, AARCH64 = 62, 183
_NEEDED, _STRTAB, _SONAME, _RPATH, _STRSZ, _RUNPATH = 1, 5, 14, 15, 10, 29
_STRINGS, _WANTS, _OFFERS = 3, 0x6FFFFFFE, 0x6FFFFFFD  # types of sections


class _Strings:
    def __init__(self) -> None:
        self.data = b"\0"

    def put(self, text: str) -> int:
        at = len(self.data)
        self.data += text.encode() + b"\0"
        return at


def library(
    soname: str = "",
    *,
    needed: Sequence[str] = (),
    rpath: str = "",
    runpath: str = "",
    wants: Mapping[str, Sequence[str]] | None = None,
    offers: Sequence[str] = (),
    machine: int = X86_64,
    text: bytes = b"",
) -> bytes:
    """A library of 64 bits; ``text`` is a string in it."""
    names = _Strings()
    tags = [(_NEEDED, names.put(name)) for name in needed]
    found = {_SONAME: soname, _RPATH: rpath, _RUNPATH: runpath}
    tags += [(tag, names.put(value)) for tag, value in found.items() if value]
    wanted, offered = _wants(wants or {}, names), _offers(offers, names)
    dynamic_at, dynamic_size = 64 + 2 * 56, (len(tags) + 3) * 16
    strings_at = dynamic_at + dynamic_size
    tags += [(_STRTAB, strings_at), (_STRSZ, len(names.data)), (0, 0)]
    parts = [b"".join(struct.pack("<QQ", *tag) for tag in tags), names.data, wanted, offered, text]
    wanted_at = strings_at + len(names.data)
    offered_at = wanted_at + len(wanted)
    sections_at = dynamic_at + sum(map(len, parts))
    sections = [
        _section(0, 0, 0),
        _section(_STRINGS, strings_at, len(names.data)),
        _section(_WANTS, wanted_at, len(wanted), len(wants or {})),
        _section(_OFFERS, offered_at, len(offered), len(offers)),
    ]
    size = sections_at + 64 * len(sections)
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH", 3, machine, 1, 0, 64, sections_at, 0, 64, 56, 2, 64, len(sections), 1
    )
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, size, size, 0x1000)
    dynamic = struct.pack("<IIQQQQQQ", 2, 4, *[dynamic_at] * 3, *[dynamic_size] * 2, 8)
    return header + load + dynamic + b"".join(parts) + b"".join(sections)


def put(path: Path, soname: str | None = None, **facts: object) -> Path:
    """The file of a library, called like it unless ``soname`` says otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(library(path.name if soname is None else soname, **facts))  # type: ignore[arg-type]
    return path


def _section(kind: int, at: int, size: int, info: int = 0) -> bytes:
    return struct.pack("<IIQQQQIIQQ", 0, kind, 0, at, at, size, 1, info, 1, 0)


def _wants(wants: Mapping[str, Sequence[str]], names: _Strings) -> bytes:
    data = b""
    for index, (file, versions) in enumerate(wants.items()):
        last, size = index == len(wants) - 1, 16 * (1 + len(versions))
        data += struct.pack("<HHIII", 1, len(versions), names.put(file), 16, 0 if last else size)
        for number, version in enumerate(versions):
            further = 16 if number < len(versions) - 1 else 0
            data += struct.pack("<IHHII", 0, 0, 2, names.put(version), further)
    return data


def _offers(offers: Sequence[str], names: _Strings) -> bytes:
    data = b""
    for index, version in enumerate(offers):
        further = 28 if index < len(offers) - 1 else 0
        data += struct.pack("<HHHHIII", 1, 0, 2, 1, 0, 20, further)
        data += struct.pack("<II", names.put(version), 0)
    return data


def cache(entries: Mapping[str, str]) -> bytes:
    """An ``ld.so.cache``: names of libraries and their paths."""
    start = 48 + 24 * len(entries)
    table, texts = b"", b""
    for name, path in entries.items():
        at = start + len(texts)
        texts += name.encode() + b"\0" + path.encode() + b"\0"
        table += struct.pack("<iIIIQ", 0x303, at, at + len(name) + 1, 0, 0)
    header = b"glibc-ld.so.cache1.1" + struct.pack("<II20x", len(entries), len(texts))
    return header + table + texts
