"""Looking into an image that is to be wrapped, where it does not start."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.images import squashfs_bytes
from tests.unit.conftest import Program
from wrapper.console import Console
from wrapper.errors import ToolError
from wrapper.prefix.image_programs import Looker
from wrapper.runtime.runtime import Runtime


@pytest.mark.parametrize(
    ("number", "hint"), [(1, "that this runtime accepts?"), (6, "containerize repack '{image}'")]
)
def test_the_way_out_of_an_image_that_does_not_start(
    program: Program, console: Console, tmp_path: Path, number: int, hint: str
) -> None:
    image = tmp_path / "my base.sqfs"
    image.write_bytes(squashfs_bytes(compression=number))
    path = program("singularity", "echo 'FATAL: unknown compression algorithm value' >&2; exit 255")
    look = Looker(
        image=image,
        runtime=Runtime(path=path, name="singularity", version="4.1.3"),
        scratch=tmp_path,
        console=console,
    )
    with pytest.raises(ToolError, match="the container cannot be started") as caught:
        look.programs(["/usr/bin"])
    assert caught.value.hint.endswith(hint.format(image=image))
    assert "FATAL: unknown compression" in caught.value.detail
