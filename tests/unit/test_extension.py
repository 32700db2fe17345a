"""Extensions of installations: their records, the ways between files and image, pip in them."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from packaging.version import InvalidVersion, Version

from tests.e2e.conftest import seen
from tests.images import squashfs_bytes
from tests.manifests import manifest
from tests.unit.conftest import names
from wrapper.commands import freeze
from wrapper.commands.extend import _SCRIPTS, extend, extend_image
from wrapper.console import Console
from wrapper.errors import ContainerizeError, InputError, PrefixError
from wrapper.images.format import mark
from wrapper.images.squashfs.layout import Directory, File, Link, Node
from wrapper.manifest import BaseRecord, read_manifest, write_manifest
from wrapper.models import Site
from wrapper.prefix import extension
from wrapper.requests import WrapContainerRequest
from wrapper.util.removal import remove_tree


@pytest.fixture
def installation(tmp_path: Path) -> Path:
    """One whose Python makes what it is told to: two lines of text."""
    root = tmp_path / "env"
    (root / ".generations/1").mkdir(parents=True)
    (root / "current").symlink_to(".generations/1")
    write_manifest(root / "current/manifest.json", manifest(prefix=str(root)))
    (root / "bin").mkdir()
    python(root, "echo cannot; exit 1")
    (root / "bin/_debug_exec").write_text("a shim that knows extension.sqfs")
    return root


def python(root: Path, script: str) -> None:
    """The installation's Python is a script: ``$3`` is the extension, ``$4`` the programs."""
    path = root / "bin/python3"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def place(tmp_path: Path, installation: Path) -> Path:
    """An extension with a package and a program."""
    root = tmp_path / "mine"
    (root / "bin").mkdir(parents=True)
    (root / "lib").mkdir()
    (root / "lib/x.py").write_text("x = 1")
    (root / "bin/python3").symlink_to(installation / "bin/python3")
    (root / "bin/tool").write_text("#!/bin/sh")
    (root / "bin/tool").chmod(0o755)
    (root / "bin/activate").write_text("true")
    (root / "pyvenv.cfg").write_text("")
    record(root, installation)
    return root


def record(root: Path, installation: Path, **changes: object) -> None:
    data = {"format": 1, "installation": str(installation), "directory": str(root)}
    text = json.dumps({**data, "python": "3.11", "sites": [], **changes})
    (root / "extension.json").write_text(text)


# -- records -------------------------------------------------------------------------------------
def test_an_installation_stands_for_the_extension_in_it(place: Path, installation: Path) -> None:
    inside = installation / "extension"
    place.rename(inside)
    record(inside, installation)
    assert extension.existing(installation) == extension.existing(inside)


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        ("rm extension.json", "there is no extension"),
        ("echo '{' >extension.json", "cannot be read"),
        ('sed -i \'s/"format": 1/"format": 2/\' extension.json', "of a later version"),
        ("mv ../mine ../moved; ln -s moved ../mine; mkdir ../x; cp extension.json ../x", None),
        ("rm ../env/bin/_debug_exec", "the installation below has gone"),
        ("rm ../env/bin/python3", "is for Python 3.11, which"),
    ],
)
def test_what_is_wrong_with_one_is_told(place: Path, break_it: str, said: str | None) -> None:
    assert os.system(f"cd '{place}' && {break_it}") == 0
    if said is None:  # by another path it is the same; a copy is not
        extension.existing(place)
        place, said = place.parent / "x", "its files name that directory"
    with pytest.raises(PrefixError) as raised:
        extension.existing(place)
    assert said in raised.value.what and raised.value.hint


# -- extend --------------------------------------------------------------------------------------
MAKES = """mkdir -p "$3/bin"; echo >"$3/pyvenv.cfg"
printf '{"format": 1, "installation": "%s", "directory": "%s", "python": "3.11"}' \\
    "${4%/bin}" "$3" >"$3/extension.json"; ln -sf "$4/python3" "$3/bin/python3\""""


