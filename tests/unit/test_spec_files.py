"""Reading input files of every kind: which format it is, lists, locks, variables."""

from __future__ import annotations

import codecs
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest
from conda_lock.lockfile import parse_conda_lock_file, write_conda_lock_file
from conda_lock.lockfile.v1.models import HashModel, LockMeta
from conda_lock.lockfile.v2prelim.models import LockedDependency, Lockfile
from conda_lock.models.channel import Channel
from rattler import MatchSpec

from tests.unit.conftest import without_powers
from wrapper.errors import InputError
from wrapper.inputs import read_spec, read_text, read_variables
from wrapper.inputs.explicit import parse_explicit, split_archive_name
from wrapper.inputs.kinds import refuse_condas
from wrapper.inputs.left_out import left_out
from wrapper.inputs.lockfile import is_lock, parse_lock, write_lock
from wrapper.inputs.variables import parse_variables
from wrapper.packages import LockedPackage

PATH = Path("/data/file")
MD5, SHA256 = "0" * 31 + "a", "0" * 63 + "b"
BASE = "https://channel.example/conda-forge/linux-64"


# -- files ---------------------------------------------------------------------------------------
def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file") as caught:
        read_spec(tmp_path / "nowhere.yml")
    assert caught.value.where == str(tmp_path / "nowhere.yml")


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a directory, not a file"):
        read_spec(tmp_path)


def test_a_file_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be read: Not a directory"):
        read_spec(tmp_path / "file/env.yml")


def test_what_has_no_end_is_not_read_to_its_end() -> None:
    with pytest.raises(InputError, match="zero is longer than 100 MB"):
        read_text(Path("/dev/zero"))


def test_lines_may_end_as_anywhere(tmp_path: Path) -> None:
    path = tmp_path / "env.yml"
    path.write_bytes(b"\xef\xbb\xbfa\r\nb\rc\n")
    assert read_text(path) == "a\nb\nc\n"


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "env.yml"
    path.write_bytes(b"name: caf\xe9\n")
    with pytest.raises(InputError, match=r"not UTF-8 text \(byte 9\)") as caught:
        read_spec(path)
    assert caught.value.where == str(path)


@pytest.mark.parametrize(
    "content",
    [
        "name: café\r\n".encode("utf-16"),  # PowerShell's >
        codecs.BOM_UTF16_BE + "name: café\n".encode("utf-16-be"),
        "name: café\n".encode("utf-32"),
        "name: café\n".encode("utf-8-sig"),
    ],
)
def test_a_mark_at_the_beginning_tells_the_encoding(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "env.yml").write_bytes(content)
    assert read_text(tmp_path / "env.yml") == "name: café\n"


@pytest.mark.parametrize(
    "head",
    ["# -*- coding: latin-1 -*-", "# why\n# coding=cp1252", "# vim: fileencoding=ISO-8859-15 :"],
)
def test_a_comment_declares_the_encoding(tmp_path: Path, head: str) -> None:
    text = f"{head}\nsix  # café\n"
    (tmp_path / "r.txt").write_bytes(text.encode("latin-1"))
    assert read_text(tmp_path / "r.txt") == text
    (tmp_path / "r.txt").write_text(text, encoding="utf-8")
    assert read_text(tmp_path / "r.txt") == text, "what is UTF-8 is read as that"


@pytest.mark.parametrize("head", ["# coding: punycode", "# coding: none", "x\n# coding: latin-1"])
def test_other_declarations_are_none(tmp_path: Path, head: str) -> None:
    (tmp_path / "r.txt").write_bytes(f"{head}\n# café".encode("latin-1"))
    with pytest.raises(InputError, match="not UTF-8 text"):
        read_text(tmp_path / "r.txt")


def test_a_file_that_may_not_be_read(open_place: Path) -> None:
    path = open_place / "env.yml"
    path.write_text("dependencies: [python]\n")
    path.chmod(0)
    with without_powers(), pytest.raises(InputError, match="cannot be read: Permission denied"):
        read_text(path)


@pytest.mark.parametrize(
    ("text", "locked"),
    [
        ("dependencies: [python]\n", False),
        ("# @EXPLICIT\ndependencies: [python]\n", False),
        (f"# a list\n\n@EXPLICIT\n{BASE}/a-1-0.conda#{MD5}\n", True),
    ],
)
def test_the_content_tells_the_format(tmp_path: Path, text: str, locked: bool) -> None:
    path = tmp_path / "any.name"
    path.write_text(text)
    assert (read_spec(path).locked is not None) == locked


