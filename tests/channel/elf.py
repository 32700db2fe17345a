"""An executable without a compiler, for packages that need a binary file."""

from __future__ import annotations

import struct

_BASE, _HEADERS = 0x400000, 64 + 56

_CODE = (
    b"\x31\xd2"  # xor edx, edx
    b"\x80\x3c\x16\x00"  # next: cmp byte [rsi + rdx], 0
    b"\x74\x05"  # je end
    b"\x48\xff\xc2"  # inc rdx
    b"\xeb\xf5"  # jmp next
    b"\xbf\x01\0\0\0\xb8\x01\0\0\0\x0f\x05"  # end: write(1, rsi, rdx)
    b"\x31\xff\xb8\x3c\0\0\0\x0f\x05"  # exit(0)
)


def printing(message: bytes) -> bytes:
    """A static x86-64 Linux executable that prints the C string `message` and exits with 0.

    It measures the string when it runs: the placeholder in `message`, which installation replaces
    by a shorter prefix and zeros at the string's end, prints as that prefix.
    """
    address = _BASE + _HEADERS + 5 + len(_CODE)
    code = b"\xbe" + struct.pack("<I", address) + _CODE  # mov esi, address
    size = _HEADERS + len(code) + len(message) + 1
    magic = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")  # 64-bit, little-endian, version 1
    # An executable for x86-64 with one program header, which follows, and no sections.
    entry = _BASE + _HEADERS
    header = struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, entry, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    # One segment, readable and executable: the whole file.
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    return magic + header + segment + code + message + b"\0"
