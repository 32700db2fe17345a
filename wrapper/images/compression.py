"""How images are compressed: the words by which it is asked for, and what they stand for.

What a word like ``default`` stands for depends on the runtime: SingularityCE starts no image that
is compressed with zstd, the best of them, in any version (it looks at the number in the
superblock). So a word is a list, best first, of which :mod:`wrapper.images.trial` takes the first
that starts. Images that travel, SIFs and base images, are for runtimes that nobody knows: they take
gzip, which all start.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

NAMES: Mapping[int, str] = {1: "gzip", 2: "lzma", 3: "lzo", 4: "xz", 5: "lz4", 6: "zstd"}
"""By their numbers in a superblock of SquashFS."""
_LEVELS: Mapping[str, int] = {"zstd": 22, "gzip": 9}  # the highest; the lowest is 1
_COMPRESSOR, _LEVEL, _BLOCK = "-comp", "-Xcompression-level", "-b"  # of mksquashfs
_BLOCKS: Mapping[str, int] = {"gzip": 32 * 1024}
"""Bytes of a block, where not mksquashfs's own 128 KiB. gzip is slow to unpack, and a block is
unpacked whole for a page of it: a cold import takes less time, an image 3 % more room."""


@dataclass(frozen=True, kw_only=True)
class Compression:
    """A compressor and its level, ``None`` for the usual one or where it has none.

    :ivar block: bytes of a block, where it has to fit those of another image. :ivar asked: the word
        that it stands for.
    """

    name: str
    level: int | None = None
    block: int | None = field(default=None, compare=False)
    asked: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.name}:{self.level}" if self.level else self.name

    @property
    def words(self) -> dict[str, str]:
        """Options of mksquashfs with their values."""
        words = {_COMPRESSOR: self.name}
        if self.level:
            words[_LEVEL] = str(self.level)
        if block := self.block or _BLOCKS.get(self.name):
            words[_BLOCK] = str(block)
        return words


# Levels and their times: docs/performance.md.
_WORDS: Mapping[str, tuple[Compression, ...]] = {
    "fast": (
        Compression(name="zstd", level=1),
        Compression(name="lz4"),
        Compression(name="gzip", level=1),
    ),
    "default": (
        Compression(name="zstd", level=3),
        Compression(name="lz4"),
        Compression(name="gzip", level=1),
    ),
    "small": (Compression(name="zstd", level=15), Compression(name="gzip", level=9)),
}
EVERYWHERE = Compression(name="gzip", level=1)
"""For what is needed for a moment and has to start with whatever runtime there is."""


def check_word(word: object) -> str:
    """The word, if it is one. :raises ValueError: it is none, with what would be."""
    text = str(word)
    if text not in _WORDS and _named(text) is None:
        raise ValueError(
            "must be fast, default, small, or zstd, lz4 or gzip, which may have a level"
            f" (zstd:15, gzip:9), found {text!r}"
        )
    return text


def _named(word: str) -> Compression | None:
    match = re.fullmatch(r"(zstd|gzip|lz4)(?::(\d{1,2}))?", word)
    if not match:
        return None
    name, level = match[1], int(match[2]) if match[2] else None
    if level is None:
        usual = next(item for item in _WORDS["default"] if item.name == name)
        return Compression(name=name, level=usual.level)
    return Compression(name=name, level=level) if 1 <= level <= _LEVELS.get(name, 0) else None


def wanted(word: str, options: Sequence[str] = ()) -> tuple[Compression, ...]:
    """What a word stands for, best first.

    :param options: a site's for mksquashfs, words and values in turn: a compressor and a level
        among them count instead of what the word says.
    """
    given = dict(zip(options[::2], options[1::2], strict=True))
    level = int(given[_LEVEL]) if given.get(_LEVEL, "").isdecimal() else None
    if name := given.get(_COMPRESSOR):
        return (Compression(name=name, level=level, asked=word),)
    named = _named(word)
    return tuple(
        Compression(
            name=item.name,
            level=level if level and level <= _LEVELS.get(item.name, 0) else item.level,
            asked=word,
        )
        for item in ((named,) if named else _WORDS[word])
    )


def travelling(asked: str | None, usual: str = "default") -> Compression:
    """What a word stands for in an image that is to start with any runtime.

    :param asked: for this image; a compressor that it names is taken. :param usual: the site's
        word otherwise: it may name what the site's runtime starts, which others need not.
    """
    if asked and _named(asked):
        return wanted(asked)[0]
    found = [item for item in wanted(asked or usual) if item.name == "gzip"]
    return (found or wanted("default"))[-1]


def other_options(options: Sequence[str]) -> tuple[str, ...]:
    """Those of a site's options for mksquashfs that do not say how to compress."""
    pairs = zip(options[::2], options[1::2], strict=True)
    return tuple(word for pair in pairs if pair[0] not in (_COMPRESSOR, _LEVEL) for word in pair)
