"""Building one portable SIF: the environment becomes a layer over its base image.

The base is copied as it is and never unpacked; the environment is a squashfs *overlay partition*
that every start mounts over it (see :mod:`wrapper.sif.file`). Where a runtime cannot do that, the
*flattened* form has base and environment in one file system.

Inside::

    /containerize/                 the environment
    /.containerize/                its lock, packages.txt, the user's files
    /.singularity.d/               activation, runscript, labels (see wrapper.sif.content)

Beside it in the file, as SIF objects: the manifest and the build's log.
"""

from __future__ import annotations

import hashlib
import stat
import threading
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wrapper import removal, tree, workspace
from wrapper.activation.model import Activation
from wrapper.build import Build
from wrapper.conda.build import CondaBuild
from wrapper.container import BuildContainer
from wrapper.errors import PrefixError
from wrapper.facts import facts
from wrapper.manifest import manifest_text, parse_manifest, values_text
from wrapper.models import LockedPackage
from wrapper.pip import managed
from wrapper.pip.build import PipBuild
from wrapper.sif import content as sif_content
from wrapper.sif import file as sif
from wrapper.sif.file import NewObject, Sif, SifObject, SifWriter

INSTALL_PATH = "/containerize"
RECORD = ".containerize"
LOCKS = ("conda-lock.yml", "requirements.lock")
_OVERLAY, _LOG = "containerize.sqfs", "containerize.log"
MANIFEST_NAME, _VALUES = "containerize-manifest.json", "containerize-variables.json"
_OWN = (_OVERLAY, MANIFEST_NAME, _VALUES, _LOG)


