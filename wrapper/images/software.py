"""Software in an image that has no one place: Pythons, MPI, libfabric."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from wrapper.images.tree import ImageTree

_PROVIDERS = ("cxi", "verbs", "efa", "psm2", "psm3", "opx", "tcp", "udp", "shm", "sockets", "lnx")
_SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"
_MOST_READ = 8  # interpreters and libraries whose content is searched for their version


def find_pythons(tree: ImageTree, search_path: str) -> dict[str, str]:
    """Interpreters by path with their versions; the ``python3`` on the image's PATH comes first.

    Virtual environments' are links to others, and not counted.
    """
    programs = [
        path
        for path in tree.matching(r".*/bin/python[23]\.\d+")
        if tree.modes[path].startswith("-") and tree.is_program(path)
    ]
    contents = tree.read(programs[:_MOST_READ])
    versions = {path: _python_version(tree, path, contents.get(path, b"")) for path in programs}
    folders = (search_path or _SYSTEM_PATH).split(":")
    first = next((p for f in folders if (p := tree.real(f"{f}/python3")) in versions), "")
    return dict(sorted(versions.items(), key=lambda item: (item[0] != first, item[0])))


def _python_version(tree: ImageTree, path: str, content: bytes) -> str:
    """Of conda's from its metadata; of others the text that ``sys.version`` begins with."""
    minor = path.rsplit("python", 1)[-1]
    root = re.escape(str(PurePosixPath(path).parent.parent))
    version = rf"{re.escape(minor)}\.\d+(?:(?:a|b|rc)\d+)?\+?"
    if records := tree.matching(rf"{root}/conda-meta/python-{version}-[^/]*\.json"):
        return records[0].rsplit("python-", 1)[-1].split("-")[0]
    pattern = re.compile(rf"\0({version})\0".encode())
    if match := pattern.search(content):
        return match[1].decode()
    libraries = tree.matching(rf"(?:{root}|/usr)/lib(?:64)?/(?:.*/)?libpython{minor}\.so\.1\.0")
    for library in tree.read(libraries[:1]).values():
        if match := pattern.search(library):
            return match[1].decode()
    return minor


def find_mpi(tree: ImageTree, packages: Mapping[str, str]) -> tuple[str, str]:
    """MPI's flavour and version.

    The ABI of MPICH is ``libmpi.so.12`` (Debian: ``libmpich.so.12``), that of Open MPI
    ``libmpi.so.40``. Versions are from pkg-config's files, dpkg, or the library itself.
    """
    # A directory of the image may be Cray's own, bound at run time: not MPI of the image.
    mpich = tree.matching(r".*/(?:libmpi|libmpich)\.so\.12(?:\.\d+)*")
    openmpi = tree.matching(r".*/libmpi\.so\.[24]0(?:\.\d+)*")
    if mpich:
        known = _pkg_config(tree, "mpich") or _upstream(packages.get("libmpich12", ""))
        return "MPICH", known or _text_in(tree, mpich, rb"MPICH Version:\s+(\d+(?:\.\w+)+)")
    if openmpi:
        known = _pkg_config(tree, "ompi") or _upstream(packages.get("libopenmpi3", ""))
        return "Open MPI", known or _text_in(tree, openmpi, rb"Open MPI v(\d+(?:\.\w+)+)")
    return "", ""


def find_libfabric(tree: ImageTree, packages: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """libfabric's version and those of its providers that are worth knowing (``cxi``: Slingshot).

    Providers are built in, their names are texts of the library; or plug-ins, files of their own.
    """
    libraries = [
        path
        for path in tree.matching(r".*/libfabric\.so\.1(?:\.\d+)*")
        if tree.modes[path].startswith("-")
    ]
    if not libraries:
        return "", ()
    version = _pkg_config(tree, "libfabric") or _upstream(packages.get("libfabric1", ""))
    content = next(iter(tree.read(libraries[:1]).values()), b"")
    plugins = {path.rsplit("/lib", 1)[-1] for path in tree.matching(r".*/lib[a-z0-9]+-fi\.so")}
    providers = [
        name
        for name in _PROVIDERS
        if b"\0" + name.encode() + b"\0" in content or f"{name}-fi.so" in plugins
    ]
    return version or "unknown", tuple(providers)


def _pkg_config(tree: ImageTree, name: str) -> str:
    files = tree.matching(rf".*/pkgconfig/{name}\.pc")
    for content in tree.read(files[:1]).values():
        if match := re.search(rb"^Version:\s*(\S+)", content, re.M):
            return match[1].decode("utf-8", "replace")
    return ""


def _text_in(tree: ImageTree, files: Sequence[str], pattern: bytes) -> str:
    for content in tree.read(files[:1]).values():
        if match := re.search(pattern, content):
            return match[1].decode("utf-8", "replace")
    return ""


def _upstream(version: str) -> str:
    """Debian goes back to an older version under a newer number: ``4.3.0+really4.2.1``."""
    return version.rpartition("+really")[2]
