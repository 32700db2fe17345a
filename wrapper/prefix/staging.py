"""A finished generation on disk, and the one rename that makes it the installation.

Layout of a prefix: see "The installation" in ``docs/architecture.md``. Everything is written and
synced in a staging directory beside the prefix before anything appears under its name.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from wrapper import layout
from wrapper.errors import PrefixError, SpaceError
from wrapper.models import Environment
from wrapper.prefix import home, shims
from wrapper.prefix.checks import STAGING_NAME, is_own
from wrapper.prefix.generations import USED_MARK, repair, switch
from wrapper.util import foreign, removal
from wrapper.util.removal import MARK, remove_tree
from wrapper.util.sync import sync_directory

_FULL = (errno.ENOSPC, errno.EDQUOT)
ADOPTING = ".adopting"
_TYKKY = ".tykky"
# Names that Tykky's users and tools look for, as links into the generation in use.
_TYKKY_LINKS = {
    layout.IMAGE: f"{layout.CURRENT}/{layout.IMAGE}",
    layout.BASE: f"{layout.CURRENT}/{layout.IMAGE}",
    layout.COMMON: f"{layout.CURRENT}/{layout.ENV}",
    layout.PROGRAMS: f"{layout.CURRENT}/{layout.PROGRAMS}",
    "share": "bin/.share",
}
# One path for two things, by a name in ``bin`` outside and in ``_bin``, which is bound over it
# inside: ``share`` is what Tykky has there outside, and the environment's inside; ``.python`` has
# shims of Python outside, and is the directory of the real one inside; ``lib`` is what editors read
# outside, where somebody asked for that.
_SHARE, _PYTHON, _LIB = ".share", ".python", ".lib"


class _Unpublished:
    """A generation in the making; ``root`` is all that is new, ``mode`` that of directories."""

    root: Path

    def __init__(self, prefix: Path, generation: int, mode: int) -> None:
        self.prefix = prefix
        self.generation = generation
        self._mode = mode

    @property
    def directory(self) -> Path:
        """The generation's directory."""
        return self.root / layout.GENERATIONS / str(self.generation)

    @property
    def image(self) -> Path:
        return self.directory / layout.IMAGE


class Staging(_Unpublished):
    """A prefix in the making: ``root`` has the layout of the prefix, elsewhere.

    Use as a context manager: what was not published is removed.
    """

    def __init__(self, prefix: Path, generation: int, mode: int) -> None:
        super().__init__(prefix, generation, mode)
        # A directory that is there is filled, not replaced: shells may stand in it ('--prefix .'),
        # and its access lists, quota and striping are the user's.
        self._fills = prefix.is_dir()
        self._stem = f".{prefix.name}.new-"
        beside = prefix.with_name(f"{self._stem}{secrets.token_hex(4)}")
        self.root = prefix / STAGING_NAME if self._fills else beside

    def __enter__(self) -> Staging:
        try:
            self._remove_abandoned()
            removal.make_marked(self.root)
            (self.root / layout.GENERATIONS).mkdir()
            self.directory.mkdir()
        except OSError as error:
            removal.remove_marked(self.root)
            raise _writing_failed(error, self.root) from None
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        removal.remove_marked(self.root)
        if isinstance(error, OSError) and error.errno in _FULL:
            raise _writing_failed(error, self.root) from None

    def _remove_abandoned(self) -> None:
        """What builds left that were killed: we hold the lock, so it is nobody's."""
        removal.remove_abandoned(self.prefix.parent, self._stem, held=True)
        if self._fills and removal.is_abandoned(self.prefix / STAGING_NAME):
            for entry in filter(is_own, [*self.prefix.iterdir()]):  # half moved in
                remove_tree(entry)
            removal.remove_abandoned(self.prefix, STAGING_NAME, held=True)

    def write_programs(
        self, programs: Mapping[str, str], root: str, shim: str, environment: Environment
    ) -> None:
        """``bin`` (shims) and ``_bin`` (links to the real programs).

        :param programs: name -> path below ``root``, a directory inside the container.
        :param shim: text of the shim; one file with as many names as there are programs.
        """
        _write_real(self.directory / layout.PROGRAMS, programs, root, environment)
        outer = self.root / layout.BIN
        outer.mkdir()
        first = outer / shims.DEBUG_NAMES[0]
        first.write_text(shim)
        first.chmod(0o755)
        for name in {*shims.DEBUG_NAMES, *programs} - {first.name}:
            (outer / name).hardlink_to(first)
        lister = outer / shims.LIST_PACKAGES
        lister.unlink(missing_ok=True)
        lister.write_text(shims.list_packages())
        lister.chmod(0o755)

    def write_links(self, environment: Environment, *, own_image: bool = True) -> None:
        """``current``, Tykky's names, and links by which the prefix looks like the environment."""
        (self.root / layout.CURRENT).symlink_to(f"{layout.GENERATIONS}/{self.generation}")
        if (self.directory / layout.VENV).exists():
            (self.root / layout.VENV).symlink_to(f"{layout.CURRENT}/{layout.VENV}")
        for name, target in _TYKKY_LINKS.items():
            if own_image or not target.endswith(layout.IMAGE):
                (self.root / name).symlink_to(target)
        _link_environment(self.root, environment)

    def publish(self) -> None:
        """Set permissions, sync, and let the installation appear by one rename: its own, or that
        of ``current``.

        :raises PrefixError: something appeared at the prefix meanwhile.
        """
        with _writing(self.prefix):
            (self.directory / USED_MARK).touch()  # it appears in use
            group = self.prefix.stat().st_gid if self.prefix.is_dir() else None
            with removal.opened_marked(self.root) as handle:
                settle(handle, self._mode, group)
            _sync(self.root)
            if self._fills:
                self._move_into()
            else:
                self.root.rename(self.prefix)
                with contextlib.suppress(OSError):  # the next change does it
                    (self.prefix / MARK).unlink()
            sync_directory(self.root.parent)

    def _move_into(self) -> None:
        """Into a prefix that is there. ``current`` comes last: without it the rest is no
        installation.
        """
        moved: list[Path] = []
        try:
            entries = [path for path in self.root.iterdir() if path.name != MARK]
            for entry in sorted(entries, key=lambda path: path.name == layout.CURRENT):
                moved.append(entry.rename(self.prefix / entry.name))
            with contextlib.suppress(PermissionError), removal.opened(self.prefix) as handle:
                os.fchmod(handle, self._mode)  # not of another owner's
        except BaseException:
            for path in moved:
                remove_tree(path)
            raise