# -- lists of specs ------------------------------------------------------------------------------
EXPORT = """\
# This file may be used to create an environment using:
# $ conda create --name <env> --file <this file>
# platform: linux-64
_libgcc_mutex=0.1=conda_forge
numpy=1.26.4=py311h64a7726_0
requests=2.31.0=pypi_0
"""


def listed(tmp_path: Path, text: str) -> tuple[list[tuple[str, int]], tuple[str, ...]]:
    path = tmp_path / "list.txt"
    path.write_text(text)
    found = read_spec(path)
    assert found.locked is None
    return [(spec.text, spec.line) for spec in found.specs], found.pip_lines


def test_an_export(tmp_path: Path) -> None:
    specs, pip = listed(tmp_path, EXPORT)
    assert specs == [
        ("_libgcc_mutex=0.1=conda_forge", 4),
        ("numpy=1.26.4=py311h64a7726_0", 5),
    ]
    assert pip == ("requests==2.31.0",)
    for spec, _ in specs:
        assert MatchSpec(spec)
    with pytest.raises(InputError, match="describes a conda environment"):
        refuse_condas(EXPORT, PATH)


def test_a_list_of_specs(tmp_path: Path) -> None:
    text = "python=3.11  # why\n\nconda-forge::gdal >=3,<4\nscipy\nzlib  1.2.*\n"
    specs, pip = listed(tmp_path, text)
    assert [spec for spec, _ in specs] == [
        *("python=3.11", "conda-forge::gdal >=3,<4", "scipy", "zlib 1.2.*"),
    ]
    assert specs[1][1] == 3 and pip == ()


@pytest.mark.parametrize("text", ["numpy\nscipy >=1\n", "python >=3.9\nnumpy==1.26.4\n"])
def test_a_list_that_may_be_pips_is_the_commands(tmp_path: Path, text: str) -> None:
    assert [spec for spec, _ in listed(tmp_path, text)[0]] == text.splitlines()


