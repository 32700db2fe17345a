"""``conda-lock.yml``, the lock format of conda-lock, which reads it for us."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from wrapper import platforms
from wrapper.errors import InputError
from wrapper.inputs.explicit import split_archive_name
from wrapper.inputs.left_out import left_out_line
from wrapper.inputs.variables import why_not
from wrapper.models import EnvironmentSpec
from wrapper.packages import LockedPackage
from wrapper.util import yaml_nodes

_VARIABLES = "# Variables of the environment: "  # a comment to conda-lock, which has none


def is_lock(text: str) -> bool:
    """Whether the text has the top-level keys of a lock."""
    return bool(re.search(r"^package:", text, re.M) and re.search(r"^metadata:", text, re.M))


def parse_lock(text: str, path: Path, platform: str | None = None) -> EnvironmentSpec:
    """Parse a lock; packages of other platforms and of optional categories are left out.

    :param platform: whose packages are wanted, ``None`` for this machine's.
    :raises InputError: it is not a lock that conda-lock accepts, or has nothing for this platform.
    """
    lock, platform = _read(text, path), platform or platforms.here()
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
        if package.platform == platform and "main" in package.categories
    )
    variables = _variables(text, path)
    if not packages:
        raise InputError(
            f"{path.name} has no packages for {platform}",
            where=path,
            hint=f"lock with 'platforms: [{platform}]'",
        )
    return EnvironmentSpec(
        source=path,
        locked=packages,
        channels=tuple(channel.url for channel in lock.metadata.channels),
        variables=variables,
        notes=(f"variables of the lock: {', '.join(variables)}",) if variables else (),
    )


def _variables(text: str, path: Path) -> dict[str, str]:
    """What :func:`write_lock` wrote. :raises InputError: it was changed to something else."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith(_VARIABLES):
            with contextlib.suppress(ValueError):
                found = json.loads(line.removeprefix(_VARIABLES))
                if isinstance(found, dict) and all(map(_can_be_set, found.items())):
                    return found
            raise InputError(
                "the lock's variables cannot be read",
                where=f"{path}, line {number}",
                hint='write {"NAME": "VALUE"}, or remove the line',
            )
    return {}


def _can_be_set(item: tuple[str, object]) -> bool:
    name, value = item
    return not why_not(name) and isinstance(value, str) and "\0" not in value


def _read(text: str, path: Path) -> Any:
    """The lock as conda-lock's own value; its reader takes a path, and any aliases."""
    from conda_lock.lockfile import Lockfile, LockfileV1, lockfile_v1_to_v2

    try:
        root = yaml_nodes.compose(text, path)
        content = yaml_nodes.plain(root, path) if root else None
        if not isinstance(content, dict):
            raise ValueError("it is no mapping of keys to values")
        version = content.pop("version", None)
        if version not in (1, 2):
            raise ValueError(f"its version is {version!r}, and 1 and 2 are known")
        if version == 2:
            return Lockfile.model_validate(content)
        return lockfile_v1_to_v2(LockfileV1.model_validate(content))
    except Exception as error:  # of another's checks, which raise what comes
        raise InputError(
            f"{path.name} is not a conda-lock file",
            where=path,
            hint="write it anew",
            detail=_why(error),
        ) from None


def _why(error: Exception) -> str:
    if isinstance(error, InputError):
        return f"{error.where}: {error.what}"
    return str(error) or type(error).__name__


def write_lock(
    packages: Sequence[LockedPackage],
    channels: Sequence[str],
    path: Path,
    variables: Mapping[str, str] | None = None,
    left: Sequence[LockedPackage] = (),
    *,
    platform: str | None = None,
) -> None:
    """Write a lock, format 1, as conda-lock would; the same packages give the same bytes.

    ``variables`` of the environment file become a comment, which :func:`parse_lock` reads, and so
    do packages that are ``left`` out, see :mod:`wrapper.inputs.left_out`. ``platform`` is theirs,
    ``None`` for this machine's.

    Without its library, whose import takes longer than most steps of a build (*measured*, 1.1 s
    and more). ``tests/unit/test_spec_files.py`` compares the bytes with what that writes.
    """
    platform = platform or platforms.here()
    lock = {
        "version": 1,
        "metadata": {
            "content_hash": {platform: ""},
            "channels": [{"url": channel, "used_env_vars": []} for channel in channels],
            "platforms": [platform],
            "sources": [],
        },
        "package": [
            _entry(p, platform) for p in sorted(packages, key=lambda p: (p.manager, p.name))
        ],
    }
    text = yaml.dump(lock, Dumper=_Dumper, sort_keys=False)
    note = f"{_VARIABLES}{json.dumps(dict(variables))}\n" if variables else ""
    version, _, rest = text.partition("\n")
    path.write_text(f"{version}\n{note}{left_out_line(left)}{rest}", encoding="utf-8")


class _Dumper(yaml.CSafeDumper):
    """Writes every list and mapping in full, though it be there twice."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _entry(package: LockedPackage, platform: str) -> dict[str, object]:
    depends = {depend.partition(" ")[0]: depend.partition(" ")[2] for depend in package.depends}
    hashes = {"md5": package.md5, "sha256": package.sha256}
    return {
        "name": package.name,
        "version": package.version,
        "manager": package.manager,
        "platform": platform,
        "dependencies": dict(sorted(depends.items())),
        "url": package.url,
        "hash": {kind: digest for kind, digest in hashes.items() if digest},
        **({"build": package.build} if package.build else {}),
        "category": "main",
        "optional": False,
    }


def _build_of(url: str) -> str:
    parts = split_archive_name(url)
    return parts[2] if parts else ""
