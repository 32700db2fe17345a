"""Installations as Tykky leaves them, written from its documentation: for tests of adopting them.

``python -m tests.tykky CHANNEL ROOT`` makes ``ROOT/conda-tree``, a real conda environment for the
path that an image of Tykky's would have inside; a process of its own, because rattler may crash the
interpreter at its exit. The functions make prefixes of such trees.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

INSTALL_PATH = "/LUMI_TYKKY_aB3dE7x"
ENVIRONMENT = f"{INSTALL_PATH}/miniforge/envs/env1"
SPECS = ("python", "pip", "demo-activate", "demo-noarch", "demo-textprefix", "demo-binprefix")

_WRAPPER = """\
#!/bin/bash
OLD_PATH=$PATH
PATH=/usr/local/bin:/usr/bin:/bin
_self=${{BASH_SOURCE[0]}}
_file=$(readlink -f "$_self")
DIR=$(dirname "$_file")
source "$DIR/../common.sh"
PATH=$OLD_PATH
if [[ ${{_CW_IN_CONTAINER+defined}} ]]; then
    exec -a "$_self" "$DIR/../_bin/{name}" "$@"
fi
exec {runtime} --silent exec "$DIR/../$CONTAINER_IMAGE" {command}"$@"
"""
_COMMON = """\
#!/bin/bash
_C_DIR="$( cd "$( dirname "${{BASH_SOURCE[0]}}" )" >/dev/null 2>&1 && pwd )"
CONTAINER_IMAGE=container.sif
INSTALLATION_PATH={root}
{image_line}
export _CW_IS_ISOLATED={isolated}
[[ -e {root} && -e /.singularity.d ]] && export _CW_IN_CONTAINER=Yes
_binds=
for d in /*; do case $d in /dev | /proc | /sys) ;; *) [[ -d $d ]] && _binds+=$d, ;; esac; done
export SINGULARITY_BIND=$_binds$_C_DIR/_bin:$_C_DIR/bin{image_bind}
export APPTAINER_BIND=$SINGULARITY_BIND
export SINGULARITYENV_PATH="$OLD_PATH"
"""


def make_prefix(
    prefix: Path,
    *,
    tree: Path | None,
    programs: Mapping[str, str],
    container: Path,
    runtime: Path,
    root: str = INSTALL_PATH,
    isolated: bool = False,
    exports: Sequence[str] = (),
) -> Path:
    """Write an installation of Tykky.

    :param tree: what ``img.sqfs`` is to hold, ``None`` for one of ``wrap-container``.
    :param programs: name -> path inside. :param container: the container's image, copied.
    :param exports: lines for the end of ``common.sh``.
    """
    for name in ("bin", "_bin", "share/previous_input/0"):
        (prefix / name).mkdir(parents=True)
    shutil.copyfile(container, prefix / "container.sif")
    if tree:
        (tree / "_pre_install.sh").touch()  # Tykky leaves its scripts in the image
        options = ("-noappend", "-quiet", "-no-progress", "-comp", "gzip")
        subprocess.run(["mksquashfs", tree, prefix / "img.sqfs", *options], check=True)
    image_bind = f",$_C_DIR/$SQFS_IMAGE:{root}:image-src=/" if tree else ""
    common = _COMMON.format(
        root=root,
        image_line="SQFS_IMAGE=img.sqfs" if tree else "",
        isolated="yes" if isolated else "no",
        image_bind=image_bind,
    )
    (prefix / "common.sh").write_text(common + "".join(f"{line}\n" for line in exports))
    for name, path in programs.items():
        (prefix / "_bin" / name).symlink_to(path)
    for name in (*programs, "_debug_exec", "_debug_shell"):
        command = {"_debug_exec": "", "_debug_shell": "bash "}.get(name, f'"$DIR/{name}" ')
        wrapper = prefix / "bin" / name
        wrapper.write_text(_WRAPPER.format(name=name, runtime=runtime, command=command))
        wrapper.chmod(0o755)
    (prefix / "share/conf.yaml").write_text("mode: conda\n")
    (prefix / "share/VERSION.yml").write_text("version: 0.5.1\n")
    (prefix / "share/previous_input/0/env.yml").write_text("dependencies: [python]\n")
    return prefix


def conda_programs(tree: Path) -> dict[str, str]:
    """Programs of the environment in :func:`make_conda_tree`'s tree, spelt as Tykky does."""
    folder = tree / ENVIRONMENT.removeprefix(f"{INSTALL_PATH}/") / "bin"
    return {p.name: f"{ENVIRONMENT}/bin//{p.name}" for p in folder.iterdir() if p.name[0] != "."}


def make_conda_tree(channel: Path, tree: Path) -> None:
    """Miniforge's directory with an environment of real packages, and a program beside it."""
    environment = tree / ENVIRONMENT.removeprefix(f"{INSTALL_PATH}/")
    asyncio.run(_install(channel, environment))
    conda = tree / "miniforge/bin/conda"
    conda.parent.mkdir()
    conda.write_text("#!/bin/sh\necho conda 24\n")
    tool = tree / "extra/bin/tool"
    tool.parent.mkdir(parents=True)
    tool.write_text("#!/bin/sh\necho extra tool\n")
    conda.chmod(0o755)
    tool.chmod(0o755)


async def _install(channel: Path, environment: Path) -> None:
    import rattler

    from wrapper.conda.resolve import virtual_packages
    from wrapper.models import Base

    records = await rattler.solve(
        [rattler.Channel(channel.as_uri())],
        list(SPECS),
        platforms=["linux-64", "noarch"],
        virtual_packages=virtual_packages(Base()),
    )
    await rattler.install(
        records,
        target_prefix=environment,
        cache_dir=environment.parents[3] / "cache",
        show_progress=False,
        alternative_target_prefix=ENVIRONMENT,
    )


if __name__ == "__main__":
    make_conda_tree(Path(sys.argv[1]).absolute(), Path(sys.argv[2]) / "conda-tree")
    os._exit(0)
