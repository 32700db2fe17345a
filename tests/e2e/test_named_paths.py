"""What programs write down to be started later names paths that are there outside.

With packages of PyPI. Each is started by its own program, and in a kernel that another program
started (``jupyter execute``).
"""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

import pytest

from tests.account import Account
from tests.e2e.conftest import CONDA, Installation, environment_text

# Not among the packages: a scheduler. Nothing of what they write down is started by one here.
PACKAGES = """\
ipython
ipykernel
nbclient
submitit
dask-jobqueue
pre-commit
snakemake
snakemake-executor-plugin-cluster-generic
"""
# Programs that look for their files beside themselves, as many do, and by a path in the image.
SCRIPT = r"""
cd "$env_root" && mkdir -p share/data etc opt
for name in share/data etc opt; do echo $name >$name/file; done
printf '#!/bin/sh\ncd "$(dirname "$0")/.." && cat share/data/file etc/file opt/file\n' >bin/beside
printf '#!/bin/sh\nexec %s/bin/python -c "import sys; print(sys.executable)"\n' $PWD >bin/stored
chmod +x bin/beside bin/stored
"""
CODE = """
import json, pathlib, subprocess, sys, tempfile
from unittest import mock
import dask_jobqueue, submitit
found = {"sys.executable": sys.executable, "sys.prefix": sys.prefix + "/bin/python"}
place = tempfile.mkdtemp(dir=".")
with mock.patch("shutil.which", return_value="srun"):
    found["submitit"] = submitit.SlurmExecutor(place)._submitit_command_str.split(" -u ")[0]
cluster = dask_jobqueue.SLURMCluster(cores=1, memory="1GB", interface="lo")
found["dask-jobqueue"] = cluster.job_script().splitlines()[-1].split(" -m ")[0]
subprocess.run([sys.executable, "-m", "venv", "--without-pip", place + "/ve"], check=True)
found["venv"] = str(pathlib.Path(place, "ve/bin/python").readlink())
subprocess.run(["git", "init", "-q", place + "/git"], check=True)
subprocess.run(["pre-commit", "install"], cwd=place + "/git", check=True, capture_output=True)
hook = pathlib.Path(place, "git/.git/hooks/pre-commit").read_text()
found["pre-commit"] = hook.split("INSTALL_PYTHON=")[1].splitlines()[0]
subprocess.run([sys.executable, "-m", "ipykernel", "install", "--prefix", place], check=True,
               capture_output=True)
kernel = json.loads(pathlib.Path(place, "share/jupyter/kernels/python3/kernel.json").read_text())
found["kernel"] = kernel["argv"][0]
pathlib.Path("found.json").write_text(json.dumps(found))
"""


@pytest.fixture(scope="module")
def named(me: Account, channel: Path, runtime: Path) -> Installation:
    """An installation of them all."""
    prefix = me.work / "named"
    file = me.file("named.yml", environment_text(channel, "python"))
    more, script = me.file("named.txt", PACKAGES), me.file("named.sh", SCRIPT)
    options = ("-r", more, "--post-install", script)
    me.ok(CONDA, "new", "--prefix", prefix, *options, file, env=_network(), timeout=900)
    return Installation(prefix=prefix, account=me)


def _network() -> dict[str, str]:
    """What leads to PyPI on this machine."""
    names = ("PIP_", "UV_", "REQUESTS_CA", "SSL_CERT")
    wanted = (n for n in os.environ if n.startswith(names) or n.lower().endswith("_proxy"))
    return {"HOME": os.environ["HOME"], **{name: os.environ[name] for name in wanted}}


def notebook(code: str) -> str:
    """A notebook with one cell."""
    cell = {"cell_type": "code", "source": code, "id": "a", "metadata": {}, "outputs": []}
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    data = {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": kernel}}
    return json.dumps({**data, "cells": [{**cell, "execution_count": None}]})


@pytest.mark.parametrize("way", ["ipython", "jupyter execute"])
def test_what_is_written_down_is_the_shim(named: Installation, tmp_path: Path, way: str) -> None:
    (tmp_path / "cell.py").write_text(CODE)
    (tmp_path / "cell.ipynb").write_text(notebook(CODE))
    program, *words = way.split()
    file = "cell.ipynb" if words else "cell.py"
    named.account.ok(named.program(program), *words, file, cwd=tmp_path)
    found = json.loads((tmp_path / "found.json").read_text())
    assert len(found) == 7
    for what, path in found.items():
        assert shlex.split(path) == [str(named.program("python"))], what
    ve = next(tmp_path.glob("*/ve"))
    out = named.account.ok(ve / "bin/python", "-c", "import sys; print(sys.base_prefix)")
    assert out == f"{named.prefix}\n"


def test_snakemakes_jobs(named: Installation, tmp_path: Path) -> None:
    (tmp_path / "Snakefile").write_text(
        'rule one:\n    output: "out"\n    shell: "touch {output}"\n'
    )
    submit = tmp_path / "submit"
    submit.write_text('#!/bin/sh\ncp "$1" job.sh && sh "$1" >log 2>&1 && echo 1\n')
    submit.chmod(0o755)
    words = ("-j1", "--executor", "cluster-generic", "--cluster-generic-submit-cmd", "./submit")
    named.account.ok(named.program("snakemake"), *words, cwd=tmp_path)
    assert (tmp_path / "out").exists()
    assert f"{named.program('python')} -m snakemake" in (tmp_path / "job.sh").read_text()


def test_programs_find_their_files_beside_themselves(named: Installation) -> None:
    assert named.account.ok(named.program("beside")).split() == ["share/data", "etc", "opt"]
    assert (named.prefix / "share/VERSION.yml").read_text().startswith("tag: ")
    code = "import sys; print(open(sys.prefix + '/share/data/file').read(), end='')"
    assert named.python(code) == "share/data\n"


def test_a_path_that_a_file_of_the_image_has_stored(named: Installation, tmp_path: Path) -> None:
    own = named.program("python")
    assert named.account.ok(named.program("stored")) == f"{own}\n"
    link = tmp_path / ("long" * 60)  # longer than a first line may be
    link.symlink_to(named.prefix)
    assert named.account.ok(link / "bin/stored") == f"{link}/bin/python\n"
