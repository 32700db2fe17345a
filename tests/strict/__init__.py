"""A ``singularity`` for tests that is as strict as SingularityCE, run by a real Apptainer."""

from __future__ import annotations

from pathlib import Path

PROGRAM = Path(__file__).with_name("singularity.py")


def install(directory: Path, runtime: Path, version: str = "4.1.5") -> Path:
    """Make ``directory`` with ``singularity`` in it; see ``singularity.py``.

    :param runtime: the real Apptainer behind it. :param version: what it says it is.
    :returns: the program.
    """
    directory.mkdir(parents=True)
    (directory / "version").write_text(f"{version}\n")
    (directory / "runtime").symlink_to(runtime.resolve())
    program = directory / "singularity"
    program.symlink_to(PROGRAM)
    return program
