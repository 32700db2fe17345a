"""An :class:`EnvironmentSpec` into exact packages, with rattler's solver."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

import rattler
from rattler import (
    Channel,
    ChannelPriority,
    Gateway,
    GenericVirtualPackage,
    MatchSpec,
    PackageName,
    PackageRecord,
    RepoDataRecord,
    Version,
    VirtualPackage,
    VirtualPackageOverrides,
)
from rattler.exceptions import (
    GatewayError,
    InvalidChannelError,
    InvalidMatchSpecError,
    SolverError,
)
from rattler.package import BuildString

from wrapper import platforms
from wrapper.conda.channels import mirrored
from wrapper.conda.client import channel_client, run_async
from wrapper.credentials import login_hint, public_url, refused_url, with_credentials
from wrapper.errors import ChannelError, InputError, SolveError
from wrapper.models import Base, EnvironmentSpec, Resolution, Site
from wrapper.packages import LockedPackage
from wrapper.util.cache import users_directory

_LISTED = 6  # versions in a message
_ALSO_TOKENS = "in the env.yml or after --channel, a token as /t/${TOKEN}/CHANNEL behind the host"
_UNSEEN = "; some servers say so of what needs a token: write /t/${TOKEN}/CHANNEL behind the host"
_OFFLINE_HINT = "check the name, your network and proxy settings, or use a mirror with --channel"


def resolve(
    spec: EnvironmentSpec,
    *,
    cache: Path,
    base: Base,
    site: Site,
    preferred: Sequence[RepoDataRecord] = (),
    pinned: Sequence[RepoDataRecord] = (),
    platform: str | None = None,
) -> Resolution:
    """Find the packages of an environment.

    :param cache: directory for repodata, outside the container.
    :param base: what it stands on: its glibc counts.
    :param site: whose mirrors are used.
    :param preferred: records to keep where the request allows it.
    :param pinned: records of the base, which cannot be changed.
    :param platform: for which it is, ``None`` for this machine's.
    :raises InputError: a spec cannot be parsed. :raises ChannelError: a channel cannot be read.
    :raises SolveError: there is no solution; ``detail`` holds the solver's whole explanation.
    """
    subdirs = [platform or platforms.here(), platforms.NOARCH]  # the parts of channels
    if spec.locked is not None:
        return _from_lock(spec, site, subdirs)
    specs = check_specs(spec, site)
    directory = spec.directory.absolute()
    names = [mirror for name in spec.channels for mirror in mirrored(name, site)]
    names += _channels_of(specs)
    known = _with_secrets(spec, site)
    found = (with_credentials(_channel_url(name, directory), known) for name in names)
    urls = tuple(dict.fromkeys(found))
    gateway = Gateway(
        cache_dir=users_directory(cache, "repodata"),
        client=channel_client(),
    )
    try:
        records = run_async(
            rattler.solve,
            sources=[Channel(url) for url in urls],
            specs=specs,
            gateway=gateway,
            platforms=subdirs,
            locked_packages=list(preferred),
            pinned_packages=list(pinned),
            virtual_packages=virtual_packages(base, platform),
            channel_priority=ChannelPriority.Strict,
        )
    except SolverError as error:
        raise _explained(
            str(error), spec, specs, urls=urls, gateway=gateway, subdirs=subdirs
        ) from None
    except GatewayError as error:
        detail = _with_causes(error)
        refused = refused_url(detail)
        asking = [url for url in urls if refused.startswith(f"{public_url(url)}/")]
        raise ChannelError(
            "a channel cannot be read",
            where=", ".join(asking or urls),
            hint=login_hint(detail, _ALSO_TOKENS)
            or _OFFLINE_HINT + (_UNSEEN if "404 Not" in detail else ""),
            detail=detail,
        ) from None
    return Resolution(records=tuple(records), channels=urls)


def check_specs(spec: EnvironmentSpec, site: Site | None = None) -> list[MatchSpec]:
    """What the specs say to the solver. :raises InputError: one of them says nothing."""
    site = site or Site()
    return [_match_spec(_at_mirror(s.text, site), spec.source, s.line) for s in spec.specs]


def _with_secrets(spec: EnvironmentSpec, site: Site) -> list[str]:
    """Channels that are named with a login or token, which those of locks and records lack."""
    mirrors = [url for urls in site.mirrors.values() for url in urls]
    named = (*spec.channels, *site.channels, *site.more_channels, *mirrors)
    return [url for url in named if url != public_url(url)]


def _explained(
    reason: str,
    spec: EnvironmentSpec,
    specs: Sequence[MatchSpec],
    *,
    urls: Sequence[str],
    gateway: Gateway,
    subdirs: list[str],
) -> SolveError:
    """The error for a solver's ``reason``: a name or a version that no channel has comes first."""
    sources = [Channel(url) for url in urls]
    asked = [match.name.normalized for match in specs if match.name]
    found = run_async(gateway.query, sources, subdirs, asked, recursive=False)
    offered = [record for records in found for record in records]
    missing: list[tuple[str, str, str]] = []
    for text, match in zip(spec.specs, specs, strict=True):
        name = match.name.normalized if match.name else ""
        same = [record for record in offered if record.name.normalized == name]
        if not name or name.startswith("__") or any(match.matches(record) for record in same):
            continue
        known: set[str] = set()
        if not same:
            names = run_async(gateway.names, sources, subdirs).names
            known = {name.normalized for name in names}
        what, hint = _not_offered(text.text, match, same, known)
        missing.append((what, f"{spec.source}, line {text.line}", hint))
    if missing:
        return _missing(missing, spec.source, reason)
    return SolveError(
        "the packages cannot be installed together",
        where=spec.source,
        hint="loosen a version, remove a package, or add the channel that has it",
        detail=reason,
    )


