"""Packages from their channels to unpacked directories whose archives had the right hashes.

An archive may lie where others can write: in a cache that a project shares, in a channel on disk.
So it is read once, and the hash is that of the bytes that were unpacked: what is exchanged before
or after is not used. rattler checks no hash of what is on disk (measured with 0.28).
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from rattler import Client, PackageRecord, RepoDataRecord
from rattler.package_streaming import download_and_extract, download_to_path

from wrapper.conda.client import channel_client, run_async
from wrapper.conda.contents import directory_of
from wrapper.console import Advance, piecewise
from wrapper.credentials import login_hint, public_url
from wrapper.errors import ChannelError, PackageError, means_no_space
from wrapper.util.cache import make_cache
from wrapper.util.disk import no_room
from wrapper.util.foreign import only_ours
from wrapper.util.removal import remove_tree

_CONCURRENT = 8
_BLOCK = 1 << 20


class _AnotherOne(PackageError):
    """An archive is not what its hash says."""


def fetch(
    records: Sequence[RepoDataRecord], *, cache: Path, unpacked: Path, advance: Advance
) -> list[RepoDataRecord]:
    """Bring all packages, unpacked below ``unpacked`` (a new directory that is ours alone).

    Archives that are downloaded are kept in ``cache/archives`` under their hash. One that has no
    hash is never kept; where others write to the cache, nor is one with an MD5 only. The returned
    records, in the order of ``records``, hold what the archives say of themselves: a solve and a
    lock of the same packages give the same. Their URLs lead nowhere.

    :raises PackageError: an archive is missing or is not what its hash says.
    :raises ChannelError: a download fails.
    """
    store = cache / "archives"
    # Where others write, an MD5 tells nothing: who makes two files of one can exchange them.
    return run_async(_Fetcher(store, only_ours(cache), unpacked, advance).all, records)


@dataclass(frozen=True)
class _Fetcher:
    """:ivar store: where archives are kept. :ivar own: whether nobody else writes there."""

    store: Path
    own: bool
    unpacked: Path
    advance: Advance

    async def all(self, records: Sequence[RepoDataRecord]) -> list[RepoDataRecord]:
        client = channel_client()
        limit = asyncio.Semaphore(_CONCURRENT)
        fetched = piecewise(self.advance, sum(record.size or 0 for record in records))
        self.unpacked.mkdir(parents=True, exist_ok=True)

        async def one(record: RepoDataRecord) -> RepoDataRecord:
            async with limit:
                local = await self._one(record, client)
            fetched(record.size or 0)
            return local

        tasks = [asyncio.ensure_future(one(record)) for record in records]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _one(self, record: RepoDataRecord, client: Client) -> RepoDataRecord:
        name = _file_name(record)
        url = urlsplit(record.url)
        if url.scheme == "file":
            path = Path(unquote(url.path))
            if not path.is_file():
                raise PackageError(
                    f"package {name} is missing from its channel",
                    where=path,
                    hint="index the channel anew",
                )
            return await self._unpack(record, path, client)
        kept = self._place(record)
        if kept and kept.is_file():
            try:
                return await self._unpack(record, kept, client)
            except _AnotherOne:
                pass  # it went bad, or somebody else put it there: fetch it again
        folder = kept.parent if kept else self.unpacked
        make_cache(folder)
        # Builds may share the cache: each writes a file of its own, and the last rename counts.
        fresh = folder / f".{secrets.token_hex(8)}-{name}"
        try:
            await _download(record, client, fresh)
            local = await self._unpack(record, fresh, client)
            if kept:
                fresh.replace(kept)
        finally:
            fresh.unlink(missing_ok=True)
        return local

    def _place(self, record: RepoDataRecord) -> Path | None:
        """Where an archive is kept, ``None`` where it is not."""
        digest = record.sha256 or (record.md5 if self.own else None)
        return self.store / digest.hex()[:16] / record.file_name if digest else None

    async def _unpack(self, record: RepoDataRecord, path: Path, client: Client) -> RepoDataRecord:
        """Unpack an archive; its record. :raises _AnotherOne: it is not what its hash says."""
        target = self.unpacked / f".{secrets.token_hex(8)}"
        problem = None
        try:
            try:
                sha256, md5 = await download_and_extract(client, path.as_uri(), target)
            except Exception as error:
                _require_room(error, self.unpacked)
                problem = error
                sha256, md5 = await asyncio.to_thread(_digests, path)
            _require_hash(record, sha256, md5)  # first: what is damaged can rarely be unpacked
            if problem:
                raise _unreadable(record, problem)
            local = _local_record(record, target, (sha256, md5), path.stat().st_size)
            target.rename(directory_of(local, self.unpacked))
        except BaseException:
            remove_tree(target)
            raise
        return local


def _file_name(record: RepoDataRecord) -> str:
    """The name of an archive. :raises PackageError: it is a path."""
    name = record.file_name
    if "/" in name or not name.endswith((".conda", ".tar.bz2")):
        raise PackageError(
            f"'{name}' is not the name of a package's file",
            where=public_url(record.url),
            hint="report it to the channel's owner",
        )
    return name


async def _download(record: RepoDataRecord, client: Client, target: Path) -> None:
    try:
        await download_to_path(client, record.url, target)
    except Exception as error:
        _require_room(error, target.parent)
        raise ChannelError(
            f"cannot download {record.file_name}",
            where=public_url(record.url),
            hint=login_hint(str(error))
            or "try again; if it stays, the channel's index and its packages do not agree",
            detail=str(error),
        ) from None


def _require_room(error: Exception, place: Path) -> None:
    """:raises SpaceError: ``error`` means that the file system of ``place`` is full."""
    if means_no_space(str(error)):
        raise no_room("no room left for the packages", place, str(error)) from None


def _local_record(
    record: RepoDataRecord, directory: Path, digests: tuple[bytes, bytes], size: int
) -> RepoDataRecord:
    """What an unpacked package says of itself.

    :raises PackageError: that cannot be read, or is of another package than the one asked for.
    """
    sha256, md5 = (digest.hex() for digest in digests)
    try:
        found = PackageRecord.from_index_json(directory / "info/index.json", size, sha256, md5)
    except Exception as error:
        raise _unreadable(record, error) from None
    asked = (record.name.normalized, str(record.version), str(record.build))
    said = (found.name.normalized, str(found.version), str(found.build))
    if asked != said:
        raise PackageError(
            f"package {record.file_name} is another one by its own word",
            where=public_url(record.url),
            hint="report it to the channel's owner",
            detail=f"{' '.join(asked)} expected\n{' '.join(said)} found",
        )
    # What is linked is what is unpacked: rattler shall not fetch it once more, unchecked.
    gone = directory.as_uri()  # it gets its name now
    return RepoDataRecord(found, record.file_name, f"{gone}/{record.file_name}", gone)


def _unreadable(record: RepoDataRecord, error: Exception) -> PackageError:
    return PackageError(
        f"package {record.file_name} cannot be read",
        where=public_url(record.url),
        hint="report it to the channel's owner",
        detail=str(error),
    )


def _digests(path: Path) -> tuple[bytes, bytes]:
    """SHA-256 and MD5 of a file."""
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            sha256.update(block)
            md5.update(block)
    return sha256.digest(), md5.digest()


def _require_hash(record: RepoDataRecord, sha256: bytes, md5: bytes) -> None:
    """Compare with the hash that the channel or the lock names: SHA-256, else MD5.

    :raises _AnotherOne: they differ.
    """
    name, expected, found = (
        ("sha256", record.sha256, sha256) if record.sha256 else ("md5", record.md5, md5)
    )
    if expected is not None and found != expected:
        raise _AnotherOne(
            f"package {record.file_name} is damaged or not the one that was asked for",
            where=public_url(record.url),
            hint="report it to the channel's owner, or remove the package from a mirror's cache",
            detail=f"{name} expected {expected.hex()}\n{name} found    {found.hex()}",
        )
