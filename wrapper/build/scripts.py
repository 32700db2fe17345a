"""Scripts that run in the container during a build: packages' post-link scripts, users' own."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import uv
from rattler import PackageRecord, RepoDataRecord

from wrapper import process
from wrapper.console import Console
from wrapper.errors import InputError, ScriptError
from wrapper.inputs.files import InputFile
from wrapper.pip.config import pip_variables, uv_settings
from wrapper.runtime.container import BuildContainer
from wrapper.runtime.host_program import HOST_ROOT, host_program

# Variables by which the conda command of a build knows where to look, see
# wrapper.build.conda_in_scripts.
CHANNELS_VARIABLE = "CONTAINERIZE_BUILD_CHANNELS"
CACHE_VARIABLE = "CONTAINERIZE_BUILD_CACHE"
_PIP = re.compile(
    r"(\w+=\S*( |$))*((pip3?|uv pip|python3? -m pip) install |$)|(set|export|cd|echo)( |$)"
)


@dataclass(frozen=True, kw_only=True)
class PostLink:
    """A package's post-link script, for bash, and its variables; paths are inside."""

    package: str
    script: str
    variables: Mapping[str, str]
    directory: Path

    @property
    def what(self) -> str:
        return f"the post-link script of {self.package}"

    def run_here(self) -> None:
        """Run it where we are: inside the container already.

        :raises ScriptError: it fails.
        """
        try:
            process.run(
                ["/bin/bash", self.script],
                console=Console(),
                env={**os.environ, **self.variables},
                cwd=self.directory,
            )
        except process.ToolFailed as error:
            raise ScriptError(f"{self.what} failed", detail=error.detail) from None


def post_link_jobs(
    tree: Path, install_path: str, records: Sequence[RepoDataRecord]
) -> list[PostLink]:
    """The packages' post-link scripts, dependencies first.

    The variables and the directory are those of conda-build's documentation ("Adding pre-link,
    post-link, and pre-unlink scripts").
    """
    jobs = []
    for record in PackageRecord.sort_topologically(list(records)):
        name = record.name.normalized
        script = f"bin/.{name}-post-link.sh"
        if (tree / script).is_file():
            variables = {
                "PREFIX": install_path,
                "PKG_NAME": name,
                "PKG_VERSION": str(record.version),
                "PKG_BUILDNUM": str(record.build_number),
            }
            jobs.append(
                PostLink(
                    package=name,
                    script=f"{install_path}/{script}",
                    variables=variables,
                    directory=Path(f"{install_path}/bin"),
                )
            )
    return jobs


def run_post_link(container: BuildContainer, records: Sequence[RepoDataRecord]) -> str:
    """Run the packages' post-link scripts.

    :returns: what they left for the user in ``$PREFIX/.messages.txt``, which is removed.
    :raises ScriptError: one fails.
    """
    for job in post_link_jobs(container.tree, container.install_path, records):
        container.run(
            [*container.bash, job.script], what=job.what, env=job.variables, cwd=job.directory
        )
    messages = container.tree / ".messages.txt"
    if not messages.is_file():
        return ""
    text = messages.read_text(encoding="utf-8", errors="backslashreplace")
    messages.unlink()
    return text.strip()


def more_than_pip(script: InputFile) -> int:
    """The number of the first line that does more than install packages with pip, 0 if none does.

    What may look at the environment's files, or at anything whatever, counts as more: another
    command, a pipe, packages that are built in the environment itself.
    """
    line, first = "", 1
    for number, read in enumerate(script.content.decode("utf-8", "surrogateescape").split("\n"), 1):
        line += read
        goes_on = re.search(r"(?<!\\)(?:\\\\)*\\$", read)
        if goes_on and not line.lstrip().startswith("#"):
            line = line[:-1]
            continue
        if not _is_pips(line):
            return first
        line, first = "", number + 1
    return first if line and not _is_pips(line) else 0


def _is_pips(line: str) -> bool:
    if line.lstrip().startswith("#"):
        return True
    line = re.sub(r"\s#[^'\"]*$", "", line)  # a comment; of a "#" within a word shlex makes one
    if re.search(r"`|\$\(|build.isolation", line, re.I):
        return False
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.commenters, lexer.whitespace_split = "", True
    try:
        words = [*lexer]
    except ValueError:  # a quotation goes on in the next line
        return False
    commands: list[list[str]] = [[]]
    for word in words:
        if word in ("&&", ";"):
            commands.append([])
        elif word and word[0] in "();<>|&":
            return False
        else:
            commands[-1].append(word)
    return all(_PIP.match(" ".join(command)) for command in commands)


