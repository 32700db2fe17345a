"""Reading an installation of Tykky (lumi-container-wrapper), as its documentation lays it out.

``bin`` has wrappers, ``_bin`` a link for each to the real program inside, ``common.sh`` says what
the wrappers need to know: ``INSTALLATION_PATH`` (where ``img.sqfs`` is mounted), ``SQFS_IMAGE``,
``CONTAINER_IMAGE``, ``_CW_IS_ISOLATED``, and lines ``export NAME=VALUE`` for the programs. Nothing
of it is run here.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from wrapper import layout
from wrapper.errors import PrefixError
from wrapper.util import foreign

OWN_NAMES = (
    *(layout.BIN, layout.PROGRAMS, layout.COMMON, layout.BASE, layout.IMAGE, layout.SHARE),
    *(layout.VENV, "lib", "lib64"),
)
"""What Tykky makes in a prefix."""
_INSTALL_PATH = re.compile(r"/[A-Za-z0-9._+/-]+")
_NOT_FOR_PROGRAMS = re.compile(r"_?CW_|SINGULARITY|APPTAINER|PATH$|OLD_PATH$|LD_LIBRARY_PATH$")


@dataclass(frozen=True, kw_only=True)
class TykkyPrefix:
    """What an installation of Tykky says of itself.

    :ivar image_root: where the image is mounted, inside. :ivar image: the SquashFS file, ``None``
        of ``wrap-container``. :ivar container: the container image, links resolved.
    :ivar isolated: whether the container has a system of its own (``--slim``, ``wrap-container``).
    :ivar programs: name -> absolute path inside. :ivar variables: set for programs.
    :ivar computed: names of variables whose values a shell would work out at each start.
    """

    prefix: Path
    image_root: str
    image: Path | None
    container: Path
    isolated: bool
    programs: dict[str, str]
    variables: dict[str, str]
    computed: tuple[str, ...]

    @property
    def environment(self) -> str:
        """The directory of the environment inside: above the ``bin`` of Python, or of most."""
        named = [self.programs[n] for n in ("python", "python3") if n in self.programs]
        folders = [os.path.dirname(path) for path in named or self.programs.values()]  # noqa: PTH120
        bins = [folder for folder in folders if os.path.basename(folder) == "bin"]  # noqa: PTH119
        below = [b for b in bins if b.startswith(f"{self.image_root}/")]
        return str(Path(max(below, key=below.count)).parent) if below else self.image_root


def read_tykky_prefix(prefix: Path) -> TykkyPrefix:
    """:raises PrefixError: ``prefix`` is no installation of Tykky, or a broken one."""
    try:
        text = foreign.read_bytes(prefix / layout.COMMON).decode("utf-8", "surrogateescape")
        is_one = (prefix / layout.BIN).is_dir()
    except OSError:
        text, is_one = "", False
    if "\0" in text:  # no shell wrote that
        text = ""
    facts = dict(re.findall(r"^(?:export )?(\w+)=([^\s;]*)$", text, re.M))
    root = facts.get("INSTALLATION_PATH", "").strip("\"'").rstrip("/")
    if not is_one or not root:
        raise PrefixError(
            f"{prefix} is no installation of Tykky",
            where=prefix,
            hint="name a prefix that Tykky made: it has bin, _bin and common.sh",
        )
    if not _INSTALL_PATH.fullmatch(root):
        raise _broken(prefix, f"INSTALLATION_PATH is {root!r}")
    image = _file(prefix, facts.get("SQFS_IMAGE"))
    container = _file(prefix, facts.get("CONTAINER_IMAGE") or layout.BASE)
    assert container
    variables, computed = _variables(text)
    return TykkyPrefix(
        prefix=prefix,
        image_root=root,
        image=image,
        container=container.resolve(),
        isolated=image is None or "_CW_IS_ISOLATED=yes" in text,
        programs=_programs(prefix),
        variables=variables,
        computed=computed,
    )


def _file(prefix: Path, name: str | None) -> Path | None:
    if not name:
        return None
    path = prefix / name.strip("\"'")
    if not os.access(path, os.R_OK):
        raise _broken(prefix, f"{path.name} is missing or cannot be read")
    return path


def _programs(prefix: Path) -> dict[str, str]:
    links = (
        sorted((prefix / layout.PROGRAMS).iterdir()) if (prefix / layout.PROGRAMS).is_dir() else []
    )
    found = {p.name: os.path.normpath(p.readlink()) for p in links if p.is_symlink()}
    if not found:
        raise _broken(prefix, "_bin has no links to programs (Tykky before 0.2?)")
    return found


def _broken(prefix: Path, why: str) -> PrefixError:
    return PrefixError(
        f"the installation of Tykky is broken: {why}",
        where=prefix,
        hint="build anew, from the files in share, with 'new'",
    )


def _variables(text: str) -> tuple[dict[str, str], tuple[str, ...]]:
    plain: dict[str, str] = {}
    computed: list[str] = []
    for name, value in _exports(text):
        if value is None:
            plain.pop(name, None)
            computed.append(name)
        else:
            plain[name] = value
    return plain, tuple(dict.fromkeys(computed))


def _exports(text: str) -> Iterator[tuple[str, str | None]]:
    """Lines that begin with ``export NAME=VALUE``; ``None`` where it is no plain text."""
    for line in re.findall(r"^export \w+=.*$", text, re.M):
        name, _, value = line.removeprefix("export ").partition("=")
        if _NOT_FOR_PROGRAMS.match(name):
            continue
        try:
            words = shlex.split(value)
        except ValueError:
            words = []
        quoted = value.startswith("'") and value.count("'") == 2
        is_plain = len(words) <= 1 and (quoted or not re.search(r"[$`;&|<>()]", value))
        yield name, ("".join(words) if is_plain and (words or not value) else None)
