"""The order of a build's steps, with a source and a target that only write down what they do."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from wrapper.activation.model import Activation, ActivationScript
from wrapper.build import recipe
from wrapper.build.context import BuildContext
from wrapper.build.inputs import Inputs
from wrapper.build.left_packed import PackedError
from wrapper.build.nothing_to_do import Unchanged
from wrapper.build.recipe import build, build_update
from wrapper.build.source import Source
from wrapper.build.target import Finished, Target
from wrapper.console import Console
from wrapper.errors import InputError, PackageError, SolveError
from wrapper.inputs.files import InputFile
from wrapper.models import Base, Site
from wrapper.packages import LockedPackage
from wrapper.requests import NewRequest

SCRIPT = ActivationScript(path="/x/activate.d/a.sh", why="it reads $HOME")


class Build:
    """A build that does nothing; ``steps`` are the names of its hooks, in the order of calls.

    :ivar fails: hook -> what it raises, once. :ivar before: packages of the old environment.
    """

    def __init__(self, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps: list[str] = []
        self.fails: dict[str, Exception] = {}
        self.before: list[LockedPackage] | None = None
        self.packed = False
        self.finished: Finished | None = None
        self.fields: dict[str, Any] = {
            "request": NewRequest(prefix=tmp_path / "p"),
            "inputs": Inputs(),
            "base": Base(),
            "reuse": None,
            "mpi": SimpleNamespace(begin=lambda: None, settle=lambda *_: None),
            "ask_base": lambda *_, **__: None,
            "old": None,
            "variables": {},
            "wrapper_paths": (),
            "console": console,
            "tree": tmp_path,
            "install_path": "/containerize-x",
            "space": SimpleNamespace(cache=None),
            "site": Site(),
            "container": lambda places: cast(Any, object()),
            "user_variables": dict,
        }
        self._patch(monkeypatch)

    def _patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        tree = SimpleNamespace(
            packed=None,
            unpack=self.hook("unpack"),
            take=self.hook("take", True),
            start_over=self.hook("start over"),
            tell_changes=self.hook("tell changes"),
            may_leave_packed=lambda _: self.packed,
            packages_before=lambda: self.before,
            whole=nullcontext,
            require_unseen=self.hook("unseen"),
            old_pip=list,
        )
        found = Activation(scripts=(SCRIPT,))
        monkeypatch.setattr(recipe, "IncrementalTree", lambda **_: tree)
        for name in ("foreseen", "libraries_in"):
            monkeypatch.setattr(recipe, name, lambda *_: [])
        monkeypatch.setattr(
            recipe, "run_user_script", lambda _, script, **__: self.steps.append(script.name)
        )
        monkeypatch.setattr(recipe, "record_activation", self.hook("activation", found))

    def hook(self, name: str, answer: object = None) -> Any:
        def called(*_: object, **__: object) -> object:
            self.steps.append(name)
            if error := self.fails.pop(name, None):
                raise error
            return answer

        return called

    def source(self) -> Source:
        hooks = ("prepare", "populate", "compile", "write_lock")
        fields: dict[str, Any] = {name: self.hook(name) for name in hooks}
        fields |= {"gone": self.hook("gone", set()), "leaves_packed": lambda _: self.packed}
        kind = type("Recorded", (Source,), fields)
        found: Source = kind(context=cast(BuildContext, SimpleNamespace(**self.fields)))
        return found

    def target(self) -> Target:
        @contextmanager
        def opened() -> Any:
            self.steps.append("open")
            yield
            self.steps.append("close")

        def deliver(finished: Finished) -> object:
            self.steps.append("deliver")
            self.finished = finished
            return object()

        return cast(
            Target,
            SimpleNamespace(
                outside=True,
                opened=opened,
                mount_points=self.hook("mount points", []),
                make_home=self.hook("home"),
                deliver=deliver,
            ),
        )

    def run(self) -> None:
        source = self.source()
        build(source.context, source, self.target())


@pytest.fixture
def made(tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch) -> Build:
    return Build(tmp_path, console, monkeypatch)


def script(name: str) -> InputFile:
    return InputFile(path=Path(name), content=b"true\n", name=name)


def test_the_steps_of_a_build(made: Build) -> None:
    made.fields["inputs"] = Inputs(pre_install=(script("pre"),), post_install=(script("post"),))
    made.run()
    assert set(made.steps[1:3]) == {"unpack", "prepare"}, "both at once"
    assert made.steps[3:8] == ["mount points", "pre", "populate", "post", "unseen"]
    assert set(made.steps[9:11]) == {"write_lock", "compile"}, "both at once"
    assert [made.steps[0], made.steps[8]] == ["open", "home"]
    assert made.steps[11:] == ["activation", "deliver", "close"]


def test_of_an_update_it_is_told_what_changes(made: Build) -> None:
    made.before = []
    made.run()
    assert "tell changes" in made.steps


def test_what_stays_packed_is_solved_first(made: Build) -> None:
    made.packed = True
    made.run()
    assert made.steps[1:4] == ["prepare", "gone", "take"] and "unpack" not in made.steps


@pytest.mark.parametrize("step", ["populate", "unseen"])
def test_what_would_change_what_is_packed_starts_over(made: Build, step: str) -> None:
    made.fields["inputs"] = Inputs(post_install=(script("post"),))
    made.packed = True
    made.fails[step] = PackedError("it is packed")
    made.run()
    assert made.steps.count("populate") == 2
    assert made.steps.index("start over") < made.steps.index("home")


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("step", ["prepare", "populate"])
def test_an_update_that_changes_nothing_ends(made: Build, step: str, packed: bool) -> None:
    made.packed, made.fails[step] = packed, Unchanged()
    source = made.source()
    assert build_update(source.context, source, made.target()) is None
    assert "deliver" not in made.steps and "home" not in made.steps


@pytest.mark.parametrize("step", ["prepare", "populate", "compile", "write_lock"])
def test_nothing_is_delivered_after_a_failure(made: Build, step: str) -> None:
    made.fails[step] = SolveError("no")
    with pytest.raises(SolveError):
        made.run()
    assert "deliver" not in made.steps


def test_what_a_lock_lacks_has_to_be_there_in_the_end(made: Build) -> None:
    made.fields["inputs"] = Inputs(left_out={"local": "local==1"})
    with pytest.raises(PackageError, match="local==1"):
        made.run()


def test_scripts_are_told_of_unless_there_is_no_bash_for_them(
    made: Build, console: Console, screen: Any
) -> None:
    made.run()
    assert made.finished and made.finished.activation.scripts == (SCRIPT,)
    made.fields["base"] = Base(has_bash=False)
    made.run()
    (kept,) = made.finished.activation.scripts
    assert not kept.why and "no bash" in screen.getvalue()


def test_what_is_compiled_for_this_processor_alone_is_told(
    made: Build, screen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a script, or with a variable that a build's container has."""
    monkeypatch.setenv("CFLAGS", "-march=native")  # it has not
    made.run()
    assert "native" not in screen.getvalue()
    monkeypatch.setenv("APPTAINERENV_CFLAGS", "-O2 -march=native")
    script = InputFile(
        path=Path("x.sh"), content=b"# never -march=native\ncc -mcpu=native \xff", name="x.sh"
    )
    made.fields["inputs"] = replace(made.fields["inputs"], post_install=(script,))
    made.run()
    assert "APPTAINERENV_CFLAGS has -march=native: what is compiled" in screen.getvalue()
    assert screen.getvalue().count("the script x.sh has -mcpu=native") == 1


def test_what_is_wrong_with_mpi_is_told_before_packages_are_fetched(
    made: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object) -> None:
        raise InputError("its own comes first", where="--mpi host", hint="do without")

    made.fields["mpi"].settle = refuses
    with pytest.raises(InputError):
        made.run()
    assert "prepare" in made.steps and "populate" not in made.steps
