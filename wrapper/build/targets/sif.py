"""What becomes of a finished tree in one portable SIF: a layer over its base image.

The base is copied as it is and never unpacked; the environment is a squashfs *overlay partition*
that every start mounts over it (see :mod:`wrapper.images.sif.file`). Where a runtime cannot do
that, the *flattened* form has base and environment in one file system.

Inside::

    /containerize/                 the environment
    /.containerize/                its lock, packages.txt, the user's files; links to the host's MPI
    /.singularity.d/               activation, runscript, labels (see wrapper.images.sif.content)

Beside it in the file, as SIF objects: the manifest and the build's log.
"""

from __future__ import annotations

import stat
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from wrapper import __version__, runscripts, tree, workspace
from wrapper.activation.model import Activation
from wrapper.build.context import BuildContext
from wrapper.build.incremental import Place
from wrapper.build.source import Source
from wrapper.build.target import Finished, described, shim_programs
from wrapper.gpu import NONE, Settings, Use, settings_for
from wrapper.images.sif import content as sif_content
from wrapper.images.sif import file as sif
from wrapper.images.sif.file import NewObject, Sif, SifObject, SifWriter
from wrapper.images.sif.record import (
    LAYER,
    LOCKS,
    LOG,
    MANIFEST_NAME,
    OWN,
    READING,
    RECORD,
    VALUES,
    environment_layer,
    object_text,
)
from wrapper.manifest import Manifest, MpiRecord, manifest_text, values_text
from wrapper.models import Base
from wrapper.mpi import choice
from wrapper.pip import externally_managed as managed
from wrapper.prefix.record import identity, write_inputs
from wrapper.runtime.container import BuildContainer
from wrapper.runtime.host_program import HOST_ROOT
from wrapper.util import removal
from wrapper.util.hashing import sha256


@dataclass(kw_only=True)
class SifOutput:
    """Where the parts of a SIF are until it is written: all in the build directory.

    :ivar prefix: the file that is built. :ivar draft: where it is written, beside that.
    """

    prefix: Path
    draft: Path
    space: workspace.Workspace
    generation: int = 1

    @property
    def root(self) -> Path:
        return self.prefix.parent

    @property
    def directory(self) -> Path:
        return self.space.image / RECORD

    @property
    def image(self) -> Path:
        return self.space.root / "layer.sqfs"


@dataclass(frozen=True, kw_only=True)
class Bottom:
    """What the environment is put on: an image with its manifest, where we made it before.

    :ivar image: that is copied. :ivar foreign: its variables for a Python of its own, see
        :mod:`wrapper.images.sif.content`. :ivar labels: of its ``labels.json``.
    :ivar os_packages: that were added to its system.
    """

    base: Base
    image: Sif
    foreign: Mapping[str, str]
    labels: Mapping[str, str]
    os_packages: tuple[str, ...] = ()
    manifest: Manifest | None = None


