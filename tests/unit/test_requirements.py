"""pip's requirements files: every form, and every mistake with its place."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest

from wrapper.errors import InputError
from wrapper.inputs.requirements import Requirements, read_requirements, repositories

HASH = "--hash=sha256:" + "a" * 64


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A directory with a project, a wheel and a source archive."""
    (tmp_path / "project").mkdir()
    (tmp_path / "project/pyproject.toml").write_text("")
    (tmp_path / "old project").mkdir()
    (tmp_path / "old project/setup.py").write_text("")
    (tmp_path / "empty").mkdir()
    (tmp_path / "demo-1.0-py3-none-any.whl").write_text("")
    (tmp_path / "demo-1.0.tar.gz").write_text("")
    (tmp_path / "wheels").mkdir()
    return tmp_path


def read(here: Path, *lines: str) -> Requirements:
    (here / "r.txt").write_text("\n".join(lines) + "\n")
    return read_requirements(["-r r.txt"], here, "test")


def texts(found: Requirements) -> list[str]:
    return [" ".join((p.at(p.path) if p.path else p.text, *p.options)) for p in found.packages]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("numpy", "numpy"),
        ("numpy >= 1, < 2  # why", "numpy >= 1, < 2"),
        ("scipy[all]==1.0; python_version > '3'", "scipy[all]==1.0; python_version > '3'"),
        (f"numpy==1.0 {HASH}", f"numpy==1.0 {HASH}"),
        ("demo @ https://host/demo-1.0.zip#sha256=1", "demo @ https://host/demo-1.0.zip#sha256=1"),
        ("https://host/demo-1.0.tar.gz", "https://host/demo-1.0.tar.gz"),
        ("git+https://host/x.git@main#egg=x", "git+https://host/x.git@main#egg=x"),
        ("x @ git+ssh://git@host/x@v1", "x @ git+ssh://git@host/x@v1"),
        ("./project", "HERE/project"),
        ("-e ./project", "HERE/project"),
        ("--editable=./project", "HERE/project"),
        ("./project[plot] ; python_version > '3'", "HERE/project[plot] ; python_version > '3'"),
        ("./old project", "HERE/old project"),
        ("name @ ./project", "name @ file://HERE/project"),
        ("name[x] @ file://HERE/project", "name[x] @ file://HERE/project"),
        ("demo-1.0-py3-none-any.whl", "demo @ file://HERE/demo-1.0-py3-none-any.whl"),
        ("./demo-1.0.tar.gz", "demo @ file://HERE/demo-1.0.tar.gz"),
        ("file://HERE/demo-1.0.tar.gz", "demo @ file://HERE/demo-1.0.tar.gz"),
        ("HERE/project", "HERE/project"),
    ],
)
def test_every_form_of_a_package(here: Path, line: str, expected: str) -> None:
    line, expected = line.replace("HERE", str(here)), expected.replace("HERE", str(here))
    assert texts(read(here, line)) == [expected]


def test_lines_are_joined_and_variables_filled_in(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "secret")
    found = read(
        here, "# comment \\", "numpy==1.0 \\", f"    {HASH}", "-i https://${TOKEN}@h/${NO}"
    )
    assert texts(found) == [f"numpy==1.0  {HASH}".replace("  ", " ")]
    assert found.options == ["--index-url", "https://secret@h/${NO}"]


def test_options_become_uvs(here: Path) -> None:
    found = read(
        here,
        *("-i https://one", "--index-url=https://two", "--extra-index-url https://b"),
        *("--find-links wheels", "-f https://c", "--no-index", "--trusted-host h", "--pre"),
        "--no-index",  # uv takes it once
        *("--no-binary :none:", "--only-binary=a,b", "--require-hashes", "--prefer-binary"),
        "x --config-settings='a=b c'",
    )
    assert found.options == [
        *("--index-url", "https://two", "--extra-index-url", "https://b"),
        *("--find-links", f"{here}/wheels", "--find-links", "https://c", "--no-index"),
        *("--allow-insecure-host", "h", "--prerelease", "allow", "--no-binary", ":none:"),
        *("--only-binary", "a", "--only-binary", "b", "--require-hashes"),
        *("--config-settings-package", "x:a=b c"),
    ]
    assert found.warnings == [f"{here}/r.txt, line 13: --prefer-binary has no effect here"]


def test_nested_files_start_where_they_are(here: Path) -> None:
    (here / "sub/wheels").mkdir(parents=True)
    (here / "sub/two.txt").write_text("-r three.txt\n-f wheels\n-c limits.txt\n-r ../r.txt\n")
    (here / "sub/three.txt").write_text("./project\n")
    (here / "sub/limits.txt").write_text("numpy<2\n")
    found = read(here, "-r sub/two.txt", "scipy", "-r https://host/more.txt")
    assert texts(found) == [f"{here}/project", "scipy"]
    assert found.options == ["--find-links", f"{here}/sub/wheels"]
    assert found.constraints == ["numpy<2"]
    assert found.remote == ["--requirement https://host/more.txt"]


def test_packages_that_are_built_last(here: Path) -> None:
    assert read(here, "--no-build-isolation Flash_Attn, apex", "a").late == {"flash-attn", "apex"}
    assert read(here, "--no-build-isolation").late == {":all:"}


@pytest.mark.parametrize("line", ["./project", "-e ./project", "file://HERE/project"])
def test_a_project_has_the_name_that_it_says(here: Path, line: str) -> None:
    """So ``--no-build-isolation NAME`` finds it, and what uv says of it has a place."""
    (here / "project/pyproject.toml").write_text('[project]\nname = "Its.Name"\n')
    found = read(here, line.replace("HERE", str(here)), "--no-build-isolation its_name")
    assert [one.name for one in found.packages] == ["its-name"] == list(found.late)
    for wrong in ("[project\n", '[project]\nname = "its name"\n'):
        (here / "project/pyproject.toml").write_text(wrong)
        assert read(here, "./project").packages[0].name is None, "uv tells what is wrong there"