def test_an_export_of_another_system(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lists packages for osx-arm64"):
        listed(tmp_path, EXPORT.replace("linux-64", "osx-arm64"))
    path = tmp_path / "list.txt"
    path.write_text(EXPORT.replace("linux-64", "linux-aarch64"))
    assert read_spec(path, platform="linux-aarch64").specs
    with pytest.raises(InputError, match="lists packages for linux-aarch64"):
        read_spec(path)


@pytest.mark.parametrize(
    "text", ["numpy==1\nscipy\n", "numpy==1.2\n-r more.txt\n", "a: b=1\n", "numpy=1\n- x\n", ""]
)
def test_what_is_no_list_of_condas(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError):
        listed(tmp_path, text)


def test_pip_packages_of_a_rendered_list() -> None:
    url = "https://index.example/requests-2.31.0-py3-none-any.whl"
    package = f"{BASE}/a-1-0.conda#{MD5}"
    lines = ["# a comment", "# pip is a program", f"# pip requests @ {url}#sha256={SHA256}"]
    found = parse_explicit("\n".join(["@EXPLICIT", package, *lines]), PATH)
    assert [one.name for one in found.locked or ()] == ["a"]
    assert found.pip_lines == (f"requests @ {url}#sha256={SHA256}",)
    assert found.pip_places == (f"{PATH}, line 5",)


# -- @EXPLICIT -----------------------------------------------------------------------------------
def explicit(*lines: str) -> tuple[LockedPackage, ...]:
    return parse_explicit("\n".join(["@EXPLICIT", *lines]), PATH).locked or ()


@pytest.mark.parametrize(
    ("digest", "md5", "sha256"),
    [
        (f"#{MD5}", MD5, None),
        (f"#{SHA256}", None, SHA256),
        (f"#sha256:{SHA256.upper()}", None, SHA256),
        ("", None, None),
    ],
)
@pytest.mark.parametrize("extension", ["conda", "tar.bz2"])
def test_an_explicit_package(
    extension: str, digest: str, md5: str | None, sha256: str | None
) -> None:
    url = f"{BASE}/ca-certificates-2024.12.14-hbcca054_0.{extension}"
    (package,) = explicit(f"  {url}{digest}  ")
    assert (package.manager, package.url) == ("conda", url)
    assert (package.name, package.version, package.build) == (
        *("ca-certificates", "2024.12.14", "hbcca054_0"),
    )
    assert (package.md5, package.sha256) == (md5, sha256)


def test_packages_without_a_hash_are_a_warning() -> None:
    text = f"@EXPLICIT\n{BASE}/a-1-0.conda\n{BASE}/b-1-0.conda#{MD5}\n"
    assert parse_explicit(text, PATH).warnings == (f"{PATH}: no hash to check for a",)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("python=3.11", "'python=3.11' is not the URL of a conda package"),
        ("/local/linux-64/a-1-0.conda", "is not the URL"),
        (f"{BASE}/a-1.conda", "is not the URL"),
        (f"{BASE}/a-1-0.whl", "is not the URL"),
        (f"{BASE}/-1-0.conda", "is not the URL"),
        (f"{BASE}/a-1-0.conda#xyz", "'xyz' is neither an MD5 nor a SHA-256"),
        (f"{BASE}/a-1-0.conda#{MD5}0", "is neither an MD5 nor a SHA-256"),
    ],
)
def test_a_line_that_is_no_package_is_told_with_its_number(line: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        explicit("# comment", "", f"{BASE}/good-1-0.conda", line)
    assert message in caught.value.what
    assert caught.value.where == f"{PATH}, line 5"


def test_a_list_without_packages() -> None:
    with pytest.raises(InputError, match="lists no packages"):
        explicit("# nothing")


def test_names_of_archives_may_be_escaped() -> None:
    url = f"{BASE}/x264-1%21164.3095-h166bdaf_2.tar.bz2?token=a-b-c"
    assert split_archive_name(url) == ("x264", "1!164.3095", "h166bdaf_2")


# -- conda-lock.yml ------------------------------------------------------------------------------
PACKAGES = (
    LockedPackage(
        manager="conda",
        name="python",
        version="3.11.7",
        build="h1_0",
        url=f"{BASE}/python-3.11.7-h1_0.conda",
        sha256=SHA256,
        md5=MD5,
        depends=("openssl >=3,<4.0a0", "tzdata"),
    ),
    LockedPackage(
        manager="conda",
        name="a",
        version="1",
        build="0",
        url=f"{BASE}/a-1-0.conda",
        md5=MD5,
    ),
    LockedPackage(
        manager="pip",
        name="requests",
        version="2.32.3",
        url="https://host/requests-2.32.3-py3-none-any.whl",
        sha256=SHA256,
    ),
)
CHANNELS = ("https://channel.example/conda-forge", "file:///data/channel")


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "conda-lock.yml"
    write_lock(PACKAGES, CHANNELS, path)
    return path


def test_a_lock_is_read_as_it_was_written(lock: Path) -> None:
    spec = read_spec(lock)
    assert sorted(spec.locked or (), key=lambda p: p.name) == sorted(PACKAGES, key=lambda p: p.name)
    assert spec.channels == CHANNELS


def test_the_same_packages_give_the_same_bytes(lock: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.yml"
    write_lock(PACKAGES[::-1], CHANNELS, other)
    assert other.read_bytes() == lock.read_bytes()


def test_a_lock_keeps_the_variables_of_an_environment_file(tmp_path: Path) -> None:
    variables = {"OMP_NUM_THREADS": "1", "TEXT": "it's $HOME\n# é", "EMPTY": ""}
    path = tmp_path / "lock.yml"
    write_lock(PACKAGES, CHANNELS, path, variables)
    found = read_spec(path)
    assert found.variables == variables
    assert found.notes == ("variables of the lock: OMP_NUM_THREADS, TEXT, EMPTY",)
    write_lock(PACKAGES, CHANNELS, tmp_path / "other.yml")
    assert parse_conda_lock_file(path) == parse_conda_lock_file(tmp_path / "other.yml")


@pytest.mark.parametrize("text", ["{", "[]", '{"A": 1}', '{"A B": "1"}', '{"A": "\\u0000"}'])
def test_variables_of_a_lock_that_somebody_changed(tmp_path: Path, text: str) -> None:
    path = tmp_path / "lock.yml"
    write_lock(PACKAGES, CHANNELS, path, {"A": "1"})
    path.write_text(path.read_text().replace('{"A": "1"}', text))
    with pytest.raises(InputError, match="variables cannot be read") as caught:
        read_spec(path)
    assert caught.value.where == f"{path}, line 2"


def test_a_lock_names_what_it_lacks(tmp_path: Path) -> None:
    path = tmp_path / "lock.yml"
    unknown = LockedPackage(manager="pip", name="My.Pkg", version="1", url="")
    write_lock(PACKAGES, CHANNELS, path, {"A": "1"}, [unknown])
    assert left_out(path.read_text()) == {"my-pkg": "my-pkg==1"}
    assert read_spec(path).variables == {"A": "1"}
    write_lock(PACKAGES, CHANNELS, tmp_path / "other.yml")
    assert parse_conda_lock_file(path) == parse_conda_lock_file(tmp_path / "other.yml")


def test_a_lock_of_another_platform(tmp_path: Path) -> None:
    path = tmp_path / "lock.yml"
    write_lock(PACKAGES, CHANNELS, path, platform="linux-aarch64")
    assert len(read_spec(path, platform="linux-aarch64").locked or ()) == len(PACKAGES)
    with pytest.raises(InputError, match="has no packages for linux-64"):
        read_spec(path, platform="linux-64")


def as_conda_lock_writes_it(packages: Sequence[LockedPackage], path: Path) -> bytes:
    metadata = LockMeta(
        content_hash={"linux-64": ""},
        channels=[Channel.from_string(channel) for channel in CHANNELS],
        platforms=["linux-64"],
        sources=[],
    )
    entries = [
        LockedDependency(
            name=package.name,
            version=package.version,
            manager=package.manager,
            platform="linux-64",
            dependencies={word.split()[0]: " ".join(word.split()[1:]) for word in package.depends},
            url=package.url,
            hash=HashModel(md5=package.md5, sha256=package.sha256),
            build=package.build or None,
            categories={"main"},
        )
        for package in packages
    ]
    lock = Lockfile(package=entries, metadata=metadata)
    write_conda_lock_file(lock, path, metadata_choices=None, include_help_text=False)
    return path.read_bytes()


def test_the_bytes_are_those_that_conda_lock_writes(tmp_path: Path) -> None:
    odd = LockedPackage(
        manager="conda",
        name="zlib",
        version="1.10",
        build="0",
        url=f"{BASE}/{'long-' * 40}zlib-1.10-0.conda#md5",
        sha256=SHA256,
        md5=MD5,
        depends=(
            "b >=1,<2",
            "b 1.* *_cpython",
            "a 1e3",
            "yes",
            "no ==1.0|==1.1",
            "c * [build=x]",
            "d !=2",
            "libfoo >=1.2.3,<1.3.0a0,!=1.2.4,!=1.2.5,!=1.2.6,!=1.2.7,!=1.2.8,!=1.2.9 or_so_it_was",
        ),
    )
    again = dataclasses.replace(odd, name="zlib-again", version="0123", depends=odd.depends)
    packages = [*PACKAGES, odd, again]
    write_lock(packages, CHANNELS, tmp_path / "ours.yml")
    theirs = as_conda_lock_writes_it(packages, tmp_path / "theirs.yml")
    assert (tmp_path / "ours.yml").read_bytes() == theirs


def test_other_platforms_and_categories_are_left_out(lock: Path) -> None:
    lines = lock.read_text().splitlines(keepends=True)
    start = next(n for n, line in enumerate(lines) if line.startswith("package:"))
    first = "".join(lines[start + 1 :]).split("- name: ")[1]
    foreign = "- name: " + first.replace("linux-64", "osx-arm64")
    optional = "- name: dev-" + first.replace("main", "dev")
    lock.write_text("".join(lines) + foreign + optional)
    assert {p.name for p in read_spec(lock).locked or ()} == {p.name for p in PACKAGES}


def test_a_lock_for_another_platform_alone(lock: Path) -> None:
    text = lock.read_text().replace("linux-64", "osx-arm64")
    lock.write_text(text)
    with pytest.raises(InputError, match="has no packages for linux-64"):
        parse_lock(text, lock)


@pytest.mark.parametrize(
    "text",
    [
        "package: []\nmetadata: {}\n",
        "version: 99\npackage: []\nmetadata: {}\n",
        "version: 1\npackage: x\nmetadata: y\n",
        "version: 1\npackage: [x\nmetadata: y\n",
    ],
)
def test_what_only_looks_like_a_lock(tmp_path: Path, text: str) -> None:
    path = tmp_path / "conda-lock.yml"
    path.write_text(text)
    assert is_lock(text)
    with pytest.raises(InputError, match="is not a conda-lock file") as caught:
        read_spec(path)
    assert caught.value.where == str(path) and caught.value.detail


# -- --environ files -----------------------------------------------------------------------------
def test_variables_are_taken_as_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "environ"
    path.write_text("# comment\n\nA=1\nexport B='two words'\n  C='$HOME'=x#y\nD=\nA=2\n")
    expected = {"A": "2", "B": "two words", "C": "'$HOME'=x#y", "D": ""}
    assert read_variables(path) == expected


@pytest.mark.parametrize(
    "line",
    ["A", "A B=1", "=1", "a-b=1", "1a=1", "é=1", "export", "$A=1", "_cw_x=1", "export A=two words"],
)
def test_a_line_that_is_no_assignment_is_told_with_its_number(line: str) -> None:
    with pytest.raises(InputError, match="is not a NAME=VALUE line") as caught:
        parse_variables(f"A=1\n\n{line}\n", PATH)
    assert caught.value.where == f"{PATH}, line 3"
    assert repr(line) in caught.value.what


def test_a_value_that_no_variable_can_hold() -> None:
    with pytest.raises(InputError) as caught:
        parse_variables("A=1\nB=x\0y\n", PATH)
    assert caught.value.where == f"{PATH}, line 2"


# -- files for other commands --------------------------------------------------------------------
@pytest.mark.parametrize(
    "text",
    [
        "numpy\n",
        "# of pip\nnumpy>=1.26\nscipy==1.15.0 ; python_version > '3.8'\n",
        "-r more.txt\n--extra-index-url https://x/simple\nrequests[socks]\n./local\n",
        "git+https://host/x.git@v1\npkg @ https://host/x.whl\n",
    ],
)
def test_requirements_are_no_environment(tmp_path: Path, text: str) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text(text)
    with pytest.raises(InputError, match="is a requirements file of pip") as caught:
        read_spec(file)
    assert "pip-containerize" in caught.value.hint and caught.value.where == str(file)


def test_a_project_is_no_environment(tmp_path: Path) -> None:
    file = tmp_path / "pyproject.toml"
    file.write_text('[project]\nname = "x"\n')
    with pytest.raises(InputError, match="a Python project's file"):
        read_spec(file)


@pytest.mark.parametrize(
    "text", ["channels: [x]\ndependencies:\n  - python\n", "@EXPLICIT\n", "metadata:\npackage:\n"]
)
def test_an_environment_is_no_requirements_file(text: str) -> None:
    with pytest.raises(InputError, match="describes a conda environment") as caught:
        refuse_condas(text, Path("x.yml"))
    assert "conda-containerize" in caught.value.hint
    refuse_condas("numpy\ndependencies-of-mine==1\n", Path("requirements.txt"))


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ('export A="two words"', "two words"),
        ("export A='$HOME'", "$HOME"),
        ("export A=two # words", "two"),
        ('A="two words"', '"two words"'),
        ("export A='it'\\''s'", "it's"),
        ("A=it's", "it's"),
    ],
)
def test_exported_variables_are_a_shells(line: str, value: str) -> None:
    assert parse_variables(line, Path("vars")) == {"A": value}
    more = parse_variables("export A=1 B='2 3' C=", Path("vars"))
    assert more == {"A": "1", "B": "2 3", "C": ""}


def test_quotes_that_do_not_close_are_told() -> None:
    with pytest.raises(InputError, match="No closing quotation") as caught:
        parse_variables("A='1\nexport B='x\n", Path("vars"))
    assert caught.value.where == "vars, line 2"


@pytest.mark.parametrize("value", ["/x:$PATH", '"$HOME/x"', "`date`", "$(date)"])
def test_what_a_shell_would_expand_is_refused(value: str) -> None:
    with pytest.raises(InputError, match="expanded by a shell") as caught:
        parse_variables(f"A=1\nexport B={value}", Path("vars"))
    assert caught.value.where == "vars, line 2"
