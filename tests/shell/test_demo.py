"""The demonstration under Slurm, where that does not start."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.account import REPOSITORY


def test_without_a_cluster_it_ends(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text("env:\n\t@:\n")
    (tmp_path / "tools").mkdir()
    demo = Path(shutil.copy(REPOSITORY / "tools/demo-slurm", tmp_path / "tools"))
    cluster = tmp_path / "tools/slurm-cluster"
    cluster.write_text("#!/bin/bash\nexit 3\n")
    cluster.chmod(0o755)
    run = subprocess.run(
        [demo], env={"PATH": os.defpath}, capture_output=True, text=True, check=False, timeout=60
    )
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr == f"Slurm does not start: see {tmp_path}/.cache/demo-slurm/slurm/\n"
