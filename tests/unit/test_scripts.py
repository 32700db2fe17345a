"""Scripts of a build that run where they are started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import pytest

from wrapper.build.scripts import PostLink, more_than_pip, run_user_script
from wrapper.inputs.files import InputFile
from wrapper.runtime.container import BuildContainer


def test_a_post_link_script_runs_in_its_directory(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    script = tmp_path / "post-link.sh"
    script.write_text('echo "$NAME" >here\n')
    job = PostLink(
        package="x", script=str(script), variables={"NAME": "value"}, directory=tmp_path / "bin"
    )
    job.run_here()
    assert (tmp_path / "bin/here").read_text() == "value\n"


class Container:
    """One in which a script's variables are seen."""

    has_bash, install_path = True, "/containerize-x"

    def __init__(self, scratch: Path, environ: Mapping[str, str], *, own_system: bool) -> None:
        self.scratch, self.environ, self.own_system = scratch, environ, own_system
        self.env: dict[str, str] = {}

    def own_program(self, path: str) -> list[str]:
        return [path]

    def run(self, _argv: Sequence[str], *, env: dict[str, str], **_: object) -> None:
        self.env = env


@pytest.mark.parametrize("own_system", [True, False])
def test_pip_of_a_script_knows_settings_of_files_that_an_image_hides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_system: bool
) -> None:
    site = tmp_path / "pip.conf"
    site.write_text("[global]\nindex-url = https://a\ncert = /c.pem\n")
    monkeypatch.setattr("wrapper.pip.config._SITE_CONFIGS", (site,))
    container = Container(tmp_path, {"HOME": str(tmp_path)}, own_system=own_system)
    run_user_script(
        cast(BuildContainer, container),
        InputFile(path=tmp_path / "x.sh", content=b"pip install x", name="x.sh"),
        kind="post-install",
        variables={},
        cache=tmp_path,
        channels=(),
    )
    told = {name: container.env.get(name) for name in ("PIP_INDEX_URL", "PIP_CERT")}
    seen = {"PIP_INDEX_URL": "https://a", "PIP_CERT": "/c.pem"}
    assert told == (seen if own_system else dict.fromkeys(seen)), "/etc is the host's elsewhere"
    assert container.env["UV_DEFAULT_INDEX"] == "https://a"


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
