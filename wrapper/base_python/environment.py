"""An environment that sees what the Python of a base image has.

The environment is a virtual one of that Python. A ``.pth`` file in it appends the base's
directories of packages, so that its own come first; a venv of a venv would see only the outermost
Python's, and an image's PYTHONPATH, which would come before all, is not set. Programs of the base's
packages are there once more, for the environment's Python: their own first lines name one that sees
the base only. Of a conda environment the libraries are there too: packages look for them in their
own prefix.
"""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

from packaging.utils import canonicalize_name

from wrapper.base_python.packages import STUB_MARK, BasePython, CondaPart
from wrapper.installed import site_packages
from wrapper.runtime.container import BuildContainer

_MADE = ".containerize-base"  # names what is made here, to be made anew in an update
_PTH = "containerize-base.pth"


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
