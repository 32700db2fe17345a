"""The compressors of the format that we know, each as its kernel driver wants it.

gzip is zlib's format (RFC 1950), lz4 its block format without a size, xz a stream with a CRC-32 and
a dictionary that is no larger than a block: Linux, fs/squashfs/*_wrapper.c, and mksquashfs.
"""

from __future__ import annotations

import lzma
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from wrapper.images.compression import NAMES as EVERY_NAME

GZIP, XZ, LZ4, ZSTD = 1, 4, 5, 6  # numbers in a superblock


class Damaged(ValueError):
    """Bytes that are no compressed block, or one of more than it may hold."""


@dataclass(frozen=True, kw_only=True)
class Compressor:
    """One compressor at one level.

    :ivar number: in a superblock. :ivar options: the metadata block behind the superblock that its
        driver needs, as mksquashfs writes it; empty where it needs none.
    :ivar compress: bytes to bytes, which may be more. It may run in several threads at once.
    """

    number: int
    options: bytes
    compress: Callable[[bytes], bytes]


def compressor(name: str, level: int | None = None) -> Compressor | None:
    """The compressor of a name (``gzip``, ``lz4``, ``xz``, ``zstd``), ``None`` of another one."""
    make = _MAKERS.get(name)
    return make(level) if make else None


def of_number(number: int) -> Compressor:
    """The compressor of a superblock's number, which is in :data:`KNOWN`, at its usual level."""
    return _MAKERS[NAMES[number]](None)


def decompress(number: int, data: bytes, most: int) -> bytes:
    """The bytes of a block; ``number`` is that of its compressor, one of :data:`KNOWN`.

    :param most: bytes that it may become. :raises Damaged: it becomes more, or nothing.
    """
    try:
        return _DECOMPRESS[number](data, most)
    except Damaged:
        raise
    except Exception as error:  # of five libraries, each with its own
        raise Damaged(str(error)) from None


def _gzip(level: int | None) -> Compressor:
    # libdeflate's: half of zlib's time, and one input gives one output. Intel's ISA-L takes half of
    # that again, but of 100,000 blocks some came out otherwise in another process (1.9.1).
    import deflate

    chosen = level or 1
    return Compressor(
        number=GZIP, options=b"", compress=lambda data: bytes(deflate.zlib_compress(data, chosen))
    )


def _lz4(_level: int | None) -> Compressor:
    import lz4.block

    legacy_format, no_flags = 1, 0  # its driver refuses an image that does not say so
    return Compressor(
        number=LZ4,
        options=_block(struct.pack("<2I", legacy_format, no_flags)),
        compress=lambda data: bytes(lz4.block.compress(data, store_size=False)),
    )


def _zstd(level: int | None) -> Compressor:
    import zstandard

    chosen = level or 3
    return Compressor(
        number=ZSTD,
        options=_block(struct.pack("<I", chosen)),
        compress=lambda data: zstandard.ZstdCompressor(level=chosen).compress(data),
    )


def _xz(_level: int | None) -> Compressor:
    def compress(data: bytes) -> bytes:
        dictionary = {"id": lzma.FILTER_LZMA2, "dict_size": 8192}  # a metadata block's size
        return lzma.compress(data, lzma.FORMAT_XZ, lzma.CHECK_CRC32, filters=[dictionary])

    return Compressor(number=XZ, options=b"", compress=compress)


def _block(content: bytes) -> bytes:
    """A metadata block that is not compressed."""
    return struct.pack("<H", len(content) | 0x8000) + content


def _inflated(data: bytes, most: int) -> bytes:
    inflating = zlib.decompressobj()
    found = inflating.decompress(data, most + 1)
    if not inflating.eof or len(found) > most:
        raise Damaged("a block of gzip that is cut off, or too long")
    return found


def _unlz4(data: bytes, most: int) -> bytes:
    import lz4.block

    return bytes(lz4.block.decompress(data, uncompressed_size=most))


def _unzstd(data: bytes, most: int) -> bytes:
    import zstandard

    size = zstandard.frame_content_size(data)
    if size > most:
        raise Damaged("a block of zstd that is too long")
    return zstandard.ZstdDecompressor().decompress(data, max_output_size=most)


def _unxz(data: bytes, most: int) -> bytes:
    decoding = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=64 << 20)
    found = decoding.decompress(data, most + 1)
    if not decoding.eof or len(found) > most:
        raise Damaged("a block of xz that is cut off, or too long")
    return found


_MAKERS: Mapping[str, Callable[[int | None], Compressor]] = {
    "gzip": _gzip,
    "lz4": _lz4,
    "xz": _xz,
    "zstd": _zstd,
}
_DECOMPRESS: Mapping[int, Callable[[bytes, int], bytes]] = {
    GZIP: _inflated,
    LZ4: _unlz4,
    XZ: _unxz,
    ZSTD: _unzstd,
}
KNOWN = frozenset(_DECOMPRESS)
NAMES: Mapping[int, str] = {number: EVERY_NAME[number] for number in _DECOMPRESS}
