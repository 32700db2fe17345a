"""``conda-lock.yml``, the lock format of conda-lock: read and written through its own library."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from wrapper.errors import InputError
from wrapper.models import EnvironmentSpec, LockedPackage
from wrapper.spec.explicit import split_archive_name

if TYPE_CHECKING:
    from conda_lock.lockfile.v2prelim.models import LockedDependency

PLATFORM = "linux-64"


def is_lock(text: str) -> bool:
    """Whether the text has the top-level keys of a lock."""
    return bool(re.search(r"^package:", text, re.M) and re.search(r"^metadata:", text, re.M))


def parse_lock(text: str, path: Path) -> EnvironmentSpec:
    """Parse a lock; packages of other platforms and of optional categories are left out.

    :raises InputError: it is not a lock that conda-lock accepts, or has nothing for this platform.
    """
    from conda_lock.lockfile import parse_conda_lock_file

    try:
        lock = parse_conda_lock_file(path)
    except (ValueError, yaml.YAMLError, AttributeError, TypeError) as error:
        raise InputError(
            f"{path.name} is not a conda-lock file",
            where=path,
            hint="write it anew",
            detail=str(error),
        ) from None
    packages = tuple(
        LockedPackage(
            manager=package.manager,
            name=package.name,
            version=package.version,
            build=package.build or _build_of(package.url),
            url=package.url,
            sha256=package.hash.sha256,
            md5=package.hash.md5,
            depends=tuple(
                f"{name} {version}".strip() for name, version in package.dependencies.items()
            ),
        )
        for package in lock.package
        if package.platform == PLATFORM and "main" in package.categories
    )
    if not packages:
        raise InputError(
            f"{path.name} has no packages for {PLATFORM}",
            where=path,
            hint=f"lock with 'platforms: [{PLATFORM}]'",
        )
    return EnvironmentSpec(
        source=path,
        locked=packages,
        channels=tuple(channel.url for channel in lock.metadata.channels),
    )


def write_lock(packages: Sequence[LockedPackage], channels: Sequence[str], path: Path) -> None:
    """Write a lock that conda-lock itself can read; the same packages give the same bytes."""
    from conda_lock.lockfile import write_conda_lock_file
    from conda_lock.lockfile.v1.models import LockMeta
    from conda_lock.lockfile.v2prelim.models import Lockfile
    from conda_lock.models.channel import Channel

    metadata = LockMeta(
        content_hash={PLATFORM: ""},
        channels=[Channel.from_string(channel) for channel in channels],
        platforms=[PLATFORM],
        sources=[],
    )
    lock = Lockfile(package=[_locked(p) for p in packages], metadata=metadata)
    write_conda_lock_file(lock, path, metadata_choices=None, include_help_text=False)


def _locked(package: LockedPackage) -> LockedDependency:
    from conda_lock.lockfile.v1.models import HashModel
    from conda_lock.lockfile.v2prelim.models import LockedDependency

    depends: dict[str, Any] = {}
    for depend in package.depends:
        name, _, version = depend.partition(" ")
        depends[name] = version
    return LockedDependency(
        name=package.name,
        version=package.version,
        manager=package.manager,
        platform=PLATFORM,
        dependencies=depends,
        url=package.url,
        hash=HashModel(md5=package.md5, sha256=package.sha256),
        build=package.build or None,
        categories={"main"},
    )


def _build_of(url: str) -> str:
    parts = split_archive_name(url)
    return parts[2] if parts else ""
