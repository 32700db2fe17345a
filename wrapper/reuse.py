"""An environment on a base image's own Python and packages: ``--reuse-base``.

The environment is a virtual one of that Python. A ``.pth`` file in it appends the base's
directories of packages, so that its own come first; a venv of a venv would see only the outermost
Python's, and an image's PYTHONPATH, which would come before all, is not set. Programs of the base's
packages are there once more, for the environment's Python: their own first lines name one that sees
the base only. Of a conda environment the libraries are there too: packages look for them in their
own prefix.
"""

from __future__ import annotations

import functools
import json
import shlex
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from wrapper.base_packages import STUB_MARK, BasePython, CondaPart, conflict
from wrapper.container import BuildContainer
from wrapper.errors import InputError, ScriptError
from wrapper.generations import Generation
from wrapper.installed import site_packages
from wrapper.models import Base, LockedPackage, Request

_MADE = ".containerize-base"  # names what is made here, to be made anew in an update
_PTH = "containerize-base.pth"
LOCK_NOTE = "# On the base image"
PINNED_VARIABLE = "CONTAINERIZE_BUILD_PINNED"
_RECORDED = ("manager", "name", "version", "build", "size")
# As job scripts for LUMI's images do; the variable holds the command that activates their conda.
_AS_USERS_DO = '${WITH_CONDA-}; exec "$@"'


def ask_base(container: BuildContainer, known: str = "", python_path: str = "") -> BasePython:
    """What the base's Python has.

    :param known: its path, else it is what a user of the image gets as ``python3``.
    :param python_path: the image's PYTHONPATH, where the image does not set it any more.
    :raises InputError: there is none, or it is too old.
    """
    answer, records = container.scratch / "base-python.json", container.scratch / "base-records"
    answer.unlink(missing_ok=True)
    shutil.rmtree(records, ignore_errors=True)
    script = str(files("wrapper") / "templates" / "base-python.py")
    command = [known or "python3", "-s", script, str(answer), str(records)]
    if not known and container.has_bash:
        command = ["/bin/bash", "-c", _AS_USERS_DO, "bash", *command]
    try:
        container.run(
            command,
            what="asking the base image for its Python",
            env={"PYTHONPATH": python_path} if python_path else {},
            bare=True,
        )
    except ScriptError as error:
        raise InputError(
            f"the base image has no {known or 'python3'} of version 3.8 or newer to build on",
            where=container.image,
            hint="choose another base image, or do without --reuse-base",
            detail=error.detail,
        ) from None
    return BasePython.from_answer(json.loads(answer.read_text()), records)


def ask_conda_base(container: BuildContainer, environments: Sequence[str]) -> BasePython:
    """The same of the Python in the base's conda environment: the active one, else the only one.

    :param environments: roots of all that the image has.
    :raises InputError: there is none, or more than one and none is active.
    """
    failure = None
    try:
        found = ask_base(container)
    except InputError as error:
        failure = error
    else:
        if found.conda:
            return found
    if len(environments) == 1:
        return ask_base(container, f"{environments[0]}/bin/python3")
    if environments:
        raise InputError(
            f"the base image has {len(environments)} conda environments, and none is active",
            where=container.image,
            hint="put the one to build on first on the image's PATH: " + ", ".join(environments),
        )
    raise InputError(
        "the base image has no conda environment to build on",
        where=container.image,
        hint="do without --reuse-base, or use pip requirements, which build on any Python",
        detail=failure.detail if failure else "",
    )


def make_environment(container: BuildContainer, python: BasePython) -> None:
    """An empty virtual environment of the base's Python."""
    container.run(
        [python.executable, "-m", "venv", "--without-pip", container.install_path],
        what=f"making a virtual environment with {python.executable}",
    )


def connect(container: BuildContainer, python: BasePython, prefix: str) -> None:
    """Let the environment's packages find what the base has: modules, libraries, variables.

    :param prefix: what CONDA_PREFIX is when the environment is active.
    """
    made = _Made(container.tree)
    for site in site_packages(container.tree):
        lines = [*python.python_path]
        lines += [f"import site; site.addsitedir({path!r})" for path in python.sites]
        made.text(site / _PTH, "\n".join(lines) + "\n")
    if python.conda:
        for path in python.conda.libraries:
            made.link(container.tree / "lib" / Path(path).name, path)
        _connect_activation(made, python.conda, prefix)
    made.record()


