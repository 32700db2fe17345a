"""What programs on GPUs are told by variables: ``gpu.toml``, and what of it counts for whom.

A build chooses by what it knows: the kind of GPU, the ROCm that the programs use, the base image,
the site. What depends on the node is decided when a shim starts.
"""

from __future__ import annotations

import fnmatch
import functools
import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date

from wrapper import rocm
from wrapper.models import Base
from wrapper.packages import LockedPackage
from wrapper.util import toml

AMD, NVIDIA = "amd", "nvidia"
CACHE = "{cache}"
"""In a value: the directory of the user and the job on the node's own disk."""
_data = functools.partial(toml.beside, __file__)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A variable, and why it has this value. :ivar where: a file of the nodes that get it."""

    name: str
    value: str
    where: str
    why: str
    source: str = ""
    read: date | None = None


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What shims set on nodes with GPUs.

    :ivar device: a file of such nodes. :ivar cache: a directory of every node. :ivar folders:
        names below the user's own one in there, in the order in which they are to be made.
    """

    device: str = ""
    cache: str = ""
    folders: tuple[str, ...] = ()
    settings: tuple[Setting, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Use:
    """For what GPUs an environment is. :ivar gpu: empty for none. :ivar rocm: its release."""

    gpu: str = ""
    rocm: str = ""
    image: str = ""
    site: str = ""

    @classmethod
    def of(cls, base: Base, packages: Iterable[LockedPackage] = (), site: str = "") -> Use:
        """What a base image and packages on it are for."""
        packages = list(packages)
        told = (rocm.release_of(package.canonical, package.version) for package in packages)
        of_packages = list(filter(None, told))
        release = base.rocm or next(iter(of_packages), "")
        name = os.path.basename(base.source or str(base.image or ""))  # noqa: PTH119 - or a URI
        if release:
            return cls(gpu=AMD, rocm=release, image=name, site=site)
        cuda = any(rocm.for_nvidia(p.canonical, p.version, p.build) for p in packages)
        return cls(gpu=NVIDIA, image=name, site=site) if cuda else cls()


NONE = Settings()


def settings_for(use: Use, has: Collection[str] = ()) -> Settings:
    """:param has: variables that the image sets itself."""
    if not use.gpu:
        return NONE
    data = _data()
    chosen = [e for e in data["settings"] if _counts(e, use) and e["name"] not in has]
    values = [str(entry["value"]) for entry in chosen]
    more = [folder for entry in chosen for folder in entry.get("folders", ())]
    below = [text.removeprefix(f"{CACHE}/") for text in (*values, *more) if CACHE in text]
    return Settings(
        device=data["devices"][use.gpu],
        cache=data["cache"],
        folders=tuple(sorted(set(below))),
        settings=tuple(map(_setting, chosen)),
    )


def left_out(use: Use) -> list[Setting]:
    """What others set, and is harmful here."""
    return [_setting(entry) for entry in _data()["left_out"] if _counts(entry, use)]


def known(name: str, value: str) -> Setting | None:
    """What the data says of a variable with this value; nothing where it has none such any more."""
    entries = [e for e in _data()["settings"] if (e["name"], e["value"]) == (name, value)]
    return _setting(entries[0]) if entries else None


def for_many_gpus(packages: Iterable[str]) -> bool:
    """Whether one of these packages (canonical names) is used for programs on many GPUs."""
    return not {*packages}.isdisjoint(_data()["many_gpus"]["packages"])


def _setting(entry: toml.Table) -> Setting:
    return Setting(
        name=entry["name"],
        value=str(entry.get("value", "")),
        where=entry.get("where", ""),
        why=entry["why"],
        source=entry["source"],
        read=entry["read"],
    )


def _counts(entry: toml.Table, use: Use) -> bool:
    """Whether what an entry asks for is so, as far as a build can tell."""
    if use.gpu not in entry["gpus"] or use.site not in entry.get("sites", (use.site,)):
        return False
    if not fnmatch.fnmatchcase(use.image, entry.get("image", "*")):
        return False
    first, end = rocm.numbers(entry.get("from", "")), rocm.numbers(entry.get("below", ""))
    release = rocm.numbers(use.rocm)
    return first <= release and (not end or release < end)
