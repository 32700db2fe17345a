from __future__ import annotations

from pathlib import Path

from wrapper.console import Console
from wrapper.image.format import SANDBOX, ImageFormat
from wrapper.image.tree import read_tree


def test_links_to_the_root_have_no_content(tmp_path: Path, console: Console) -> None:
    root = tmp_path / "image"
    root.mkdir()
    (root / "up").symlink_to("/")
    (root / "file").write_text("x")
    tree = read_tree(
        root,
        ImageFormat(kind=SANDBOX),
        unsquashfs=Path("/nowhere"),
        scratch=tmp_path,
        console=console,
    )
    assert tree.read(["/up", "/up/file", "/gone"]) == {"/up/file": b"x"}
