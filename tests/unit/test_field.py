"""What people feed it: some 350 files of the kinds that the field has, and what is read and told.

The cases are in ``field/*.txt``: a title, the file (with others beside it), and behind ``>>>`` what
comes of it: packages, channels, pip's lines and options, variables, notes, warnings; or the error
with its place and the line to write.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from wrapper.build.inputs import Inputs, read
from wrapper.conda.resolve import check_specs
from wrapper.console import Console
from wrapper.errors import ContainerizeError
from wrapper.requests import NewPipRequest, NewRequest, Request

FIELD = Path(__file__).parent / "field"
# File with the cases, name of their file, whether it is conda's.
KINDS = [
    ("environments.txt", "env.yml", True),
    ("lists.txt", "list.txt", True),
    ("requirements.txt", "requirements.txt", False),
    ("projects.txt", "pyproject.toml", False),
]
_FILE = re.compile(r"^\+\+\+ (\S+)\n", re.M)  # another file of a case


def cases() -> Iterator[tuple[str, bool, str, str, str]]:
    """Name of the file, whether it is conda's, title, content, what is told."""
    for source, name, conda in KINDS:
        text = (FIELD / source).read_text()
        for case in re.split(r"^=== ", text, flags=re.M)[1:]:
            title, _, rest = case.partition("\n")
            content, _, told = rest.partition(">>>\n")
            yield name, conda, title, content, told


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with what files name: a project, wheels, requirements, constraints."""
    (tmp_path / "project").mkdir()
    (tmp_path / "project/pyproject.toml").write_text('[project]\nname = "p"\n')
    (tmp_path / "channel").mkdir()
    (tmp_path / "wheels").mkdir()
    (tmp_path / "demo-1.0-py3-none-any.whl").touch()
    (tmp_path / "more.txt").write_text("tqdm\n")
    (tmp_path / "limits.txt").write_text("numpy<2\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOKEN", "tk-1")
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def told(path: Path, conda: bool) -> str:
    """All that comes of a file, a line each; its directory is left out of paths."""
    screen = io.StringIO()
    request: Request = NewPipRequest(prefix=path / "x", requirements=(path,))
    if conda:
        request = NewRequest(prefix=path / "x", environment=path)
    try:
        found = read(request, Console(stream=screen))
        lines = list(_read(found))
    except ContainerizeError as error:
        lines = [f"{type(error).__name__} {error.where}: {error.what}", f"-> {error.hint}"]
        lines += error.detail.splitlines()
    lines += [line.removeprefix("containerize: ") for line in screen.getvalue().splitlines()]
    text = "".join(f"{line}\n" for line in lines)
    for directory, name in {
        f"file://{path.parent}": "file:HERE",
        f"{path.parent}/": "",
        str(path.parent): "HERE",
    }.items():
        text = text.replace(directory, name)
    return text


def _read(found: Inputs) -> Iterator[str]:
    if found.environment:
        check_specs(found.environment)
        if found.environment.channels:
            yield f"channels {' '.join(found.environment.channels)}"
        yield from (f"{one.line}: {one.text}" for one in found.environment.specs)
        yield from (f"locked {one.name} {one.version}" for one in found.environment.locked or ())
    wanted = found.requirements
    for one in wanted.packages:
        yield " ".join(("pip", one.at(one.path) if one.path else one.text, *one.options))
    for lock in wanted.locks:
        yield from (f"locked {one['name']} {one.get('version')}" for one in lock.packages)
    yield from (f"locked {one.name} {one.version}" for one in found.locked)
    yield from (f"pip {line}" for line in wanted.remote)
    yield from (f"constraint {line}" for line in wanted.constraints)
    if wanted.options:
        yield f"options {' '.join(wanted.options)}"
    if wanted.late:
        yield f"late {' '.join(sorted(wanted.late))}"
    yield from (f"variable {name}={value}" for name, value in found.variables.items())


def written(here: Path, name: str, content: str) -> Path:
    """The files of a case; the first one is what the command is given."""
    first, *others = _FILE.split(content)
    for other, text in zip(others[::2], others[1::2], strict=True):
        (here / other).write_text(text)
    (here / name).write_text(first)
    return here / name


@pytest.mark.parametrize(
    ("name", "conda", "content", "expected"),
    [pytest.param(*case[:2], *case[3:], id=f"{case[0]}: {case[2]}") for case in cases()],
)
def test_what_is_read_and_told(
    here: Path, name: str, conda: bool, content: str, expected: str
) -> None:
    assert told(written(here, name, content), conda) == expected


@pytest.mark.parametrize(
    ("encoding", "end"), [("utf-8-sig", "\r\n"), ("utf-16", "\n"), ("utf-32", "\r")]
)
def test_marks_and_line_ends_change_nothing(here: Path, encoding: str, end: str) -> None:
    chosen = [case for case in cases() if "+++" not in case[3] and "[project]" not in case[3]]
    for name, conda, _, content, expected in chosen[::9]:
        (here / name).write_bytes(content.replace("\n", end).encode(encoding))
        assert told(here / name, conda) == expected, content
