"""Everything that is Singularity or Apptainer: finding it, its version, its command line.

The builder and the shims get their line from here, so that a program meets the same container
while its environment is built and when it runs.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wrapper import process
from wrapper.errors import ToolError
from wrapper.manifest import RuntimeRecord
from wrapper.models import Site

RUNTIME_VARIABLE = "CONTAINERIZE_RUNTIME"
NAMES = ("singularity", "apptainer")
_INSTALL_HINT = (
    "install Apptainer >= 1.0 or SingularityCE >= 3.8, load the module that has it, "
    f"or name it in {RUNTIME_VARIABLE}"
)
# --no-mount with cwd came with Singularity 3.7, raw SquashFS binds (image-src) with 3.6;
# 3.8 is the first SingularityCE.
_OLDEST = {"singularity": (3, 8), "apptainer": (1, 0)}

EXEC_FLAGS = (
    # The whole host is bound by top-level directory: the runtime's own mounts of the home, /tmp
    # and the working directory would only lie on top again. The one of the working directory
    # does harm: started in DIR/bin it would cover the real programs with the shims.
    "--no-home",
    "--no-mount=tmp,cwd",
)
FAMILIES = tuple(name.upper() for name in NAMES)
"""What the names of runtimes' variables begin with."""


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """A container runtime on the host.

    :ivar name: ``singularity`` (SingularityCE, SingularityPRO) or ``apptainer``.
    """

    path: Path
    name: str
    version: str

    def as_record(self) -> RuntimeRecord:
        """For a manifest."""
        return RuntimeRecord(name=self.name, version=self.version, path=str(self.path))

    def exec_argv(
        self,
        image: Path,
        binds: Sequence[str],
        command: Sequence[str],
        *,
        cwd: Path = Path("/"),
        environ: Mapping[str, str] = os.environ,
    ) -> list[str]:
        """The line that runs ``command`` in ``image``.

        :param cwd: a path inside the container. :param environ: whose home directory it is.
        """
        words = [str(self.path), "-s", "exec", *EXEC_FLAGS]
        words += ["--home", home_of(environ), "--pwd", str(cwd)]
        return [*words, "-B", ",".join(binds), str(image), *command]

    def build_argv(self, target: Path, source: Path) -> list[str]:
        """The line that builds the image ``target`` of a definition file.

        Where /etc/subuid names the user, Apptainer stops without newuidmap (Debian's package
        uidmap). It can do without both: the user is root inside, and nobody else is there.
        """
        words = [str(self.path), "-s", "build"]
        if self.name == "apptainer" and os.geteuid() and not shutil.which("newuidmap"):
            words.append("--ignore-subuid")
        return [*words, str(target), str(source)]

    @property
    def family(self) -> str:
        """What the names of its variables begin with. To SingularityCE those of Apptainer are
        variables like any others, which programs inside would see.
        """
        return self.name.upper()

    def container_variable(self, name: str, value: str) -> dict[str, str]:
        """The variable of the host that sets ``name`` inside, whatever the image sets.

        PATH and LD_LIBRARY_PATH a container takes only in this form, others it inherits as they
        are. Inside, the value is evaluated by a shell as if it stood in double quotes (measured: a
        command substitution in it runs).
        """
        return {f"{self.family}ENV_{name}": re.sub(r"([\\$`])", r"\\\1", value)}

    def places(self, scratch: Path) -> dict[str, str]:
        """Variables that keep the runtime's own files in ``scratch`` and out of $HOME."""
        kinds = ("CACHEDIR", "CONFIGDIR", "TMPDIR")
        return {f"{self.family}_{kind}": str(scratch) for kind in kinds}

    def environment(
        self, scratch: Path, environ: Mapping[str, str] = os.environ, *, fetches: bool = False
    ) -> dict[str, str]:
        """What the runtime sees of ``environ``, its own files in ``scratch``.

        :param fetches: whether it asks a registry. What it learns of that it notes in the user's
            data directory (measured with SingularityCE 3.11: ``~/.local/share/containers``).
        """
        notes = {"XDG_DATA_HOME": str(scratch)} if fetches else {}
        return {**process.base_environment(environ), **self.places(scratch), **notes}


def find_runtime(environ: Mapping[str, str], site: Site) -> Runtime:
    """The runtime to use: the one that is set, else the first on PATH.

    :raises ToolError: there is none, or it is too old.
    """
    named = site.runtime
    candidates = [named] if named else list(NAMES)
    for candidate in candidates:
        found = shutil.which(candidate, path=environ.get("PATH"))
        if found:
            return _identify(Path(found).absolute(), environ)
    module = site.modules.get("runtime")
    if named:
        instead = f"module load {module}, or" if module else ""
        raise ToolError(
            f"the container runtime '{named}' is not a program",
            where=site.origins.get("runtime"),
            hint=f"{instead} unset it, or set it to the path of singularity or apptainer".lstrip(),
        )
    hint = f"module load {module}" if module else _INSTALL_HINT
    raise ToolError("neither singularity nor apptainer is on PATH", hint=hint)


def _identify(path: Path, environ: Mapping[str, str]) -> Runtime:
    """Ask for the version.

    Known answers: ``singularity-ce version 3.11.4-1``, ``singularity version 3.7.0``,
    ``apptainer version 1.4.5``.
    """
    answer = process.capture([path, "--version"], env=process.base_environment(environ)).strip()
    match = re.search(r"\b(singularity|apptainer)\S* version v?(\d+)\.(\d+)(\S*)", answer)
    if not match:
        raise ToolError(
            f"cannot tell the runtime's version from '{answer}'", where=path, hint=_INSTALL_HINT
        )
    name, major, minor, rest = match.groups()
    if (int(major), int(minor)) < _OLDEST[name]:
        raise ToolError(f"{name} {major}.{minor} is too old", where=path, hint=_INSTALL_HINT)
    return Runtime(path=path, name=name, version=f"{major}.{minor}{rest}")


def home_of(environ: Mapping[str, str]) -> str:
    """The home directory that a container is to see: the user's word, else a harmless one.

    One with a colon cannot be said: the runtime takes what follows that for the place inside.
    """
    home = environ.get("HOME") or os.sep
    return os.sep if ":" in home else home
