"""A request's files: each is read once, by one reader for all commands, and recorded as read."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from tests.manifests import manifest
from wrapper.build import inputs
from wrapper.console import Console
from wrapper.errors import InputError, PackageError
from wrapper.inputs.files import InputFiles, read_bytes
from wrapper.inputs.pip_lock import write_requirements_lock
from wrapper.inputs.tykky import ToolFile
from wrapper.models import EnvironmentSpec, Site
from wrapper.packages import LockedPackage
from wrapper.prefix.record import write_inputs
from wrapper.requests import (
    NewPipRequest,
    NewRequest,
    Request,
    SifRequest,
    UpdatePipRequest,
    UpdateRequest,
)

Make = Callable[..., Request]
WHEEL = LockedPackage(
    manager="pip",
    name="humanize",
    version="4.9",
    url="https://index.example/humanize-4.9-py3-none-any.whl",
    sha256="1" * 64,
)
KINDS: dict[str, Make] = {
    "conda": lambda **files: NewRequest(prefix=Path("p"), **files),
    "pip": lambda **files: NewPipRequest(prefix=Path("p"), **{**files, "environment": None}),
    "sif": lambda **files: SifRequest(prefix=Path("p.sif"), base_image="b", **files),
}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """One file of every kind, some of which name others."""
    monkeypatch.chdir(tmp_path)
    Path("env.yml").write_text(
        "channels: [c]\ndependencies: [python, pip: ['-r more.txt']]\nvariables: {A: '1'}\n"
    )
    Path("more.txt").write_text("six\n")
    Path("r.txt").write_text("-c limits.txt\n-e ./own\nnumpy\n")
    Path("limits.txt").write_text("numpy<3\n")
    Path("pyproject.toml").write_text('[project]\nname = "x"\ndependencies = ["tabulate"]\n')
    Path("own").mkdir()
    Path("own/setup.py").touch()
    Path("post.sh").write_text("true\n")
    Path("environ").write_text("B=2\n")
    write_requirements_lock([WHEEL], Path("requirements.lock"))
    return {
        "environment": Path("env.yml"),
        "requirements": (Path("r.txt"), Path("requirements.lock"), Path("pyproject.toml")),
        "post_install": (Path("post.sh"),),
        "environ": Path("environ"),
    }


def opened(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How often each file is opened from now on, by its name."""
    counts: dict[str, int] = {}
    real = io.open

    def count(file: object, *words: object, **named: object) -> object:
        name = os.path.basename(str(file))  # noqa: PTH119
        counts[name] = counts.get(name, 0) + 1
        return real(file, *words, **named)  # type: ignore[call-overload]

    monkeypatch.setattr(io, "open", count)
    monkeypatch.setattr("builtins.open", count)
    return counts


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_is_read_once_and_means_the_same_to_every_command(
    kind: str, files: dict[str, object], console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = opened(monkeypatch)
    found = inputs.read(KINDS[kind](**files), console)
    names = {"more.txt", "r.txt", "limits.txt", "pyproject.toml", "post.sh", "environ"}
    names |= {"env.yml", "requirements.lock"}
    if kind == "pip":
        names -= {"env.yml", "more.txt"}
    counts["pyproject.toml"] -= 1  # "./" in r.txt: its project says its name there
    assert {name: counts.get(name) for name in names} == dict.fromkeys(names, 1)
    assert {file.name for file in found.files} == names
    asked = {one.name for one in found.requirements.packages}
    assert asked - {None} == ({"numpy", "tabulate"} | ({"six"} if kind != "pip" else set()))
    assert found.requirements.constraints == ["numpy<3"]
    assert [package.name for package in found.locked] == ["humanize"]
    assert found.environ == {"B": "2"}
    assert found.variables == ({"B": "2"} if kind == "pip" else {"A": "1", "B": "2"})


@pytest.mark.parametrize("kind", KINDS)
def test_the_record_holds_what_was_read(
    kind: str, files: dict[str, object], console: Console, tmp_path: Path
) -> None:
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    found = inputs.read(KINDS[kind](**files), console)
    for name in before:
        Path(name).unlink() if name > "m" else Path(name).write_text("edited meanwhile")
    (tmp_path / "record").mkdir()
    names = write_inputs(tmp_path / "record", (), found.files)
    recorded = {name: (tmp_path / "record/inputs" / name).read_bytes() for name in names}
    assert recorded == {name: before[name] for name in names}
    assert found.post_install[0].content == b"true\n"


def test_what_a_lock_lacks_has_to_come_from_elsewhere(
    tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lock, more = Path("requirements.lock"), Path("more.txt")
    write_requirements_lock([WHEEL], lock, [replace(WHEEL, name="My.Ray", url="")])
    new = partial(NewPipRequest, prefix=tmp_path / "p")
    with pytest.raises(PackageError, match=r"without packages that were there: my-ray=="):
        inputs.read(new(requirements=(lock,)), console)
    more.write_text("my_ray\n")
    inputs.read(new(requirements=(lock, more)), console)
    # These may bring it: the finished tree tells.
    for request in (
        new(requirements=(lock,), post_install=("true",)),
        UpdatePipRequest(prefix=tmp_path / "p", requirements=(lock,)),
    ):
        assert inputs.read(request, console).left_out == {"my-ray": f"my-ray=={WHEEL.version}"}


def test_a_file_of_another_encoding_is_recorded_as_it_is_but_for_secrets(
    tmp_path: Path, console: Console
) -> None:
    text = "--extra-index-url https://me:s3cret@index.example/simple\nsix\n"
    path, script = tmp_path / "r.txt", tmp_path / "post.sh"
    path.write_text(text, encoding="utf-16")
    request = NewPipRequest(prefix=tmp_path / "p", requirements=(path,))
    found = inputs.read(request, console)
    assert [one.name for one in found.requirements.packages] == ["six"]
    write_inputs(tmp_path, (), found.files)
    recorded = (tmp_path / "inputs/r.txt").read_text(encoding="utf-16")
    assert recorded == text.replace("me:s3cret@", "")
    script.write_text("true\n", encoding="utf-16")
    with pytest.raises(InputError, match="bash reads no other"):
        inputs.read(replace(request, post_install=(script,)), console)


@pytest.mark.parametrize(
    ("line", "other"),
    [
        ("#!/usr/bin/env python3", "python3"),
        ("#! /opt/python3.11 -u", "python3.11"),
        ("#!/usr/bin/env -S perl -w", "perl"),
        ("#!/bin/tcsh -f", "tcsh"),
        ("#!/bin/bash -e", ""),
        ("#!/usr/bin/env sh", ""),
        ("#!/usr/bin/env -u FOO\tbash", ""),
        ("#!/bin/busybox sh", ""),
        ("#!/home/python/bin/bash", ""),
        ("set -e", ""),
    ],
)
def test_a_script_is_for_bash(tmp_path: Path, console: Console, line: str, other: str) -> None:
    path = tmp_path / "post"
    path.write_text(f"{line}\nimport os\n")
    request = NewPipRequest(prefix=tmp_path / "p", requirements=(), post_install=(path,))
    if not other:
        assert inputs.read(request, console).post_install[0].path == path
        return
    with pytest.raises(InputError) as error:
        inputs.read(request, console)
    assert error.value.what == f"post is run by bash, and asks for {other}"
    assert error.value.where == f"{path}, line 1"


def test_a_directory_without_a_name_of_its_own_is_named(console: Console) -> None:
    request = NewPipRequest(prefix=Path("p"), requirements=(Path(),))
    with pytest.raises(InputError) as error:
        inputs.read(request, console)
    assert error.value.what == ". is a directory, not a file"


@pytest.mark.parametrize("kind", KINDS)
def test_a_note_is_told_once(kind: str, files: dict[str, object], screen: io.StringIO) -> None:
    inputs.read(KINDS[kind](**files), Console(stream=screen))
    assert screen.getvalue().count("is installed as a copy") == 1


@pytest.mark.parametrize("kind", KINDS)
def test_hashes_can_be_required_by_every_command(
    kind: str, files: dict[str, object], console: Console
) -> None:
    found = inputs.read(KINDS[kind](**files, require_hashes=True), console)
    assert "--require-hashes" in found.requirements.options
    assert "--require-hashes" not in inputs.read(KINDS[kind](**files), console).requirements.options


def test_relative_paths_start_where_their_file_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, console: Console
) -> None:
    """Of an env.yml beside it, of requirements in the working directory, as with pip."""
    for place in ("here/own", "there/own"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "setup.py").touch()
    (tmp_path / "there/env.yml").write_text("dependencies: [python, pip: [./own]]\n")
    (tmp_path / "there/r.txt").write_text("./own\n")
    monkeypatch.chdir(tmp_path / "here")
    request = NewRequest(
        prefix=Path("p"),
        environment=Path("../there/env.yml"),
        requirements=(Path("../there/r.txt"),),
        site=Site(),
    )
    asked = inputs.read(request, console).requirements.packages
    assert [one.path for one in asked] == [tmp_path / "there/own", tmp_path / "here/own"]


def test_a_pipe_is_read_once_and_recorded_under_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, console: Console
) -> None:
    monkeypatch.chdir(tmp_path)
    pipe = tmp_path / "63"
    os.mkfifo(pipe)
    writer = threading.Thread(
        target=lambda: pipe.write_text("dependencies: [python, pip: [./own]]\n")
    )
    writer.start()
    (tmp_path / "own").mkdir()
    (tmp_path / "own/setup.py").touch()
    found = inputs.read(NewRequest(prefix=Path("p"), environment=pipe), console)
    writer.join()
    assert [file.name for file in found.files] == ["env.yml"]
    assert found.environment is not None and found.environment.directory == tmp_path


