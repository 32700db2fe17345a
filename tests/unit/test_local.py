"""Copies of local projects, and what identifies their content."""

from __future__ import annotations

import subprocess
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


# -- what is around a project ----------------------------------------------------------------------
def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_what_a_project_names_lies_beside_its_copy(tmp_path: Path) -> None:
    text = (
        '[tool.uv.sources]\ncommon = {path = "../common"}\n[x]\ninclude = "-I../../core/include"\n'
    )
    write(tmp_path / "a/app/pyproject.toml", text)
    write(tmp_path / "a/common/pyproject.toml", 'x = "../more"\n')
    write(tmp_path / "a/more/setup.py")
    write(tmp_path / "a/unrelated/data")
    write(tmp_path / "core/include/x.h")
    copy = copy_project(tmp_path / "a/app", tmp_path / "places")
    assert (copy / "../common/pyproject.toml").read_text() == 'x = "../more"\n'
    assert origin_of(copy.parent / "common")[0] == tmp_path / "a/common"
    assert (copy / "../more/setup.py").is_file() and not (copy / "../more").is_symlink()
    assert (copy / "../../core/include").resolve() == tmp_path / "core/include"
    assert (copy / "../unrelated").readlink() == tmp_path / "a/unrelated", "nothing is copied of it"


def test_a_directory_above_that_is_named_is_there(tmp_path: Path) -> None:
    write(tmp_path / "top/app/setup.py", 'open(os.path.join(here, "..", "VERSION"))\n')
    write(tmp_path / "top/VERSION", "1")
    copy = copy_project(tmp_path / "top/app", tmp_path / "places")
    assert (copy / "../VERSION").read_text() == "1"
    assert (copy / "setup.py").is_file() and not copy.is_symlink()


@pytest.mark.parametrize(
    "text",
    [
        "-I../core",
        '["../core"]',
        'HERE + "/../core"',
        "target_include_directories(x ${CMAKE_SOURCE_DIR}/../core)",
        "commonlib @ {root:uri}/../core",
        "cd ./../core",
    ],
)
def test_a_project_is_named_in_many_ways(tmp_path: Path, text: str) -> None:
    write(tmp_path / "app/setup.cfg", text)
    write(tmp_path / "core/setup.py")
    copy = copy_project(tmp_path / "app", tmp_path / "places")
    assert not (copy / "../core").is_symlink(), "a build may write into it"
    assert origin_of(copy.parent / "core")[0] == tmp_path / "core"


def test_what_is_around_a_project_is_around_its_copy(tmp_path: Path) -> None:
    """However a build comes to it: by its own path (``parents[1]``), by a link in the project."""
    write(tmp_path / "a/app/setup.py")
    (tmp_path / "a/app/linked").symlink_to("../core")
    write(tmp_path / "a/core/x.h", "x")
    copy = copy_project(tmp_path / "a/app", tmp_path / "places")
    assert (copy.parent / "core/x.h").read_text() == (copy / "linked/x.h").read_text() == "x"
    git(tmp_path, "init", "-q")
    write(tmp_path / "top.h", "y")
    copy = copy_project(tmp_path / "a/app", tmp_path / "other")
    assert (copy.parents[1] / "top.h").read_text() == "y", "all of the work tree"
    assert not (copy.parents[1] / ".git").exists(), "to git, links are changes"


def test_what_is_named_hides_nothing_beside_it(tmp_path: Path) -> None:
    write(tmp_path / "app/pyproject.toml", 'x = ["../rust/Cargo.toml", "../libs/common"]\n')
    write(tmp_path / "libs/common/pyproject.toml")
    for name in ("rust/Cargo.toml", "rust/src/lib.rs", "libs/shared.toml"):
        write(tmp_path / name, name)
    beside = copy_project(tmp_path / "app", tmp_path / "places").parent
    assert (beside / "rust/src/lib.rs").is_file() and (beside / "libs/shared.toml").is_file()
    assert not (beside / "libs/common").is_symlink()


def test_a_member_of_uvs_workspace_is_there_with_those_it_names(tmp_path: Path) -> None:
    root = '[tool.uv.workspace]\nmembers = ["packages/*"]\n'
    write(tmp_path / "ws/pyproject.toml", root)
    named = "ws-common = {workspace = true}"
    for name, more in (("app", named), ("ws_common", ""), ("other", "")):
        text = f'[project]\nname = "{name}"\n[tool.uv.sources]\n{more}\n'
        write(tmp_path / f"ws/packages/{name}/pyproject.toml", text)
    copy = copy_project(tmp_path / "ws/packages/app", tmp_path / "places")
    assert (copy / "../../pyproject.toml").read_text() == root
    assert not (copy / "../ws_common").is_symlink() and (copy / "../other").is_symlink()


def test_members_above_their_workspace_are_copied_where_they_lie(tmp_path: Path) -> None:
    root = '[tool.uv.workspace]\nmembers = ["app", "../../shared/*"]\n'
    write(tmp_path / "deep/ws/pyproject.toml", root)
    write(tmp_path / "deep/ws/app/pyproject.toml", '[project]\nname = "app"\nneeds = ["lib"]\n')
    write(tmp_path / "shared/lib/pyproject.toml", '[project]\nname = "lib"\n')
    copy = copy_project(tmp_path / "deep/ws/app", tmp_path / "places")
    found = copy / "../../../shared/lib/pyproject.toml"
    assert found.resolve().is_relative_to(tmp_path / "places/0") and not found.is_symlink()


