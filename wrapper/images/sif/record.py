"""What a SIF of ours says of itself, in objects beside its file systems: manifest, values, log."""

from __future__ import annotations

from pathlib import Path

from wrapper import layout
from wrapper.errors import PrefixError
from wrapper.images.sif import file as sif
from wrapper.images.sif.file import Sif, SifObject
from wrapper.manifest import Manifest, parse_manifest

INSTALL_PATH = "/containerize"
RECORD = ".containerize"
LOCKS = (layout.CONDA_LOCK, layout.PIP_LOCK)
LAYER, LOG = "containerize.sqfs", "containerize.log"
MANIFEST_NAME, VALUES = "containerize-manifest.json", "containerize-variables.json"
READING = f"containerize-{layout.READING}"
OWN = (LAYER, MANIFEST_NAME, VALUES, LOG, READING)


def read_sif_manifest(path: Path) -> Manifest:
    """The manifest of a SIF that this program made.

    :raises PrefixError: it was made by another one. :raises ContainerizeError: see ``read_sif``.
    """
    manifest = manifest_of(sif.read_sif(path))
    if manifest is None:
        raise PrefixError(
            f"{path.name} was not made by containerize", where=path, hint="name one that it made"
        )
    return manifest


def manifest_of(image: Sif) -> Manifest | None:
    """The manifest in an image, ``None`` where it is not of our making."""
    text = object_text(image, MANIFEST_NAME)
    if text is None:
        return None
    return parse_manifest(text, image.path, values=object_text(image, VALUES) or "")


def object_text(image: Sif, name: str) -> str | None:
    item = image.named(name)
    return image.read(item).decode("utf-8", "replace") if item else None


def environment_layer(image: Sif) -> SifObject:
    """The partition that holds the environment: our overlay, or the root of a flattened image."""
    return image.named(LAYER) or image.primary