def test_a_pipe_that_nobody_writes_to_is_waited_for_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wrapper.inputs.files._OPENED", 0.1)
    os.mkfifo(tmp_path / "env.yml")
    with pytest.raises(InputError, match="is a pipe, and nobody writes to it"):
        read_bytes(tmp_path / "env.yml")
    ours, theirs = os.pipe()
    try:
        later = threading.Timer(0.3, lambda: (os.write(theirs, b"slow"), os.close(theirs)))
        later.start()
        assert read_bytes(Path(f"/dev/fd/{ours}")) == b"slow", "its writer takes its time"
    finally:
        os.close(ours)


def test_lines_of_a_tools_file_become_scripts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, console: Console
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("b.sh").write_text("b\n")
    tool = ToolFile(post_install=("a1", "a2", Path("b.sh"), "c"), variables={"A": "1"})
    request = inputs.completed(NewRequest(prefix=Path("p"), environment=None), tool)
    found = inputs.read(request, console)
    assert [script.content for script in found.post_install] == [b"a1\na2\n", b"b\n", b"c\n"]
    assert found.environ == {"A": "1"}
    (tmp_path / "record").mkdir()
    assert write_inputs(tmp_path / "record", (), found.files) == (
        "b.sh",
        "post-install.sh",
        "2-post-install.sh",
    )


