"""A package index on this machine: wheels made on the spot, in the layout of the simple API."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path


def write_wheel(
    directory: Path, name: str, version: str, *, requires: tuple[str, ...] = ()
) -> Path:
    """A pure wheel with the module ``name``, whose ``VERSION`` and ``main`` can be called."""
    module = f"VERSION = {version!r}\n\n\ndef main():\n    print({name!r}, VERSION)\n"
    files = {f"{name}/__init__.py": module}
    points = f"[console_scripts]\n{name}-run = {name}:main\n"
    return write_files_wheel(directory, name, version, files, requires=requires, points=points)


def write_files_wheel(
    directory: Path,
    name: str,
    version: str,
    content: Mapping[str, str],
    *,
    requires: tuple[str, ...] = (),
    points: str = "",
) -> Path:
    """A pure wheel of these files. :param points: text of its ``entry_points.txt``."""
    stem = f"{name.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
    files = {
        **content,
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        **({f"{info}/entry_points.txt": points} if points else {}),
    }
    path = directory / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(zipfile.ZipInfo(file), text)
        archive.writestr(zipfile.ZipInfo(f"{info}/RECORD"), _record(files, info))
    return path


_BACKEND = """\
# Builds a pure wheel and needs nothing for it.
import zipfile

{imports}

def build_wheel(directory, settings=None, metadata=None):
    name = "{name}-{version}-py3-none-any.whl"
    info = "{name}-{version}.dist-info"
    files = {{
        "{name}.py": open("{name}.py").read(),
        info + "/METADATA": "Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n{more}",
        info + "/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }}
    with zipfile.ZipFile(directory + "/" + name, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
        archive.writestr(info + "/RECORD", "".join(path + ",,\\n" for path in files))
    open("built", "w").close()
    return name
"""


def write_project(
    root: Path, name: str, version: str, *, extra: str = "", builds_with: str = ""
) -> Path:
    """A project with the module ``name`` and a build backend of its own.

    :param extra: what it needs with the extra ``x``. :param builds_with: a module that has to be
        there while it is built, without its being said.
    """
    root.mkdir(parents=True)
    more = f"Provides-Extra: x\\nRequires-Dist: {extra}; extra == 'x'\\n" if extra else ""
    imports = f"import {builds_with}" if builds_with else ""
    (root / f"{name}.py").write_text(f"VERSION = {version!r}\n")
    (root / "backend.py").write_text(
        _BACKEND.format(name=name, version=version, more=more, imports=imports)
    )
    (root / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        f'[project]\nname = "{name}"\nversion = "{version}"\n'
        + (f'[project.optional-dependencies]\nx = ["{extra}"]\n' if extra else "")
    )
    return root


def _record(files: Mapping[str, str], info: str) -> str:
    lines = []
    for file, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
        lines.append(f"{file},sha256={digest.decode()},{len(text.encode())}\n")
    return "".join(lines) + f"{info}/RECORD,,\n"


def write_index(root: Path, wheels: list[Path]) -> None:
    """The simple API (PEP 503) for wheels below ``root``: ``root/simple/NAME/index.html``."""
    pages: dict[str, list[str]] = {}
    for wheel in wheels:
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        link = f'<a href="/{wheel.relative_to(root)}#sha256={digest}">{wheel.name}</a>'
        pages.setdefault(wheel.name.split("-")[0].replace("_", "-"), []).append(link)
    for name, links in pages.items():
        page = root / "simple" / name / "index.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>")
