from __future__ import annotations

from pathlib import Path

from wrapper.console import Console
from wrapper.images.format import SANDBOX, ImageFormat
from wrapper.images.tree import ImageTree, parse_listing, read_tree


def test_links_to_the_root_have_no_content(tmp_path: Path, console: Console) -> None:
    root = tmp_path / "image"
    root.mkdir()
    (root / "up").symlink_to("/")
    (root / "file").write_text("x")
    tree = read_tree(
        root,
        format=ImageFormat(kind=SANDBOX),
        unsquashfs=Path("/nowhere"),
        scratch=tmp_path,
        console=console,
    )
    assert tree.read(["/up", "/up/file", "/gone"]) == {"/up/file": b"x"}


def test_a_name_that_looks_like_two_lines_leads_to_no_file_of_the_host(
    tmp_path: Path, console: Console
) -> None:
    """``etc`` is a link to the host; a link's name with a line end told a file in a directory."""
    (tmp_path / "host").mkdir()
    (tmp_path / "host/os-release").write_text("SECRET=1\n")
    root = tmp_path / "image"
    root.mkdir()
    (root / "etc").symlink_to(tmp_path / "host")
    modes: dict[str, str] = {}
    links: dict[str, str] = {}
    parse_listing(
        "lrwxrwxrwx root/root 4 2024-01-01 00:00 /x\n"
        "drwxr-xr-x root/root 4 2024-01-01 00:00 /etc\n"
        "-rw-r--r-- root/root 4 2024-01-01 00:00 /etc/os-release -> y\n"
        "-rw-r--r-- root/root 4 2024-01-01 00:00 /etc/os-release\n",
        modes,
        links,
    )
    tree = ImageTree(
        path=root,
        format=ImageFormat(kind=SANDBOX),
        unsquashfs=Path("/nowhere"),
        scratch=tmp_path,
        console=console,
        modes=modes,
        links=links,
    )
    assert modes["/etc/os-release"].startswith("-")
    assert tree.text("/etc/os-release") == ""