def test_what_fails_leaves_nothing_and_what_was_killed_is_made_anew(
    installation: Path, tmp_path: Path, console: Console
) -> None:
    place = tmp_path / "a/mine"
    with pytest.raises(ContainerizeError, match="could not make"):
        extend(installation, place, console)
    assert not (tmp_path / "a").exists()
    (place / ".extending").mkdir(parents=True)
    (place / "pyvenv.cfg").write_text("half")
    python(installation, MAKES)
    assert extend(installation, place, console).python == "3.11"
    assert names(place) == {"bin", "pyvenv.cfg", "extension.json"}


def test_one_that_cannot_be_made_anew_stays(
    installation: Path, place: Path, console: Console
) -> None:
    before = names(place)
    with pytest.raises(ContainerizeError, match="could not make"):
        extend(installation, place, console)
    assert names(place) == before and (place / "lib/x.py").exists()


def test_other_directories_are_left_alone(
    installation: Path, tmp_path: Path, console: Console
) -> None:
    place = tmp_path / "there"
    place.mkdir()
    (place / "pyvenv.cfg").write_text("")
    with pytest.raises(PrefixError, match="virtual environment of another Python"):
        extend(installation, place, console)
    (place / "pyvenv.cfg").rename(place / "data")
    with pytest.raises(PrefixError, match="not empty"):
        extend(installation, place, console)
    (installation / "bin/python3").unlink()
    with pytest.raises(PrefixError, match="no Python to extend"):
        extend(installation, tmp_path / "mine", console)