class NextGeneration(_Unpublished):
    """A further generation of an installation in the making, beside the others.

    Has the methods of :class:`Staging`. Use as a context manager that holds the prefix's lock.
    """

    def __init__(self, prefix: Path, generation: int, mode: int) -> None:
        super().__init__(prefix, generation, mode)
        self._shim = ""
        self._environment: Environment | None = None  # as it is
        self.root = prefix / layout.GENERATIONS / f".new-{generation}-{secrets.token_hex(4)}"

    def __enter__(self) -> NextGeneration:
        with _writing(self.root):
            repair(self.prefix)
            self.root.mkdir(mode=0o700)
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is not None or self.root.exists():  # it was not switched to
            repair(self.prefix)
        if isinstance(error, OSError) and error.errno in _FULL:
            raise _writing_failed(error, self.root) from None

    @property
    def directory(self) -> Path:
        return self.root

    def write_programs(
        self, programs: Mapping[str, str], root: str, shim: str, environment: Environment
    ) -> None:
        """``_bin``; the shims follow with the switch."""
        _write_real(self.directory / layout.PROGRAMS, programs, root, environment)
        self._shim = shim

    def write_links(self, environment: Environment, *, own_image: bool = True) -> None:
        """Most are there: they lead through ``current``, and the install path stays."""
        self._environment = environment

    def keep_programs(self, before: Path, shim: str) -> None:
        """The programs of another generation, whose directory is ``before``: nothing is new."""
        shutil.copytree(before / layout.PROGRAMS, self.directory / layout.PROGRAMS, symlinks=True)
        self._shim = shim

    def publish(self) -> None:
        """Set permissions, sync, and switch to this generation by one rename."""
        with _writing(self.prefix):
            with removal.opened(self.root) as handle:
                settle(handle, self._mode, self.prefix.stat().st_gid)
            _sync(self.root)
            self.root.rename(self.prefix / layout.GENERATIONS / str(self.generation))
            sync_directory(self.prefix / layout.GENERATIONS)
            if self._environment:
                _link_environment(self.prefix, self._environment)
            switch(self.prefix, self.generation, self._shim)


def _write_real(
    directory: Path, programs: Mapping[str, str], root: str, environment: Environment
) -> None:
    """Links to the real programs, to be bound over the shims inside the container.

    Python follows the links of its program, but not those of directories on the way, and looks for
    its library in the directories above. So by way of a link to a *directory* the prefix is its
    ``sys.prefix``, wherever that lies; a plain link would lead it to the install path. And what is
    made of it (a virtual environment of a virtual environment) names a path that is there outside.
    """
    directory.mkdir()
    (directory / _SHARE).symlink_to(f"{environment.root}/share")
    (directory / _LIB).symlink_to(f"{environment.root}/lib")
    if environment.python:
        (directory / _PYTHON).symlink_to(environment.python)
    for name, path in programs.items():
        program = Path("/", root, path)
        if real := environment.pythons.get(name):
            program = Path(_PYTHON, real)
        (directory / name).symlink_to(program)


