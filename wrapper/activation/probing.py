"""Runs activation scripts in the container, watched, in environments that are told apart later."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from wrapper.activation.changes import State, sentinel, touched
from wrapper.activation.flow import Flow
from wrapper.activation.syntax import uses_of
from wrapper.activation.uses import Uses
from wrapper.activation.watched import Run, file_text, read_environment, read_run
from wrapper.runtime.container import CERTIFICATES, BuildContainer

# What builds set, and shims take from the user (or never have, as the last).
_OF_BUILDS = {*CERTIFICATES, "PYTHONPATH", "PYTHONNOUSERSITE", "TMPDIR", "UV_CREDENTIALS_DIR"}
_MOST_VARIABLES = 6  # of which all combinations are tried


@dataclass(kw_only=True)
class Trial:
    """Runs of one script by itself.

    :ivar asked: variables that it hands on or asks for; each run's state says which have a value.
        All others are as the scripts before it left them.
    """

    asked: tuple[str, ...]
    runs: dict[State, Run] = field(default_factory=dict)


@dataclass(kw_only=True)
class Script:
    """One script and what was seen of it.

    :ivar chained: its run after those before it. :ivar sourced: what it sources, and where a copy
        of that is. :ivar texts: its own, and of what it sources.
    :ivar trials: with all variables that it asks for; and with those alone that no script before
        it may have set, where these are less.
    """

    path: str
    chained: Run
    sourced: Mapping[str, Path]
    texts: list[Uses] = field(default_factory=list)
    trials: list[Trial] = field(default_factory=list)

    def flow(self, runs: Iterable[Run], known: Iterable[str]) -> Flow:
        """What runs of it read. :param known: variables that are the same at every start."""
        flow = Flow(constant=frozenset(known))
        for run in runs:
            flow.add(run, {name for text in self.texts for name in text.patterns})
        return flow


@dataclass
class Prober:
    """Runs scripts in ``container``.

    :ivar fixed: variables that are set before them. :ivar of_image: variables that the container's
        image sets, in whatever program runs in it.
    """

    container: BuildContainer
    fixed: Mapping[str, str]
    of_image: frozenset[str] = frozenset()
    _folder: Path = field(init=False)

    def __post_init__(self) -> None:
        self._folder = self.container.scratch / "activation"
        (self._folder / "home").mkdir(parents=True)

    def scripts(self, paths: Sequence[str]) -> list[Script]:
        """All that is to be seen of scripts, in three starts of the container.

        :param paths: inside, in the order in which they are sourced.
        """
        scripts = self._run_in_order(paths)
        self._find_asked(scripts)
        self._run_alone("all", scripts, _all_set)
        for script in scripts:
            script.texts += [uses_of(file_text(copy)) for copy in script.sourced.values()]
            for trial in script.trials:
                looked = script.flow(trial.runs.values(), self.fixed).looked_into - {"PATH"}
                left = {*trial.asked} - looked
                path = left & {"PATH"}
                trial.asked = (*sorted(left - path)[:_MOST_VARIABLES], *path)
                trial.runs.clear()
        self._run_alone("each", scripts, _states)
        return scripts

    def _run_in_order(self, paths: Sequence[str]) -> list[Script]:
        """All scripts, as a shell sources them."""
        path = f"{self.container.install_path}/bin:/usr/bin:/bin"
        start = {"HOME": str(self._folder / "home"), "PATH": path, **self.fixed}
        image, chain = self._folder / "image", self._folder / "chain"
        lines = [shlex.join(self._words(image, {}, [])), self._line(chain, start, paths)]
        self._run(lines, "chain")
        if self.container.own_system:
            given = self.container.environ
            seen = read_environment(Path(f"{image}.0")) or {}
            found = {name for name, value in seen.items() if given.get(name) != value}
            self.of_image = frozenset(found - _OF_BUILDS)
        return [self._script(number, path) for number, path in enumerate(paths)]

    def _script(self, number: int, path: str) -> Script:
        below = path.removeprefix(self.container.install_path).lstrip("/")
        run = read_run(self._folder / "chain", number + 1)
        names = enumerate(sourced_by(run))
        return Script(
            path=path,
            chained=run,
            sourced={name: self._folder / f"text-{number}-{index}" for index, name in names},
            texts=[uses_of(file_text(self.container.tree / below))],
        )

    def _find_asked(self, scripts: Sequence[Script]) -> None:
        before = {*self.fixed}
        for script in scripts:
            flow = script.flow([script.chained], self.fixed)
            asked = flow.whole - flow.looked_into - flow.changing
            script.trials = [Trial(asked=tuple(sorted(asked)))]
            if unsure := asked & before - {"PATH"}:
                script.trials.append(Trial(asked=tuple(sorted(asked - unsure))))
            before |= touched(script.chained)

    def _run_alone(
        self,
        name: str,
        scripts: Sequence[Script],
        states: Callable[[Sequence[str]], Iterable[State]],
    ) -> None:
        """Each script by itself, in ``states`` of the variables that it asks for."""
        lines, places = list[str](), list[tuple[Trial, State, Path]]()
        for script in scripts:
            for path, copy in script.sourced.items():
                lines.append(f'printf %s "$(<{shlex.quote(path)})" >{shlex.quote(str(copy))}')
            for trial in script.trials:
                before = script.chained.before.items()
                start = {name: value for name, value in before if name not in trial.asked}
                for state in states(trial.asked):
                    out = self._folder / f"{name}-{len(places)}"
                    values = {name: sentinel(name) for name in state}
                    lines.append(self._line(out, {**start, **values}, [script.path]))
                    places.append((trial, state, out))
        self._run(lines, name)
        for trial, state, out in places:
            trial.runs[state] = read_run(out, 1)

    def _words(self, out: Path, start: Mapping[str, str], scripts: Sequence[str]) -> list[str]:
        probe = str(files("wrapper") / "templates" / "probe.sh")
        text = "".join(f"{name}={value}\0" for name, value in start.items())
        Path(f"{out}.start").write_bytes(text.encode("utf-8", "surrogateescape"))
        return [*self.container.bash, "--noprofile", "--norc", probe, str(out), *scripts]

    def _line(self, out: Path, start: Mapping[str, str], scripts: Sequence[str]) -> str:
        """A line of shell that runs scripts with ``start`` as their whole environment."""
        return f"(exec -c {shlex.join(self._words(out, start, scripts))})"

    def _run(self, lines: Sequence[str], name: str) -> None:
        """Run all of it in one start of the container."""
        # A script that ends its shell must not end the build: the last status is ours.
        text = "\n".join([*lines, "exit 0"]) + "\n"
        jobs = self._folder / f"{name}.jobs"
        jobs.write_bytes(text.encode("utf-8", "surrogateescape"))
        what = "recording the activated environment"
        self.container.run([*self.container.bash, str(jobs)], what=what)


def sourced_by(run: Run) -> list[str]:
    """What a run sourced."""
    found = [words[1:2] for words in run.executed or () if words[:1] in ((".",), ("source",))]
    return [name for names in dict.fromkeys(found) for name in names]


def _all_set(asked: Sequence[str]) -> list[State]:
    """The one in which all of them have values."""
    return [frozenset(asked)]


def _states(asked: Sequence[str]) -> Iterator[State]:
    """All combinations. PATH is always there."""
    always = {"PATH"} & {*asked}
    names = [name for name in asked if name not in always]
    for count in range(len(names) + 1):
        for chosen in itertools.combinations(names, count):
            yield frozenset({*chosen, *always})