def test_a_link_where_a_copy_is_remembered_leads_nowhere(tmp_path: Path) -> None:
    """Beside a project others may write, too: no file of the user's is written or read by it."""
    mine = write(tmp_path / "home/mine", "precious")
    project = write(tmp_path / "shared/app/setup.py", "'../../home'").parent
    for name in ("app", "shared"):
        (tmp_path / f"shared/.{name}.origin.json").symlink_to(mine)
    (tmp_path / ".shared.origin.json").symlink_to(mine)
    copy = copy_project(project, tmp_path / "places")
    assert mine.read_text() == "precious"
    assert origin_of(copy) == (project, content_digest(project))
    assert origin_of(copy.parent)[0] == copy.parent


def test_a_repository_in_a_project_that_is_named_too(tmp_path: Path) -> None:
    (tmp_path / "a/sub/.git").mkdir(parents=True)
    for name in ("a", "a/sub"):
        write(tmp_path / name / "setup.py")
    app = write(tmp_path / "app/setup.py", "'../a' '../a/sub'").parent
    copy = copy_project(app, tmp_path / "places")
    assert (copy / "../a/sub/.git").resolve() == tmp_path / "a/sub/.git"


def test_a_project_in_a_project_is_told_by_its_own_place(tmp_path: Path) -> None:
    inner = write(tmp_path / "top/packages/inner/setup.py").parent
    copy = copy_project(tmp_path / "top", tmp_path / "places")
    before = content_digest(inner)
    write(copy / "packages/inner/build/x")
    assert origin_of(copy / "packages/inner") == (inner, before)


def test_a_directory_that_cannot_be_listed_or_is_a_store(
    open_place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(open_place / "closed/app/setup.py")
    write(open_place / "closed/x")
    monkeypatch.setattr("wrapper.pip.local._MOST_AROUND", 1)
    assert not (copy_project(open_place / "closed/app", open_place / "places") / "../x").exists()
    monkeypatch.undo()
    (open_place / "closed").chmod(0o311)
    with without_powers():
        copy = copy_project(open_place / "closed/app", open_place / "others")
    assert (copy / "setup.py").exists() and not (copy / "../x").exists()


def test_large_files_are_not_copied(tmp_path: Path) -> None:
    project = write(tmp_path / "app/setup.py").parent
    with (project / "data").open("wb") as file:
        file.truncate(3 << 30)
    (project / "data").chmod(0o400)
    for name in ("table.npy", "module.c", "Cargo.lock", "configure"):
        (project / name).write_bytes(bytes(1 << 20))
    copy = copy_project(project, tmp_path / "places")
    assert (copy / "data").readlink() == project / "data"
    assert (copy / "table.npy").readlink() == project / "table.npy"
    assert not (copy / "setup.py").is_symlink()
    for name in ("module.c", "Cargo.lock", "configure"):
        assert not (copy / name).is_symlink(), "what a build may write anew"


def git(directory: Path, *words: str) -> str:
    names = ("-c", "user.name=x", "-c", "user.email=x@y", "-c", "protocol.file.allow=always")
    done = subprocess.run(
        ["git", *names, *words], cwd=directory, check=True, capture_output=True, text=True
    )
    return done.stdout


def test_git_tells_the_same_of_the_copy(tmp_path: Path) -> None:
    top = write(tmp_path / "top/README").parent
    write(
        top / "app/pyproject.toml", '[tool.setuptools_scm]\nroot = ".."\n[x]\ny="setuptools-scm"\n'
    )
    with (top / "app/large").open("wb") as file:
        file.truncate(5 << 20)
    git(top, "init", "-q")
    git(top, "add", "-A")
    git(top, "commit", "-qm", "x")
    git(top, "tag", "v1.2")
    write(top / "app/untracked")
    write(top / "other-data/big")
    copy = copy_project(top / "app", tmp_path / "places")
    assert git(copy, "describe", "--tags", "--dirty").strip() == "v1.2"
    assert not git(copy, "status", "--porcelain", "--untracked-files=no")
    assert (copy / "../.git").is_symlink()
    # The repository of a submodule is that of the project around it.
    outer = write(tmp_path / "outer/x").parent
    git(outer, "init", "-q")
    git(outer, "submodule", "--quiet", "add", str(top), "sub")
    copy = copy_project(outer / "sub/app", tmp_path / "places")
    assert git(copy, "describe", "--tags", "--dirty").strip() == "v1.2"


def test_a_project_that_cannot_be_read_whole(open_place: Path) -> None:
    (open_place / "project").mkdir()
    secret = open_place / "project/secret"
    secret.touch()
    secret.chmod(0)
    with without_powers(), pytest.raises(InputError, match="cannot be copied") as caught:
        copy_project(open_place / "project", open_place / "places")
    assert caught.value.where == str(open_place / "project")
    assert str(secret) in caught.value.detail