def _link_environment(prefix: Path, environment: Environment) -> None:
    """Let the prefix look like the environment inside: Python has its library there, and programs
    look for their files beside ``bin``. Outside these links lead nowhere.

    What is there already stays: of the user's, or of an earlier generation.
    """
    folder = prefix / layout.BIN
    for name in environment.entries:
        home.link(prefix / name, f"{environment.root}/{name}")
    if environment.python:
        if not (folder / _PYTHON).exists():
            (folder / _PYTHON).mkdir()
            (folder / _PYTHON).chmod(stat.S_IMODE(folder.stat().st_mode))
            _give(folder / _PYTHON, folder.stat().st_gid)
        for name in {*environment.pythons, *environment.pythons.values()}:
            shim = name if name in environment.pythons else min(environment.pythons)
            home.link(folder / _PYTHON / name, f"../{shim}")
    home.link(folder / _SHARE, "../current")
    share = prefix / "share"
    if share.is_symlink() and share.readlink() == Path(layout.CURRENT):  # of an earlier version
        _replace_link(share, _TYKKY_LINKS["share"])
    sync_directory(folder)


def link_sources(prefix: Path) -> bool:
    """Let ``lib`` lead to the copy for editors outside, where the generation in use has one; false
    where that is the user's.

    The caller holds the prefix's lock.
    """
    library, hidden = prefix / "lib", f"{layout.BIN}/{_LIB}"
    if not library.is_symlink():
        return False
    inside = str(library.readlink())
    if inside == hidden:
        return True
    if not inside.startswith("/") or library.exists():
        return False
    for generation in (prefix / layout.GENERATIONS).iterdir():  # also those of earlier versions
        if (generation / layout.PROGRAMS).is_dir():
            home.link(generation / layout.PROGRAMS / _LIB, inside)
    home.link(prefix / hidden, f"../{layout.CURRENT}/{layout.SOURCES}/lib")
    _replace_link(library, hidden)
    return True


def _replace_link(path: Path, target: str) -> None:
    replacement = path.with_name(f".{path.name}.new")
    replacement.unlink(missing_ok=True)
    replacement.symlink_to(target)
    replacement.rename(path)
    sync_directory(path.parent)


def settle(root: int, mode: int, group: int | None) -> None:
    """Permissions below (and of) a directory: directories ``mode``, files as it allows.

    :param root: its descriptor: what somebody puts in its place meanwhile keeps its permissions.
    """
    for directory, names, leaves in os.walk(f"/proc/self/fd/{root}"):
        for path in (Path(directory, name) for name in (*names, *leaves)):
            _give(path, group)
            if not path.is_symlink():
                path.chmod(mode if path.is_dir() else _file_mode(path, mode))
    if group is not None:
        with contextlib.suppress(PermissionError):
            os.fchown(root, -1, group)
    os.fchmod(root, mode)


def _give(path: Path, group: int | None) -> None:
    if group is not None:
        with contextlib.suppress(PermissionError):  # not a member of the prefix's group
            os.chown(path, -1, group, follow_symlinks=False)


def _file_mode(path: Path, mode: int) -> int:
    """As readable (and, if a program, executable) as directories; only the owner writes.

    A copy of a user's file stays as closed as that was.
    """
    status = path.stat().st_mode
    allowed = 0o755 if status & stat.S_IXUSR else 0o644
    if path.parent.name == layout.INPUTS:
        allowed &= status
    return (mode & allowed & 0o777) | stat.S_IRUSR | stat.S_IWUSR


def _sync(root: Path) -> None:
    for directory, _, leaves in os.walk(root, topdown=False):
        for name in leaves:
            path = Path(directory, name)
            if not path.is_symlink():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
        sync_directory(Path(directory))


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """:raises ContainerizeError: something at ``path`` cannot be written."""
    try:
        yield
    except OSError as error:
        raise _writing_failed(error, path) from None


def _writing_failed(error: OSError, path: Path) -> PrefixError | SpaceError:
    if error.errno in _FULL:
        return SpaceError(
            "no room left for the installation",
            where=path,
            hint="free some space or quota there, or build elsewhere",
        )
    if isinstance(error, FileExistsError) and path.is_dir():
        owner = foreign.user_name(path.lstat().st_uid)
        return PrefixError(
            f"{path.name} is in the way (of {owner})",
            where=path,
            hint=f"where no build is at work, remove it or ask {owner}",
        )
    return PrefixError(
        f"cannot write the installation: {error.strerror}",
        where=error.filename or path,
        hint="check permissions and quota there",
    )


