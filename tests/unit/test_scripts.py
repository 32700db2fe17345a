"""Scripts of a build that run where they are started."""

from __future__ import annotations

from pathlib import Path

from wrapper.build.scripts import PostLink


def test_a_post_link_script_runs_in_its_directory(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    script = tmp_path / "post-link.sh"
    script.write_text('echo "$NAME" >here\n')
    job = PostLink(
        package="x", script=str(script), variables={"NAME": "value"}, directory=tmp_path / "bin"
    )
    job.run_here()
    assert (tmp_path / "bin/here").read_text() == "value\n"