def test_places_of_wheels_that_are_not_there_are_a_warning(here: Path) -> None:
    """As with pip; uv would end with it."""
    (here / "a b").mkdir()
    kept = [f"file://{here}/a%20b", "https://h/none", f"{here}/a b"]
    lines = [f"-f '{place}'" for place in [*kept, "gone"]]
    found = read(here, *lines, f"--extra-index-url file://{here}/no", "--no-binary gone")
    said = "is not there, so nothing is found in it"
    assert [line.partition(": ")[2] for line in found.warnings] == [
        f"{here}/gone {said}",
        f"{here}/no {said}",
    ]
    expected = [word for place in kept for word in ("--find-links", place)]
    expected += ["--extra-index-url", f"file://{here}/no", "--no-binary", "gone"]
    assert found.options == expected


def test_indexes_are_known_with_their_places(here: Path) -> None:
    found = read(here, "six", "-i https://h/simple --extra-index-url=https://u:p@k/x", "-f wheels")
    place = f"{here / 'r.txt'}, line 2"
    assert found.sources == [("https://h/simple", place), ("https://u:p@k/x", place)]


def test_lines_of_another_file_are_told_with_their_own_places(here: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_requirements(["numpy", "a = b"], here, "env.yml", ["env.yml, line 4", "line 5"])
    assert caught.value.where == "line 5"


def test_an_editable_is_said_to_be_a_copy(here: Path) -> None:
    (note,) = read(here, "numpy", "-e project/").notes
    assert note.startswith(f"{here}/r.txt, line 2: '-e project/' is installed as a copy")


def test_repositories_need_git(here: Path) -> None:
    found = read(here, "git+https://host/x", "numpy", "x @ git+ssh://host/x")
    assert [one.where.rsplit(" ", 1)[-1] for one in repositories(found.packages)] == ["1", "3"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("numpy = 1.0", "'numpy = 1.0' is not a requirement"),
        ("numpy==1.0; python > 3", "is not a requirement"),
        ("-r missing.txt", "no such file"),
        ("-c missing.txt", "no such file"),
        ("-r", "'--requirement' needs a file"),
        ("./missing", "no such package"),
        ("-e ./empty", "is no Python project"),
        ("demo @ ./missing-1.0.whl", "no such package"),
        ("./r.txt", "neither a wheel nor a source archive"),
        ("--index-url", "'--index-url' needs a value"),
        ("--user", "no such option: --user"),
        ("--upgrade numpy", "no such option"),
        ("numpy --hash=md5:abc", "'--hash md5:abc' cannot be used"),
        *(
            (f"{text} {HASH}", f"'{text}' has a hash and leaves the version open")
            for text in (
                "numpy",
                "numpy>=2",
                "numpy==2.*",
                "numpy==2.0,>1",
                "numpy[x]; os_name=='x'",
            )
        ),
        ("numpy --global-option=x", "'--global-option x' cannot be used"),
        ('numpy --config-settings="a=b', "a quote is not closed"),
        ("svn+https://host/x", "only git"),
        ("http://host/x/zipball/master/", "does not end as a package's file does"),
        ("x @ https://host/x.git", "'https://host/x.git' is a repository"),
        ("x @ hg+https://host/x", "only git"),
    ],
)
def test_mistakes_are_told_with_their_place(here: Path, line: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read(here, "scipy", "# comment", line)
    assert message in caught.value.what
    assert caught.value.where == f"{here}/r.txt, line 3"


def test_constraints_are_names_and_versions(here: Path) -> None:
    (here / "c.txt").write_text("numpy<2\nscipy[all]\n")
    with pytest.raises(InputError, match="cannot be a constraint") as caught:
        read(here, "-c c.txt")
    assert caught.value.where == f"{here}/c.txt, line 2"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[x]", "is not a requirement"),
        ("; a", "is not a requirement"),
        ("-e [x]", "is not a requirement"),
        ("-e", "'--editable' needs a value"),
        ("https://[abc", "is not a URL"),
        ("a @ https://[abc", "is not a URL"),
        ("-r file://[a", "is not a URL"),
    ],
)
def test_lines_without_sense_are_told(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_requirements([line], tmp_path, "r.txt, line 1")
    assert caught.value.where == "r.txt, line 1"


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("pkg-resources==0.0.0", "remove the line"),
        ("pkg_resources==0.0.0", "remove the line"),
        ("x @ file:///croot/x_1/work", "write x==VERSION"),
        ("x @ file:///home/conda/feedstock_root/build_artifacts/x/work", "write x==VERSION"),
        ("numpy=2.2.1=py311_0", "numpy==2.2.1 for pip"),
    ],
)
def test_lines_that_other_tools_write(tmp_path: Path, line: str, hint: str) -> None:
    with pytest.raises(InputError) as caught:
        read_requirements(["six", line], tmp_path, "r.txt")
    assert hint in caught.value.hint and caught.value.where == "r.txt"


@pytest.mark.parametrize("text", ["x{}y", "./a{}/b.tar.gz", "x @{}y", "./a{}["])
def test_many_blanks_take_no_time(tmp_path: Path, text: str) -> None:
    begin = time.process_time()
    with contextlib.suppress(InputError):
        read_requirements([text.format(" " * 60_000)], tmp_path, "r.txt")
    assert time.process_time() - begin < 2, "it took over 20 s"
