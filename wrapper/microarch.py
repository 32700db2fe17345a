"""Levels of x86-64 processors: what packages and a C library ask for, and what this node has.

The psABI ("Micro-Architecture Levels") names v2, v3 and v4; all processors have what is below.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from wrapper import platforms
from wrapper.packages import LockedPackage

# What each level has besides that below, by the names of /proc/cpuinfo.
_LEVELS = (
    ("cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"),
    ("avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"),
    ("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"),
)
# conda's package whose version is the level, and builds, archives and needs that name one.
_PACKAGE = "_x86_64-microarch-level"
_NAMED = re.compile(rf"x86[_-]64[_-]v([234])(?!\d)|{_PACKAGE} (?:[>=]=)?([234])(?!\d)")
# Of GCC and Clang, Intel's compilers, rustc.
_NATIVE = re.compile(r"-m(?:arch|cpu)=native\b|-xHost\b|target-cpu=native\b")
# GNU_PROPERTY_X86_ISA_1_NEEDED of a C library, which ends programs on processors without it: its
# number, four bytes of value, a bit for each level.
_PROPERTY = re.compile(rb"\x02\x80\x00\xc0\x04\0\0\0([\x01-\x0f])\0\0\0", re.S)


def here(root: Path = Path("/")) -> int:
    """The level of this processor, 1 to 4."""
    match = re.search(r"^flags\s*:(.*)$", (root / "proc/cpuinfo").read_text(), re.M)
    found = set(match[1].split()) if match else set[str]()
    return next((n for n, flags in enumerate(_LEVELS, 1) if not found.issuperset(flags)), 4)


def needed(packages: Iterable[LockedPackage]) -> int:
    """The level that packages ask for, as far as they say so."""
    levels = [1]
    for package in packages:
        if package.name == _PACKAGE:
            levels += [int(number) for number in re.findall(r"^[234]", package.version)]
        for text in (package.build, PurePosixPath(package.url).name, *package.depends):
            levels += [int(one or other) for one, other in _NAMED.findall(text)]
    return max(levels)


def of_library(content: bytes) -> int:
    """The level without which a C library does not start."""
    match = _PROPERTY.search(content)
    return match[1][0].bit_length() if match else 1


def native_flag(text: str) -> str:
    """What of a text has a compiler make code for no other processor than its own; else empty."""
    match = _NATIVE.search(text)
    return match[0] if match else ""


def processor(level: int) -> list[str]:
    """What shims look for: the level and the names of what the processor has to have, in order of
    level; nothing where any processor will do.
    """
    if level < 2 or platforms.bash_machine() != "x86_64":
        return []
    return [f"v{level}", *(flag for flags in _LEVELS[: level - 1] for flag in flags)]
