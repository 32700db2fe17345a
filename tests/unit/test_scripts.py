"""Scripts of a build that run where they are started."""

from __future__ import annotations

from pathlib import Path

import pytest

from wrapper.build.scripts import PostLink, more_than_pip
from wrapper.inputs.files import InputFile


def test_a_post_link_script_runs_in_its_directory(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    script = tmp_path / "post-link.sh"
    script.write_text('echo "$NAME" >here\n')
    job = PostLink(
        package="x", script=str(script), variables={"NAME": "value"}, directory=tmp_path / "bin"
    )
    job.run_here()
    assert (tmp_path / "bin/here").read_text() == "value\n"


def first_line_with_more(text: str) -> int:
    return more_than_pip(InputFile(path=Path("x.sh"), content=text.encode(), name="x.sh"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "#!/bin/bash -x\nset -euo pipefail\n\n# all of it\npip install x\n",
        "export PIP_INDEX_URL=https://pypi.example/simple; pip3 install -U 'x>=1,<2' y[z]",
        "X=1\npython -m pip install \\\n  --no-deps \\\n  $X ./here && echo done",
        "A=1 B=2 uv pip install -r requirements.txt",
        "pip install 'x # y' z  # why \\\n",
        "pip install git+https://h.example/y.git#egg=y",
    ],
)
def test_scripts_that_only_let_pip_install(text: str) -> None:
    assert first_line_with_more(text) == 0


@pytest.mark.parametrize(
    "line",
    [
        "make install",
        "python setup.py install",
        "python -m pipx install x",
        "pip uninstall -y x",
        "pip install x | tee log",
        "pip install x>=1",
        "pip install x || true",
        "(pip install x)",
        "pip install x; find . -type f -delete",
        "pip install $(cat names)",
        'pip install "`cat names`"',
        "pip install --no-build-isolation x",
        "PIP_NO_BUILD_ISOLATION=0 pip install x",
        "if true; then pip install x; fi",
        "pip() { make; }",
        "pip install 'x",
        "pip install x &",
        "pip install \\\n x; ls",
        "A=$(make) pip install x",
        "sed -i s/a/b/ x.py",
        "pip install git+https://h.example/y.git#egg=y && python fix.py",
    ],
)
def test_scripts_that_do_more(line: str) -> None:
    assert first_line_with_more(f"pip install \\\n  y\n{line}\npip install z\n") == 3


@pytest.mark.parametrize("line", ["# note \\", "pip install x\\\\"])
def test_lines_that_do_not_go_on(line: str) -> None:
    """A comment never does, nor what ends in a backslash that is quoted."""
    assert first_line_with_more(f"{line}\npython fix.py\n") == 2
