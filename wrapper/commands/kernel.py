"""``containerize kernel install``: a Jupyter kernel of an installation or of a SIF, for any other
Jupyter.

It is one file, ``kernel.json``, which says what to start. Whoever starts it needs nothing else:
``DIR/bin/python`` is a shim, and of a SIF the runtime is named.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wrapper import __version__, layout
from wrapper.commands.modulefile import image_manifest, site_binds
from wrapper.commands.own_python import ask, python_of
from wrapper.console import Console
from wrapper.errors import InputError
from wrapper.manifest import Manifest, read_manifest
from wrapper.models import Site
from wrapper.prefix import checks as prefix
from wrapper.runtime.runtime import find_runtime
from wrapper.util.sync import write_owned

MARK = "made by 'containerize kernel install'"
"""At the beginning of a file that may be written anew."""
_NAME = re.compile(r"[a-z0-9_][a-z0-9._-]*")
_ASK = """
from importlib.util import find_spec
print(*(int(find_spec(name) is not None) for name in ("ipykernel_launcher", "debugpy")))
"""


@dataclass(frozen=True, kw_only=True)
class KernelRequest:
    """A ``containerize kernel install``.

    :ivar target: an installation or a SIF file. :ivar name: as Jupyter is to know the kernel, empty
        for the target's. :ivar display_name: as it shows it, empty to make one of the name.
    :ivar prefix: of a Jupyter that is to have it, ``None`` for the user's own data directory.
    """

    target: Path
    name: str = ""
    display_name: str = ""
    prefix: Path | None = None
    site: Site = field(default_factory=Site)


def kernel_install(request: KernelRequest, environ: Mapping[str, str], console: Console) -> Path:
    """Write the kernel; returns its file.

    :raises ContainerizeError: the target has no Python, or none with ipykernel; the name cannot be
        a kernel's; or something else is there.
    """
    manifest: Manifest | None
    if request.target.is_file():
        target = request.target.absolute()
        manifest = image_manifest(target)
        words = _in_image(target, manifest, request.site, environ)
    else:
        target = prefix.absolute_prefix(request.target)
        manifest = read_manifest(target)
        words = [str(python_of(target))]
    prefix.check_owner(target)
    name = _name(request, target)
    place = _kernels(request.prefix, environ) / name / "kernel.json"
    debugger = _look(words, target, manifest, environ)
    kernel = {
        "metadata": {"note": f"{MARK} {__version__}: make it anew with that", "debugger": debugger},
        "argv": [*words, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": request.display_name or f"Python ({request.name or target.stem})",
        "language": "python",
    }
    write_owned(place, json.dumps(kernel, indent=1) + "\n", MARK)
    console.info(f"kernel '{name}', shown as '{kernel['display_name']}'")
    return place


def _name(request: KernelRequest, target: Path) -> str:
    """Jupyter's names are in lower case, whatever somebody writes."""
    found = re.sub(r"^[^a-z0-9_]+|[^a-z0-9._-]+", "-", target.stem.lower()).strip("-")
    name = request.name.lower() or found
    if not _NAME.fullmatch(name):
        raise InputError(
            f"'{name}' cannot be the name of a kernel",
            where=f"--name {request.name}" if request.name else target,
            hint="give one with --name, of letters a-z, digits and the characters _ . -",
        )
    return name


def _kernels(chosen: Path | None, environ: Mapping[str, str]) -> Path:
    """The directory of kernels: below a prefix, else where Jupyter looks for the user's."""
    if chosen:
        top = chosen.absolute()
        if (top / layout.CURRENT).is_symlink():
            raise InputError(
                f"{top.name} is an installation, whose files are in its image",
                where=f"--prefix {chosen}",
                hint="leave --prefix out, or name the prefix of another Jupyter",
            )
        return top / "share/jupyter/kernels"
    home = environ.get("HOME") or os.sep
    data = environ.get("XDG_DATA_HOME") or f"{home}/.local/share"
    return Path(environ.get("JUPYTER_DATA_DIR") or f"{data}/jupyter", "kernels").absolute()


# -- what it starts --------------------------------------------------------------------------------
def _in_image(
    image: Path, manifest: Manifest | None, site: Site, environ: Mapping[str, str]
) -> list[str]:
    """The line that starts an image's Python, with the directories of the site that are here."""
    runtime = find_runtime(environ, site)
    binds = [
        bind for bind in site_binds(site, image, manifest) if Path(bind.split(":")[0]).exists()
    ]
    given = [word for bind in binds for word in ("-B", bind)]
    gpu = ["--nv"] if site.gpus.kind.startswith("sm_") else []
    return [str(runtime.path), "exec", *gpu, *given, str(image), "python3"]


def _look(
    words: Sequence[str], target: Path, manifest: Manifest | None, environ: Mapping[str, str]
) -> bool:
    """Whether the debugger works. :raises ContainerizeError: there is no ipykernel."""
    answer = ask([*words, "-I", "-c", _ASK], target, environ).split()
    if answer[-2:-1] != ["1"]:
        raise InputError(
            f"{target.name} has no ipykernel, which a kernel of Jupyter needs",
            where=target,
            hint=_how_to_add(target, manifest),
        )
    return answer[-1] == "1"


def _how_to_add(target: Path, manifest: Manifest | None) -> str:
    """The command that adds ipykernel to a target."""
    name, lines = shlex.quote(str(target)), "echo ipykernel > more.txt; "
    kind = manifest.kind if manifest else ""
    if manifest and manifest.form:
        return f"{lines}containerize build --update {name} --requirements more.txt"
    if kind in ("conda", "pip"):
        return f"{lines}{kind}-containerize update {name} -r more.txt"
    if kind == "install":
        return "install it there, and wrap it again: wrap-install"
    image = shlex.quote(manifest.base.source or manifest.base.path) if manifest else name
    build = "pip-containerize new --prefix NEW --reuse-base --base-image"
    return f"{lines}{build} {image} more.txt"
