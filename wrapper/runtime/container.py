"""The container in which an environment is built: the base, the tree at its path."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from wrapper import process
from wrapper.console import Console
from wrapper.errors import (
    ScriptError,
    means_no_loop_device,
    means_no_space,
    no_loop_device,
)
from wrapper.process import ToolFailed
from wrapper.runtime.binds import BIND_VARIABLES
from wrapper.runtime.host_program import HOST_ROOT, host_program
from wrapper.runtime.runtime import Runtime, home_of
from wrapper.util.cache import users_own
from wrapper.util.disk import no_room

OWN_CACHE = "/containerize-cache"  # inside: a part of the cache that others could exchange outside
CERTIFICATES = {
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "PIP_CERT",
    "SSL_CLIENT_CERT",
    "PIP_CLIENT_CERT",
}


@dataclass(frozen=True, kw_only=True)
class BuildContainer:
    """Runs programs as an installation's programs will run, with the tree writable.

    :ivar image: of the base: mount points for the host, or a system of its own.
    :ivar binds: what of the host is there. :ivar own_system: whether the image has its own.
    :ivar has_bash: whether that has a bash. :ivar tree: the environment, outside.
    :ivar install_path: the same, inside.
    :ivar scratch: directory for the runtime's and the programs' temporary files and caches.
    :ivar environment_bind: what is bound to have the environment there, where it is not the tree:
        ``IMAGE:PATH:image-src=/``.
    :ivar cache: the user's cache directory, in whose own part uv and pip keep what they download.
    """

    runtime: Runtime
    image: Path
    binds: Sequence[str]
    own_system: bool = False
    has_bash: bool = True
    tree: Path
    install_path: str
    scratch: Path
    console: Console
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    environment_bind: str = ""
    cache: Path | None = None

    @property
    def bash(self) -> list[str]:
        """The words that start bash inside: the image's, or the host's where it has none."""
        return ["/bin/bash"] if self.has_bash else host_program("bash")

    def own_program(self, path: str) -> list[str]:
        """The words that start a program of ours inside, which is built for the host's libc."""
        return host_program(path) if self.own_system else [path]

    def run(
        self,
        command: Sequence[str],
        *,
        what: str,
        env: Mapping[str, str] | None = None,
        path: Sequence[Path] = (),
        cwd: Path | None = None,
        on_line: Callable[[str], bool] | None = None,
        bare: bool = False,
    ) -> None:
        """Run ``command`` (paths inside the container) to its end.

        :param what: what it is to the user ("the post-install script x.sh"), for the error.
        :param env: variables it sees besides the inherited ones.
        :param path: directories for PATH, after the environment's. :param cwd: its directory.
        :param bare: without the environment, as the base image itself has it.
        :raises ScriptError: it fails; ``detail`` holds its last lines.
        :raises SpaceError: for want of room. :raises ToolError: for want of a loop device.
        """
        binds = [*self.binds, *([f"/:{HOST_ROOT}"] if self.own_system else [])]
        given = dict(env or {})
        if not bare and self.cache:
            more, guard, variables = self._kept_downloads(self.cache)
            binds, command, given = [*binds, *more], [*guard, *command], {**variables, **given}
        if not bare:
            binds.append(self.environment_bind or f"{self.tree}:{self.install_path}")
        argv = self.runtime.exec_argv(
            self.image,
            binds,
            command,
            cwd=cwd or self.scratch,
            environ=self.environ,
        )
        try:
            process.run(
                argv,
                console=self.console,
                env={**self._environment(path, bare=bare), **self._given(given)},
                on_line=on_line,
            )
        except ToolFailed as error:
            if means_no_space(error.detail):
                raise no_room(f"no room left: {what} failed", self.scratch, error.detail) from None
            if means_no_loop_device(error.detail):
                what = f"{what} could not start"
                raise no_loop_device(what, self.runtime.path, error.detail) from None
            raise ScriptError(
                f"{what} failed with status {error.status}",
                hint="its last lines are below, all of them in the log",
                detail=error.detail,
            ) from None

    def _kept_downloads(self, cache: Path) -> tuple[list[str], list[str], dict[str, str]]:
        """Where uv and pip keep downloads: a bind, words before the command, variables.

        Where others could put another directory there, it is bound, and looked at once nobody can
        reach it any more.
        """
        own = users_own(cache)
        place = own.place if own.closed else Path(OWN_CACHE)
        variables = {"UV_CACHE_DIR": str(place / "uv"), "PIP_CACHE_DIR": str(place / "pip")}
        if own.closed:
            return [], [], variables
        status = own.path.stat()
        script = str(files("wrapper") / "templates" / "own-cache.sh")
        look = self.own_program(shutil.which("stat", path=self.environ.get("PATH")) or "stat")
        identity = f"{status.st_dev}:{status.st_ino}"
        guard = [*self.bash, script, OWN_CACHE, identity, *look, "--"]
        return [f"{own.place}:{OWN_CACHE}"], guard, variables

    def _given(self, env: Mapping[str, str]) -> dict[str, str]:
        """``env``, in a form that an image's own settings do not overrule."""
        if not self.own_system:
            return dict(env)
        given = dict(env)
        for name, value in env.items():
            inside = _on_the_host(value) if name in CERTIFICATES else value
            given |= self.runtime.container_variable(name, inside)
        return given

    def _environment(self, more: Sequence[Path], *, bare: bool) -> dict[str, str]:
        """What the runtime sees, and of it the programs inside: the environment first on PATH.

        The runtime's own files belong into the build directory, not to $HOME.
        """
        path = [f"{self.install_path}/bin", *map(str, more)]
        variable = self.runtime.container_variable
        if self.own_system:
            # The image's own PATH and libraries go on; its PYTHONPATH would come before the
            # environment's packages.
            own = {}
            if not bare:
                own = variable("PREPEND_PATH", ":".join(path)) | variable("PYTHONPATH", "")
            for name in CERTIFICATES & set(self.environ):  # what downloads trust is the host's
                own |= variable(name, _on_the_host(self.environ[name]))
        else:
            path.append(self.environ.get("PATH", "/usr/bin:/bin"))
            own = variable("PATH", ":".join(path))
            if libraries := self.environ.get("LD_LIBRARY_PATH"):
                own |= variable("LD_LIBRARY_PATH", libraries)
        # The user's binds are among ours; twice would be a complaint.
        inherited = {n: v for n, v in self.environ.items() if n not in BIND_VARIABLES}
        return {
            **self.runtime.environment(self.scratch, inherited),
            **own,
            "PYTHONNOUSERSITE": "1",  # as in the shim
            "TMPDIR": str(self.scratch),
            **self._uv_logins(inherited),
        }

    def _uv_logins(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Where uv looks for logins: where a user has none, it would leave a lock in $HOME."""
        data = environ.get("XDG_DATA_HOME") or Path(home_of(environ), ".local/share")
        logins = Path(data, "uv/credentials/credentials.toml")
        # (False, not raised, below a home that is closed to this user.)
        if "UV_CREDENTIALS_DIR" in environ or os.path.exists(logins):  # noqa: PTH110
            return {}
        return {"UV_CREDENTIALS_DIR": str(self.scratch / "uv-credentials")}


def _on_the_host(paths: str) -> str:
    """Where paths of the host, separated by colons, are in a container with a system of its own."""
    return ":".join(
        f"{HOST_ROOT}{Path(path).absolute()}" if path else "" for path in paths.split(":")
    )
