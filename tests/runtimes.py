"""The container runtimes that tests run with, each as a ``PATH`` on which no other is.

- *own*: the machine's, or the private Apptainer of ``make runtime``.
- *strict*: SingularityCE as far as Apptainer can play it, see ``strict/singularity.py``.
- *setuid*: Apptainer as most clusters have it, of ``make runtime-setuid``: images are mounted by
  the kernel on behalf of root, users have no namespaces.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from tests import strict

REPOSITORY = Path(__file__).parents[1]
NAMES = ("singularity", "apptainer")
PRIVATE = REPOSITORY / ".cache/apptainer/bin/apptainer"
SETUID = REPOSITORY / ".cache/apptainer-setuid"


def real_apptainer() -> str | None:
    """The Apptainer behind the strict ``singularity``; ``None`` where there is none."""
    return shutil.which("apptainer") or (str(PRIVATE) if PRIVATE.exists() else None)


def has_setuid() -> bool:
    return (SETUID / "libexec/apptainer/bin/starter-suid").exists()


def without_runtimes(scratch: Path) -> str:
    """``PATH`` without the runtimes on it; of their directories the rest is linked in ``scratch``.

    :param scratch: a new directory.
    """
    scratch.mkdir()
    folders = []
    for folder in dict.fromkeys(os.environ["PATH"].split(":")):
        if not any(Path(folder, name).exists() for name in NAMES):
            folders.append(folder)
            continue
        rest = scratch / str(len(folders))
        rest.mkdir()
        for entry in Path(folder).iterdir():
            if entry.name not in NAMES:
                (rest / entry.name).symlink_to(entry)
        folders.append(str(rest))
    return ":".join(folders)


def strict_path(scratch: Path, version: str = "4.1.5") -> str:
    """A ``PATH`` with the strict ``singularity`` first; directories are made in ``scratch``."""
    runtime = real_apptainer()
    assert runtime
    program = strict.install(scratch / "strict", Path(runtime), version)
    return f"{program.parent}:{without_runtimes(scratch / 'rest')}"


def setuid_path(scratch: Path) -> str:
    """A ``PATH`` with the set-uid Apptainer first; directories are made in ``scratch``."""
    return f"{SETUID}/bin:{without_runtimes(scratch / 'rest')}"


KERNEL = {"allow setuid-mount squashfs": "yes"}
"""A configuration of the set-uid Apptainer: images are mounted by the kernel."""


def setuid_mounts(
    scratch: Path, settings: Mapping[str, str], *, helpers: bool = True
) -> list[list[str]]:
    """Lines that give the set-uid Apptainer a configuration, in a mount namespace of their own.

    Without settings it mounts images by FUSE, without ``helpers`` it unpacks them at each start.

    :param scratch: where the configuration is written. :param settings: of ``apptainer.conf``.
    """
    target = SETUID / "etc/apptainer/apptainer.conf"
    names = tuple(f"{name} =" for name in settings)
    lines = [
        line for line in target.read_text().splitlines() if not line.lstrip("# ").startswith(names)
    ]
    lines += [f"{name} = {value}" for name, value in settings.items()]
    configuration = scratch / "apptainer.conf"
    configuration.write_text("\n".join(lines) + "\n")
    mounts = [["mount", "--bind", str(configuration), str(target)]]
    if helpers:
        starters = SETUID / "libexec/apptainer/bin"
        mounts.append(["mount", "--bind", str(SETUID / "with-fuse"), str(starters)])
    else:  # it looks into the machine's directories as well
        found = (Path("/usr/bin", name) for name in ("squashfuse", "squashfuse_ll"))
        mounts += [["mount", "--bind", "/dev/null", str(path)] for path in found if path.exists()]
    return mounts
