"""The profiles of sites that come with containerize, and by what the machine's own is found.

A look starts no process and asks no file server: variables, files of the node's own system, the
cluster's name. That is ``SLURM_CLUSTER_NAME``, which jobs have, and what ``slurm.conf`` says.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from wrapper import bundled, site_profile
from wrapper.errors import InputError
from wrapper.site_profile import Detect
from wrapper.util import yaml_nodes

_SLURM_CONF = ("/etc/slurm/slurm.conf", "/run/slurm/conf/slurm.conf")  # the other: "configless"
_CLUSTER = re.compile(r"^\s*ClusterName\s*=\s*(\S+)", re.M | re.I)
_MOST = 1_000_000  # bytes of a file that are looked at


@dataclass(frozen=True, kw_only=True)
class Found:
    """A profile that fits this machine. :ivar why: what was seen."""

    path: Path
    why: str


def shipped() -> dict[str, Path]:
    """Profiles by name."""
    return {path.stem: path for path in sorted(bundled.directory("sites").glob("*.yml"))}


def named(name: str, where: str) -> Path:
    """:param where: what names it. :raises InputError: there is none of that name."""
    profiles = shipped()
    if name not in profiles:
        raise InputError(
            f"no site is called '{name}'",
            where=where,
            hint=f"{site_profile.nearest(name, profiles)}; or name a file by its path (./{name})",
        )
    return profiles[name]


def find(environ: Mapping[str, str], root: Path = Path("/")) -> Found | None:
    """The profile that fits here. :param root: where files are looked for."""
    known = [(site_profile.detect(_keys(path).get("detect")), path) for path in shipped().values()]
    for detect, path in sorted(known, key=lambda pair: pair[0].fallback):
        if why := _fits(detect, environ, root):
            return Found(path=path, why=why)
    return None


@functools.cache
def mounts() -> frozenset[str]:
    """Names of the top-level directories that the known sites have."""
    lists = [site_profile.mounts(_keys(path).get("mounts", [])) for path in shipped().values()]
    return frozenset(mount.lstrip("/") for mounts in lists for mount in mounts)


def _fits(detect: Detect, environ: Mapping[str, str], root: Path) -> str:
    """What shows that it is this site, empty where nothing does."""
    for name, pattern in detect.variables.items():
        if fnmatchcase(environ.get(name, ""), pattern) and name in environ:
            return f"{name}={environ[name]}"
    for file in detect.files:
        if os.path.exists(root / file.lstrip("/")):  # noqa: PTH110 - false, not raised
            return file
    for file, text in detect.text.items():
        if text in _content(root, file):
            return f"'{text}' in {file}"
    if detect.clusters and (cluster := _cluster(environ, root)).name in detect.clusters:
        return f"the cluster's name in {cluster.where}"
    return "nothing more special fits" if detect.always else ""


@dataclass(frozen=True)
class _Cluster:
    name: str = ""
    where: str = ""


def _cluster(environ: Mapping[str, str], root: Path) -> _Cluster:
    if name := environ.get("SLURM_CLUSTER_NAME"):
        return _Cluster(name, "SLURM_CLUSTER_NAME")
    for file in _SLURM_CONF:
        if match := _CLUSTER.search(_content(root, file)):
            return _Cluster(match[1], file)
    return _Cluster()


def _content(root: Path, file: str) -> str:
    """The beginning of a file, nothing of one that cannot be read."""
    try:
        with (root / file.lstrip("/")).open("rb") as source:
            return source.read(_MOST).decode("utf-8", "replace")
    except OSError:
        return ""


@functools.cache
def _keys(path: Path) -> Mapping[str, object]:
    """All that a profile that comes with us says."""
    keys = yaml_nodes.top_level(path.read_text(), path, "")
    return {name: yaml_nodes.plain(node, path) for name, (_, node) in keys.items()}
