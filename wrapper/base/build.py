"""Building a base image from its definition, without root where its packages are locked."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wrapper import process, sites, tree
from wrapper.base import debian
from wrapper.base.definition import Definition
from wrapper.console import Console, counted
from wrapper.errors import InputError, ToolError
from wrapper.images.compression import Compression
from wrapper.images.sif import file as sif
from wrapper.images.squasher import Squasher
from wrapper.process import ToolFailed
from wrapper.runtime.runtime import Runtime
from wrapper.util import foreign
from wrapper.util.cache import FILE_MODE
from wrapper.util.disk import require_space

_GROWTH = 6  # bytes of an unpacked and packed system per byte of its packages
_WITHIN = "/mnt"  # where the tree lies, writable, in a container of itself


@dataclass(frozen=True, kw_only=True)
class BaseBuild:
    """One build. :ivar root: a new directory for the system, outside. :ivar debs: for packages.

    :ivar mirror: root of a Debian archive, empty for the definition's. :ivar scratch: for the
        runtime's temporary files.
    """

    definition: Definition
    runtime: Runtime
    squasher: Squasher
    console: Console
    root: Path
    debs: Path
    scratch: Path
    mirror: str = ""
    compression: Compression

    def run(self, target: Path) -> None:
        """Write the image as the new file ``target``.

        :raises InputError: packages are for other machines.
        :raises ChannelError: a package cannot be fetched. :raises ToolError: the runtime fails.
        """
        if self.definition.packages:
            self._from_packages(target)
        else:
            self._with_runtime(target)
        foreign.set_mode(target, FILE_MODE)

    # -- with the runtime ------------------------------------------------------------------------
    def _with_runtime(self, target: Path) -> None:
        try:
            with self.console.step(f"Building {self.definition.path.name}"):
                self._call(self.runtime.build_argv(target, self.definition.path))
        except ToolFailed as error:
            target.unlink(missing_ok=True)
            raise ToolError(
                f"{self.definition.path.name} cannot be built here",
                where=self.definition.path,
                hint="definitions without a lock need root, fakeroot or proot: build it where you "
                "have that, and name the image",
                detail=error.detail,
            ) from None

    def _call(self, argv: Sequence[str | Path]) -> None:
        process.run(
            argv,
            console=self.console,
            env=self.runtime.environment(self.scratch, fetches=True),
            cwd=self.definition.path.parent,  # where relative paths of a definition start
        )

    # -- from packages ---------------------------------------------------------------------------
    def _from_packages(self, target: Path) -> None:
        packages = self.definition.packages
        debian.require_architecture(packages, self.definition.path.with_suffix(".lock"))
        needed = _GROWTH * sum(deb.size for deb in packages)
        require_space(self.root.parent, needed, "the build", "use --tmpdir")
        named = self.mirror or self.definition.header.get("mirrorurl", "")
        with self.console.step(f"Fetching {counted(len(packages), 'package')}") as advance:
            files = debian.fetch(
                packages,
                mirrors=debian.mirrors(named, self.definition.snapshot),
                cache=self.debs,
                advance=advance,
            )
        with self.console.step("Unpacking") as advance:
            debian.unpack(packages, files, self.root, advance)
            debian.configure(self.root)
            self._copy_files()
            self._mount_points()
            self._runtime_files()
        with self.console.step("Finishing in the container"):
            self._finish()
        tree.settle(self.root)
        image = self.root.with_name(f"{self.root.name}.sqfs")
        try:
            with self.console.step("Writing the image") as advance:
                self.squasher.squash(
                    self.root,
                    image,
                    compression=self.compression,
                    console=self.console,
                    advance=advance,
                )
                self._write_sif(target, image)
        finally:
            image.unlink(missing_ok=True)

    def _copy_files(self) -> None:
        for source, inside in self.definition.files:
            target = self.root / inside.lstrip("/")
            if not source.is_file() or ".." in Path(inside).parts:
                raise InputError(
                    f"%files: '{source.name}' is not a file that can be copied",
                    where=self.definition.path,
                    hint="name files beside the definition, and absolute paths inside",
                )
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)

    def _mount_points(self) -> None:
        """Of what sites bind: a missing one costs an overlay or underlay at each start."""
        for name in sites.mounts():
            (self.root / name).mkdir(exist_ok=True)

    def _runtime_files(self) -> None:
        """``/.singularity.d`` as the runtime makes it, with the definition's own parts.

        An incomplete one is worse than none (see :func:`wrapper.runtime.binds.write_skeleton`),
        so the runtime completes an empty system, and it is taken from there. Labels with times and
        names of this build are left out: the same packages shall give the same image.
        """
        seed, complete = self.scratch / "seed", self.scratch / "complete"
        for name in ("bin", "etc", "usr"):
            (seed / name).mkdir(parents=True)
        self._call([self.runtime.path, "-s", "build", "--sandbox", complete, seed])
        own = complete / ".singularity.d"
        sections = self.definition.sections
        (own / "labels.json").write_text(json.dumps(self.definition.labels, indent=1))
        (own / "Singularity").write_text(self.definition.text)
        environment = f"#!/bin/sh\n{sections.get('environment', '')}"
        (own / "env/90-environment.sh").write_text(environment)
        if "runscript" in sections:
            (own / "runscript").write_text(f"#!/bin/sh\n{sections['runscript']}")
        if "help" in sections:
            (own / "runscript.help").write_text(sections["help"])
        shutil.copytree(own, self.root / own.name, symlinks=True)
        for entry in complete.iterdir():  # /.exec, /singularity… lead there
            if entry.is_symlink():
                (self.root / entry.name).symlink_to(entry.readlink())

    def _finish(self) -> None:
        """The loader's cache and Python's ``.pyc``, made by the system's own programs."""
        self._inside("/usr/sbin/ldconfig", "-X", "-C", f"{_WITHIN}/etc/ld.so.cache")
        for library in sorted((self.root / "usr/lib").glob("python3.*")):
            # A file that cannot be compiled is no failure: some are broken on purpose, for tests.
            script = (
                "import compileall, py_compile, sys; compileall.compile_dir(sys.argv[1], quiet=2, "
                "stripdir=sys.argv[2], prependdir='/', "
                "invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)"
            )
            inside = f"{_WITHIN}/usr/lib/{library.name}"
            self._inside("/usr/bin/python3", "-I", "-c", script, inside, _WITHIN)

    def _inside(self, *command: str) -> None:
        """Run a program of the system in a container of it, the tree writable at ``_WITHIN``."""
        argv = self.runtime.exec_argv(self.root, [f"{self.root}:{_WITHIN}"], command)
        environment = {
            **self.runtime.environment(self.scratch),
            "PYTHONHASHSEED": "0",  # sets in .pyc files have an order
        }
        try:
            process.run(argv, console=self.console, env=environment)
        except ToolFailed as error:
            raise ToolError(
                f"{command[0]} of the new image failed",
                where=self.definition.path,
                hint="can this runtime start a sandbox directory here?",
                detail=error.detail,
            ) from None

    def _write_sif(self, target: Path, image: Path) -> None:
        text = self.definition.text.encode()
        parts: Sequence[sif.NewObject] = [
            sif.NewObject(kind=sif.DEFINITION, name="definition", content=text),
            sif.NewObject(
                kind=sif.PARTITION,
                name="system",
                content=image,
                extra=sif.partition(sif.PRIMARY),
            ),
        ]
        sif.write_sif(target, parts)
