"""Copies of local projects, and what identifies their content."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.conftest import without_powers
from wrapper.errors import InputError
from wrapper.pip.local import content_digest, copy_project, origin_of


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / "src").mkdir(parents=True)
    (root / "src/a.py").write_text("A = 1\n")
    (root / "link").symlink_to("src/a.py")
    (root / "folder").symlink_to("src")
    return root


def test_a_copy_remembers_where_it_is_from(project: Path, tmp_path: Path) -> None:
    before = content_digest(project)
    copy = copy_project(project, tmp_path / "places")
    (copy / "build").mkdir()
    (copy / "build/x").write_text("built\n")
    assert origin_of(copy) == (project, before)
    assert origin_of(project) == (project, before)
    assert copy_project(project, tmp_path / "places") != copy


def test_litter_and_venvs_do_not_count(project: Path, tmp_path: Path) -> None:
    before = content_digest(project)
    for name in ("__pycache__", ".git", "my-venv"):
        (project / name).mkdir()
        (project / name / "pyvenv.cfg").write_text("")
    assert content_digest(project) == before
    assert not (copy_project(project, tmp_path / "places") / "my-venv").exists()


def test_every_change_counts(project: Path) -> None:
    digests = {content_digest(project)}
    (project / "src/a.py").write_text("A = 2\n")
    digests.add(content_digest(project))
    (project / "src/a.py").chmod(0o755)
    digests.add(content_digest(project))
    (project / "src/a.py").rename(project / "src/b.py")
    digests.add(content_digest(project))
    (project / "folder").unlink()
    digests.add(content_digest(project))
    (project / "link").unlink()
    (project / "link").symlink_to("src/b.py")
    digests.add(content_digest(project))
    assert len(digests) == 6


def test_a_project_that_cannot_be_read_whole(open_place: Path) -> None:
    (open_place / "project").mkdir()
    secret = open_place / "project/secret"
    secret.touch()
    secret.chmod(0)
    with without_powers(), pytest.raises(InputError, match="cannot be copied") as caught:
        copy_project(open_place / "project", open_place / "places")
    assert caught.value.where == str(open_place / "project")
    assert str(secret) in caught.value.detail
