"""Container images as the archives that Docker and Podman write, from a directory."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_OCI = "application/vnd.oci.image"


def write_archive(
    root: Path, target: Path, form: str, *, config: Mapping[str, object] | None = None
) -> str:
    """Write an image of one layer; returns its URI.

    :param target: a new directory for it. :param form: ``docker-archive``, ``oci-archive`` or
        ``oci``. :param config: such as ``Entrypoint`` and ``Env``.
    """
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        archive.add(root, ".")
    blobs: dict[str, bytes] = {}

    def blob(content: bytes, kind: str) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        blobs[digest] = content
        size = len(content)
        return {"mediaType": f"{_OCI}.{kind}", "digest": f"sha256:{digest}", "size": size}

    files = blob(layer.getvalue(), "layer.v1.tar")
    described = blob(
        _json(
            architecture="amd64",
            os="linux",
            config=config or {},
            rootfs={"type": "layers", "diff_ids": [files["digest"]]},
        ),
        "config.v1+json",
    )
    target.mkdir()
    if form == "docker-archive":
        names = [f"{item['digest'][7:]}" for item in (described, files)]
        manifest = [{"Config": names[0], "RepoTags": ["t:latest"], "Layers": [names[1]]}]
        contents = {**blobs, "manifest.json": json.dumps(manifest).encode()}
        return f"docker-archive:{_tar(target / 'image.tar', contents)}"
    kind = "manifest.v1+json"
    layers = [files]
    description = blob(
        _json(schemaVersion=2, mediaType=f"{_OCI}.{kind}", config=described, layers=layers), kind
    )
    contents = {
        "oci-layout": _json(imageLayoutVersion="1.0.0"),
        "index.json": _json(schemaVersion=2, manifests=[description]),
        **{f"blobs/sha256/{digest}": content for digest, content in blobs.items()},
    }
    if form == "oci-archive":
        return f"oci-archive:{_tar(target / 'image.tar', contents)}"
    for name, content in contents.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(content)
    return f"oci:{target}"


def _json(**content: Any) -> bytes:
    return json.dumps(content).encode()


def _tar(path: Path, contents: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        folders = {str(above) for name in contents for above in Path(name).parents} - {"."}
        for folder in sorted(folders):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        for name, content in contents.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path