class Adoption(Staging):
    """Generation 1 of a prefix that Tykky made, which works as Tykky's until it works as ours.

    Written inside the prefix. Tykky's own files stay, as hard links, in ``.tykky``, which is an
    installation of Tykky itself. Use as a context manager that holds the prefix's lock.
    """

    def __init__(self, prefix: Path, mode: int) -> None:
        super().__init__(prefix, generation=1, mode=mode)
        self.root = prefix / ADOPTING

    def __enter__(self) -> Adoption:
        super().__enter__()
        return self

    def _remove_abandoned(self) -> None:
        remove_tree(self.root)
        for name in (
            _TYKKY,
            layout.GENERATIONS,
        ):  # the link to one in use is not there: nobody uses them
            remove_tree(self.prefix / name)

    def publish_with(self, linked: Mapping[str, Path], tykky_names: Sequence[str]) -> None:
        """Switch to the new programs, ``current`` and then ``bin``.

        :param linked: files to be hard links in the generation: name -> file of Tykky's.
        :param tykky_names: what Tykky made in the prefix.
        """
        with _writing(self.prefix):
            (self.directory / USED_MARK).touch()
            with removal.opened_marked(self.root) as handle:
                settle(handle, self._mode, self.prefix.stat().st_gid)
            for name, file in linked.items():
                (self.directory / name).hardlink_to(file)
            (self.root / _TYKKY).mkdir(mode=self._mode)
            for name in tykky_names:
                _link_tree(self.prefix / name, self.root / _TYKKY / name)
            for entry in (self.prefix / layout.BIN).iterdir():  # what users put there
                if not os.path.lexists(self.root / layout.BIN / entry.name):
                    _link_tree(entry, self.root / layout.BIN / entry.name)
            _sync(self.root)
            for name in (_TYKKY, layout.GENERATIONS, layout.CURRENT):
                (self.root / name).rename(self.prefix / name)
            sync_directory(self.prefix)
            finish_adoption(self.prefix)


def finish_adoption(prefix: Path) -> bool:
    """Do what a killed adoption left to do after ``current`` was there; false where nothing was.

    The programs change at once where the file system can exchange two directories. Elsewhere
    (Lustre, NFS) they change one after the other; each is Tykky's or ours, with the same image.
    """
    draft = prefix / ADOPTING
    there = draft.is_dir() and not draft.is_symlink()
    if not (there and (prefix / layout.CURRENT).is_symlink()):
        return False
    ours, theirs = draft / layout.BIN, prefix / layout.BIN
    (draft / MARK).unlink(missing_ok=True)  # what is left of it is to be finished, not removed
    last = shims.DEBUG_NAMES[0]
    pending = ours.is_dir() and not shims.is_shim_file(theirs / last)
    if pending and not _exchange(ours, theirs):
        for entry in sorted(ours.iterdir(), key=lambda path: path.name == last):
            link = draft / ".link"  # "ours" stays whole, to begin again
            link.unlink(missing_ok=True)
            if entry.is_symlink():  # of the user's, and there already; or hidden
                home.link(theirs / entry.name, str(entry.readlink()))
            else:
                link.hardlink_to(entry)
                link.rename(theirs / entry.name)
    remove_tree(ours)
    (draft / ".link").unlink(missing_ok=True)
    for entry in draft.iterdir():
        place = prefix / entry.name
        if entry.name == "lib" and place.is_dir():
            continue  # of a virtual environment: it leads to the same packages
        if place.is_dir() and not place.is_symlink():
            remove_tree(place)
        entry.rename(place)
    remove_tree(draft)
    sync_directory(prefix)
    return True


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two directories in one step; false where the file system cannot.

    renameat2(2), which Python does not offer.
    """
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    try:
        call = ctypes.CDLL(None).renameat2
    except (OSError, AttributeError):
        return False  # glibc before 2.28
    return bool(call(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0)


def _link_tree(source: Path, target: Path) -> None:
    """A directory tree of hard links to ``source``'s files; a link that is relative leads on."""
    if source.is_symlink():
        text = source.readlink()
        outside = not text.is_absolute() and ".." in text.parts
        target.symlink_to(source.parent.resolve() / text if outside else text)
    elif source.is_dir():
        target.mkdir()
        for entry in source.iterdir():
            _link_tree(entry, target / entry.name)
        shutil.copymode(source, target)
    elif source.exists():
        target.hardlink_to(source)
