"""The container in which an environment is built: skeleton, whole host, the tree at its path."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wrapper import process
from wrapper.console import Console
from wrapper.errors import ScriptError, SpaceError, means_no_space
from wrapper.process import ToolFailed
from wrapper.runtime import Runtime, home_of, host_binds, runtime_places


@dataclass(frozen=True, kw_only=True)
class BuildContainer:
    """Runs programs as an installation's programs will run, with the tree writable.

    :ivar skeleton: image of mount points. :ivar tree: the environment, outside.
    :ivar install_path: the same, inside. :ivar scratch: directory for the runtime's and the
        programs' temporary files and caches.
    """

    runtime: Runtime
    skeleton: Path
    tree: Path
    install_path: str
    scratch: Path
    console: Console
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)

    def run(
        self,
        command: Sequence[str],
        *,
        what: str,
        env: Mapping[str, str] | None = None,
        path: Sequence[Path] = (),
        cwd: Path | None = None,
        on_line: Callable[[str], bool] | None = None,
    ) -> None:
        """Run ``command`` (paths inside the container) to its end.

        :param what: what it is to the user ("the post-install script x.sh"), for the error.
        :param env: variables it sees besides the inherited ones.
        :param path: directories for PATH, after the environment's. :param cwd: its directory.
        :raises ScriptError: it fails; ``detail`` holds its last lines.
        """
        argv = self.runtime.exec_argv(
            self.skeleton,
            [*host_binds(), f"{self.tree}:{self.install_path}"],
            command,
            cwd=cwd or self.scratch,
            home=home_of(self.environ),
        )
        try:
            process.run(
                argv,
                console=self.console,
                env={**self._environment(path), **(env or {})},
                on_line=on_line,
            )
        except ToolFailed as error:
            if means_no_space(error.detail):
                raise SpaceError(
                    f"no room left: {what} failed",
                    where=self.scratch,
                    hint="name a larger file system with --tmpdir or CW_BUILD_TMPDIR",
                    detail=error.detail,
                ) from None
            raise ScriptError(
                f"{what} failed with status {error.status}",
                hint="its last lines are below, all of them in the log",
                detail=error.detail,
            ) from None

    def _environment(self, more: Sequence[Path]) -> dict[str, str]:
        """What the runtime sees, and of it the programs inside: the environment first on PATH.

        The runtime's own files belong into the build directory, not to $HOME.
        """
        path = [f"{self.install_path}/bin", *map(str, more)]
        path.append(self.environ.get("PATH", "/usr/bin:/bin"))
        return {
            **process.base_environment(self.environ),
            **runtime_places(self.scratch),
            **self.runtime.container_variable("PATH", ":".join(path)),
            **self.runtime.container_variable(
                "LD_LIBRARY_PATH", self.environ.get("LD_LIBRARY_PATH", "")
            ),
            "PYTHONNOUSERSITE": "1",  # as in the shim
            "TMPDIR": str(self.scratch),
        }
