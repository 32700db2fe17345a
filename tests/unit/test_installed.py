"""What a tree holds, told by its own records."""

from __future__ import annotations

from pathlib import Path

from wrapper import installed


def distribution(tree: Path, name: str, record: str | None) -> None:
    info = tree / f"lib/python3.11/site-packages/{name}-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    if record is not None:
        (info / "RECORD").write_text(record)


def test_files_of_a_distribution_are_paths_in_the_tree(tmp_path: Path) -> None:
    site = "lib/python3.11/site-packages"
    distribution(tmp_path, "Some_Name", 'some/a.py,sha256=x,1\n"od,d.py",,\n../../../share/x,,\n\n')
    distribution(tmp_path, "other", "other.py,,\n")
    found = installed.files_of({"some-name", "absent"}, tmp_path)
    assert found == {f"{site}/some/a.py", f"{site}/od,d.py", "share/x"}
    assert installed.files_of({"absent"}, tmp_path) == set()


def test_one_without_a_record_is_not_known(tmp_path: Path) -> None:
    distribution(tmp_path, "recorded", "a.py,,\n")
    distribution(tmp_path, "bare", None)
    assert installed.files_of({"recorded", "bare"}, tmp_path) is None
    assert installed.files_of({"recorded"}, tmp_path)