def test_an_image_that_cannot_be_extended_gets_no_shims(
    installation: Path, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, image = tmp_path / "mine", tmp_path / "x.sif"
    request = WrapContainerRequest(prefix=place, image=str(image), wrapper_paths=())
    image.write_text("no image")
    with pytest.raises(InputError, match="is no container image"):
        extend_image(request, console)
    image.write_bytes(squashfs_bytes())

    def wrapped(*_: object) -> None:
        shutil.copytree(installation, place, symlinks=True)
        base = BaseRecord(kind="image", path=str(image), mark=mark(image))
        record = replace(read_manifest(place), kind="container", prefix=str(place), base=base)
        write_manifest(place / "current/manifest.json", record)

    monkeypatch.setattr(sys.modules[extend.__module__], "wrap_container", wrapped)
    with pytest.raises(ContainerizeError, match="could not make"):
        extend_image(request, console)
    assert not place.exists()
    python(installation, MAKES)
    for _ in range(2):
        assert extend_image(request, console).place == place / "extension"
    other = shutil.copy(image, tmp_path / "other.sif")
    with pytest.raises(PrefixError, match="something else"):
        extend_image(replace(request, image=str(other)), console)
    with pytest.raises(PrefixError, match="-w names more"):
        extend_image(replace(request, wrapper_paths=("/opt/x",)), console)
    image.write_bytes(squashfs_bytes(size=8192))
    with pytest.raises(PrefixError, match="that was in its place before"):
        extend_image(request, console)
    write_manifest(place / "current/manifest.json", replace(read_manifest(place), kind="conda"))
    with pytest.raises(PrefixError, match="something else"):
        extend_image(request, console)


def test_what_others_put_there_stays(
    installation: Path, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "mine"

    @contextlib.contextmanager
    def late(_: Path) -> Iterator[None]:
        place.mkdir()
        (place / "data").write_text("theirs")
        yield

    with monkeypatch.context() as patched, pytest.raises(PrefixError, match="not empty"):
        patched.setattr(sys.modules[extend.__module__], "locked", late)
        extend(installation, place, console)
    assert names(place) == {"data"}
    (place / ".extending").mkdir()  # of one that was killed
    python(installation, 'echo >"$3/pyvenv.cfg"; exit 1')
    with pytest.raises(ContainerizeError, match="could not make"):
        extend(installation, place, console)
    assert names(place) == {"data", ".extending"}


@pytest.mark.parametrize("name", ["a $HOME", "a `id`"])
def test_a_directory_whose_name_a_shell_would_parse_is_refused(
    installation: Path, tmp_path: Path, console: Console, name: str
) -> None:
    with pytest.raises(PrefixError, match="which a shell would parse"):
        extend(installation, tmp_path / name, console)


def test_pip_is_held_until_one_is_made_anew(installation: Path, tmp_path: Path) -> None:
    python(installation, "exit 1")
    place = tmp_path / "mine"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    hook = place / f"lib/python{version}/site-packages/containerize-extension.pth"
    hook.parent.mkdir(parents=True)
    hook.write_text("as it was")
    script = str(files("wrapper") / "templates" / "extend.py")
    made = subprocess.run(
        [sys.executable, "-s", script, place, installation / "bin"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert "'-S'" in made.stderr and hook.read_text() == "as it was"


def test_one_is_made_without_what_lies_where_it_is_made(tmp_path: Path) -> None:
    """Python looks for its own modules there first, and takes it for a directory of packages."""
    programs, scripts, place = tmp_path / "env/bin", tmp_path / "scripts", tmp_path / "mine"
    programs.mkdir(parents=True)
    (programs / "python3").symlink_to(os.path.realpath(sys.executable))
    scripts.mkdir()
    for name, target in _SCRIPTS.items():
        shutil.copy(str(files("wrapper") / "templates" / name), scripts / target)
    here = tmp_path / "here"
    here.mkdir()
    (here / "json.py").write_text("raise SystemExit('not the one of Python')\n")
    argv = [programs / "python3", "-s", scripts / "extend.py", place, programs]
    subprocess.run(argv, check=True, cwd=here, env={"HOME": str(here)}, capture_output=True)
    assert "include-system-site-packages = true" in (place / "pyvenv.cfg").read_text()


# -- freeze and thaw -----------------------------------------------------------------------------
def node(path: Path) -> Node:
    """What an image of ``path`` says."""
    status = path.lstat()
    about = {"mode": status.st_mode & 0o7777, "time": int(status.st_mtime)}
    if path.is_symlink():
        return Link(**about, target=str(path.readlink()))
    if path.is_dir():
        return Directory(**about, entries={entry.name: node(entry) for entry in path.iterdir()})
    at = {"start": 0, "sparse": 0, "fragment": 0, "offset": 0}
    return File(image=path, size=status.st_size, blocks=(), **about, **at)


@pytest.fixture
def image(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with what the extension's image has, which lies beside its files."""
    inside = place.parent / "what is in the image"
    shutil.copytree(place, inside, symlinks=True)
    (place / "extension.sqfs").write_text("image")
    monkeypatch.setattr(freeze, "read_image", lambda _: SimpleNamespace(root=node(inside)))
    monkeypatch.setattr(freeze, "_check_image", lambda *_: None)
    return inside


def test_what_a_killed_freeze_left_is_cleared_by_the_next(
    place: Path, image: Path, installation: Path, console: Console
) -> None:
    freeze.freeze(place, Site(), console)
    assert names(place) == {"bin", "pyvenv.cfg", "extension.json", "extension.sqfs"}
    assert names(place / "bin") == {"python3", "tool", "activate"}
    assert (place / "bin/tool").readlink() == installation / "bin/_debug_exec"
    assert (place / "bin/python3").readlink() == installation / "bin/python3"


def test_shims_of_an_earlier_version_cannot_find_an_image(
    place: Path, installation: Path, console: Console
) -> None:
    (installation / "bin/_debug_exec").write_text("exec")
    before = names(place)
    with pytest.raises(PrefixError, match="of an earlier version"):
        freeze.freeze(place, Site(), console)
    assert names(place) == before


class Killed(BaseException):
    pass


def killed_at(monkeypatch: pytest.MonkeyPatch, number: int, *steps: tuple[object, str]) -> None:
    """The ``number``th of these steps is not taken, nor any after it."""
    left = iter(range(number))

    def dying(step: Callable[..., object]) -> Callable[..., object]:
        def step_or_death(*args: object, **more: object) -> object:
            if next(left, None) is None:
                raise Killed
            return step(*args, **more)

        return step_or_death

    for owner, name in steps:
        monkeypatch.setattr(owner, name, dying(getattr(owner, name)))


def test_what_is_not_in_the_image_stays(
    place: Path, image: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Data that came later, or was changed, whatever is frozen again or thawed."""
    (place / "lib/results").write_text("of a week")
    (place / "lib/x.py").write_text("x = 12")
    (place / "bin/mine").write_text("#!/bin/sh")
    (place / "bin/mine").chmod(0o755)
    (place / "bin/tool").write_text("#!/bin/bash -e")
    (place / "data").mkdir()
    before = seen(place)
    for _ in range(2):
        freeze.freeze(place, Site(), Console())
        said = capsys.readouterr().err
        assert "bin/mine" in said and "lib/results" in said and "lib/x.py" in said
        after = seen(place)
        assert after == before
    freeze._put_back(place, shutil.copytree(image, place / ".thawing", symlinks=True), Console())
    assert "lib/x.py.outside" in capsys.readouterr().err
    assert (place / "lib/results").read_text() == "of a week"
    assert (place / "lib/x.py").read_text() == "x = 1"
    assert (place / "lib/x.py.outside").read_text() == "x = 12"
    assert names(place / "bin") == {"activate", "mine", "python3", "tool", "tool.outside"}


def test_links_of_programs_to_files_in_the_image_lead_to_the_shim(
    place: Path, installation: Path, console: Console, request: pytest.FixtureRequest
) -> None:
    (place / "bin/npm").symlink_to("../lib/x.py")
    image = request.getfixturevalue("image")
    freeze.freeze(place, Site(), console)
    assert (place / "bin/npm").readlink() == installation / "bin/_debug_exec"
    freeze._put_back(place, shutil.copytree(image, place / ".thawing", symlinks=True), console)
    assert (place / "bin/npm").read_text() == "x = 1"


def test_a_directory_that_programs_hold_is_told(
    place: Path, image: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(_: Path) -> None:
        raise OSError(errno.ENOTEMPTY, "Directory not empty")

    with monkeypatch.context() as patched, pytest.raises(PrefixError) as raised:
        patched.setattr(Path, "rmdir", busy)
        freeze.freeze(place, Site(), console)
    assert raised.value.hint.startswith("end programs that run from there")
    freeze.freeze(place, Site(), console)
    assert not (place / "lib").exists()


@pytest.mark.parametrize("number", range(10))
def test_a_killed_command_is_finished_by_the_next(
    place: Path, image: Path, console: Console, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The image counts until the last moment; then all is as it was."""
    before = seen(image)
    steps = (Path, "replace"), (Path, "unlink"), (Path, "rmdir"), (freeze, "remove_tree")
    with monkeypatch.context() as patched, contextlib.suppress(Killed):
        killed_at(patched, number, *steps)
        freeze.freeze(place, Site(), console)
    for last in (False, True):
        unpacked = place / ".thawing"
        remove_tree(unpacked)
        shutil.copytree(image, unpacked, symlinks=True)
        assert (place / "extension.sqfs").exists() and (place / "bin/tool").exists()
        with monkeypatch.context() as patched, contextlib.suppress(Killed):
            if not last:
                killed_at(patched, number, *steps)
            freeze._put_back(place, unpacked, console)
        if not (place / "extension.sqfs").exists():
            break
    remove_tree(place / ".thawing")
    assert seen(place) == before


def test_one_whose_installation_has_gone_can_be_thawed(
    place: Path, image: Path, installation: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsquash(_image: Path, target: Path, *, console: Console) -> None:
        shutil.copytree(image, target, symlinks=True)

    squasher = SimpleNamespace(unsquash=unsquash)
    monkeypatch.setattr(freeze, "find_squasher", lambda *_: squasher)
    remove_tree(installation)
    freeze.thaw(place, Site(), console)
    assert seen(place) == seen(image)


@pytest.mark.parametrize(("directory", "mode"), [(0o700, 0o600), (0o2750, 0o640), (0o777, 0o664)])
def test_the_image_is_open_to_no_more_people_than_the_directory(
    place: Path, console: Console, monkeypatch: pytest.MonkeyPatch, directory: int, mode: int
) -> None:
    def squash(_place: Path, draft: Path, **_more: object) -> None:
        draft.write_text("image")
        draft.chmod(0o666)

    squasher = SimpleNamespace(squash=squash)
    monkeypatch.setattr(freeze, "find_squasher", lambda *_, **__: squasher)
    monkeypatch.setattr(freeze, "_start", lambda *_: None)
    monkeypatch.setattr(freeze, "_clear", lambda *_: None)
    place.chmod(directory)
    found = freeze.freeze(place, Site(), console)
    assert found.image.stat().st_mode & 0o7777 == mode


def test_only_a_frozen_one_can_be_thawed(place: Path, console: Console) -> None:
    with pytest.raises(PrefixError, match="is not frozen"):
        freeze.thaw(place, Site(), console)


# -- pip -----------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def pip() -> ModuleType:
    path = str(files("wrapper") / "templates" / "extension-pip.py")
    spec = importlib.util.spec_from_file_location("extension_pip", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("python -m pip install a", ["install", "a"]),
        ("python -W ignore -I -m pip list", ["list"]),
        ("python /x/bin/pip3.11 install a", ["install", "a"]),
        ("python pipeline.py pip install", []),
        ("python -c pip", []),
        ("python", []),
    ],
)
def test_pip_is_told_from_other_programs(pip: ModuleType, line: str, words: list[str]) -> None:
    assert pip.words_of_pip(line.split()) == words


def package(root: Path, name: str, version: str) -> None:
    (root / f"{name}-{version}.dist-info").mkdir(parents=True)
    text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    (root / f"{name}-{version}.dist-info/METADATA").write_text(text)


def test_packages_below_are_constraints(
    pip: ModuleType, place: Path, installation: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = installation / "one", installation / "two"
    for root, name, version in (
        (first, "torch", "2.7.1+rocm6.3"),
        (second, "torch", "2.0"),
        (second, "numpy", "2.2.1"),
        (second, "setuptools", "60"),
        (first, "Zope.Interface", "5.0rc1.post2.dev3+local.1"),
        (second, "zope_interface", "4.0"),
        (first, "odd", "2004d-old"),
        (second, "odd", "1.0"),
    ):
        package(root, name, version)
    (second / "half-1.0.dist-info").mkdir()
    record(place, installation, sites=[str(first), str(second)])
    monkeypatch.setenv("PIP_CONSTRAINT", "theirs.txt")
    pip.heed(["python", "-m", "pip", "install", "x"], str(place))
    assert os.environ["PIP_CONSTRAINT"] == f"{(place / 'constraints.txt').as_uri()} theirs.txt"
    assert (place / "constraints.txt").read_text().split() == [
        "numpy==2.2.1",
        "torch==2.7.1+rocm6.3",
        "zope-interface==5.0rc1.post2.dev3+local.1",
    ]
    assert not [name for name in names(place) if name.startswith(".constraints")]
    monkeypatch.setenv("PIP_CONSTRAINT", "")
    pip.heed(["python", "-m", "pip", "list"], str(place))
    assert os.environ["PIP_CONSTRAINT"] == ""


@pytest.mark.parametrize("options", ["--proxy X", "--log /x", "--timeout=5 --cert c", "-q", ""])
def test_options_before_the_command_of_pip_hide_it_not(
    pip: ModuleType, place: Path, monkeypatch: pytest.MonkeyPatch, options: str
) -> None:
    monkeypatch.setenv("PIP_CONSTRAINT", "")
    pip.heed(f"python -m pip {options} install x".split(), str(place))
    assert os.environ["PIP_CONSTRAINT"].endswith("/constraints.txt")


def test_versions_that_pip_can_parse_are_constraints(pip: ModuleType) -> None:
    parsed = "1 1.0 v1 1!2.0 1.0a1 1.0-beta.2 1.0rc 1.0-1 1.0.post3 1.0r4 1.dev0 1+a.b-c"
    others = "2004d 1.0-x unknown 1..0 1.0+ 1.0+a+b 1.0."
    for version in [*parsed.split(), *others.split()]:
        try:
            known = bool(Version(version))
        except InvalidVersion:
            known = False
        assert (known, bool(pip.VERSION.fullmatch(version))) == (version in parsed.split(),) * 2


def test_nobody_is_followed_where_constraints_are_written(pip: ModuleType, place: Path) -> None:
    (place / "theirs").write_text("theirs")
    (place / f".constraints.{os.getpid()}").symlink_to("theirs")
    (place / "constraints.txt").symlink_to("theirs")
    pip.heed(["python", "-m", "pip", "install", "x"], str(place))
    assert (place / "theirs").read_text() == "theirs"
    assert not (place / "constraints.txt").is_symlink()