def read_sif_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a SIF that this program made.

    :raises PrefixError: it was made by another one. :raises ContainerizeError: see ``read_sif``.
    """
    manifest = manifest_of(sif.read_sif(path))
    if manifest is None:
        raise PrefixError(
            f"{path.name} was not made by containerize", where=path, hint="name one that it made"
        )
    return manifest


def manifest_of(image: Sif) -> dict[str, Any] | None:
    """The manifest in an image, ``None`` where it is not of our making."""
    text = _object_text(image, MANIFEST_NAME)
    if text is None:
        return None
    return parse_manifest(text, image.path, values=_object_text(image, _VALUES) or "")


def _object_text(image: Sif, name: str) -> str | None:
    item = image.named(name)
    return image.read(item).decode("utf-8", "replace") if item else None


def environment_layer(image: Sif) -> SifObject:
    """The partition that holds the environment: our overlay, or the root of a flattened image."""
    return image.named(_OVERLAY) or image.primary


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


@dataclass(kw_only=True)
class SifBuild(Build):
    """What builds of a SIF have in common; a kind says what the environment is.

    :ivar bottom: the image that is copied. :ivar flatten: one file system instead of two.
    :ivar foreign: variables of the base for a Python of its own, see :mod:`wrapper.sif.content`.
    :ivar labels: text of the base's ``labels.json``. :ivar os_packages: of the system, added.
    """

    kind = "base"
    has_shims = False
    staging: SifOutput
    bottom: Sif
    flatten: bool = False
    foreign: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    os_packages: tuple[str, ...] = ()
    writer: SifWriter = field(init=False)
    copying: Future[None] = field(init=False)

    def run(self) -> dict[str, Any]:
        """The base is copied while the environment is built."""
        stopped = threading.Event()

        def check(_done: float, _total: float) -> None:
            if stopped.is_set():
                raise CancelledError

        with (
            SifWriter(self.staging.draft, base=self.bottom, keep=self._kept()) as self.writer,
            ThreadPoolExecutor(1) as pool,
        ):
            self.copying = pool.submit(self.writer.copy_base, check)
            try:
                return super().run()
            except BaseException:
                stopped.set()
                raise

    def mount_points(self) -> list[str]:
        self.staging.directory.mkdir()
        return []

    def make_home(self, container: BuildContainer) -> None:
        """Its place is the one in the image."""

    def may_leave_packed(self) -> bool:
        return False  # the old layer is inside another file

    def unpack_previous(self, target: Path, path: str) -> None:
        self.squasher.unsquash(
            self.bottom.path,
            target,
            console=self.console,
            paths=[path.lstrip("/")],
            offset=environment_layer(self.bottom).offset,
        )

    def deliver(
        self, packages: Sequence[LockedPackage], activation: Activation, links: Sequence[str]
    ) -> dict[str, Any]:
        from wrapper.record import describe, write_inputs

        programs = len(self.programs())
        managed.put_notice(self.tree, self.advice())
        size = tree.settle(self.space.image, fix=not self.keeps_modes)
        # In an image it is readable for everybody who can read the image.
        opened = [file for file in self.inputs.files if file.mode & stat.S_IROTH]
        if closed := [file.name for file in self.inputs.files if file not in opened]:
            self.console.info(
                f"closed to others, so not recorded in the image: {', '.join(closed)}"
            )
        inputs = write_inputs(self.staging.directory, packages, opened)
        tree.settle(self.staging.directory)
        layer = self._unpacked_base() if self.flatten else self.space.image
        texts = self._write_content(layer, activation)
        self.squash(layer, self.staging.image, "Writing the environment's layer")
        removal.remove_tree(layer)
        said = facts(self, packages, activation, programs)
        manifest = describe(self.staging.image, facts=said, inputs=inputs, size=size)
        self._assemble(manifest, texts)
        return manifest

    @property
    def keeps_modes(self) -> bool:
        return super().keeps_modes and not self.flatten  # there all is root's, as in the base

    def advice(self) -> str:
        """What a user is told who would install with pip into the finished image."""
        name = self.staging.prefix.name
        return (
            "The image is read-only.\n\n"
            "To add or change packages of the image itself:\n"
            f"containerize build --update {name} --requirements requirements.txt\n\n"
            "To add packages for yourself, make a virtual environment on top of it, in the image:\n"
            "python3 -m venv --system-site-packages VENV"
        )

    def own_facts(self) -> dict[str, Any]:
        own = {"form": "sif", "flatten": self.flatten, "foreign": self.foreign}
        return {
            **super().own_facts(),
            **own,
            "labels": self.labels,
            "os_packages": self.os_packages,
        }

    def _write_content(self, layer: Path, activation: Activation) -> dict[str, str]:
        """Put activation, runscript and labels into the layer; returns their texts by path."""
        texts = {
            sif_content.ACTIVATE: sif_content.activation_script(
                activation, self.install_path, self.foreign
            ),
            sif_content.RUNSCRIPT: sif_content.runscript(),
            sif_content.LABELS: sif_content.labels(self.labels, self._own_labels(layer)),
        }
        if any(script.why for script in activation.scripts):
            self.console.warning(
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
        from wrapper import __version__

        labels = {
            "containerize.version": __version__,
            "containerize.environment": self.install_path,
            "containerize.base": self.base.name,
            "containerize.base.digest": self.base.digest,
        }
        for name in LOCKS:
            if (layer / RECORD / name).is_file():
                digest = hashlib.sha256((layer / RECORD / name).read_bytes()).hexdigest()
                labels |= {"containerize.lock": f"/{RECORD}/{name}"}
                labels |= {"containerize.lock.digest": f"sha256:{digest}"}
        return labels

    def _unpacked_base(self) -> Path:
        """The base's file systems in one tree, and the environment in it."""
        flat = self.space.root / "flat"
        layers = [self.bottom.primary, *self.bottom.overlays]
        with self.console.step("Unpacking the base image"):
            for item in layers:
                if item.name != _OVERLAY:
                    self.squasher.unsquash(
                        self.bottom.path,
                        flat,
                        console=self.console,
                        offset=item.offset,
                        over=True,
                    )
        tree.make_readable(flat)
        for entry in self.space.image.iterdir():
            removal.remove_tree(flat / entry.name)  # of a flattened image that is updated
            entry.rename(flat / entry.name)
        return flat

    def _assemble(self, manifest: dict[str, Any], texts: dict[str, str]) -> None:
        old = _object_text(self.bottom, sif.INSPECT_NAME) or ""
        metadata = sif_content.inspect_metadata(old, texts)
        values = [text] if (text := values_text(manifest)) else []
        role = sif.PRIMARY if self.flatten else sif.OVERLAY
        add = [
            NewObject(
                kind=sif.PARTITION,
                name="" if self.flatten else _OVERLAY,
                content=self.staging.image,
                extra=sif.partition(role),
            ),
            NewObject(kind=sif.JSON, name=sif.INSPECT_NAME, content=metadata.encode()),
            NewObject(kind=sif.JSON, name=MANIFEST_NAME, content=manifest_text(manifest).encode()),
            *(NewObject(kind=sif.JSON, name=_VALUES, content=text.encode()) for text in values),
            NewObject(kind=sif.GENERIC, name=_LOG, content=self.space.log.read_bytes()),
        ]
        with self.console.step(f"Writing {self.staging.prefix.name}"):
            self.copying.result()
            for new in add:
                self.writer.add(new)
            self.writer.finish()

    def _kept(self) -> list[SifObject]:
        """What of the base goes into the result."""
        if any(item.kind == sif.SIGNATURE for item in self.bottom.objects):
            self.console.warning(
                "the base image's signature does not cover the environment and is left out"
            )
        gone = (*_OWN, sif.INSPECT_NAME)
        return [
            item
            for item in self.bottom.objects
            if item.name not in gone
            and item.kind != sif.SIGNATURE
            and not (self.flatten and item.partition[1] in (sif.PRIMARY, sif.OVERLAY))
        ]


@dataclass(kw_only=True)
class CondaSif(SifBuild, CondaBuild):
    """A conda environment in a SIF."""

    kind = "conda"


@dataclass(kw_only=True)
class PipSif(SifBuild, PipBuild):
    """A virtual environment of the base image's Python in a SIF."""

    kind = "pip"
