"""Asking the Python of a base image, in its container, what it has."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from wrapper.base_python.packages import BasePython
from wrapper.errors import InputError, ScriptError
from wrapper.images.format import read_format
from wrapper.images.tree import read_tree
from wrapper.prefix.image_programs import AS_USERS_DO
from wrapper.runtime.container import BuildContainer


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
        read_format(container.image),
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
