"""What a manifest says of a build."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wrapper.activation.model import Activation
from wrapper.build import Build
from wrapper.credentials import public_url
from wrapper.models import LockedPackage


def facts(
    build: Build, packages: Sequence[LockedPackage], activation: Activation, programs: int
) -> dict[str, Any]:
    """Keys of the manifest: what was built, of what, with what."""
    from wrapper.activation.record import as_record
    from wrapper.conda.resolve import describe_virtual_packages

    runtime = build.runtime
    return {
        "kind": build.kind,
        **build.own_facts(),
        "reused": build.reuse.as_record() if build.reuse else None,
        "generation": build.staging.generation,
        "prefix": str(build.staging.prefix),
        "install_path": build.install_path,
        "base": {
            "kind": "image" if build.base.image else "host",
            "name": build.base.name,
            "source": build.base.source,
            "path": build.base.reference,
            "digest": build.base.digest,
            "mark": build.base.mark,
            "owned": build.base.owned,
            "has_bash": build.base.has_bash,
            "rocm": build.base.rocm,
            "offers": dict(build.base.virtual_packages),
            "virtual_packages": describe_virtual_packages(build.base),
        },
        "runtime": {
            "name": runtime.name,
            "version": runtime.version,
            "path": str(runtime.path),
        },
        "mksquashfs": ".".join(map(str, build.squasher.version)),
        "options": {
            "compression": build.compression.asked,
            "wrapper_paths": list(build.wrapper_paths),
            "channels": [public_url(name) for name in build.request.channels],
        },
        "variables": dict(build.variables),
        "environ": build.environ(),
        "channels": [public_url(url) for url in build.channels()],
        "packages": [package.as_dict() for package in packages],
        "activation": as_record(activation),
        "programs": programs,
    }
