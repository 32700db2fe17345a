"""Accounts that end-to-end tests run commands as: the tester's own, and an ordinary user.

Root's own account hides whole classes of mistakes (permissions, kernel mounts instead of FUSE), so
where the tests run as root they make an ordinary user and run everything as that user too. What
makes or starts an image they also run with other runtimes: see ``runtimes``.
"""

from __future__ import annotations

import atexit
import grp
import os
import pwd
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.runtimes import NAMES, REPOSITORY, setuid_mounts, setuid_path

USER_NAME = "containerize-test"
NEIGHBOUR_NAME = "containerize-test-2"
GROUP_NAME = "containerize-test-project"
_FUSE = Path("/dev/fuse")
_CWD = "@cwd@"


@dataclass(frozen=True, kw_only=True)
class Account:
    """Someone who runs commands.

    :ivar name: for test names. :ivar uid: whose, ``None`` for the tester's own. :ivar gid: its
        group, likewise.
    :ivar home: an empty home directory. :ivar work: a directory to work in.
    :ivar path: ``PATH``, by which the account has its container runtime.
    """

    name: str
    home: Path
    work: Path
    path: str
    uid: int | None = None
    gid: int | None = None
    _prefix: tuple[str, ...] = field(default=(), repr=False)

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """A plain login environment with the project's commands and the runtime on PATH."""
        kept = ("LANG", "SSL_CERT_FILE", "CONTAINERIZE_CACHE_DIR", "TERM")
        plain = {name: os.environ[name] for name in kept if name in os.environ}
        return {
            **plain,
            "PATH": self.path,
            "HOME": str(self.home),
            "USER": self.name,
            **(more or {}),
        }

    @property
    def runtime(self) -> str:
        """The container runtime on ``PATH``, as the program finds it."""
        found = next(filter(None, (shutil.which(name, path=self.path) for name in NAMES)), None)
        assert found, f"no container runtime on {self.path}"
        return found

    @property
    def family(self) -> str:
        """``APPTAINER`` or ``SINGULARITY``: how variables begin that its runtime reads first."""
        return "APPTAINER" if "apptainer" in self.ok(self.runtime, "--version") else "SINGULARITY"

    def argv(self, argv: Sequence[str | Path], cwd: Path | None = None) -> list[str]:
        """The line that runs ``argv`` as this account in the directory ``cwd``."""
        prefix = [word.replace(_CWD, str(cwd or self.work)) for word in self._prefix]
        return [*prefix, *map(os.fspath, argv)]

    def run(
        self,
        *argv: str | Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: str | None = None,
        timeout: float = 300,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; its status and output are the caller's to check."""
        return subprocess.run(
            self.argv(argv, cwd),
            env=self.environment(env),
            cwd=cwd or self.work,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=timeout,
            check=False,
        )

    def ok(self, *argv: str | Path, **options: object) -> str:
        """Standard output of a command that must succeed."""
        done = self.run(*argv, **options)  # type: ignore[arg-type]
        assert done.returncode == 0, f"{argv}: status {done.returncode}\n{done.stderr}"
        return done.stdout

    def among(self, directory: Path) -> Account:
        """The same with what is in ``directory`` at the top of the file system, see ``roots``."""
        extended = (sys.executable, "-I", str(REPOSITORY / "tests/roots.py"), str(directory))
        there = self.as_root()._prefix
        return replace(self, _prefix=(*there, *extended, *self._prefix[len(there) :]))

    def as_root(self) -> Account:
        """Root where this account is: in the same namespaces, with the same refused."""
        at = self._prefix.index("setpriv") if "setpriv" in self._prefix else len(self._prefix)
        return replace(self, uid=None, gid=None, _prefix=self._prefix[:at])

    def owns(self, path: Path) -> Path:
        """Give a path to this account; returns it."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)
        return path

    def directory(self, name: str) -> Path:
        """A new directory of this account below ``work``."""
        path = self.work / name
        path.mkdir(parents=True)
        return self.owns(path)

    def file(self, name: str, text: str) -> Path:
        """A file of this account below ``work``."""
        path = self.work / name
        path.write_text(text)
        return self.owns(path)


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """Two ordinary users, and where both may write.

    :ivar project: a directory of their group, as a project's: its members may write, not others.
    :ivar public: one that everybody can write to, with the sticky bit, as /tmp.
    """

    alice: Account
    bob: Account
    project: Path
    public: Path


def own_account(root: Path, path: str | None = None) -> Account:
    """Whoever runs the tests.

    :param root: a directory for the account. :param path: ``PATH``, by default the tester's.
    """
    return _account("root" if os.getuid() == 0 else "self", root, path=path)


def ordinary_user(root: Path, path: str | None = None) -> Account:
    """An ordinary user, made if need be (only root can). FUSE mounts are opened to all users."""
    if _FUSE.exists():
        _FUSE.chmod(0o666)
    return _account("user", root, _user(USER_NAME), path=path)


def setuid_user(root: Path, settings: Mapping[str, str], *, helpers: bool = True) -> Account:
    """The ordinary user with the set-uid Apptainer, to whom user namespaces are refused.

    :param settings: of its configuration, see :func:`tests.runtimes.setuid_mounts`.
    """
    if _FUSE.exists():
        _FUSE.chmod(0o666)
    user = _user(USER_NAME)
    mounts = setuid_mounts(root, settings, helpers=helpers)
    account = _account("user", root, user, path=setuid_path(root))
    refused = (sys.executable, "-I", str(REPOSITORY / "tests/namespaces.py"))
    return replace(account, _prefix=_user_prefix(user, (), mounts, refused))


def two_users(root: Path) -> Neighbours:
    """Two ordinary users of one group, made if need be (only root can)."""
    subprocess.run(["groupadd", "--force", GROUP_NAME], check=True)
    group = grp.getgrnam(GROUP_NAME).gr_gid
    root.chmod(0o755)
    alice, bob = (
        _account(name, root / name, _user(user), group)
        for name, user in (("alice", USER_NAME), ("bob", NEIGHBOUR_NAME))
    )
    project, public = root / "project", root / "public"
    project.mkdir()
    os.chown(project, -1, group)
    project.chmod(0o2775)
    public.mkdir()
    public.chmod(0o1777)
    return Neighbours(alice=alice, bob=bob, project=project, public=public)


def _user(name: str) -> pwd.struct_passwd:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        options = ["--user-group", "--create-home", "--shell", "/bin/bash"]
        subprocess.run(["useradd", *options, name], check=True)
        entry = pwd.getpwnam(name)
    home = Path(entry.pw_dir)  # where a runtime's own defaults look, whatever HOME says
    if home.parent == Path("/home") and not home.exists():
        home.mkdir(mode=0o700)
        os.chown(home, entry.pw_uid, entry.pw_gid)
    return entry


def _account(
    name: str,
    root: Path,
    user: pwd.struct_passwd | None = None,
    *groups: int,
    path: str | None = None,
) -> Account:
    root.mkdir(exist_ok=True)
    root.chmod(0o755)
    account = Account(
        name=name,
        home=root / "home",
        work=root / "work",
        path=os.environ["PATH"] if path is None else path,
        uid=user.pw_uid if user else None,
        gid=user.pw_gid if user else None,
        _prefix=_user_prefix(user, groups) if user else (),
    )
    for directory in (account.home, account.work):
        directory.mkdir()
        account.owns(directory)
    return account


def _user_prefix(
    user: pwd.struct_passwd,
    groups: Sequence[int],
    mounts: Sequence[Sequence[str]] = (),
    command: tuple[str, ...] = (),
) -> tuple[str, ...]:
    """Run as the user, in these groups too, with the repository and this Python within reach.

    They may lie below a closed directory (``/root``). Commands then enter a mount namespace where
    that directory is empty and open but for what is needed, at the same paths. A process of ours
    holds it: a runtime's own namespaces do not keep their parent alive.

    :param mounts: more lines for that namespace. :param command: what root runs the line with.
    """
    more = f"--groups={','.join(map(str, groups))}" if groups else "--clear-groups"
    identity = ("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", more, "--")
    closed: dict[Path, list[Path]] = {}
    for path in (REPOSITORY, Path(sys.base_prefix)):
        for parent in reversed(path.parents):
            if not parent.stat().st_mode & 0o001:
                closed.setdefault(parent, []).append(path)
                break
    if not closed and not mounts:
        return (*command, *identity)
    lines = ["set -e", *map(_opened, closed, closed.values()), *map(shlex.join, mounts)]
    script = "\n".join([*lines, "echo ready", "read _"])
    unshare = ["unshare", "--mount", "--propagation", "private", "bash", "-c", script]
    holder = subprocess.Popen(unshare, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(holder.kill)
    assert holder.stdout is not None and holder.stdout.readline() == "ready\n"
    entered = ("nsenter", f"--mount=/proc/{holder.pid}/ns/mnt", f"--wdns={_CWD}")
    return (*entered, *command, *identity)


def _opened(directory: Path, needed: Sequence[Path]) -> str:
    """Shell lines that put an open directory over a closed one, with ``needed`` bound back."""
    aside = Path(tempfile.mkdtemp(prefix=USER_NAME))
    lines = [["mount", "--bind", directory, aside]]
    lines.append(["mount", "-t", "tmpfs", "-o", "mode=755", "open", directory])
    for path in needed:
        inner = aside / path.relative_to(directory)
        lines += [["mkdir", "-p", path], ["mount", "--bind", inner, path]]
    lines += [["umount", aside], ["rmdir", aside]]
    return "\n".join(shlex.join(map(str, line)) for line in lines)
