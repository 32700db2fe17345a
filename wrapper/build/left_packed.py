"""What an update leaves packed: the part of the old image that goes on into the new one.

To unpack an environment and pack it again is most of an update's work, for a few files that change.
What no step of the update changes or looks at stays as it is compressed instead, see
:mod:`wrapper.images.squashfs`.

What is unpacked is *taken*: of these paths the tree has the word, whatever becomes of them there.
While something runs that needs the environment whole, the tree has links to what is packed. Who
replaces or removes a link has changed that path. Who would change what is behind one finds it
read-only.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from wrapper.errors import ScriptError, means_no_space, no_room_for_image
from wrapper.images.squashfs.layout import Directory, File, Link, Node, Unsupported
from wrapper.images.squashfs.reader import Image, read_image
from wrapper.images.squashfs.writer import write_image
from wrapper.models import TreeSize
from wrapper.runtime.container import BuildContainer

LENT = "/.containerize-old"
"""Where the old image is inside the container, while the tree has links to it."""

# What the steps of a build look at: programs, records of packages, activation, and by what a
# directory is known as Python's library.
_LOOKED_AT = re.compile(
    r"bin|bin/.*|conda-meta/.*|etc/conda/.*|pyvenv\.cfg"
    r"|lib/python3[^/]*/(os\.py|EXTERNALLY-MANAGED)"
    r"|lib/python3[^/]*/site-packages/(containerize\.pth|_containerize_start\.py)"
    r"|lib/python3[^/]*/site-packages/[^/]*\.(dist|egg)-info(/.*)?",
    re.S,
)
_COMPILED = re.compile(r"(.*/|)__pycache__/([^/.]*)\.[^/]*", re.S)


State = tuple[int, ...]
"""What of a file differs once it was touched: its time of change nobody sets."""


class PackedError(ScriptError):
    """A step would change what is packed: it needs the old environment as a whole in the tree."""


@dataclass(frozen=True, kw_only=True)
class Packed:
    """The part of an environment that stays in its image.

    :ivar root: the environment in the image, without a first slash.
    :ivar bind: by which a container has that at :data:`LENT`.
    :ivar kept: what stays, by its path below that, parents first; less where a step changes it. Of
        a directory in which other things are taken only the name counts.
    """

    image: Image
    root: str
    bind: str = ""
    kept: dict[str, Node]

    def size_beside(self, tree: Path) -> TreeSize:
        """What is packed and not in ``tree``, in files and bytes."""
        beside = [node for _, node in self._beside(tree)]
        size = sum(node.size for node in beside if isinstance(node, File))
        return TreeSize(files=len(beside), size=size)

    def _beside(self, tree: Path) -> Iterator[tuple[str, Node]]:
        """What is packed and not in ``tree``, parents first. Of a directory that is not there
        nothing is: a look at each of 100,000 files takes seconds.
        """
        absent: set[str] = set()
        for path, node in self.kept.items():
            if path.rpartition("/")[0] in absent or not os.path.lexists(f"{tree}/{path}"):
                if isinstance(node, Directory):
                    absent.add(path)
                yield path, node

    def with_compiled(self, paths: Iterable[str]) -> dict[str, Node]:
        """Of the paths what is packed, what was compiled of it, and directories that hold no more;
        parents first.
        """
        part = _with_directories(self.kept, _with_compiled(self.kept, {*paths}))
        return {path: node for path, node in self.kept.items() if path in part}

    def unpack(self, part: Iterable[str], tree: Path) -> None:
        """Unpack a part, which is to change: it stays packed no longer."""
        for path in part:
            node = self.kept.pop(path)
            if not os.path.lexists(tree / path):
                (tree / path).parent.mkdir(parents=True, exist_ok=True)
                self.image.unpack(node, tree / path)

    def unpack_rest(self, tree: Path) -> dict[str, State]:
        """Unpack the rest after all, around what ``tree`` has; returns the states of the files."""
        found = {}
        for path, node in [*self._beside(tree)]:
            self.image.unpack(node, tree / path)
            if isinstance(node, File):
                found[path] = _state(f"{tree}/{path}")
        return found

    @contextlib.contextmanager
    def lent(self, container: BuildContainer) -> Iterator[BuildContainer]:
        """A container in which the environment looks whole, for the ``with`` block.

        :raises PackedError: what runs there would change what is packed.
        """
        made: list[str] = []
        try:
            self._lend(container.tree, made)
            yield replace(container, binds=[*container.binds, self.bind])
        except ScriptError as error:
            if os.strerror(errno.EROFS) not in error.detail:
                raise
            raise PackedError(error.what, hint=error.hint, detail=error.detail) from None
        finally:
            self._take_back(container.tree, made)

    def _lend(self, tree: Path, made: list[str]) -> None:
        lent: set[str] = set()  # directories that are links: what is in them comes with them
        for path, node in self.kept.items():
            parent, _, name = path.rpartition("/")
            if parent not in lent:
                if os.path.lexists(tree / path):
                    continue
                made.append(path)
                # Compiled modules are written beside those that are packed.
                if name == "__pycache__":
                    (tree / path).mkdir()
                    continue
                (tree / path).symlink_to(f"{LENT}/{path}")
            if isinstance(node, Directory):
                lent.add(path)

    def _take_back(self, tree: Path, made: list[str]) -> None:
        changed = set()
        for path in reversed(made):  # what is in a directory comes before it
            if self._is_lent(tree, path):
                (tree / path).unlink()
            elif path.endswith("/__pycache__"):
                with contextlib.suppress(OSError):  # something was compiled there meanwhile
                    (tree / path).rmdir()
            else:
                changed.add(path)
        if not changed:
            return
        below = tuple(f"{path}/" for path in changed)
        changed |= {path for path in self.kept if path.startswith(below)}
        gone = _with_directories(self.kept, _with_compiled(self.kept, changed))
        for path in gone & self.kept.keys():
            del self.kept[path]
        self._unpack_uncompiled(tree, changed)

    def _unpack_uncompiled(self, tree: Path, changed: set[str]) -> None:
        """Unpack modules whose compiled code went: uv removes a ``__pycache__`` with what other
        packages have in it. They are to be compiled anew.
        """
        found = map(_COMPILED.fullmatch, changed)
        modules = {f"{it[1]}{it[2]}.py" for it in found if it} & self.kept.keys()
        part = self.with_compiled(modules) if modules else {}
        self.unpack(part, tree)
        for path in modules:
            os.utime(tree / path)  # else it counts as compiled

    def require_unseen(self, tree: Path) -> None:
        """While it is lent. :raises PackedError: what ran took links for what they are.

        What it left names the old image, or is a pip of a virtual environment's own: that removes
        nothing by way of links.
        """
        libraries = tree.glob("lib/python3*") if (tree / "pyvenv.cfg").exists() else ()
        if any(os.path.lexists(library / "site-packages/pip") for library in libraries):
            raise PackedError("a virtual environment's own pip")
        for folder, _, names in os.walk(tree):
            for path in (Path(folder, name) for name in names):
                if not self._is_lent(tree, str(path.relative_to(tree))) and _names(path, LENT):
                    raise PackedError(f"{path} names the old image")

    def _is_lent(self, tree: Path, path: str) -> bool:
        try:
            return (tree / path).readlink() == Path(LENT, path)
        except OSError:
            return False

    def join(
        self,
        fresh: Path,
        target: Path,
        advance: Callable[[float, float], None],
        order: Sequence[str] = (),
        at: int = 0,
    ) -> int | None:
        """Write an image of what is packed and of the image ``fresh``, whose files come first.

        :param fresh: of the tree. :param order: paths of files that come before these.
        :param at: where in ``target`` it begins, see :func:`write_image`.
        :returns: bytes of files that have gone, where these were so many that what shares blocks
            with them was packed anew, else 0; ``None`` where joining is not possible: nothing is
            written.
        :raises SpaceError: no room.
        """
        try:
            changed = read_image(fresh)
            self._graft(changed.root)
            sources = [changed, self.image]
            return write_image(target, changed.root, sources, order=order, at=at, advance=advance)
        except Unsupported:
            _take_away(target, at)
            return None
        except OSError as error:
            _take_away(target, at)
            if not means_no_space(error):
                raise
            raise no_room_for_image(target) from None

    def _graft(self, root: Directory) -> None:
        """Add to the tree of an image what is packed and not there."""
        directories = {"": _at(root, self.root)}
        for path, node in self.kept.items():
            folder, _, name = path.rpartition("/")
            parent = directories.get(folder)
            if parent is None:  # the tree has something else there
                continue
            if isinstance(node, Directory):
                empty = Directory(mode=node.mode, time=node.time)
                there = parent.entries.setdefault(name, empty)
                if isinstance(there, Directory):
                    directories[path] = there
            else:
                parent.entries.setdefault(name, node)


def _take_away(target: Path, at: int) -> None:
    if at:
        os.truncate(target, at)
    else:
        target.unlink(missing_ok=True)


def states(tree: Path) -> dict[str, State]:
    """States of all files below ``tree``, by their paths there."""
    files = (f"{folder}/{name}" for folder, _, names in os.walk(tree) for name in names)
    return {path[len(str(tree)) + 1 :]: _state(path) for path in files}


def _state(path: str) -> State:
    it = os.lstat(path)
    return it.st_ino, it.st_mode, it.st_nlink, it.st_size, it.st_mtime_ns, it.st_ctime_ns


def _state_now(path: str) -> State:
    with contextlib.suppress(FileNotFoundError):
        return _state(path)
    return ()


def untouched(image: Image, root: str, tree: Path, before: Mapping[str, State]) -> Packed | None:
    """What of an unpacked image nobody has touched: removed from ``tree``, it counts as packed.

    :param root: where the image has the environment, without a first slash.
    :param before: states of files when they were unpacked. :returns: ``None`` where nothing is.
    """
    kept: dict[str, Node] = {}
    for path, node in _at(image.root, root).walk():
        folder, place = path.rpartition("/")[0], f"{tree}/{path}"
        if folder and folder not in kept:  # there is no such directory now, or a link to another
            continue
        if isinstance(node, Directory):
            if os.path.isdir(place) and not os.path.islink(place):  # noqa: PTH112, PTH114
                kept[path] = node
        elif isinstance(node, File) and path in before and _state_now(place) == before[path]:
            kept[path] = node
    files = [path for path, node in kept.items() if isinstance(node, File)]
    for path in files:  # not before: it touches a file's other names
        os.unlink(f"{tree}/{path}")  # noqa: PTH108
    return Packed(image=image, root=root, kept=kept) if files else None


def take(
    image: Image, root: str, gone: Iterable[str], tree: Path, wrapped: Sequence[str] = ()
) -> Packed | None:
    """Unpack of an environment what the steps of an update look at; the rest stays packed.

    :param root: where the image has the environment, without a first slash.
    :param gone: paths of files, below ``root``, of packages that are replaced or removed: nobody
        needs them any more.
    :param tree: a directory that is not there yet.
    :param wrapped: paths below ``root`` of programs, and of directories of programs.
    :returns: what stays; ``None`` where a program is no file there.
    :raises Unsupported: the image has no such directory.
    """
    nodes = dict(_at(image.root, root).walk())
    if not all(isinstance(nodes.get(name), File | Directory) for name in wrapped):
        return None  # by way of a link, or not there yet
    below = tuple(f"{name}/" for name in wrapped)
    looked_at = {
        name
        for name in nodes
        if _LOOKED_AT.fullmatch(name) or name in wrapped or name.startswith(below)
    }
    looked_at |= _targets(nodes, looked_at)
    taken = _with_directories(nodes, _with_compiled(nodes, looked_at))
    dropped = _with_directories(nodes, taken | _with_compiled(nodes, {*gone}))
    tree.mkdir(parents=True)
    for name, node in nodes.items():
        if name in taken:
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            image.unpack(node, tree / name)
    kept = {name: node for name, node in nodes.items() if name not in dropped}
    return Packed(image=image, root=root, kept=kept)


def _names(path: Path, text: str) -> bool:
    """Whether a link leads to a path with this text in it, or a file has it (or nobody may say)."""
    if path.is_symlink():
        return text in str(path.readlink())
    if not path.is_file() or not path.stat().st_size:
        return False
    if not os.access(path, os.R_OK):
        return True
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(text.encode()) >= 0


def _at(root: Directory, path: str) -> Directory:
    """:raises Unsupported: there is no directory at ``path``."""
    node: Node = root
    for name in Path(path).parts:
        found = node.entries.get(name) if isinstance(node, Directory) else None
        if found is None:
            raise Unsupported(f"no {path}")
        node = found
    if not isinstance(node, Directory):
        raise Unsupported(f"{path} is no directory")
    return node


def _targets(nodes: Mapping[str, Node], paths: set[str]) -> set[str]:
    """Where the links among ``paths`` lead."""
    found: set[str] = set()
    todo = [*paths]
    while todo:
        path = todo.pop()
        node = nodes[path]
        if not isinstance(node, Link) or node.target.startswith("/"):
            continue
        target = posixpath.normpath(posixpath.join(posixpath.dirname(path), node.target))
        if target in nodes and target not in found:
            found.add(target)
            todo.append(target)
    return found


def _with_compiled(nodes: Mapping[str, Node], paths: set[str]) -> set[str]:
    """The paths, and the compiled code of the modules among them."""
    found = ((path, _COMPILED.fullmatch(path)) for path in nodes)
    return paths | {path for path, it in found if it and f"{it[1]}{it[2]}.py" in paths}


def _with_directories(nodes: Mapping[str, Node], paths: set[str]) -> set[str]:
    """The paths, and the directories that hold nothing else."""
    whole = set(paths)
    keeping: set[str] = set()  # directories of which something else is kept
    emptied: set[str] = set()
    for path in reversed([*nodes]):  # what is in a directory comes before it
        if isinstance(nodes[path], Directory) and path in emptied and path not in keeping:
            whole.add(path)
        (emptied if path in whole else keeping).add(path.rpartition("/")[0])
    return whole