def test_a_file_that_went_while_it_is_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        InputFiles().take(tmp_path / "gone", "env.yml")


OLD = manifest(variables={"A": "old", "E": "old", "GONE": "1"}, environ={"E": "old"})


@pytest.mark.parametrize(
    ("locked", "after"),
    [
        (None, {"A": "new", "E": "old"}),  # an env.yml says them anew
        ((), {"A": "new", "E": "old", "GONE": "1"}),  # a lock may have none
    ],
)
def test_which_variables_an_update_keeps(
    locked: tuple[LockedPackage, ...] | None, after: dict[str, str]
) -> None:
    screen = io.StringIO()
    environment = EnvironmentSpec(source=Path("x.yml"), locked=locked)
    asked = inputs.Inputs(environment=environment, variables={"A": "new"})
    request = UpdateRequest(prefix=Path("p"), environment=Path("x.yml"))
    found = inputs.merged_variables(request, asked, OLD, Console(stream=screen))
    assert found == after
    told = "no longer set, x.yml does not name them: GONE" in screen.getvalue()
    assert told == (locked is None)


def test_an_update_without_an_environment_file_keeps_all_variables() -> None:
    request = UpdateRequest(prefix=Path("p"))
    asked = inputs.Inputs(variables={"A": "new"})
    found = inputs.merged_variables(request, asked, OLD, Console(stream=io.StringIO()))
    assert found == {"A": "new", "E": "old", "GONE": "1"}
