"""Files that share blocks: which blocks are hardly in use any more, and what is put together anew.

What is smaller than a block, or the end of a file, lies with others' in one block, a *fragment*. An
image that is joined of others takes over each fragment of which a file is left, with the bytes of
those that have gone. A file's own blocks go with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from wrapper.images.squashfs import layout
from wrapper.images.squashfs.layout import File
from wrapper.images.squashfs.reader import Image

MOST_UNUSED = 0.1
"""Share of an update's image: with more, what is not wholly in use is put together anew."""

End = tuple[Path, int, int, int]
"""Where an end is: its image, the number of the fragment, the place in it, and its length there."""


def end_of(file: File, block_size: int) -> End | None:
    """Where the end of a file is; ``None`` where it shares no block. Equal files have one end."""
    if file.fragment == layout.NONE:
        return None
    return file.image, file.fragment, file.offset, file.size % block_size


def together(ends: Iterable[End], block_size: int) -> Iterator[list[End]]:
    """The ends, in order and each once, in groups that fit into a block."""
    group: list[End] = []
    size = 0
    for end in dict.fromkeys(ends):
        if group and size + end[3] > block_size:
            yield group
            group, size = [], 0
        group.append(end)
        size += end[3]
    if group:
        yield group


def unused(images: Mapping[Path, Image], ends: Iterable[End]) -> dict[tuple[Path, int], int]:
    """Fragments that have more than these ``ends``, and how many of their stored bytes that is."""
    used: Counter[tuple[Path, int]] = Counter()
    for path, number, _, length in {*ends}:
        used[path, number] += length
    found = {}
    for (path, number), length in used.items():
        filled = images[path].filled.get(number, 0)
        if length < filled:
            stored = images[path].fragments[number][1] & ~layout.RAW
            found[path, number] = round(stored * (1 - length / filled))
    return found


def hollow(
    images: Mapping[Path, Image], files: Sequence[File], ends: Sequence[End], most: float
) -> dict[tuple[Path, int], int]:
    """The same, where it is more of what ``files`` need than the share ``most``; else nothing.

    :param ends: those that stay where they are.
    """
    found = unused(images, ends)
    own = {(file.image, file.start): file.stored for file in files if file.stored}
    shared = {end[:2] for end in ends}
    total = sum(own.values())
    total += sum(images[path].fragments[number][1] & ~layout.RAW for path, number in shared)
    return found if sum(found.values()) > most * total else {}
