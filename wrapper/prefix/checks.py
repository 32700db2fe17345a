"""The installation directory: may it be used, which permissions it gives."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from wrapper import layout
from wrapper.errors import PrefixError
from wrapper.models import Site
from wrapper.runtime.binds import UNBINDABLE_NAMES, unbindable
from wrapper.util import foreign
from wrapper.util.lock import LOCK_NAME
from wrapper.util.removal import opened

STAGING_NAME = ".staging"  # inside a prefix that is there already; elsewhere beside it
# What an installation consists of, besides the link to the one in use, which makes it one.
OWN_NAMES = frozenset(
    {layout.BIN, "lib", layout.VENV, layout.GENERATIONS}
    | {layout.IMAGE, layout.BASE, layout.COMMON, layout.PROGRAMS, layout.SHARE}
)


def absolute_prefix(path: Path) -> Path:
    """The prefix as an absolute path, its parents as the user wrote them.

    Where the prefix itself is a link to a directory, it is that directory: a rename would replace
    the link.

    :raises PrefixError: the runtime's bind syntax, or PATH, cannot express the path.
    """
    prefix = Path(os.path.normpath(Path(os.path.expanduser(path)).absolute()))  # noqa: PTH111
    if os.path.islink(prefix) and os.path.isdir(prefix):  # noqa: PTH114, PTH112 - never raise
        prefix = prefix.resolve()
    if bad := unbindable(prefix):
        raise PrefixError(
            f"the prefix contains {bad!r}, which cannot be in a bind path or in PATH",
            where=prefix,
            hint=f"choose a directory without {UNBINDABLE_NAMES} in its path",
        )
    return prefix


def install_path(target: Path, site: Site) -> str:
    """Where an installation's environment is inside the container.

    A directory of the root that exists on no host, because binds of the host's directories would
    hide it anywhere else. Derived from the prefix: the same over updates, so that paths stored by
    VS Code, Jupyter or a virtual environment stay true; different for two installations that are
    used together.
    """
    return f"{site.install_path}-{hashlib.sha256(os.fsencode(target)).hexdigest()[:10]}"


def check_new(prefix: Path) -> None:
    """Whether a new installation may appear at ``prefix``: absent, or an empty directory.

    :raises PrefixError: it is not, or we may not write there.
    """
    above = next(p for p in (prefix, *prefix.parents) if os.path.lexists(p))
    if not os.path.isdir(above):  # noqa: PTH112 - raises nothing where we may not look
        raise PrefixError(
            "the prefix is a file" if above == prefix else "the prefix would be below a file",
            where=above,
            hint="choose another --prefix",
        )
    if above == prefix:
        _require_writable(prefix)
        names = {entry.name for entry in prefix.iterdir()}
        if STAGING_NAME in names and layout.CURRENT not in names:
            # of a build that was killed while it moved in
            names -= {entry.name for entry in prefix.iterdir() if is_own(entry)}
        if names & {layout.CURRENT, layout.GENERATIONS}:
            raise PrefixError(
                "there is an installation already",
                where=prefix,
                hint="'update' changes it and keeps what is there for 'rollback'; else choose "
                "another --prefix, or remove it",
            )
        if names - {LOCK_NAME, STAGING_NAME}:
            raise PrefixError(
                "the prefix is not empty",
                where=prefix,
                hint="choose a new or an empty directory",
            )
    else:
        _require_writable(above)


def is_own(entry: Path) -> bool:
    """Whether an entry of a prefix is of an installation: one of its names, or a link to an entry
    of that name inside the container.
    """
    if entry.name in OWN_NAMES:
        return True
    return entry.is_symlink() and not entry.exists() and entry.readlink().name == entry.name


def check_update(prefix: Path) -> None:
    """Whether we may change the installation at ``prefix``.

    :raises PrefixError: we may not, or its owner could lead us elsewhere.
    """
    for directory in (prefix, prefix / layout.BIN):
        _require_writable(directory, "ask its owner for the right to write, or to do it")
    for name in (layout.BIN, layout.GENERATIONS):
        if (prefix / name).is_symlink():
            raise PrefixError(
                f"{name} is a link: what is behind it is no part of the installation",
                where=prefix / name,
                hint="put the directory itself in its place",
            )
    check_owner(prefix)


def check_owner(prefix: Path) -> None:
    """:raises PrefixError: we are root, and the installation is somebody else's.

    An owner can exchange names meanwhile, and root would follow where no permission stops it; and
    what is started of the installation is what its owner put there.
    """
    owner = foreign.stranger([prefix])
    if owner and os.geteuid() == 0:
        raise PrefixError(
            f"the installation belongs to {owner}, whose programs root would run",
            where=prefix,
            hint=f"change it as {owner}: sudo -u {owner} COMMAND",
        )


def _require_writable(
    directory: Path, hint: str = "choose another --prefix, or ask the owner"
) -> None:
    if not os.access(directory, os.W_OK | os.X_OK):
        raise PrefixError(
            "no permission to write",
            where=directory,
            hint=hint,
        )


def directory_mode(prefix: Path) -> int:
    """Permissions for directories of the installation: the prefix's own, never world-writable.

    An existing prefix decides. A new one gets what the umask leaves. In a project's directory (with
    the set-group-ID bit, which every new directory gets from the one above) its members can use it
    whatever the umask.
    """
    if prefix.is_dir():
        mode = stat.S_IMODE(prefix.stat().st_mode)
    else:
        above = next(p for p in prefix.parents if p.is_dir()).stat().st_mode
        mode = 0o777 & ~_umask()
        if above & stat.S_ISGID:
            mode |= above & (stat.S_ISGID | stat.S_IRGRP | stat.S_IXGRP)
    return (mode | stat.S_IRWXU) & ~stat.S_IWOTH


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


@contextlib.contextmanager
def parents(prefix: Path) -> Iterator[None]:
    """Create the directories above the prefix; on failure those that stayed empty go again.

    :raises PrefixError: they cannot be created.
    """
    missing = [directory for directory in reversed(prefix.parents) if not directory.exists()]
    try:
        for directory in missing:
            _make_directory(directory)
        yield
    except BaseException:
        for directory in reversed(missing):
            with contextlib.suppress(OSError):
                directory.rmdir()
        raise


def _make_directory(directory: Path) -> None:
    try:
        mode = directory_mode(directory)
        above = directory.parent.stat().st_mode
        if above & stat.S_ISGID:  # a project's: its members build beside it, as in the one above
            mode |= above & stat.S_IWGRP
        directory.mkdir()
        with opened(directory) as handle:  # another may have put a link there by now
            os.fchmod(handle, mode)
    except FileExistsError:
        pass  # another builder made it
    except OSError as error:
        raise PrefixError(
            f"cannot create the directory: {error.strerror}",
            where=directory,
            hint="choose another --prefix, or free some quota",
        ) from None
