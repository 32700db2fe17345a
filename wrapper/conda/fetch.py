"""Packages from their channels to local archives whose hashes we have checked ourselves.

rattler checks what it downloads over http, but not packages of ``file://`` channels (measured
with 0.28), and a damaged cache entry is used as it is. So every archive passes here first.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from rattler import Client, RepoDataRecord
from rattler.package_streaming import download_to_path

from wrapper.background import run_async
from wrapper.cache import draft, make_cache
from wrapper.console import Advance
from wrapper.errors import ChannelError, PackageError, SpaceError, means_no_space
from wrapper.models import public_url

_CONCURRENT = 8
_BLOCK = 1 << 20


def fetch(
    records: Sequence[RepoDataRecord], *, cache: Path, advance: Advance
) -> list[RepoDataRecord]:
    """Bring all archives, checked, and return them as records that rattler installs from disk.

    Archives of ``file://`` channels are checked where they are. Others are kept in
    ``cache/archives`` under their hash. The returned records hold what the archives say of
    themselves, in the order of ``records``: a solve and a lock of the same packages give the same.

    :raises PackageError: an archive is missing or is not what its hash says.
    :raises ChannelError: a download fails.
    """
    return run_async(_fetch_all, records, cache / "archives", advance)


async def _fetch_all(
    records: Sequence[RepoDataRecord], store: Path, advance: Advance
) -> list[RepoDataRecord]:
    client = Client.default_client()
    limit = asyncio.Semaphore(_CONCURRENT)
    total = sum(record.size or 0 for record in records)
    done = 0

    async def one(record: RepoDataRecord) -> RepoDataRecord:
        nonlocal done
        async with limit:
            path, md5 = await _fetch_one(record, store, client)
            local = await _read(record, path)
        local.md5 = md5
        done += record.size or 0
        advance(done, total)
        return local

    tasks = [asyncio.ensure_future(one(record)) for record in records]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


async def _fetch_one(record: RepoDataRecord, store: Path, client: Client) -> tuple[Path, bytes]:
    """Where the checked archive is, and its MD5."""
    url = urlsplit(record.url)
    if url.scheme == "file":
        path = Path(unquote(url.path))
        if not path.is_file():
            raise PackageError(
                f"package {record.file_name} is missing from its channel",
                where=path,
                hint="index the channel anew",
            )
        return path, await asyncio.to_thread(check_hash, path, record)
    path = store / _key(record) / record.file_name
    if path.is_file():
        try:
            return path, await asyncio.to_thread(check_hash, path, record)
        except PackageError:
            path.unlink(missing_ok=True)  # a cached archive went bad: fetch it again
    make_cache(path.parent)
    # Builds may share the cache: each writes a file of its own, and the last rename counts.
    partial = draft(path)
    try:
        await _download(record, client, partial)
        md5 = await asyncio.to_thread(check_hash, partial, record)
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)
    return path, md5


async def _download(record: RepoDataRecord, client: Client, target: Path) -> None:
    try:
        await download_to_path(client, record.url, target)
    except Exception as error:
        if means_no_space(str(error)):
            raise SpaceError(
                f"no room left for {record.file_name}",
                where=target.parent,
                hint="free some space there, or name a larger file system with --tmpdir",
                detail=str(error),
            ) from None
        raise ChannelError(
            f"cannot download {record.file_name}",
            where=public_url(record.url),
            hint="try again; if it stays, the channel's index and its packages do not agree",
            detail=str(error),
        ) from None


async def _read(record: RepoDataRecord, path: Path) -> RepoDataRecord:
    try:
        return await RepoDataRecord.from_package_archive(path)
    except Exception as error:
        raise PackageError(
            f"package {record.file_name} cannot be read",
            where=public_url(record.url),
            hint="report it to the channel's owner",
            detail=str(error),
        ) from None


def _key(record: RepoDataRecord) -> str:
    digest = record.sha256 or record.md5 or hashlib.sha256(record.url.encode()).digest()
    return digest.hex()[:16]


def check_hash(path: Path, record: RepoDataRecord) -> bytes:
    """Compare an archive with the hash that its channel or lock names: SHA-256, else MD5.

    :returns: its MD5, which conda-lock's format wants besides. :raises PackageError: they differ.
    """
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            sha256.update(block)
            md5.update(block)
    name, expected, found = (
        ("sha256", record.sha256, sha256.digest())
        if record.sha256
        else ("md5", record.md5, md5.digest())
    )
    if expected is not None and found != expected:
        raise PackageError(
            f"package {record.file_name} is damaged or not the one that was asked for",
            where=public_url(record.url),
            hint="report it to the channel's owner, or remove the package from a mirror's cache",
            detail=f"{name} expected {expected.hex()}\n{name} found    {found.hex()}",
        )
    return md5.digest()
