"""Environment variables and a PATH that make programs fail, or be others than one thinks."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from wrapper import layout
from wrapper.console import counted, shortened
from wrapper.doctor.finding import Finding, failed, ok, warning
from wrapper.doctor.places import in_home
from wrapper.prefix import shims
from wrapper.runtime.binds import split_binds

_BINDS = ("SINGULARITY_BIND", "SINGULARITY_BINDPATH", "APPTAINER_BIND", "APPTAINER_BINDPATH")
_RUNTIME_DIRECTORIES = [
    f"{family}_{kind}" for family in ("SINGULARITY", "APPTAINER") for kind in ("CACHEDIR", "TMPDIR")
]
_PYTHONS = ("python3", "python", "pip")


def variables(environ: Mapping[str, str]) -> list[Finding]:
    """Harmful variables, a finding each."""
    found = [
        *_python(environ),
        *_libraries(environ),
        *_binds(environ),
        *_two_names(environ),
        *_together(environ),
        *_homes(environ),
    ]
    return found or [ok("variables", "none that does harm")]


def _python(environ: Mapping[str, str]) -> list[Finding]:
    found = []
    if home := environ.get("PYTHONHOME"):
        detail = f"{home}: no other Python than that one starts"
        found.append(failed("PYTHONHOME", detail, "unset PYTHONHOME"))
    if path := environ.get("PYTHONPATH"):
        detail = f"{path}: comes before the packages of every installation"
        found.append(warning("PYTHONPATH", detail, "unset PYTHONPATH, or unload the module"))
    return found


def _libraries(environ: Mapping[str, str]) -> list[Finding]:
    found = []
    places = [Path(place) for place in environ.get("LD_LIBRARY_PATH", "").split(":") if place]
    if conda := [place for place in places if (place.parent / "conda-meta").is_dir()]:
        detail = f"{conda[0]} is of a conda environment: programs get its libraries for their own"
        found.append(warning("LD_LIBRARY_PATH", detail, "take it out of LD_LIBRARY_PATH"))
    preloads = environ.get("LD_PRELOAD", "").replace(":", " ").split()
    if gone := [name for name in preloads if "/" in name and not os.access(name, os.F_OK)]:
        hint = "correct LD_PRELOAD, or unset it"
        found.append(warning("LD_PRELOAD", f"{gone[0]} is not there", hint))
    return found


def _binds(environ: Mapping[str, str]) -> list[Finding]:
    found = []
    for one, other in (_BINDS[0::2], _BINDS[1::2]):
        ours, theirs = environ.get(one), environ.get(other)
        if ours and theirs and ours != theirs:
            detail = f"{ours}, but {other} is {theirs}: Apptainer itself drops the first"
            found.append(warning(one, detail, f"set both alike, or unset {one}"))
    for name in (*_BINDS, "CW_EXTRA_BIND_MOUNTS"):
        sources = [bind.partition(":")[0] for bind in split_binds(environ.get(name, ""))]
        if gone := [path for path in sources if path and not os.access(path, os.F_OK)]:
            detail = f"{', '.join(gone)} is not on this node: programs start without"
            found.append(warning(name, detail, f"take it out of {name}"))
    return found


def _two_names(environ: Mapping[str, str]) -> list[Finding]:
    """Variables for containers that are set for both families of runtimes, and differ."""
    found = []
    for name, value in sorted(environ.items()):
        stem = name.removeprefix("SINGULARITYENV_")
        other = f"APPTAINERENV_{stem}"
        if stem != name and environ.get(other, value) != value:
            detail = f"{value}, but {other} is {environ[other]}: Apptainer takes the second"
            found.append(warning(name, detail, "set both alike"))
    return found


def _together(environ: Mapping[str, str]) -> list[Finding]:
    name = "CONTAINERIZE_WITH"
    named = [Path(text) for text in environ.get(name, "").split(":") if text]
    if gone := [
        path for path in named if not os.access(path / layout.CURRENT / layout.ENV, os.R_OK)
    ]:
        detail = f"{gone[0]} is no installation: no program of any installation starts"
        return [failed(name, detail, f"correct it, or: unset {name}")]
    return []


def _homes(environ: Mapping[str, str]) -> list[Finding]:
    hint = "set it to a directory with a larger quota, as /scratch/PROJECT/$USER"
    return [
        warning(name, f"{environ[name]}: it fills your home directory", hint)
        for name in _RUNTIME_DIRECTORIES
        if in_home(environ.get(name, ""), environ)
    ]


def path(environ: Mapping[str, str]) -> list[Finding]:
    """Installations on PATH: broken ones, and those whose programs are hidden by others or by
    another Python.
    """
    what, found = "PATH", list[Finding]()
    owners: dict[str, Path] = {}
    installations = 0
    for folder in dict.fromkeys(environ.get("PATH", "").split(":")):
        if not folder:
            continue
        directory = Path(folder)
        if not os.access(directory / shims.DEBUG_NAMES[0], os.X_OK):  # of no installation
            for name in _PYTHONS:
                if os.access(directory / name, os.X_OK):
                    owners.setdefault(name, directory)
            continue
        installations += 1
        if not (directory.parent / layout.CURRENT / layout.ENV).exists() and not _is_tykkys(
            directory
        ):
            hint = f"take {directory} out of PATH, or see: containerize doctor {directory.parent}"
            found.append(failed(what, f"{directory} is of a broken installation", hint))
        found += _hidden(directory, owners)
    if found:
        return found
    count = counted(installations, "installation")
    return [ok(what, f"{count}, none hides another" if installations else "no installation on it")]


def _is_tykkys(directory: Path) -> bool:
    return (directory.parent / layout.COMMON).exists()


def _hidden(directory: Path, owners: dict[str, Path]) -> list[Finding]:
    """Programs of a directory that come second; the others are entered into ``owners``."""
    names = {entry.name for entry in os.scandir(directory)} - shims.OUR_NAMES
    hidden = sorted(name for name in names if name in owners)
    for name in names - set(hidden):
        owners[name] = directory
    if not hidden:
        return []
    detail = f"{owners[hidden[0]]} hides {shortened(hidden)} of {directory}"
    return [warning("PATH", detail, "keep one of them on PATH, use the other by its full path")]


def commands(environ: Mapping[str, str]) -> list[Finding]:
    """Where ``containerize`` itself is; another one further down has to be known of."""
    every = [
        Path(folder, "containerize")
        for folder in dict.fromkeys(environ.get("PATH", "").split(":"))
        if folder and shutil.which("containerize", path=folder)
    ]
    places = list(dict.fromkeys(os.path.realpath(program) for program in every))
    if len(places) > 1:
        detail = f"{every[0]} is used, {places[1]} comes after it"
        return [warning("containerize", detail, "unload the module of the one you do not want")]
    return []


def inside_container(root: Path = Path("/")) -> list[Finding]:
    """Whether this very command runs in a container, where no other can be started."""
    if any((root / name).exists() for name in (".containerize", ".singularity.d")):
        detail = "this shell runs inside a container, which cannot start others"
        return [failed("container", detail, "leave it (exit), and run this on the node itself")]
    return []