def offer_programs(container: BuildContainer, python: BasePython) -> None:
    """The base's programs, but for those of names that the environment's own have."""
    made = _Made(container.tree)
    first_line = f"#!{container.install_path}/bin/python3\n"
    for name, text in python.scripts.items():
        made.text(container.tree / "bin" / name, first_line + text, mode=0o755)
    for name, path in python.programs.items():
        made.link(container.tree / "bin" / name, path)
    made.record()


def _connect_activation(made: _Made, conda: CondaPart, prefix: str) -> None:
    """The base environment's activation, before that of our own packages (by its names).

    Its scripts speak of ``$CONDA_PREFIX`` and mean the base's.
    """
    folder = made.tree / "etc/conda"
    for path in conda.activation:
        words = [shlex.quote(word) for word in (conda.root, path, prefix)]
        text = "export CONDA_PREFIX={}\n. {}\nexport CONDA_PREFIX={}\n".format(*words)
        made.text(folder / "activate.d" / f"000-base-{Path(path).name}", text)
    if conda.variables:
        text = json.dumps(dict(conda.variables), indent=1) + "\n"
        made.text(folder / "env_vars.d/000-base.json", text)


def disconnect(tree: Path) -> None:
    """Take away what the functions above made in an earlier build."""
    record = tree / _MADE
    if record.is_file():
        for name in record.read_text().splitlines():
            (tree / name).unlink(missing_ok=True)
        record.unlink()


class _Made:
    """Files and links of a tree that are ours, unless there are others by their names."""

    def __init__(self, tree: Path) -> None:
        self.tree = tree
        self._names: list[str] = []

    def text(self, path: Path, text: str, mode: int = 0o644) -> None:
        if self._take(path):
            path.write_text(text)
            path.chmod(mode)

    def link(self, path: Path, target: str) -> None:
        if self._take(path):
            path.symlink_to(target)

    def _take(self, path: Path) -> bool:
        if path.exists() or path.is_symlink():
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        self._names.append(str(path.relative_to(self.tree)))
        return True

    def record(self) -> None:
        with (self.tree / _MADE).open("a") as file:
            file.writelines(f"{name}\n" for name in sorted(self._names))


def remove_stubs(tree: Path) -> set[str]:
    """Take stubs of the base's packages out of the tree; returns their names, canonical."""
    names: set[str] = set()
    for site in site_packages(tree):
        for mark in site.glob("*.dist-info/WHEEL"):
            if STUB_MARK in mark.read_text(errors="replace"):
                names.add(canonicalize_name(mark.parent.name.split("-")[0]))
                shutil.rmtree(mark.parent)
    return names


