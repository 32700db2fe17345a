"""The host's MPI: where it is, and all libraries that it takes along into a container.

Computed, not listed: what its libraries need by their ELF headers, found as the loader would find
it. The site says where to begin, and what is loaded by name while programs run (``dlopen``).
"""

from __future__ import annotations

import glob
import hashlib
import mmap
import os
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wrapper.errors import ToolError
from wrapper.mpi.abis import OPEN_MPI, Abi, Plugins, abis, of_gpu, of_network, plugins
from wrapper.mpi.files import Files, Outside, parent
from wrapper.mpi.loader import BY_VARIABLE, Closure, Loaded, Loader
from wrapper.site_profile import MpiPlaces
from wrapper.util import foreign

# Cray's text; MPICH's version after the day of its release (Thu Apr  7 12:34:45 CDT 2022).
_VERSIONS = (
    re.compile(rb"CRAY MPICH version (\d+(?:\.\w+)+)"),
    re.compile(rb" 20\d\d\0(\d+(?:\.\w+)+)\0"),
)
_NEXT = "--mpi container uses the environment's own"


@dataclass(frozen=True, kw_only=True)
class HostMpi:
    """:ivar library: its file, links followed; :ivar version: empty where it does not tell.
    :ivar own: names that programs look for -> paths on the host: of MPI's libraries, and of what is
    loaded by name. :ivar plugins: of libraries among them, by their names. :ivar closure: all that
    is loaded with these.
    """

    abi: Abi
    library: Path
    version: str
    own: Mapping[str, Path]
    plugins: Mapping[str, Plugins]
    closure: Closure

    @property
    def files(self) -> dict[str, Path]:
        """All that is loaded, by name."""
        return {name: Path(item.path) for name, item in self.closure.loaded.items()}

    def kept_by(self, image: Files, links: Container[str]) -> dict[str, Path]:
        """What an image has itself of what is loaded: paths in it. :param links: it gets these."""
        inside = Loader(image)
        others = {n: it for n, it in self.closure.loaded.items() if n not in links}
        found = {name: inside.find(name, by=_nobody(item)) for name, item in others.items()}
        return {name: Path(item.path) for name, item in found.items() if item}

    def beside(self, image: Files | None) -> dict[str, Path]:
        """What a container gets. :param image: of a base with a system of its own, else ``None``.

        On the host's system the loader finds the rest as ever, but for what LD_LIBRARY_PATH or the
        site named. An image gets all, but what it has
        itself, unless that lacks versions of symbols: an older library in the place of its own
        would harm its programs. What belongs to the network is the host's always, what belongs to
        the GPU never: it is one with the image's ROCm or CUDA.
        """
        links = dict(self.own)
        loaded = self.closure.loaded
        if image is None:
            found = loaded.items()
            named = {name: Path(item.path) for name, item in found if item.how == BY_VARIABLE}
            return {**named, **links}
        wanted = _wanted(self.closure)
        inside = Loader(image)
        others = {n: _nobody(i) for n, i in loaded.items() if not (of_gpu(n) or of_network(n))}
        inside.read_ahead(others)
        for name, item in loaded.items():
            if of_gpu(name):
                continue
            own = inside.find(name, by=others[name]) if name in others else None
            if own is None or not wanted.get(name, set()) <= own.elf.offers:
                links.setdefault(name, Path(item.path))
        return links

    def needed_glibc(self, names: Sequence[str]) -> str:
        """The oldest glibc that these of its libraries run with, empty where they name none."""
        loaded = {name: self.closure.loaded[name] for name in names if name in self.closure.loaded}
        return ".".join(map(str, Closure(loaded=loaded, missing={}).glibc()))


def find_host_mpi(
    places: MpiPlaces, environ: Mapping[str, str], files: Files | None = None
) -> HostMpi:
    """The one that the user's modules put on LD_LIBRARY_PATH, else the site's, else the system's.

    :raises ToolError: there is none, or a library that it needs is nowhere.
    """
    files = files or Outside()
    search = [*_list(environ.get("LD_LIBRARY_PATH", "")), *_search(places, environ)]
    loader = Loader(files, search)
    first, abi = next(_candidates(places, environ, loader), (None, None))
    if first is None or abi is None:
        known = ", ".join(name for each in abis() if each.name != OPEN_MPI for name in each.names)
        raise ToolError(
            f"no MPI of this machine was found: none of {known}",
            where=":".join(places.directories) or "LD_LIBRARY_PATH and the system's directories",
            hint=f"load the module that has it; {_NEXT}",
        )
    _require_all(loader.closure([first.path]), first)
    links = dict.fromkeys(_own_names(abi), first)
    links |= _complete(_companions(first, abi, loader), first, loader)
    also = _complete(_also(places, first, loader), first, loader)
    used = [item.found for item in (*links.values(), *also.values())]
    beside = plugins({n: Path(it.path) for n, it in loader.closure(used).loaded.items()})
    opens = [str(file) for each in beside.values() for file in each.files]
    started = {file: item for file in opens if (item := loader.start(file))}
    opened = _complete(started, first, loader)
    closure = loader.closure([*used, *opened])
    return HostMpi(
        abi=abi,
        library=Path(first.path),
        version=version_of(Path(first.path)),
        own={name: Path(item.path) for name, item in {**also, **links}.items()},
        plugins=beside,
        closure=closure,
    )


