"""Wrapping an installation that lies on disk: a copy of it becomes the image."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wrapper import process, tree, workspace
from wrapper.activation.record import conda_variables
from wrapper.console import Advance
from wrapper.container import BuildContainer
from wrapper.errors import InputError, ScriptError, SpaceError, means_no_space
from wrapper.installation import Installation
from wrapper.process import ToolFailed


@dataclass(kw_only=True)
class CopyBuild(Installation):
    """:ivar source: the installation, as the user named it (``/scratch/project_x/tool`` is often a
    link), absolute. :ivar mask: whether programs are to see the image at the source's own path, so
    that paths which it stored stay true.
    """

    kind = "install"
    has_lock = False  # it would be built anew from the source
    answers_for_pip = False
    offers_bin = False
    source: Path
    mask: bool = False

    def prepare(self) -> None:
        for place in self._spellings():
            paths = (path.removeprefix(f"{place}/") for path in self.wrapper_paths)
            self.wrapper_paths = tuple(paths)
        tree.wrapped(self.source, self.install_path, self.wrapper_paths)  # told before the copy
        size = sum(
            Path(folder, name).lstat().st_size
            for folder, _, names in os.walk(self.source)
            for name in names
        )
        workspace.require_space(
            self.space.root, size, "a copy of the installation", workspace.MORE_ROOM
        )

    def populate(self, container: BuildContainer) -> None:
        with self.console.step(f"Copying {self.source}"):
            self._copy()
            if not self.mask:
                self._move_links()

    def _copy(self) -> None:
        """With cp, which keeps hard links, links, times and permissions."""
        try:
            process.run(
                ["cp", "-a", "--", f"{self.source}/.", str(self.tree)],
                console=self.console,
                env=process.base_environment(os.environ),
            )
        except ToolFailed as error:
            if means_no_space(error.detail):
                raise SpaceError(
                    "no room left for a copy of the installation",
                    where=self.space.root,
                    hint=workspace.MORE_ROOM,
                    detail=error.detail,
                ) from None
            raise InputError(
                f"{self.source} cannot be copied",
                where=self.source,
                hint="check that you may read all of it",
                detail=error.detail,
            ) from None

    def compile(self, container: BuildContainer, advance: Advance) -> None:
        """Its Python may be a part that nobody uses: where that fails, modules stay as they are."""
        try:
            super().compile(container, advance)
        except ScriptError as error:
            self.console.warning(f"Python modules are left as they are: {error.what}")

    def _move_links(self) -> None:
        """Let absolute links into the source lead into the copy."""
        for folder, names, leaves in os.walk(self.tree):
            for path in (Path(folder, name) for name in (*names, *leaves)):
                if not path.is_symlink():
                    continue
                target = path.readlink()
                for place in self._spellings():
                    if target.is_relative_to(place):
                        path.unlink()
                        path.symlink_to(self.install_path / target.relative_to(place))
                        break

    def _spellings(self) -> list[Path]:
        """The source's path as it was named, and without links."""
        return [self.source, self.source.resolve()]

    def own_variables(self) -> dict[str, str]:
        if (self.tree / "conda-meta").is_dir():
            return conda_variables(self.program_root())
        return {}

    def program_root(self) -> str:
        return str(self.source.resolve()) if self.mask else self.install_path

    def mask_path(self) -> str:
        return str(self.source.resolve()) if self.mask else ""

    def advice(self) -> str:
        return (
            f"The image of {self.staging.prefix} is read-only.\n\n"
            f"Install into {self.source} and wrap it again, or make a virtual environment on top:\n"
            f"{self.staging.prefix}/bin/python3 -m venv --system-site-packages VENV"
        )

    def own_facts(self) -> dict[str, Any]:
        return {"source": str(self.source), "mask": self.mask}


def check_source(source: Path, *, prefix: Path, mask: bool) -> Path:
    """The installation's absolute path.

    :raises InputError: it is no directory that we can read, or cannot be masked.
    """
    path = source.absolute()
    if not os.path.isdir(path):  # noqa: PTH112 - false, not raised, where we may not look
        raise InputError(f"{source} is not a directory", where=path, hint="name an installation")
    if not os.access(path, os.R_OK | os.X_OK):
        raise InputError(f"{source} cannot be read", where=path, hint="check its permissions")
    if os.path.lexists(path / "current" / "env"):
        raise InputError(
            f"{source} is an installation of containerize itself",
            where=path,
            hint="its programs are wrapped already: put its bin on PATH",
        )
    if prefix.resolve().is_relative_to(path.resolve()):
        raise InputError(
            "the prefix is inside the directory that is to be wrapped",
            where=prefix,
            hint="choose another --prefix",
        )
    if mask:
        workspace.check_bindable(path.resolve(), "the path to mask")
    return path