@dataclass(kw_only=True)
class SifTarget:
    """:ivar flatten: one file system instead of two."""

    context: BuildContext
    source: Source
    place: SifOutput
    bottom: Bottom
    flatten: bool = False
    outside = False
    _writer: SifWriter = field(init=False)
    _copying: Future[None] = field(init=False)

    @property
    def keeps_modes(self) -> bool:
        return self.context.keeps_modes and not self.flatten  # there all is root's, as in the base

    @contextmanager
    def opened(self) -> Iterator[None]:
        """The base is copied while the environment is built."""
        stopped = threading.Event()

        def check(_done: float, _total: float) -> None:
            if stopped.is_set():
                raise CancelledError

        with (
            SifWriter(self.place.draft, base=self.bottom.image, keep=self._kept()) as self._writer,
            ThreadPoolExecutor(1) as pool,
        ):
            self._copying = pool.submit(self._writer.copy_base, check)
            try:
                yield
            except BaseException:
                stopped.set()
                raise

    def mount_points(self) -> list[str]:
        self.place.directory.mkdir()
        return []

    def make_home(self, container: BuildContainer) -> None:
        """Its place is the one in the image."""

    def place_of_previous(self) -> Place | None:
        if self.flatten:  # the base is in the same file system
            return None
        layer = environment_layer(self.bottom.image)
        return Place(file=self.bottom.image.path, offset=layer.offset, number=layer.number)

    def unpack_previous(self, target: Path, path: str) -> None:
        self.context.tools.squasher.unsquash(
            self.bottom.image.path,
            target,
            console=self.context.console,
            paths=[path.lstrip("/")],
            offset=environment_layer(self.bottom.image).offset,
        )

    def deliver(self, finished: Finished) -> Manifest:
        context, directory = self.context, self.place.directory
        programs = len(shim_programs(context, self.source))
        managed.put_notice(context.tree, self._advice())
        size = tree.settle(context.space.image, fix=not self.keeps_modes)
        if finished.tree.packed:
            size += finished.tree.packed.size_beside(context.tree)
        # In an image it is readable for everybody who can read the image.
        opened = [file for file in context.inputs.files if file.mode & stat.S_IROTH]
        if closed := [file.name for file in context.inputs.files if file not in opened]:
            context.console.info(
                f"closed to others, so not recorded in the image: {', '.join(closed)}"
            )
        inputs = write_inputs(directory, finished.packages, opened)
        mpi = choice.write(context.mpi.choice, directory)
        tree.settle(directory)
        layer = self._unpacked_base() if self.flatten else context.space.image
        scripts = context.runscripts(finished.packages)
        if scripts and not context.base.runscripts:
            removal.remove_tree(layer / runscripts.DIRECTORY)  # of a base of ours
            runscripts.write(layer)
        use = Use.of(context.base, finished.packages, context.site.name)
        gpu = settings_for(use, context.base.sets)
        if mpi and mpi.directory:  # a mount point
            (layer / HOST_ROOT.lstrip("/")).mkdir(mode=0o755, exist_ok=True)
        texts = self._write_content(layer, finished.activation, gpu, mpi, scripts)
        title, order = "Writing the environment's layer", self._order().splitlines()
        written = Place(file=self.place.image)
        if self.flatten:
            context.squash(layer, self.place.image, title, order=order)
        else:
            written = finished.tree.write_image(
                self.place.image,
                title,
                owners=self.keeps_modes,
                order=order,
                within=self._end_of_draft,
            )
        with ThreadPoolExecutor(1) as pool:
            identified = pool.submit(identity, written.file, written.offset)
            context.discard(layer)
        manifest = described(
            context,
            self.source,
            finished,
            programs=programs,
            image=identified.result(),
            inputs=inputs,
            size=size,
            mpi=mpi,
        )
        manifest = replace(
            manifest,
            form="sif",
            gpu=gpu if gpu.device else None,
            flatten=self.flatten,
            foreign=self.bottom.foreign,
            labels=self.bottom.labels,
            os_packages=self.bottom.os_packages,
            read_first=len(self._order().splitlines()),
        )
        self._assemble(manifest, texts, written)
        return manifest

    def _end_of_draft(self) -> Place:
        """Behind the base, when that is copied."""
        with self.context.console.step("Copying the base image", least=workspace.TOLD_SECONDS):
            self._copying.result()
        return Place(file=self.place.draft, offset=self._writer.next_partition())

    def _order(self) -> str:
        """The recorded order of what is updated, a path a line; of a base's environment none."""
        return (object_text(self.bottom.image, READING) or "") if self.bottom.manifest else ""

    def _advice(self) -> str:
        """What a user is told who would install with pip into the finished image."""
        return (
            "The image is read-only.\n\n"
            "To add or change packages of the image itself:\n"
            f"containerize build --update {self.place.prefix.name} --requirements requirements.txt"
            "\n\n"
            "To add packages for yourself, make a virtual environment on top of it, in the image:\n"
            "python3 -m venv --system-site-packages VENV"
        )

    def _write_content(
        self,
        layer: Path,
        activation: Activation,
        gpu: Settings = NONE,
        mpi: MpiRecord | None = None,
        scripts: bool = False,
    ) -> dict[str, str]:
        """Put activation, runscript and labels into the layer; returns their texts by path."""
        context = self.context
        texts = {
            sif_content.ACTIVATE: sif_content.activation_script(
                activation,
                context.install_path,
                self.bottom.foreign,
                gpu=gpu,
                mpi=mpi,
                scripts=scripts,
            ),
            sif_content.RUNSCRIPT: sif_content.runscript(context.base.entry_point),
            sif_content.LABELS: sif_content.labels(self.bottom.labels, self._own_labels(layer)),
        }
        if any(script.why for script in activation.scripts):
            context.console.warning(
                "of what such a script does in a SIF image, the variables that it sets reach a "
                "program: no umask, limit or function"
            )
        if sif_content.DYNAMIC in texts[sif_content.ACTIVATE]:
            texts[sif_content.DYNAMIC] = sif_content.dynamic_script()
        for name, text in texts.items():
            path = layer / name
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            path.write_text(text, encoding="utf-8", errors="surrogateescape")
            path.chmod(0o644 if name == sif_content.LABELS else 0o755)
        return texts

    def _own_labels(self, layer: Path) -> dict[str, str]:
        labels = {
            "containerize.version": __version__,
            "containerize.environment": self.context.install_path,
            "containerize.base": self.context.base.name,
            "containerize.base.digest": self.context.base.digest,
        }
        for name in LOCKS:
            if (layer / RECORD / name).is_file():
                digest = sha256(layer / RECORD / name)
                labels |= {"containerize.lock": f"/{RECORD}/{name}"}
                labels |= {"containerize.lock.digest": f"sha256:{digest}"}
        return labels

    def _unpacked_base(self) -> Path:
        """The base's file systems in one tree, and the environment in it."""
        flat = self.context.space.root / "flat"
        layers = [self.bottom.image.primary, *self.bottom.image.overlays]
        with self.context.console.step("Unpacking the base image"):
            for item in layers:
                if item.name != LAYER:
                    self.context.tools.squasher.unsquash(
                        self.bottom.image.path,
                        flat,
                        console=self.context.console,
                        offset=item.offset,
                        over=True,
                    )
        tree.make_readable(flat)
        for entry in self.context.space.image.iterdir():
            removal.remove_tree(flat / entry.name)  # of a flattened image that is updated
            entry.rename(flat / entry.name)
        return flat

    def _assemble(self, manifest: Manifest, texts: dict[str, str], layer: Place) -> None:
        """:param layer: in a file of its own, or in its place in the draft."""
        old = object_text(self.bottom.image, sif.INSPECT_NAME) or ""
        metadata = sif_content.inspect_metadata(old, texts)
        beside = [
            (sif.JSON, VALUES, values_text(manifest)),
            (sif.GENERIC, READING, self._order()),
        ]
        role = sif.PRIMARY if self.flatten else sif.OVERLAY
        add = [
            NewObject(
                kind=sif.PARTITION,
                name="" if self.flatten else LAYER,
                content=manifest.image.size if layer.offset else layer.file,
                extra=sif.partition(role),
            ),
            NewObject(kind=sif.JSON, name=sif.INSPECT_NAME, content=metadata.encode()),
            NewObject(kind=sif.JSON, name=MANIFEST_NAME, content=manifest_text(manifest).encode()),
            *(
                NewObject(kind=kind, name=name, content=text.encode())
                for kind, name, text in beside
                if text
            ),
            NewObject(kind=sif.GENERIC, name=LOG, content=self.context.space.log.read_bytes()),
        ]
        with self.context.console.step(f"Writing {self.place.prefix.name}"):
            self._copying.result()
            for new in add:
                self._writer.add(new)
            self._writer.finish()

    def _kept(self) -> list[SifObject]:
        """What of the base goes into the result."""
        if any(item.kind == sif.SIGNATURE for item in self.bottom.image.objects):
            self.context.console.warning(
                "the base image's signature does not cover the environment and is left out"
            )
        gone = (*OWN, sif.INSPECT_NAME)
        return [
            item
            for item in self.bottom.image.objects
            if item.name not in gone
            and item.kind != sif.SIGNATURE
            and not (self.flatten and item.partition[1] in (sif.PRIMARY, sif.OVERLAY))
        ]