@dataclass(kw_only=True)
class Reuse:
    """What one build takes from its base.

    :ivar digest: of the base image. :ivar taken: lock entries (without a URL) of packages of the
        base that would have to be installed otherwise, by manager and canonical name.
    """

    python: BasePython
    digest: str
    scratch: Path
    taken: dict[tuple[str, str], LockedPackage] = field(default_factory=dict)

    def recall(self, record: Mapping[str, Any]) -> None:
        """Go on from a manifest's record of the build before.

        :raises InputError: the base has become another one, on which the environment cannot stand.
        """
        for entry in record["packages"]:
            package = LockedPackage(url="", **entry)
            here = self.version_of(package)
            if here != package.version:
                raise InputError(
                    f"the base image has {here or 'no'} {package.name}, and the environment was "
                    f"built on {package.version}",
                    hint="build it anew on this base image, or update it on the one before",
                )
            self.taken[package.manager, package.canonical] = package
        if _minor(record["python_version"]) != _minor(self.python.version):
            raise InputError(
                f"the base image has Python {self.python.version}, and the environment was built "
                f"for {record['python_version']}",
                hint="build it anew on this base image",
            )

    def version_of(self, package: LockedPackage) -> str:
        """Which version of a package the base has, empty for none."""
        if package.manager == "conda":
            return str(self._conda.get(package.name, {"version": ""})["version"])
        there = self.python.packages.get(package.canonical)
        return there.version if there else ""

    @functools.cached_property
    def _conda(self) -> dict[str, dict[str, Any]]:
        """The base's conda packages by name: version, build, and bytes on disk."""
        found = {}
        for path in sorted(self.python.records.glob("*.json")):
            data = json.loads(path.read_text())
            files = data.get("paths_data", {}).get("paths", ())
            size = sum(file.get("size_in_bytes") or 0 for file in files)
            known = {"version": data["version"], "build": data["build"], "size": size}
            found[data["name"]] = known
        return found

    def take_pip(self, names: Iterable[str]) -> None:
        """Remember that Python packages of the base, and what they need, are in use."""
        for name in self.python.needed_by(names):
            package = self.python.packages[name]
            self.taken["pip", name] = LockedPackage(
                manager="pip", name=package.name, version=package.version, url="", size=package.size
            )

    def take_conda(self, names: Iterable[str]) -> None:
        """The same of conda packages."""
        for name in names:
            known = self._conda[name]
            self.taken["conda", name] = LockedPackage(manager="conda", name=name, url="", **known)

    def missing(self, locked: Sequence[LockedPackage]) -> list[LockedPackage]:
        """Pip packages of a lock that the base has not; the others are taken from it.

        :raises SolveError: the base has another version of one.
        """
        for package in locked:
            if self.version_of(package) not in ("", package.version):
                there = self.python.packages[package.canonical]
                raise conflict([there], f"the lock has {package.name} {package.version}")
        self.take_pip(p.canonical for p in locked)
        return [package for package in locked if package.canonical not in self.python.packages]

    def clean(self, tree: Path) -> None:
        """Take stubs out of the tree; what they stand for is in use."""
        self.take_pip(remove_stubs(tree))

    @functools.cached_property
    def constraints(self) -> Path:
        """A file of constraints for uv, see :meth:`BasePython.constraints`."""
        path = self.scratch / "base-constraints.txt"
        lines = self.python.constraints(self.scratch / "base-packages")
        path.write_text("\n".join(lines) + "\n")
        return path

    def options(self, given: Sequence[str]) -> list[str]:
        """The options of requirements for uv, with what lets it see the base's packages.

        A stub is a wheel: ``--no-binary`` must not forbid it.
        """
        names, kept = self.python.packages, []
        words = iter(given)
        for word in words:
            if word not in ("--no-binary", "--only-binary"):
                kept.append(word)
            elif (name := next(words)) not in names:
                kept += [word, name]
        if ":all:" in kept:
            kept += [word for name in names for word in ("--only-binary", name)]
        return [*kept, "-c", str(self.constraints)]

    def variables(self) -> dict[str, str]:
        """For users' scripts: what they install with uv fits the base too."""
        return {"UV_CONSTRAINT": str(self.constraints), PINNED_VARIABLE: str(self.python.records)}

    def annotate(self, lock: Path) -> None:
        """Say in a lock on which base its packages stand, and what of that is in use."""
        head, _, rest = lock.read_text().partition("\n")  # the first line may be a mark
        lines = [f"{LOCK_NOTE} {self.digest or 'a directory'}, of which are in use:"]
        lines += [f"#   {p.manager} {p.name} {p.version} {p.build}".rstrip() for p in self._sorted]
        lock.write_text("\n".join([head, *lines, rest]))

    @property
    def _sorted(self) -> list[LockedPackage]:
        return [package for _, package in sorted(self.taken.items())]

    def as_record(self) -> dict[str, Any]:
        """For the manifest; :meth:`recall` reads it."""
        conda = self.python.conda
        return {
            "python": self.python.executable,
            "python_version": self.python.version,
            "python_path": ":".join(self.python.python_path),
            "conda": conda.root if conda else "",
            "digest": self.digest,
            "size": sum(package.size for package in self.taken.values()),
            "packages": [
                {key: getattr(package, key) for key in _RECORDED} for package in self._sorted
            ],
        }


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]


def start_reuse(
    container: BuildContainer,
    base: Base,
    request: Request,
    previous: Generation | None,
    *,
    conda: bool,
) -> Reuse | None:
    """Ask the base, for a new environment or one that was built on it before.

    :param previous: what is updated: it keeps to what it is. :param conda: a conda environment is
        needed.
    :returns: ``None`` where nothing is to be reused.
    :raises InputError: the base has no Python for it, or what is updated was built otherwise.
    """
    before = previous.manifest.get("reused") if previous else None
    if previous and request.reuse_base and not before:
        raise InputError(
            "the environment was built without --reuse-base",
            where=request.prefix,
            hint="leave the option out, or build it anew with it",
        )
    if not (before or request.reuse_base):
        return None
    with container.console.step("Asking the base image what it has"):
        if before:
            path = "" if request.base_image else before["python_path"]
            python = ask_base(container, before["python"], path)
        elif conda:
            python = ask_conda_base(container, base.environments)
        else:
            python = ask_base(container)
    reuse = Reuse(python=python, digest=base.digest, scratch=container.scratch)
    if before:
        reuse.recall(before)
    return reuse
