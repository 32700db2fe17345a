"""The commands that go back over an installation's generations: list, rollback, prune."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from wrapper import layout, process
from wrapper.console import Console, counted, human_size
from wrapper.errors import PrefixError
from wrapper.packages import changes_between, summarize_changes
from wrapper.prefix import checks as prefix
from wrapper.prefix import generations
from wrapper.prefix.generations import Generation
from wrapper.requests import HistoryEntry
from wrapper.util.disk import disk_usage
from wrapper.util.lock import locked
from wrapper.workspace import TOLD_SECONDS


def rollback(target: Path, number: int | None, console: Console) -> Generation:
    """Switch to generation ``number``, or to the one before the current.

    :raises PrefixError: there is no such generation. :raises BusyError: a build holds the prefix.
    """
    target = prefix.absolute_prefix(target)
    generations.current_number(target)
    prefix.check_update(target)
    with locked(target):
        generations.repair(target)
        chosen = _choose(generations.generations(target), number, target)
        process.pass_point_of_no_return(console)
        generations.switch(target, chosen.number)
    console.info(f"{target} uses generation {chosen.number} now")
    return chosen


def _choose(every: list[Generation], number: int | None, target: Path) -> Generation:
    current = generations.current_number(target)
    for generation in reversed(every):
        if generation.number == number or (number is None and generation.number < current):
            return generation
    existing = ", ".join(str(generation.number) for generation in every) or "none"
    raise PrefixError(
        "there is no generation before this one"
        if number is None
        else f"there is no generation {number}",
        where=target,
        hint=f"choose one of {existing} (in use: {current}); see 'containerize list'",
    )


def prune(target: Path, keep: int, console: Console) -> list[int]:
    """Remove old generations so that ``keep`` stay; returns the numbers of those removed."""
    target = prefix.absolute_prefix(target)
    generations.current_generation(target)
    prefix.check_update(target)
    with locked(target):
        generations.repair(target)
        return remove_old(target, keep, console)


def remove_old(target: Path, keep: int, console: Console) -> list[int]:
    """The same for a caller that holds the prefix. Says of each what it was before it goes."""
    gone, busy = generations.prunable(target, keep)
    with console.step("Removing old generations", least=TOLD_SECONDS):
        if gone:
            generations.wait_for_starts(target)
            process.pass_point_of_no_return(console)
            current = generations.current_generation(target).number
        for generation in gone:
            console.info(f"removing generation {describe(generation, current)}")
            generations.remove(generation)
    for generation in busy:
        console.warning(f"generation {generation.number} is kept: programs on this node use it")
    return [generation.number for generation in gone]


def describe(generation: Generation, current: int) -> str:
    """A generation in a few words; after a rollback it may be newer than the one in use."""
    made, size = generation.manifest.created, generation.manifest.image.size
    newer = f", newer than {current}, which is in use" if generation.number > current else ""
    return f"{generation.number} ({made}, {human_size(size)}{newer})"


def _besides(before: Generation, now: Generation) -> Iterator[str]:
    """How else a generation differs from the one before."""
    old, new = before.manifest, now.manifest
    if (old.image.compression, old.options.compression) != (
        new.image.compression,
        new.options.compression,
    ):
        asked = new.options.compression
        word = f" ({asked})" if asked != new.image.compression else ""
        yield f"compressed with {new.image.compression}{word}"
    if (now.directory / layout.READING).exists() and not _same_order(before, now):
        yield "in reading order"


def _same_order(one: Generation, other: Generation) -> bool:
    path = one.directory / layout.READING
    return path.exists() and path.read_bytes() == (other.directory / layout.READING).read_bytes()


def history(target: Path) -> list[HistoryEntry]:
    """The generations, oldest first, each with what it changed against the one before."""
    entries: list[HistoryEntry] = []
    before: Generation | None = None
    open_images = set(generations.images_in_use())
    every = generations.generations(prefix.absolute_prefix(target))
    weights = disk_usage([generation.directory for generation in every])
    for generation, weight in zip(every, weights, strict=True):
        manifest = generation.manifest
        packages = manifest.packages
        what = counted(len(packages), "package")
        if not packages:  # of a container or an installation that was wrapped
            what = counted(manifest.programs, "program")
        if before is not None:
            what = summarize_changes(changes_between(before.manifest.packages, packages))
            what = ", ".join([what, *_besides(before, generation)])
        before = generation
        entries.append(
            HistoryEntry(
                number=generation.number,
                current=generation.current,
                created=manifest.created,
                size=manifest.image.size,
                weight=weight,
                what=what,
                in_use=str(generation.image.resolve()) in open_images,
            )
        )
    return entries