def _missing(missing: Sequence[tuple[str, str, str]], source: Path, reason: str) -> SolveError:
    """The error for specs that no package fits: what each is, where it stands, what to do."""
    what, where, hint = missing[0]
    if len(missing) == 1:
        return SolveError(what, where=where, hint=hint, detail=reason)
    lines = [f"{where}: {what}\n  {hint}" for what, where, hint in missing]
    return SolveError(
        f"no channel has {len(missing)} of the packages",
        where=source,
        hint="correct or remove these lines, or add the channel that has them",
        detail="\n".join(lines),
    )


def _not_offered(
    text: str, match: MatchSpec, same: Sequence[RepoDataRecord], known: Iterable[str]
) -> tuple[str, str]:
    """What to say of a spec that no package fits, and what to do.

    :param same: the packages of that name. :param known: names of all, where there are none.
    """
    name = match.name.normalized if match.name else ""
    if not same:
        near = difflib.get_close_matches(name, known, 3)
        question = f"did you mean {' or '.join(near)}? Else " if near else ""
        return f"no channel has a package '{name}'", f"{question}add the channel that has it"
    return f"no channel has a package that fits '{text}'", _nearest(name, match, same)


def _nearest(name: str, match: MatchSpec, same: Sequence[RepoDataRecord]) -> str:
    """What to write instead of a spec that none of the packages of that name fits."""
    if match.version and match.build:
        version = f"{name}{match.version}"
        if match.build[0] in "<>=!~":  # to conda, what follows a blank is a build
            return f"bounds are joined by a comma: '{version},{match.build}'"
        fits = MatchSpec(f"{name} {match.version}")
        builds = {str(record.build): None for record in same if fits.matches(record)}
        if builds:
            some = ", ".join([*builds][:_LISTED])
            return f"of that version there is {some}: write '{version}' for any build that fits"
    versions = sorted({record.version for record in same}, reverse=True)
    latest = ", ".join(str(version) for version in versions[:_LISTED])
    more = f" and {len(versions) - _LISTED} older ones" if len(versions) > _LISTED else ""
    return f"there are {name} {latest}{more}: name one, or add a channel"


def _at_mirror(text: str, site: Site) -> str:
    """A spec with ``CHANNEL::`` in front, the channel's mirror in its place."""
    channel, mark, rest = text.partition("::")
    return f"{mirrored(channel.strip(), site)[0]}::{rest}" if mark else text


def virtual_packages(base: Base, platform: str | None = None) -> list[GenericVirtualPackage]:
    """What a base offers to packages: the host's kernel and processor, its own C library.

    ``CONDA_OVERRIDE_GLIBC`` and so on have the last word. A CUDA version that an image tells counts
    only where the host has no driver.

    :param platform: for which packages are sought, ``None`` for this machine's. Nodes of another
        one are taken to have the kernel and C library of this machine, a processor of the oldest
        kind, and no GPU.
    """
    overrides = VirtualPackageOverrides.from_env()
    host = [package.into_generic() for package in VirtualPackage.detect(overrides)]
    found = {package.name.normalized: package for package in host}
    if platform and platform != platforms.here():
        found = _of_platform(found, platform)
    for name, version in base.virtual_packages.items():
        if f"CONDA_OVERRIDE{name[1:].upper()}" in os.environ:
            continue
        if version and not (name == "__cuda" and name in found):
            found[name] = GenericVirtualPackage(
                PackageName(name), Version(version), BuildString("0")
            )
        elif not version:
            found.pop(name, None)
    return list(found.values())


def _of_platform(
    found: Mapping[str, GenericVirtualPackage], platform: str
) -> dict[str, GenericVirtualPackage]:
    """What is taken to be on nodes of another platform; the user's own words stay."""
    there = {name: package for name, package in found.items() if name != "__cuda"}
    if "CONDA_OVERRIDE_CUDA" in os.environ and "__cuda" in found:
        there["__cuda"] = found["__cuda"]
    if "CONDA_OVERRIDE_ARCHSPEC" not in os.environ:
        there["__archspec"] = GenericVirtualPackage(
            PackageName("__archspec"), Version("1"), BuildString(platforms.MACHINES[platform])
        )
    return there