def version_of(library: Path) -> str:
    """What an MPICH says of itself, empty where it says nothing."""
    try:
        with (
            foreign.open_regular(library) as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            found = (match[1].decode() for form in _VERSIONS if (match := form.search(content)))
            return next(found, "")
    except (OSError, ValueError):
        return ""


def digest_of(library: Path) -> str:
    """SHA-256 of a library, empty where it cannot be read."""
    digest = hashlib.sha256()
    try:
        with foreign.open_regular(library) as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError:
        return ""
    return digest.hexdigest()


def _list(text: str) -> list[str]:
    return [path for path in text.split(":") if path.startswith("/")]


def _expanded(text: str, environ: Mapping[str, str]) -> str:
    """A path with ``$NAME`` in it; empty where a variable is not set."""
    missing = False

    def value(match: re.Match[str]) -> str:
        nonlocal missing
        found = environ.get(match[1] or match[2], "")
        missing |= not found
        return found

    text = re.sub(r"\$(?:(\w+)|\{(\w+)\})", value, text)
    return "" if missing else text


def _search(places: MpiPlaces, environ: Mapping[str, str]) -> list[str]:
    texts = [_expanded(text, environ) for text in places.search]
    return [path for text in texts for one in _list(text) for path in _matching(one)]


def _matching(pattern: str) -> list[str]:
    """Paths of a pattern, the highest number first."""
    if not glob.has_magic(pattern):
        return [pattern]
    return sorted(glob.glob(pattern), key=_by_numbers, reverse=True)  # noqa: PTH207


def _by_numbers(path: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path)]


def _candidates(
    places: MpiPlaces, environ: Mapping[str, str], loader: Loader
) -> Iterator[tuple[Loaded, Abi]]:
    usable = [abi for abi in abis() if abi.name != OPEN_MPI]
    sites = [
        path
        for text in places.directories
        if (pattern := _expanded(text, environ))
        for path in _matching(pattern)
    ]
    for folder in (*_list(environ.get("LD_LIBRARY_PATH", "")), *sites):
        for abi in usable:
            for name in abi.names:
                if found := loader.start(f"{folder}/{name}"):
                    yield found, abi
    anybody = loader.start(os.path.realpath("/proc/self/exe"))
    for abi in usable:
        for name in abi.names:
            if anybody and (at := Loader(loader.files).find(name, by=_nobody(anybody))):
                yield at, abi


def _nobody(item: Loaded) -> Loaded:
    """Somebody for the same machine who has no search path of its own."""
    kind = type(item.elf)(kind=item.elf.kind)
    return Loaded(name="", path="/", found="/", how="", elf=kind)


def _own_names(abi: Abi) -> tuple[str, ...]:
    """Names by which programs look for the library itself; ``libmpi.so`` is what mpi4py's does."""
    return (*abi.names, "libmpi.so") if abi.library.startswith("libmpi.so") else abi.names


def _companions(first: Loaded, abi: Abi, loader: Loader) -> dict[str, Loaded]:
    """Further libraries of the same MPI, beside it, by both of their names."""
    folder = parent(first.found)
    found: dict[str, Loaded] = {}
    for names in abi.companions.items():
        items = [item for name in names if (item := loader.start(f"{folder}/{name}"))]
        found |= dict.fromkeys(names, items[0]) if items else {}
    return found


def _also(places: MpiPlaces, first: Loaded, loader: Loader) -> dict[str, Loaded]:
    """What is loaded by name, as far as it is there."""
    found = {name: loader.find(name, by=_nobody(first)) for name in places.also}
    return {name: item for name, item in found.items() if item}


def _complete(items: Mapping[str, Loaded], first: Loaded, loader: Loader) -> dict[str, Loaded]:
    """Those that find all that they need: what is missing is no loss to programs without them."""
    return {
        name: item
        for name, item in items.items()
        if not loader.closure([first.path, item.found]).missing
    }


def _require_all(closure: Closure, first: Loaded) -> None:
    if closure.missing:
        name, by = next(iter(closure.missing.items()))
        raise ToolError(
            f"the host's MPI needs {name}, which is nowhere",
            where=by,
            hint="load the module that has it (its directory belongs on LD_LIBRARY_PATH, or into "
            f"'mpi: search:' of the site's file); {_NEXT}",
        )


def _wanted(closure: Closure) -> dict[str, set[str]]:
    """Versions of symbols that the host's libraries take from each other, by library."""
    wanted: dict[str, set[str]] = {}
    for item in closure.loaded.values():
        for name, versions in item.elf.wants.items():
            wanted.setdefault(name, set()).update(versions)
    return wanted
