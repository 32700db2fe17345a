"""What the loader is told by a library or a program: elf(5), read with pyelftools."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from elftools.elf.elffile import ELFFile
    from elftools.elf.gnuversions import VersionAuxiliary


@dataclass(frozen=True, kw_only=True)
class Elf:
    """Of a dynamic ELF file.

    :ivar soname: its own name. :ivar needed: names of libraries, in order. :ivar rpath: directories
        as they stand there, with ``$ORIGIN``; so :ivar runpath:. :ivar kind: class and machine: of
        two that differ in it neither loads the other.
    :ivar wants: versions of symbols (``GLIBC_2.34``) that it takes from others, by library;
        :ivar offers: those that it defines.
    """

    kind: tuple[int, str]
    soname: str = ""
    needed: tuple[str, ...] = ()
    rpath: tuple[str, ...] = ()
    runpath: tuple[str, ...] = ()
    wants: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    offers: frozenset[str] = frozenset()


def read_elf(file: BinaryIO) -> Elf | None:
    """What a file says; ``None`` where it is no dynamic ELF file, or a broken one."""
    try:
        return _read(file)
    except Exception:  # of every kind: pyelftools trusts what it reads
        return None


def _read(file: BinaryIO) -> Elf | None:
    from elftools.elf.dynamic import DynamicSegment
    from elftools.elf.elffile import ELFFile  # 0.1 s

    if file.read(4) != b"\x7fELF":
        return None
    elf = ELFFile(file)
    tags: dict[str, list[str]] = {}
    dynamic = [part for part in elf.iter_segments() if isinstance(part, DynamicSegment)]
    if not dynamic:
        return None
    for tag in dynamic[0].iter_tags():
        name = str(tag.entry.d_tag).removeprefix("DT_").lower()
        if name in ("needed", "rpath", "runpath", "soname"):
            tags.setdefault(name, []).append(str(getattr(tag, name)))
    wants, offers = _versions(elf)
    return Elf(
        kind=(elf.elfclass, str(elf.header.e_machine)),
        soname=next(iter(tags.get("soname", ())), ""),
        needed=tuple(tags.get("needed", ())),
        rpath=_directories(tags.get("rpath", ())),
        runpath=_directories(tags.get("runpath", ())),
        wants=wants,
        offers=frozenset(offers),
    )


def _directories(lists: list[str] | tuple[()]) -> tuple[str, ...]:
    return tuple(path for text in lists for path in text.split(":") if path)


def _versions(elf: ELFFile) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Versions of symbols, as the sections ``.gnu.version_r`` and ``.gnu.version_d`` have them."""
    from elftools.elf.gnuversions import GNUVerDefSection, GNUVerNeedSection

    wants: dict[str, tuple[str, ...]] = {}
    offers: list[str] = []
    for section in elf.iter_sections():
        if isinstance(section, GNUVerNeedSection):
            wants |= {str(need.name): tuple(_names(rest)) for need, rest in section.iter_versions()}
        elif isinstance(section, GNUVerDefSection):
            offers += [next(_names(rest), "") for _, rest in section.iter_versions()]
    return wants, offers


def _names(versions: Iterable[VersionAuxiliary]) -> Iterator[str]:
    return (str(version.name) for version in versions)
