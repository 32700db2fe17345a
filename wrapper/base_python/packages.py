"""What a Python of a base image has, as values, and how a solver is told of it.

uv does not look at the packages of a base: for each there is a *stub*, a wheel with nothing but
metadata, and a constraint with its URL. So versions that exist in no index (torch's local ones) are
known, the rest is chosen to fit, and nothing of the base is fetched.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from wrapper import rocm
from wrapper.errors import SolveError
from wrapper.inputs.requirements import counting

LOCK_NOTE = "# On the base image"  # begins a line of locks whose packages do not stand alone
STUB_MARK = "Generator: containerize-stub"


@dataclass(frozen=True, kw_only=True)
class BasePackage:
    """A Python package of a base; ``requires`` as its metadata has it, ``size`` bytes on disk."""

    name: str
    version: str
    requires: tuple[str, ...] = ()
    size: int = 0


@dataclass(frozen=True, kw_only=True)
class CondaPart:
    """The conda environment that a base's Python is a part of; paths inside.

    :ivar activation: scripts that are sourced when it is activated. :ivar variables: set then.
    :ivar libraries: its shared libraries.
    """

    root: str
    activation: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    libraries: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class BasePython:
    """A Python of a base image; paths inside, but for ``records``.

    :ivar library: its standard library. :ivar python_path: directories that the image's PYTHONPATH
        names. :ivar sites: its directories of packages, in the order of import.
    :ivar packages: by canonical name. :ivar scripts: programs for this Python, name -> text after
        the first line. :ivar programs: others of its environment, name -> path.
    :ivar records: directory with copies of the conda environment's records, outside.
    """

    executable: str
    version: str
    library: str = ""
    python_path: tuple[str, ...] = ()
    sites: tuple[str, ...] = ()
    packages: Mapping[str, BasePackage] = field(default_factory=dict)
    scripts: Mapping[str, str] = field(default_factory=dict)
    programs: Mapping[str, str] = field(default_factory=dict)
    conda: CondaPart | None = None
    records: Path = Path()

    @classmethod
    def from_answer(cls, data: Mapping[str, Any], records: Path) -> BasePython:
        """From what ``templates/base-python.py`` writes."""
        packages = {
            canonicalize_name(name): {"name": name, **known}
            for name, known in data["packages"].items()
        }
        found = msgspec.convert({**data, "packages": packages}, cls)
        return replace(found, records=records)

    def needed_by(self, names: Iterable[str]) -> set[str]:
        """Canonical names of packages, and of all that they need of the base."""
        found: set[str] = set()
        real = [self._stand_ins.get(name, name) for name in names]
        waiting = [name for name in real if name in self.packages]
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                needs = self._needs(self.packages[name])
                asked = {canonicalize_name(need.name) for need in needs}
                waiting += asked & set(self.packages)
        return found

    def _needs(self, package: BasePackage) -> list[Requirement]:
        """What a package requires, without its extras, of this Python."""
        found = [counting(text, self.version) for text in package.requires]
        return [requirement for requirement in found if requirement]

    # -- for uv ----------------------------------------------------------------------------------
    def stubs(self, folder: Path) -> dict[str, Path]:
        """Stubs of what the base has, by canonical name; they are written to ``folder``."""
        folder.mkdir(exist_ok=True)
        found = {}
        for name, package in self.packages.items():
            try:
                version = str(Version(package.version))
            except InvalidVersion:
                continue  # of a system's package; no index has heard of it either
            found[name] = _write_stub(folder, name, version, package.requires)
        for name, real in self._stand_ins.items():
            if real in found:
                version = str(Version(self.packages[real].version))
                found[name] = _write_stub(folder, name, version, ())
        return found

    @property
    def _stand_ins(self) -> dict[str, str]:
        """Canonical names of packages that the base has by another name, which is theirs here."""
        names = {rocm.stand_in(name): name for name in self.packages}
        return {name: real for name, real in names.items() if name and name not in self.packages}

    def limits(self) -> list[str]:
        """Lines of a constraints file for what the base lacks and its packages need.

        What a package of the base needs is the business of who made the base: only its extras
        count. Where the base lacks it, and a user adds it, the version has to be right.
        """
        needs = [need for package in self.packages.values() for need in self._needs(package)]
        lines = [
            f"{need.name}{need.specifier}"
            for need in needs
            if need.specifier
            and canonicalize_name(need.name) not in {*self.packages, *self._stand_ins}
        ]
        return list(dict.fromkeys(lines))

    def named_in(self, text: str) -> list[BasePackage]:
        """Packages of the base that a text (of a solver) speaks of."""
        words = {canonicalize_name(word) for word in re.findall(r"[A-Za-z0-9][\w.-]*", text)}
        return [package for name, package in self.packages.items() if name in words]


def _write_stub(folder: Path, name: str, version: str, requires: Sequence[str]) -> Path:
    extras = [text for text in requires if re.search(r";.*\bextra\b", text)]
    named = {match for text in extras for match in re.findall(r"extra\s*==\s*['\"]([^'\"]+)", text)}
    metadata = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    metadata += [f"Provides-Extra: {extra}" for extra in sorted(named)]
    metadata += [f"Requires-Dist: {text}" for text in extras]
    stem = f"{name.replace('-', '_')}-{version}"
    files = {
        "METADATA": "\n".join(metadata) + "\n",
        "WHEEL": f"Wheel-Version: 1.0\n{STUB_MARK}\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = [f"{stem}.dist-info/{file},," for file in (*files, "RECORD")]
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in {**files, "RECORD": "\n".join(record) + "\n"}.items():
            archive.writestr(f"{stem}.dist-info/{file}", text)
    return path


def conflict(packages: Sequence[BasePackage], detail: str) -> SolveError:
    """The error for requirements that do not fit what the base has."""
    named = ", ".join(f"{package.name} {package.version}" for package in packages)
    return SolveError(
        f"the requirements do not fit what the base image has: {named}",
        hint="loosen the requirement, or do without --reuse-base",
        detail=detail,
    )
