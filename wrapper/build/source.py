"""What a build puts into the tree: the hooks of :mod:`wrapper.build.recipe`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import ClassVar

from wrapper.build.context import BuildContext
from wrapper.build.incremental import IncrementalTree
from wrapper.build.left_packed import LENT
from wrapper.build.pip_packages import PipPackages
from wrapper.console import Advance
from wrapper.images.squasher import IMAGE_TIME
from wrapper.manifest import Manifest
from wrapper.models import Interpreter
from wrapper.packages import LockedPackage
from wrapper.process import processors
from wrapper.runtime.container import BuildContainer


@dataclass(kw_only=True)
class Source:
    """This one puts nothing there: a SIF may have packages of its base's system alone.

    :cvar kind: of a manifest. :cvar has_lock: whether it can be built anew from a lock.
    :cvar offers_bin: whether all programs of its ``bin`` get shims.
    :cvar answers_for_pip: whether it has a program ``pip`` in any case.
    """

    kind: ClassVar[str] = "base"
    has_lock: ClassVar[bool] = True
    offers_bin: ClassVar[bool] = True
    answers_for_pip: ClassVar[bool] = True
    context: BuildContext

    # -- the steps -------------------------------------------------------------------------------
    def places(self) -> list[Path]:
        """What its steps use of the host, besides the user's files."""
        return []

    def leaves_packed(self) -> bool:
        """Whether its steps can do with a part of the old environment in the tree.

        What a package is built against may be anything.
        """
        return not self.context.inputs.requirements.late

    def prepare(self, tree: IncrementalTree) -> None:
        """Find out what is to be installed, before (or while) the tree is there."""

    def gone(self, tree: IncrementalTree) -> set[str] | None:
        """Files of the old environment that nobody needs; ``None`` where all of it is needed."""
        return set()

    def populate(self, container: BuildContainer, tree: IncrementalTree) -> None:
        """Put it into the tree. :raises PackedError: it would change what is packed."""

    def compile(self, container: BuildContainer, tree: IncrementalTree, advance: Advance) -> None:
        """Byte-compile the tree's Python modules. :raises ScriptError: its Python fails."""
        lent = LENT if tree.packed else ""
        compile_modules(container, advance, image_time=IMAGE_TIME, lent=lent)

    def pip(self, tree: IncrementalTree) -> PipPackages:
        """Its pip packages."""
        return PipPackages(context=self.context, tree=tree)

    # -- the record ------------------------------------------------------------------------------
    def channels(self) -> Sequence[str]:
        """Where conda packages come from, for the lock and for conda in scripts."""
        return self.context.old.channels if self.context.old else ()

    def sizes(self) -> Mapping[str, int]:
        """Bytes of conda packages' archives by name, as far as known."""
        return {}

    def known_pip(self) -> Sequence[LockedPackage]:
        """Lock entries of pip packages that are known beforehand."""
        return self.context.inputs.locked

    def solved(self) -> Sequence[LockedPackage]:
        """Packages that are known before any is fetched."""
        return self.known_pip()

    def can_be_locked(self, package: LockedPackage) -> bool:
        """Whether the lock can hold it: conda-lock wants these hashes."""
        return bool(package.md5 if package.manager == "conda" else package.sha256)

    def write_lock(self, packages: Sequence[LockedPackage], left: Sequence[LockedPackage]) -> None:
        """Write the lock into the place's directory. :param left: what it cannot hold."""

    def recorded(self, manifest: Manifest) -> Manifest:
        """The manifest, with what only this source says."""
        return manifest

    # -- what the target has to know -------------------------------------------------------------
    def own_variables(self) -> dict[str, str]:
        """What activating the environment sets, besides the user's variables."""
        return {}

    def python_below(self) -> Interpreter | None:
        """The Python of which the environment is a virtual one, if it is."""
        return None

    def program_root(self) -> str:
        """Where the tree's programs are, inside the container."""
        return self.context.install_path

    def mask_path(self) -> str:
        """A path of the host over which the tree is to lie inside the container, if any."""
        return ""

    def required_program(self) -> str:
        """A program of the host that the installation cannot do without, if any."""
        return ""

    def required_library(self) -> str:
        """A directory of the host that is there as long as that program has its version."""
        return ""

    def sees_user_site(self) -> bool:
        """Whether packages in a user's ``~/.local`` count."""
        return False

    def advice(self) -> str:
        """What a user is told who would install with pip into the finished installation."""
        prefix = self.context.place.prefix
        return (
            f"The image of {prefix} is read-only.\n\n"
            "To add or change packages of the installation itself:\n"
            f"{self.kind}-containerize update {prefix} -r requirements.txt"
        )


# -- byte-compiling, in the container, with its own Python ---------------------------------------
def compile_modules(
    container: BuildContainer, advance: Advance, *, image_time: str, lent: str = ""
) -> None:
    """Give every module below ``lib/python3.*`` a ``.pyc`` that needs no look at its source.

    A managed Python's own library, in a directory below ``python``, too.

    Nothing to do where there is no Python. Modules that cannot be compiled are left as they are.

    :param image_time: of all files in an image, seconds since 1970: what an update left alone needs
        no work. :param lent: directory inside the container; a link there is no module of the tree.
    :raises ScriptError: the interpreter itself fails.
    """
    script = str(files("wrapper") / "templates" / "compile.py")
    roots = [container.tree, *sorted((container.tree / "python").glob("*"))]
    for library in [path for root in roots for path in sorted((root / "lib").glob("python3*"))]:
        program = library.parents[1] / "bin" / library.name
        # Some packages link lib/python3.1 to lib/python3.11, and some leave a library without
        # its interpreter behind. (A link may lead to a path that exists only in the container.)
        if library.is_symlink() or not (program.exists() or program.is_symlink()):
            continue
        # A container costs more than a look at the few files that are not packed.
        if lent and not _has_fresh_modules(library, float(image_time), lent):
            continue
        inside = Path(container.install_path, library.relative_to(container.tree))
        container.run(
            [
                str(inside.parents[1] / "bin" / library.name),
                *("-s", "-B", script),
                str(inside),
                str(processors()),
                image_time,
                *([lent] if lent else []),
            ],
            what="byte-compiling",
            env={"PYTHONHASHSEED": "0"},  # sets of strings are marshalled in the order of hashes
            on_line=lambda line: _progress(line, advance),
        )


def _has_fresh_modules(library: Path, image_time: float, lent: str) -> bool:
    """Whether a module is there that is not of the image before, nor a link to what is packed."""
    return any(
        not str(path.readlink()).startswith(f"{lent}/")
        if path.is_symlink()
        else path.stat().st_mtime != image_time
        for path in library.rglob("*.py")
    )


def _progress(line: str, advance: Advance) -> bool:
    words = line.split()
    if len(words) != 2 or words[0] != "compiled":
        return False
    done, _, total = words[1].partition("/")
    advance(float(done), float(total))
    return True