def run_user_script(
    container: BuildContainer,
    script: InputFile,
    *,
    kind: str,
    variables: Mapping[str, str],
    cache: Path,
    channels: Sequence[str],
    site: str = "",
) -> None:
    """Run a ``--pre-install`` or ``--post-install`` script, the environment active.

    It starts in the user's directory and ends at its first failing command. ``env_root``,
    ``install_root``, ``CW_INSTALLATION_PATH`` and ``CW_WORKDIR`` mean what Tykky's documentation
    says: the environment (the first three) and a directory for temporary files. ``pip``, ``uv``,
    ``conda`` and ``mamba`` work, also where the environment has none of them.

    :param kind: ``pre-install`` or ``post-install``. :param cache: for downloads, outside.
    :param channels: where ``conda install`` looks. :param site: the file of its settings.
    :raises ScriptError: it fails.
    """
    if not container.has_bash:
        raise InputError(
            f"the base image has no bash to run the {kind} script with",
            where=script.path,
            hint="choose another base image, or do without the script",
        )
    inside = container.install_path
    copy = container.scratch / "scripts" / script.name  # what was read, whatever the file is now
    copy.parent.mkdir(exist_ok=True)
    copy.write_bytes(script.content)
    runner = str(files("wrapper") / "templates" / "run-active.sh")
    settings = uv_settings(container.environ)
    own_pip: dict[str, str] = {}  # the environment's: an image hides a site's files from it
    if container.own_system:
        own_pip = pip_variables(container.environ)
        if certificates := settings.get("SSL_CERT_FILE"):
            own_pip["PIP_CERT"] = certificates
    container.run(
        ["/bin/bash", runner, inside, str(copy), str(script.path.absolute())],
        what=f"the {kind} script {script.path}",
        env={
            "env_root": inside,
            "install_root": inside,
            "CW_INSTALLATION_PATH": inside,
            "CW_WORKDIR": str(container.scratch),
            "CONDA_PREFIX": inside,
            "CONDA_DEFAULT_ENV": inside.rsplit("/", 1)[-1],
            "UV_PYTHON": f"{inside}/bin/python",
            "UV_BREAK_SYSTEM_PACKAGES": "1",
            "UV_LINK_MODE": "copy",
            "PIP_BREAK_SYSTEM_PACKAGES": "1",
            # uv, which is the pip of an environment without one, reads no settings of pip's.
            **settings,
            **own_pip,
            CHANNELS_VARIABLE: "\n".join(channels),
            CACHE_VARIABLE: str(cache),
            "CONTAINERIZE_SITE": site,
            **variables,
        },
        path=[_package_managers(container)],
        cwd=Path.cwd(),
    )


def _package_managers(container: BuildContainer) -> Path:
    """A directory with the commands that an environment may lack, for after its own on PATH."""
    folder = container.scratch / "package-managers"
    folder.mkdir(exist_ok=True)
    conda = f"exec {_own_python(container)} -m wrapper.build.conda_in_scripts"
    uv_words = shlex.join(container.own_program(uv.find_uv_bin()))
    pip = f"exec {uv_words} pip"
    commands = {"conda": conda, "mamba": conda, "micromamba": conda, "pip": pip, "pip3": pip}
    commands["uv"] = f"exec {uv_words}"
    for name, command in commands.items():
        program = folder / name
        program.write_text(f'#!/bin/sh\n{command} "$@"\n')
        program.chmod(0o755)
    return folder


def _own_python(container: BuildContainer) -> str:
    """The Python that runs us, for a shell in the container; also where the system is another."""
    if not container.own_system:
        return shlex.join([sys.executable, "-I"])
    home = f"PYTHONHOME={HOST_ROOT}{sys.base_prefix}"
    path = "PYTHONPATH=" + ":".join(f"{HOST_ROOT}{p}" for p in sys.path if p.startswith("/"))
    return shlex.join(["env", home, path, *host_program(os.path.realpath(sys.executable)), "-s"])
