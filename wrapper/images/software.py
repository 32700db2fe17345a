"""Software in an image that has no one place (Pythons, MPI, libfabric), and its entry point: what
``run`` does before a program and ``exec`` does not.

Images with frameworks keep settings there (which GPU a rank gets). A runtime writes the ENTRYPOINT
of an OCI image as words into ``/.singularity.d/runscript``; that of others is what their definition
says. It stands before a program only where it is a script that ends in that, ``exec "$@"``, and
changes neither the words nor the working directory before: a shim's call is the caller's.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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


# -- entry points --------------------------------------------------------------------------------
RUNSCRIPT = "/.singularity.d/runscript"
_OCI = re.compile(r"^OCI_ENTRYPOINT=(.*)$", re.M)
_HANDS_OVER = re.compile(r"""exec\s+(?:--\s+)?(?:"\$\{?@\}?"|\$\{?@\}?)""")
_SETS = re.compile(r"^\s*(?:export|source|\.|eval|module|ulimit|umask)\s", re.M)
_COMMAND = r"(?:^|[;&|{)!]|\b(?:then|else|do|if|while|command|builtin)\s)\s*"
_WORDS_SET = r"set\s+(?:[^-+\s]|--?(?:\s|$)|.*\s--?(?:\s|$))"  # no options alone, as in "set -eu"
_CHANGES_CALL = re.compile(rf"{_COMMAND}(?:(?:cd|pushd|popd|shift)\b|{_WORDS_SET})")
_HERE_DOCUMENT = re.compile(r"""(?<!<)<<-?\s*["'\\]?(\w+)""")
_SEARCHED = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, kw_only=True)
class EntryPoint:
    """:ivar words: to start a program with; none where ``run`` does nothing before it, or where it
    cannot be done. :ivar why_not: in the latter case, the end of a sentence.
    """

    words: tuple[str, ...] = ()
    why_not: str = ""


def find_entry_point(tree: ImageTree, environment: Mapping[str, str]) -> EntryPoint:
    """:param environment: variables that the image sets."""
    runscript = tree.text(RUNSCRIPT)
    told = _OCI.search(runscript)
    if told is None:
        return _own(runscript)
    words = _words(told[1])
    if not words:
        return EntryPoint()
    program = _program(tree, words[0], environment.get("PATH") or _SEARCHED)
    if program is None:
        return EntryPoint(why_not=f"its entry point {words[0]} is not in it")
    text = tree.text(program)
    if not text.startswith("#!"):
        return EntryPoint(why_not=f"its entry point {words[0]} is a program, and no script")
    if why := _obstacle(text):
        return EntryPoint(why_not=f"its entry point {words[0]} {why}")
    return EntryPoint(words=(program, *words[1:]))


def _own(runscript: str) -> EntryPoint:
    """Of a definition's own runscript: most start a program of the image, and set nothing."""
    if not _SETS.search(runscript):
        return EntryPoint()
    why = _obstacle(runscript) if runscript.startswith("#!") else "has no first line #!/bin/sh"
    if why:
        return EntryPoint(why_not=f"its runscript, which sets something, {why}")
    return EntryPoint(words=(RUNSCRIPT,))


def _obstacle(text: str) -> str:
    """Why a script cannot stand before a program, the end of a sentence; empty where it can."""
    *before, last = _commands(text) or [""]
    always = not before or not before[-1].endswith(("&&", "||", "|"))
    if not always or not _HANDS_OVER.fullmatch(last.rstrip(";")):
        return 'does not end in exec "$@"'
    if changing := next(filter(_CHANGES_CALL.search, before), ""):
        return f"changes the call or the working directory: {changing}"
    return ""


def _commands(text: str) -> list[str]:
    """The lines of a script, without comments and here-documents."""
    found: list[str] = []
    end = ""
    for line in map(str.strip, text.replace("\\\n", " ").splitlines()):
        if end:
            end = "" if line == end else end
        elif line and not line.startswith("#"):
            found.append(line)
            document = _HERE_DOCUMENT.search(line)
            end = document[1] if document else ""
    return found


def _words(value: str) -> list[str]:
    """The words in a value that is quoted twice: for the script, and in it for the shell."""
    try:
        return [word for text in shlex.split(value) for word in shlex.split(text)]
    except ValueError:
        return []


def _program(tree: ImageTree, name: str, path: str) -> str | None:
    candidates = [name] if "/" in name else [f"{folder}/{name}" for folder in path.split(":")]
    return next((one for one in candidates if tree.is_program(one)), None)
