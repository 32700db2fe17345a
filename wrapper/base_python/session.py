"""What one build takes from its base image: ``--reuse-base``."""

from __future__ import annotations

import functools
import json
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from pathlib import Path

from wrapper.base_python.environment import remove_stubs
from wrapper.base_python.packages import LOCK_NOTE, BasePython, conflict
from wrapper.errors import InputError, ScriptError
from wrapper.images.tree import read_tree
from wrapper.manifest import ReusedPackage, ReuseRecord
from wrapper.models import Base
from wrapper.packages import LockedPackage
from wrapper.prefix.generations import Generation
from wrapper.prefix.image_programs import AS_USERS_DO
from wrapper.requests import Request
from wrapper.runtime.container import BuildContainer
from wrapper.util.hashing import sha256

PINNED_VARIABLE = "CONTAINERIZE_BUILD_PINNED"
"""For ``conda`` in users' scripts: where the records of the base's conda packages are."""


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

    def recall(self, record: ReuseRecord) -> None:
        """Go on from a manifest's record of the build before.

        :raises InputError: the base has become another one, on which the environment cannot stand.
        """
        for entry in record.packages:
            package = LockedPackage(url="", **asdict(entry))
            here = self.version_of(package)
            if here != package.version:
                raise InputError(
                    f"the base image has {here or 'no'} {package.name}, and the environment was "
                    f"built on {package.version}",
                    hint="build it anew on this base image, or update it on the one before",
                )
            self.taken[package.manager, package.canonical] = package
        if _minor(record.python_version) != _minor(self.python.version):
            raise InputError(
                f"the base image has Python {self.python.version}, and the environment was built "
                f"for {record.python_version}",
                hint="build it anew on this base image",
            )

    def version_of(self, package: LockedPackage) -> str:
        """Which version of a package the base has, empty for none."""
        if package.manager == "conda":
            known = self._conda.get(package.name)
            return known.version if known else ""
        there = self.python.packages.get(package.canonical)
        return there.version if there else ""

    @functools.cached_property
    def _conda(self) -> dict[str, LockedPackage]:
        """The base's conda packages by name; their sizes are those on disk."""
        found = {}
        for path in sorted(self.python.records.glob("*.json")):
            data = json.loads(path.read_text())
            files = data.get("paths_data", {}).get("paths", ())
            size = sum(file.get("size_in_bytes") or 0 for file in files)
            found[data["name"]] = LockedPackage(
                manager="conda",
                name=data["name"],
                version=data["version"],
                build=data["build"],
                url="",
                size=size,
            )
        return found

    def take_pip(self, names: Iterable[str]) -> None:
        """Remember that Python packages of the base, and what they need, are in use.

        What a conda package has brought counts once, as that.
        """
        conda = {(p.canonical, p.version) for p in self.taken.values() if p.manager == "conda"}
        for name in self.python.needed_by(names):
            package = self.python.packages[name]
            if (name, package.version) not in conda:
                self.taken["pip", name] = LockedPackage(
                    manager="pip",
                    name=package.name,
                    version=package.version,
                    url="",
                    size=package.size,
                )

    def take_conda(self, names: Iterable[str]) -> None:
        """The same of conda packages."""
        self.taken |= {("conda", name): self._conda[name] for name in names}

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
    def hashes(self) -> dict[str, str]:
        """Options with the hashes of the stubs, by the canonical names of what the base has.

        A stub was written by us just now. Its hash is for uv, which wants one of all or of none.
        """
        return {name: f"--hash=sha256:{sha256(stub)}" for name, stub in self._stubs.items()}

    @functools.cached_property
    def _stubs(self) -> dict[str, Path]:
        return self.python.stubs(self.scratch / "base-packages")

    def constraints(self, *, hashed: bool = False) -> Path:
        """A file of constraints for uv: what the base has and, unless all have to be ``hashed``,
        limits of what it needs. (uv would want a hash of those, pip does not.)
        """
        held = {name: f"{name} @ {stub.as_uri()}" for name, stub in self._stubs.items()}
        if hashed:
            lines = [f"{line} {self.hashes[name]}" for name, line in held.items()]
        else:
            lines = [*held.values(), *self.python.limits()]
        path = self.scratch / ("base-hashes.txt" if hashed else "base-constraints.txt")
        path.write_text("\n".join(lines) + "\n")
        return path

    def options(self, given: Sequence[str], *, hashed: bool) -> list[str]:
        """The options of requirements for uv, with what lets it see the base's packages.

        :param hashed: whether each package needs a hash.

        A stub is a wheel: ``--no-binary`` must not forbid it.
        """
        names, kept = self._stubs, []
        words = iter(given)
        for word in words:
            if word not in ("--no-binary", "--only-binary"):
                kept.append(word)
            elif (name := next(words)) not in names:
                kept += [word, name]
        if ":all:" in kept:
            kept += [word for name in names for word in ("--only-binary", name)]
        return [*kept, "-c", str(self.constraints(hashed=hashed))]

    def variables(self) -> dict[str, str]:
        """For users' scripts: what they install with uv fits the base too."""
        return {"UV_CONSTRAINT": str(self.constraints()), PINNED_VARIABLE: str(self.python.records)}

    def annotate(self, lock: Path) -> None:
        """Say in a lock on which base its packages stand, and what of that is in use."""
        head, _, rest = lock.read_text().partition("\n")  # the first line may be a mark
        lines = [f"{LOCK_NOTE} {self.digest or 'a directory'}, of which are in use:"]
        lines += [f"#   {p.manager} {p.name} {p.version} {p.build}".rstrip() for p in self._sorted]
        lock.write_text("\n".join([head, *lines, rest]))

    @property
    def _sorted(self) -> list[LockedPackage]:
        return [package for _, package in sorted(self.taken.items())]

    def as_record(self) -> ReuseRecord:
        """For the manifest; :meth:`recall` reads it."""
        conda = self.python.conda
        return ReuseRecord(
            python=self.python.executable,
            python_version=self.python.version,
            python_path=":".join(self.python.python_path),
            conda=conda.root if conda else "",
            digest=self.digest,
            size=sum(package.size for package in self.taken.values()),
            packages=tuple(
                ReusedPackage(
                    manager=package.manager,
                    name=package.name,
                    version=package.version,
                    build=package.build,
                    size=package.size,
                )
                for package in self._sorted
            ),
        )


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]


