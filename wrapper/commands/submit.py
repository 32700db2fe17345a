"""Handing a batch script to Slurm, and waiting for what becomes of it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from wrapper import process
from wrapper.commands.jobscript import Batch
from wrapper.console import Console
from wrapper.errors import Interrupted, ToolError

_LOOKS = 1.0  # seconds between looks at a job's log
_LAST = 15  # lines of it for an error
_SAID = re.compile(r"\[ (INFO|WARNING) \] (.*)")


def require_slurm() -> Path:
    """The program ``sbatch``. :raises ToolError: there is none here."""
    found = shutil.which("sbatch")
    if not found:
        raise ToolError(
            "this machine has no Slurm: sbatch is not on PATH",
            where="--submit",
            hint="submit on a login node of the cluster; without --submit the script is printed",
        )
    return Path(found)


def submit(batch: Batch) -> str:
    """Hand a script to Slurm; returns the job's number.

    :raises ToolError: there is no Slurm, or it does not take the job.
    """
    sbatch = require_slurm()
    with _file(batch) as script:
        try:
            said = process.capture([sbatch, "--parsable", script], env=dict(os.environ))
        except process.ToolFailed as error:
            raise _refused(error) from None
    return said.split()[-1].partition(";")[0]


def submit_and_wait(batch: Batch, console: Console) -> None:
    """The same, and tell what the job's log says until it ends.

    :raises ToolError: as :func:`submit`. :raises CommandFailed: the job failed, with its status.
    """
    sbatch = require_slurm()
    follower: _Follower | None = None

    def begun(line: str) -> bool:
        nonlocal follower
        if follower is None and (number := re.match(r"\d+", line)):
            follower = _Follower(Path(f"containerize-{number[0]}.log").absolute(), console)
            console.info(f"job {number[0]}, its log: {follower.path}")
            follower.start()
        return False

    with _file(batch) as script:
        words: list[str | Path] = [sbatch, "--parsable", "--wait", script]
        try:
            process.run(words, console=console, env=dict(os.environ), on_line=begun)
        except process.ToolFailed as error:
            if follower is None:
                raise _refused(error) from None
            last = follower.finish()
            raise process.CommandFailed(
                f"the job ended with status {error.status}",
                status=error.status,
                where=follower.path,
                hint="its last lines are below; 'sacct -j JOB' tells of one that Slurm ended",
                detail="\n".join(last),
            ) from None
        except Interrupted as interrupted:
            if follower:
                number = follower.path.stem.rpartition("-")[2]
                interrupted.what = f"the job goes on; to end it: scancel {number}"
            raise
    if follower:
        follower.finish()


@contextlib.contextmanager
def _file(batch: Batch) -> Iterator[Path]:
    """The script as a file, which sbatch copies."""
    with tempfile.TemporaryDirectory(prefix="containerize-job-") as directory:
        path = Path(directory) / "job.sh"
        path.write_text(batch.text, encoding="utf-8", errors="surrogateescape")
        yield path


def _refused(error: process.ToolFailed) -> ToolError:
    return ToolError(
        "Slurm does not take the job",
        where="sbatch",
        hint="see what it says below; 'sinfo -s' lists partitions, 'sacctmgr show assoc' accounts",
        detail=error.detail.removeprefix("sbatch: "),
    )


class _Follower(threading.Thread):
    """Tells what is written to a job's log, as a build on this machine would."""

    def __init__(self, path: Path, console: Console) -> None:
        super().__init__(daemon=True)
        self.path = path
        self._console = console
        self._ended = threading.Event()
        self._read = 0
        self._last: deque[str] = deque(maxlen=_LAST)

    def run(self) -> None:
        while not self._ended.wait(_LOOKS):
            self._look()
        self._look(whole=True)

    def finish(self) -> list[str]:
        """Read to the end; returns the last lines."""
        self._ended.set()
        self.join()
        return [*self._last]

    def _look(self, *, whole: bool = False) -> None:
        """Tell the lines that were added, complete ones only unless it is the ``whole`` log."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._read)
                data = file.read()
        except OSError:
            return  # not yet there, or not yet seen on this node
        end = len(data) if whole else data.rfind(b"\n") + 1
        self._read += end
        for line in data[:end].decode("utf-8", "backslashreplace").splitlines():
            self._last.append(line)
            match = _SAID.match(line)
            tell = self._console.warning if match and match[1] == "WARNING" else self._console.info
            if match:
                tell(match[2])
            elif not line.startswith("[ ERROR ]"):
                self._console.log(line)
