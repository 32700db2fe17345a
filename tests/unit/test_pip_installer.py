"""What uv is given, and what is understood of its answers; no uv is started."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import Distribution, PathDistribution
from pathlib import Path
from typing import Any, cast

import pytest

from tests.unit.conftest import without_powers
from wrapper.console import Console
from wrapper.errors import ChannelError, InputError, PackageError, ScriptError, SolveError
from wrapper.inputs.requirements import Requirements, read_requirements
from wrapper.packages import LockedPackage
from wrapper.pip.installer import PipInstaller, local_places
from wrapper.pip.interpreter import OuterPackages
from wrapper.pip.local import Surroundings, content_digest
from wrapper.runtime.container import BuildContainer

INSIDE = "/containerize-x"
NO_SOLUTION = "No solution found when resolving dependencies:"


class Uv:
    """A container in which uv answers as a test wants; it remembers what it was given.

    :ivar asked: the words of each call after ``uv pip``, :ivar files: the texts of the files that
        they name. :ivar answer: the lines that uv prints to such a call, or how it fails.
    """

    def __init__(self, tree: Path, console: Console) -> None:
        self.asked: list[list[str]] = []
        self.files: list[dict[str, str]] = []
        self.env: dict[str, str] = {}
        self.answer: Callable[[Sequence[str]], Sequence[str]] = lambda words: ()
        self.tree, self.scratch, self.console = tree, tree.parent, console
        self.install_path, self.environ = INSIDE, dict[str, str]()
        (tree / "bin").mkdir(parents=True)
        (tree / "bin/python").touch()

    def own_program(self, path: str) -> list[str]:
        return [path]

    def run(self, command: Sequence[str], *, on_line: Any, env: Any, **_: Any) -> None:
        words = [*command[2:]]
        self.asked.append(words)
        self.env = env
        paths = [Path(word) for word in words if word.startswith(str(self.scratch))]
        self.files.append({path.name: path.read_text() for path in paths if path.exists()})
        for line in self.answer(words):
            if on_line:
                on_line(line)


@pytest.fixture
def uv(tmp_path: Path, console: Console) -> Uv:
    return Uv(tmp_path / "work/tree", console)


def installer(uv: Uv, **fields: Any) -> PipInstaller:
    return PipInstaller(container=cast(BuildContainer, uv), directory=uv.scratch, **fields)


def asked(tmp_path: Path, *lines: str) -> Requirements:
    return read_requirements(lines, tmp_path, "r.txt")


def pip(name: str, version: str = "1", **fields: Any) -> LockedPackage:
    url = f"https://i/{name}-{version}-py3-none-any.whl"
    return LockedPackage(manager="pip", name=name, version=version, **{"url": url, **fields})


def distribution(tree: Path, name: str, version: str = "1") -> Distribution:
    info = tree / f"lib/python3.11/site-packages/{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "WHEEL").write_text("Tag: py3-none-any\nGenerator: flit 3.9\n")
    return PathDistribution(info)


# -- installing ----------------------------------------------------------------------------------
def test_all_indexes_count_and_the_tree_is_uvs(uv: Uv, tmp_path: Path) -> None:
    installer(uv).install(asked(tmp_path, "--extra-index-url https://e/simple", "numpy>=2"))
    (words,), (files,) = uv.asked, uv.files
    assert words[:3] == ["install", "--python", f"{INSIDE}/bin/python"]
    assert words[words.index("--index-strategy") + 1] == "unsafe-best-match"
    assert "https://e/simple" in uv.env.values(), "its login is nobody else's to read"
    assert not [word for word in words if "https://e" in word]
    assert files["requirements.in"] == "numpy>=2\n"
    assert (uv.env["CONDA_PREFIX"], uv.env["VIRTUAL_ENV"]) == (INSIDE, "")


def test_without_a_python_nothing_can_be_installed(uv: Uv, tmp_path: Path) -> None:
    (uv.tree / "bin/python").unlink()
    with pytest.raises(InputError, match="no Python"):
        installer(uv).install(asked(tmp_path, "numpy"))
    assert uv.asked == []


def test_what_is_built_against_the_others_comes_after_them(uv: Uv, tmp_path: Path) -> None:
    installer(uv).install(asked(tmp_path, "torch", "--no-build-isolation flash-attn", "flash-attn"))
    assert [files["requirements.in"] for files in uv.files] == ["torch\n", "torch\nflash-attn\n"]
    last = uv.asked[-1]
    assert last[last.index("--no-build-isolation-package") + 1] == "flash-attn"


def test_one_hash_asks_for_all(uv: Uv, tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_text("b<2\n")
    lines = (f"a==1 --hash=sha256:{'0' * 64}", f"-c {tmp_path}/c.txt")
    installer(uv).install(asked(tmp_path, *lines))
    assert "--require-hashes" in uv.asked[0]
    assert "constraints.txt" not in uv.files[0], "uv would want a hash of what is but limited"


def test_what_the_outer_python_has_is_not_installed_again(uv: Uv, tmp_path: Path) -> None:
    outer = OuterPackages(versions={"numpy": "1.20", "mpi4py": "3.1"}, python="3.11.0")
    installer(uv, outer=outer).install(asked(tmp_path, "numpy>=2", "scipy"))
    assert uv.files[0]["excludes.txt"] == "mpi4py\n", "numpy is asked for in another version"


def test_an_outer_package_that_does_not_fit_is_replaced(uv: Uv, tmp_path: Path) -> None:
    outer = OuterPackages(versions={"numpy": "1.20"}, python="3.11.0")

    def answer(_words: Sequence[str]) -> Sequence[str]:
        if len(uv.asked) == 1:
            found = Path(str(getattr(distribution(uv.tree, "scipy"), "_path")))  # noqa: B009
            with (found / "METADATA").open("a") as metadata:
                metadata.write("Requires-Dist: numpy>=2\n")
        return ()

    uv.answer = answer
    installer(uv, outer=outer).install(asked(tmp_path, "scipy"))
    assert ["excludes.txt" in files for files in uv.files] == [True, False]


# -- locks ---------------------------------------------------------------------------------------
def test_locked_packages_are_what_their_hashes_say(uv: Uv) -> None:
    installer(uv).install_locked([pip("a", sha256="1" * 64), pip("b", sha256="2" * 64)])
    (words,) = uv.asked
    assert {"--no-deps", "--require-hashes"} <= {*words} and uv.env["UV_CONSTRAINT"] == ""
    lines = uv.files[0]["locked.txt"].splitlines()
    assert lines[0] == f"a @ https://i/a-1-py3-none-any.whl --hash=sha256:{'1' * 64}"


def test_wheels_come_before_what_is_built_and_that_by_its_builder(uv: Uv) -> None:
    built = {"sha256": "1" * 64, "url": "https://i/s-1.tar.gz", "builder": "setuptools==70"}
    late = {**built, "url": "https://i/l-1.tar.gz", "isolated": False}
    installer(uv).install_locked([pip("l", **late), pip("s", **built), pip("w", sha256="2" * 64)])
    assert [files["locked.txt"].split()[0] for files in uv.files] == ["w", "s", "l"]
    assert [files.get("builder.txt") for files in uv.files] == [None, *["setuptools==70\n"] * 2]
    assert "--no-build-isolation-package" in uv.asked[2]


def test_a_project_that_has_changed_since_is_told(uv: Uv, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text("[project]\nname = 'own'\n")
    own = pip("own", url=project.as_uri(), content=content_digest(project))
    installer(uv).install_locked([own])
    line = uv.files[0]["locked.txt"]
    assert line.startswith("own @ file:") and str(project) not in line, "a copy is built"
    (project / "pyproject.toml").write_text("")
    with pytest.raises(PackageError, match="own has changed"):
        installer(uv).install_locked([own])


LOCK = """
lock-version = "1.0"
[[packages]]
name = "a"
version = "1"
wheels = [{ url = "https://i/a-1-py3-none-any.whl", hashes = { sha256 = "%s" } }]
""" % ("3" * 64)


def test_an_installed_package_gets_the_file_that_an_index_offers(uv: Uv, tmp_path: Path) -> None:
    present = {name: distribution(uv.tree, name) for name in ("a", "b")}

    def answer(words: Sequence[str]) -> Sequence[str]:
        pins = uv.files[-1]["pins.in"]
        if "b==1" in pins:
            raise ScriptError("uv", detail=NO_SOLUTION)
        Path(words[words.index("-o") + 1]).write_text(LOCK)
        return ()

    uv.answer = answer
    found = {entry.name: entry for entry in installer(uv).lock(present, asked(tmp_path, "a", "b"))}
    assert found["a"].sha256 == "3" * 64
    assert (found["b"].version, found["b"].url) == ("1", ""), "no index has it, a keeps its entry"
    assert found["b"].builder == "flit==3.9"


# -- plans ---------------------------------------------------------------------------------------
def test_a_plan_is_what_uv_says_it_would_do(uv: Uv, tmp_path: Path) -> None:
    def answer(words: Sequence[str]) -> Sequence[str]:
        if words[0] == "compile":
            Path(words[words.index("-o") + 1]).write_text(LOCK)
            return ()
        return [" - a==0.9", " + a==1", " + own==2 (from file:///project)", "Resolved 2 packages"]

    uv.answer = answer
    (tmp_path / "own-2.tar.gz").touch()
    added, removed = installer(uv).plan(asked(tmp_path, "a", f"{tmp_path}/own-2.tar.gz"))
    assert {one.name: (one.version, bool(one.sha256)) for one in added} == {
        "a": ("1", True),
        "own": ("2", False),
    }
    assert removed == {"a"}
    assert "--dry-run" in uv.asked[0] and "pins.in" in uv.files[1]


def test_what_needs_the_others_for_its_build_is_planned_without_a_version(
    uv: Uv, tmp_path: Path
) -> None:
    def answer(words: Sequence[str]) -> Sequence[str]:
        if "flash-attn" in uv.files[-1].get("requirements.in", ""):
            raise ScriptError("uv", detail="No module named 'torch'")
        return [" + torch==2"] if words[0] == "install" else []

    uv.answer = answer
    wanted = asked(tmp_path, "torch", "--no-build-isolation flash-attn", "flash-attn")
    uv.scratch.joinpath("pylock.toml").write_text('lock-version = "1.0"\n')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PipInstaller, "_compile", lambda *_: [])
        added, _ = installer(uv).plan(wanted)
    assert [(one.name, one.version) for one in added] == [
        ("torch", "2"),
        ("flash-attn", "(built last)"),
    ]


def test_no_solution_is_told_as_such(uv: Uv, tmp_path: Path) -> None:
    def answer(_words: Sequence[str]) -> Sequence[str]:
        raise ScriptError("uv", detail=NO_SOLUTION)

    uv.answer = answer
    with pytest.raises(SolveError):
        installer(uv).install(asked(tmp_path, "a"))


# -- what is bound -------------------------------------------------------------------------------
def test_all_that_no_index_has_is_told_at_once(uv: Uv, tmp_path: Path) -> None:
    """uv stops at the first."""
    absent = {"one", "two"}

    def answer(words: Sequence[str]) -> Sequence[str]:
        lines = uv.files[-1]["requirements.in"].split()
        if missing := [name for name in lines if name in absent]:
            cause = f"Because {missing[0]} was not found in the registry and you require it"
            raise ScriptError("uv failed", detail=f"{NO_SOLUTION}\n{cause}")
        return ()

    uv.answer = answer
    wanted = read_requirements(["one", "six", "two"], tmp_path, "", ["r.txt, line 1", "", "l. 3"])
    with pytest.raises(SolveError, match="no index has 2 of the packages") as caught:
        installer(uv).install(wanted)
    assert caught.value.where == "r.txt, line 1"
    assert "l. 3: no index has a package 'two'" in caught.value.detail
    with pytest.raises(SolveError, match="no index has a package 'two'"):
        installer(uv).install(asked(tmp_path, "six", "two"))


def test_a_refused_login_is_told_before_what_no_index_has(uv: Uv, tmp_path: Path) -> None:
    """Each of the packages is of the index that refuses: where uv asks them all, it has none."""

    def answer(words: Sequence[str]) -> Sequence[str]:
        lines = uv.files[-1]["requirements.in"].split()
        if "first-index" in words:
            raise ScriptError("uv failed", detail="401 Unauthorized for url (https://i/simple)")
        cause = f"Because {lines[0]} was not found in the package registry and you require it"
        raise ScriptError("uv failed", detail=f"{NO_SOLUTION}\n{cause}")

    uv.answer = answer
    with pytest.raises(ChannelError):
        installer(uv).install(asked(tmp_path, "one", "two"))
    assert len(uv.asked) == 2, "the install and one trial"


def test_places_of_the_host_that_installing_reads(tmp_path: Path) -> None:
    for name in ("wheels", "real", "elsewhere"):
        (tmp_path / name).mkdir()
    (tmp_path / "elsewhere/b.whl").touch()
    (tmp_path / "wheels/b.whl").symlink_to(tmp_path / "elsewhere/b.whl")
    wanted = asked(tmp_path, f"--find-links {tmp_path}/wheels", "a")
    environ = {"PIP_FIND_LINKS": f"{tmp_path}/real https://i/wheels {tmp_path}/gone"}
    found = local_places(environ, wanted, tmp_path)
    assert {tmp_path / name for name in ("wheels", "real", "elsewhere")} <= {*found}
    assert tmp_path / "gone" not in found
    (tmp_path / "mirror/simple").mkdir(parents=True)
    mirror = {"PIP_EXTRA_INDEX_URL": f"file://{tmp_path}/mirror/simple/ file:///opt/simple"}
    found = local_places(mirror, asked(tmp_path), tmp_path)
    assert tmp_path / "mirror" in found and Path("/opt") not in found, "an image has one of its own"
    (tmp_path / "app").mkdir()
    (tmp_path / "app/setup.py").touch()
    assert tmp_path in local_places({}, asked(tmp_path, f"{tmp_path}/app"), tmp_path)
    opt = Surroundings(projects=(tmp_path / "app",), above=(Path("/opt"), Path("/usr/local")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wrapper.pip.installer.surroundings", lambda _: opt)
        found = local_places({}, asked(tmp_path, f"{tmp_path}/app"), tmp_path)
    assert not {*opt.above} & {*found}, "they would hide what a base image has there"


def test_a_place_that_cannot_be_listed_is_one_all_the_same(open_place: Path) -> None:
    closed = open_place / "closed"
    closed.mkdir()
    closed.chmod(0o311)
    with without_powers():
        assert closed in local_places({"PIP_FIND_LINKS": str(closed)}, Requirements(), open_place)