def describe_virtual_packages(base: Base) -> dict[str, str]:
    """The same as text, for the manifest: ``{'__glibc': '2.36', …}``."""
    return {
        # The version of __archspec says nothing, its build string names the microarchitecture.
        p.name.normalized: str(p.build_string if p.name.normalized == "__archspec" else p.version)
        for p in virtual_packages(base)
    }


def _match_spec(text: str, source: Path, line: int) -> MatchSpec:
    try:
        return MatchSpec(text)
    except InvalidMatchSpecError as error:
        raise InputError(
            f"'{text}' is not a package specification: {str(error).splitlines()[0]}",
            where=f"{source}, line {line}",
            hint="write NAME, NAME=VERSION, 'NAME>=VERSION' or CHANNEL::NAME",
        ) from None


def _channels_of(specs: Sequence[MatchSpec]) -> list[str]:
    """Channels named as ``channel::package``: searched too, after the listed ones (as conda)."""
    return [s.channel.base_url.rstrip("/") for s in specs if s.channel and s.channel.base_url]


def _channel_url(name: str, directory: Path) -> str:
    """A channel's name or path as a URL without a trailing slash."""
    path = Path(os.path.expanduser(name))  # noqa: PTH111 - raises nothing for unknown users
    if path.is_absolute() or name.startswith("."):
        return (directory / path).resolve().as_uri()
    try:
        url = Channel(name).base_url.rstrip("/")
        above, _, last = url.rpartition("/")
        return above if last in (*platforms.MACHINES, platforms.NOARCH) else url
    except InvalidChannelError as error:
        raise InputError(
            f"'{name}' is not a channel: {error}", hint="use a name, a URL or a path"
        ) from None


def _with_causes(error: BaseException) -> str:
    lines = [str(error)]
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
        lines.append(str(error))
    return "\n".join(dict.fromkeys(lines))


# -- locks -------------------------------------------------------------------------------------
def _from_lock(spec: EnvironmentSpec, site: Site, subdirs: Sequence[str]) -> Resolution:
    known = _with_secrets(spec, site)
    conda = [p for p in spec.locked or () if p.manager == "conda"]
    pip = [p for p in spec.locked or () if p.manager == "pip"]
    if not conda:
        raise InputError(
            f"{spec.source.name} has no conda packages",
            where=spec.source,
            hint="a lock for conda-containerize has at least Python",
        )
    return Resolution(
        records=tuple(
            locked_record(replace(p, url=with_credentials(p.url, known)), spec.source, subdirs)
            for p in conda
        ),
        channels=spec.channels or tuple(dict.fromkeys(_channel_of(p.url) for p in conda)),
        pip_locked=tuple(pip),
    )


def locked_record(package: LockedPackage, source: Path, subdirs: Sequence[str]) -> RepoDataRecord:
    """A record that rattler installs; what a lock does not know (noarch…) is in the archive."""
    subdir = package.url.rsplit("/", 2)[-2] if package.url.count("/") >= 2 else ""
    if subdir not in subdirs:
        raise InputError(
            f"'{package.url}' is not for this platform ({', '.join(subdirs)})",
            where=source,
            hint=f"lock the environment for {subdirs[0]}",
        )
    number = re.search(r"(\d+)$", package.build)
    record = PackageRecord(
        name=package.name,
        version=package.version,
        build=BuildString(package.build),
        build_number=int(number.group(1)) if number else 0,
        subdir=subdir,
        depends=list(package.depends),
        sha256=bytes.fromhex(package.sha256) if package.sha256 else None,
        md5=bytes.fromhex(package.md5) if package.md5 else None,
    )
    file_name = urlsplit(package.url).path.rsplit("/", 1)[-1]
    return RepoDataRecord(record, file_name, package.url, _channel_of(package.url))


def _channel_of(url: str) -> str:
    return url.rsplit("/", 2)[0]


def as_locked(record: RepoDataRecord) -> LockedPackage:
    """The lock entry of a solved package."""
    return LockedPackage(
        manager="conda",
        name=record.name.normalized,
        version=str(record.version),
        build=str(record.build),
        url=public_url(record.url),
        sha256=record.sha256.hex() if record.sha256 else None,
        md5=record.md5.hex() if record.md5 else None,
        depends=tuple(record.depends),
    )


def sizes(records: Sequence[RepoDataRecord]) -> Mapping[str, int]:
    """Bytes of each package's archive, by name; 0 where unknown."""
    return {record.name.normalized: record.size or _local_size(record.url) for record in records}


def _local_size(url: str) -> int:
    """A lock tells no sizes, a file does. A missing one is found when it is fetched."""
    path = Path(unquote(urlsplit(url).path))
    return path.stat().st_size if url.startswith("file:") and path.is_file() else 0
