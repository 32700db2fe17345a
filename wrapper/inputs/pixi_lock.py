"""``pixi.lock``, which rattler reads for us."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from wrapper import platforms
from wrapper.errors import InputError
from wrapper.inputs.explicit import split_archive_name
from wrapper.models import EnvironmentSpec
from wrapper.packages import LockedPackage

if TYPE_CHECKING:
    from rattler.lock import Environment
    from rattler.lock import LockedPackage as Entry

_DEFAULT = "default"
_REPOSITORY = re.compile(r"(git\+[^?#]+)(?:\?([^#]*))?#([0-9a-f]{40})")


def is_pixi_lock(text: str) -> bool:
    """Whether the text has the top-level keys of one."""
    return all(
        re.search(rf"^{key}:", text, re.M) for key in ("version", "environments", "packages")
    )


def parse_pixi_lock(text: str, path: Path, wanted: str | None = None) -> EnvironmentSpec:
    """Parse a lock of pixi: the packages of its environment ``default`` for one platform.

    :param wanted: the platform, ``None`` for this machine's.
    :raises InputError: rattler cannot read it, or it has nothing that can be installed.
    """
    name, environment = _environment(text, path)
    wanted = wanted or platforms.here()
    locked = {platform.name: platform for platform in environment.platforms()}
    if wanted not in locked:
        raise InputError(
            f"{path.name} has no packages for {wanted}",
            where=path,
            hint=f"add it: pixi workspace platform add {wanted}",
        )
    packages: list[LockedPackage] = []
    local: list[str] = []
    for entry in environment.packages(locked[wanted]) or []:
        if _is_directory(entry):
            local.append(entry.location)
        else:
            packages.append(_package(entry, path))
    unchecked = [p.name for p in packages if not (p.sha256 or p.md5 or p.url.startswith("git+"))]
    return EnvironmentSpec(
        source=path,
        locked=tuple(packages),
        channels=tuple(str(channel) for channel in environment.channels()),
        pip_lines=tuple(local),
        pip_places=tuple(f"{path}, pypi: {place}" for place in local),
        notes=(f"the environment '{name}' of {path.name}",),
        warnings=(f"{path}: no hash to check for {', '.join(unchecked)}",) if unchecked else (),
    )


def _environment(text: str, path: Path) -> tuple[str, Environment]:
    """The environment to take, with its name; rattler's reader takes a path."""
    from rattler import LockFile

    try:
        with tempfile.NamedTemporaryFile("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            environments = dict(LockFile.from_path(Path(file.name)).environments())
    except OSError:
        raise
    except Exception as error:  # of another's checks, which raise what comes
        raise InputError(
            f"{path.name} is not a lock of pixi",
            where=path,
            hint="write it anew: pixi lock",
            detail=str(error) or type(error).__name__,
        ) from None
    name = _DEFAULT if len(environments) != 1 else next(iter(environments))
    if name not in environments:
        raise InputError(
            f"{path.name} has no environment '{_DEFAULT}', but: {_listed(environments)}",
            where=path,
            hint="write a list of the one you want: pixi workspace export conda-explicit-spec "
            "--environment NAME",
        )
    return name, environments[name]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _is_directory(entry: Entry) -> bool:
    """Whether a pip package is built from a directory beside the lock, which has no hash."""
    from rattler.lock import PypiLockedPackage

    url = re.match(r"[a-z][a-z0-9+.-]*:|git\+", entry.location, re.I)
    return isinstance(entry, PypiLockedPackage) and not url and _hashes(entry)[0] is None


def _package(entry: Entry, path: Path) -> LockedPackage:
    from rattler.lock import CondaLockedBinaryPackage, PypiLockedPackage

    sha256, md5 = _hashes(entry)
    url = entry.location
    if isinstance(entry, PypiLockedPackage):
        if found := _REPOSITORY.fullmatch(url):
            place = re.search(r"(?:^|&)subdirectory=([^&]+)", found[2] or "")
            url = f"{found[1]}@{found[3]}" + (f"#subdirectory={place[1]}" if place else "")
        elif not urlsplit(url).scheme:
            url = (path.parent / url).absolute().as_uri()
        return LockedPackage(
            manager="pip", name=entry.name, version=entry.version, url=url, sha256=sha256
        )
    parts = split_archive_name(url)
    if not isinstance(entry, CondaLockedBinaryPackage) or parts is None:
        raise InputError(
            f"{entry.name} is built from source, which is not done here",
            where=f"{path}, {url}",
            hint="let pixi build and publish it, and lock the package",
        )
    record = entry.package_record
    return LockedPackage(
        manager="conda",
        name=parts[0],
        version=parts[1],
        build=parts[2],
        url=url if urlsplit(url).scheme else (path.parent / url).absolute().as_uri(),
        sha256=sha256,
        md5=md5,
        depends=tuple(map(str, record.depends)) if record else (),
        size=(record.size or 0) if record else 0,
    )


def _hashes(entry: Entry) -> tuple[str | None, str | None]:
    """SHA-256 and MD5 in hexadecimal, as far as the lock has them."""
    with contextlib.suppress(AttributeError):  # rattler's value has none where there is no hash
        found = entry.hashes
        if found is not None:
            return found.sha256.hex() if found.sha256 else None, (
                found.md5.hex() if found.md5 else None
            )
    return None, None