def start_reuse(
    container: BuildContainer,
    base: Base,
    request: Request,
    previous: Generation | None,
    *,
    unsquashfs: Path,
    conda: bool,
) -> Reuse | None:
    """Ask the base, for a new environment or one that was built on it before.

    :param previous: what is updated: it keeps to what it is. :param unsquashfs: the program.
    :param conda: a conda environment is needed.
    :returns: ``None`` where nothing is to be reused.
    :raises InputError: the base has no Python for it, or what is updated was built otherwise.
    """
    before = previous.manifest.reused if previous else None
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
            path = "" if request.base_image else before.python_path
            python = ask_base(container, unsquashfs, before.python, path)
        elif conda:
            python = ask_conda_base(container, unsquashfs, base.environments)
        else:
            python = ask_base(container, unsquashfs)
    reuse = Reuse(python=python, digest=base.digest, scratch=container.scratch)
    if before:
        reuse.recall(before)
    return reuse


# -- asking the Python of a base image, in its container, what it has ----------------------------
def ask_base(
    container: BuildContainer, unsquashfs: Path, known: str = "", python_path: str = ""
) -> BasePython:
    """What the base's Python has.

    :param unsquashfs: the program. :param known: the Python's path, else it is what a user of the
        image gets as ``python3``.
    :param python_path: the image's PYTHONPATH, where the image does not set it any more.
    :raises InputError: there is none, or it is too old.
    """
    answer, records = container.scratch / "base-python.json", container.scratch / "base-records"
    answer.unlink(missing_ok=True)
    shutil.rmtree(records, ignore_errors=True)
    script = str(files("wrapper") / "templates" / "base-python.py")
    command = [known or "python3", "-s", script, str(answer), str(records)]
    if not known and container.has_bash:
        command = ["/bin/bash", "-c", AS_USERS_DO, "bash", *command]
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
    data = json.loads(answer.read_text())
    if data["conda"] and data["conda"].pop("closed"):
        _read_records(container, unsquashfs, data["conda"]["root"], records)
    return BasePython.from_answer(data, records)


def _read_records(container: BuildContainer, unsquashfs: Path, root: str, records: Path) -> None:
    """Records of a conda environment from the image file: inside, some are root's alone.

    The kernel enforces that where it mounts the image. rattler, and so pixi, writes them like that.

    :raises InputError: there are none, or the image is a directory, whose modes bind us too.
    """
    tree = read_tree(
        container.image,
        unsquashfs=unsquashfs,
        scratch=container.scratch,
        console=container.console,
    )
    contents = tree.read(tree.matching(re.escape(f"{root}/conda-meta/") + r"[^/]*\.json"))
    if not contents:
        raise InputError(
            "the records of the base image's conda packages cannot be read",
            where=f"{container.image}: {root}/conda-meta",
            hint="its maker: chmod -R a+rX conda-meta; or do without --reuse-base",
        )
    for path, content in contents.items():
        (records / Path(path).name).write_bytes(content)


def ask_conda_base(
    container: BuildContainer, unsquashfs: Path, environments: Sequence[str]
) -> BasePython:
    """The same of the Python in the base's conda environment: the active one, else the only one.

    :param environments: roots of all that the image has.
    :raises InputError: there is none, or more than one and none is active.
    """
    failure = None
    try:
        found = ask_base(container, unsquashfs)
    except InputError as error:
        failure = error
    else:
        if found.conda:
            return found
    if len(environments) == 1:
        return ask_base(container, unsquashfs, f"{environments[0]}/bin/python3")
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
