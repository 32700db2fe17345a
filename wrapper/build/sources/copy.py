"""An installation that lies on disk: a copy of it becomes the image (``wrap-install``)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from wrapper import layout, process, shimmed_programs, workspace
from wrapper.activation.record import conda_variables
from wrapper.build.incremental import IncrementalTree
from wrapper.build.source import Source
from wrapper.console import Advance
from wrapper.errors import InputError, ScriptError, means_no_space
from wrapper.manifest import Manifest
from wrapper.process import ToolFailed
from wrapper.runtime.container import BuildContainer
from wrapper.util import disk


@dataclass(kw_only=True)
class CopySource(Source):
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

    def prepare(self, _: IncrementalTree) -> None:
        context = self.context  # mistakes are told before the copy
        shimmed_programs.wrapped(self.source, context.install_path, context.wrapper_paths)
        size = sum(
            Path(folder, name).lstat().st_size
            for folder, _, names in os.walk(self.source)
            for name in names
        )
        disk.require_space(context.space.root, size, "a copy of the installation", disk.MORE_ROOM)

    def populate(self, container: BuildContainer, _: IncrementalTree) -> None:
        with self.context.console.step(f"Copying {self.source}"):
            self._copy()
            if not self.mask:
                self._move_links()

    def _copy(self) -> None:
        """With cp, which keeps hard links, links, times and permissions."""
        try:
            process.run(
                ["cp", "-a", "--", f"{self.source}/.", str(self.context.tree)],
                console=self.context.console,
                env=process.base_environment(os.environ),
            )
        except ToolFailed as error:
            if means_no_space(error.detail):
                what, root = "a copy of the installation", self.context.space.root
                raise disk.no_room(f"no room left for {what}", root, error.detail) from None
            raise InputError(
                f"{self.source} cannot be copied",
                where=self.source,
                hint="check that you may read all of it",
                detail=error.detail,
            ) from None

    def _move_links(self) -> None:
        """Let absolute links into the source lead into the copy."""
        for folder, names, leaves in os.walk(self.context.tree):
            for path in (Path(folder, name) for name in (*names, *leaves)):
                if not path.is_symlink():
                    continue
                target = path.readlink()
                for place in spellings(self.source):
                    if target.is_relative_to(place):
                        path.unlink()
                        path.symlink_to(self.context.install_path / target.relative_to(place))
                        break

    def compile(self, container: BuildContainer, tree: IncrementalTree, advance: Advance) -> None:
        """Its Python may be a part that nobody uses: where that fails, modules stay as they are."""
        try:
            super().compile(container, tree, advance)
        except ScriptError as error:
            self.context.console.warning(f"Python modules are left as they are: {error.what}")

    def recorded(self, manifest: Manifest) -> Manifest:
        return replace(manifest, source=str(self.source), mask=self.mask)

    def own_variables(self) -> dict[str, str]:
        if (self.context.tree / "conda-meta").is_dir():
            return conda_variables(self.program_root())
        return {}

    def program_root(self) -> str:
        return str(self.source.resolve()) if self.mask else super().program_root()

    def mask_path(self) -> str:
        return str(self.source.resolve()) if self.mask else ""

    def advice(self) -> str:
        prefix = self.context.place.prefix
        return (
            f"The image of {prefix} is read-only.\n\n"
            f"Install into {self.source} and wrap it again, or into a directory of yours on top:\n"
            f"containerize extend {prefix} --to MYDIR\nMYDIR/bin/pip install NAME"
        )


def spellings(source: Path) -> list[Path]:
    """The source's path as it was named, and without links."""
    return [source, source.resolve()]


def below(source: Path, paths: Sequence[str]) -> tuple[str, ...]:
    """``-w`` paths that name places in the source, as paths below it."""
    for place in spellings(source):
        paths = [path.removeprefix(f"{place}/") for path in paths]
    return tuple(paths)


def check_source(source: Path, *, prefix: Path, mask: bool) -> Path:
    """The installation's absolute path.

    :raises InputError: it is no directory that we can read, or cannot be masked.
    """
    path = source.absolute()
    if not os.path.isdir(path):  # noqa: PTH112 - false, not raised, where we may not look
        raise InputError(f"{source} is not a directory", where=path, hint="name an installation")
    if not os.access(path, os.R_OK | os.X_OK):
        raise InputError(f"{source} cannot be read", where=path, hint="check its permissions")
    if os.path.lexists(path / layout.CURRENT / layout.ENV):
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
