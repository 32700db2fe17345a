"""What activating an environment changes, found out once, at build time, and kept as data.

A package may bring a script in ``etc/conda/activate.d`` that a shell sources at activation. All are
run in the container and watched. What a run did is what the next one does, as long as all that it
asked for is as it was: commands, files and variables. Commands and files have to be known as
constant (:mod:`.constant`). Of a variable that is only handed on or asked for being there
(:mod:`.flow`), it is found out what the script makes of any value (:mod:`.changes`). Where another
variable is set that was not, and where any of this cannot be shown, the script is sourced at run
time.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wrapper.activation.changes import State, changes_of
from wrapper.activation.constant import Judge
from wrapper.activation.flow import Flow
from wrapper.activation.model import Activation, VariableChange
from wrapper.activation.probing import Prober, Script, Trial, sourced_by
from wrapper.activation.together import Shown, footprint, together
from wrapper.activation.watched import Env, Run
from wrapper.console import Console, shortened
from wrapper.inputs.variables import why_not
from wrapper.manifest import ScriptRecord
from wrapper.runtime.container import BuildContainer
from wrapper.util import foreign

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MOST_NAMES = 2  # in a message


def conda_variables(install_path: str) -> Env:
    """What ``conda activate`` itself sets, besides PATH."""
    return {
        "CONDA_PREFIX": install_path,
        "CONDA_DEFAULT_ENV": install_path.rsplit("/", 1)[-1],
        "CONDA_SHLVL": "1",
    }


def package_variables(tree: Path, console: Console) -> Env:
    """Variables that packages declare in ``etc/conda/env_vars.d/*.json``.

    What a shell could not set is left out, with a warning.
    """
    found: Env = {}
    for path in sorted((tree / "etc/conda/env_vars.d").glob("*.json")):
        try:
            data = foreign.parse_json(foreign.read_bytes(path))
        except (OSError, ValueError):
            data = None
        if not isinstance(data, dict):
            console.warning(f"{path.name} of a package is left out: it does not list variables")
            continue
        for name, value in data.items():
            if why_not(name) or "\0" in str(value):
                console.warning(f"{path.name} of a package sets '{name}', which cannot be set")
            else:
                found[name] = str(value)
    return found


def activation_scripts(tree: Path) -> list[str]:
    """The scripts, as paths below the environment, in the order in which conda sources them."""
    folder = tree / "etc/conda/activate.d"
    return [str(path.relative_to(tree)) for path in sorted(folder.glob("*.sh"))]


def record_activation(
    container: BuildContainer,
    variables: Mapping[str, str],
    constant: Sequence[str] = (),
    *,
    outside: bool = True,
) -> Activation:
    """Find out what activation changes in the environment of ``container``.

    :param variables: set in any case: conda's own and the user's (``variables:`` of an env.yml).
    :param constant: directories inside that never change, besides the environment's.
    :param outside: whether the record is applied outside of the container, where one does not see
        what the image sets.
    :raises ScriptError: the container cannot run at all (a failing script is no error).
    """
    declared = package_variables(container.tree, container.console)
    fixed = {**declared, **variables}  # in conda's order
    paths = [f"{container.install_path}/{p}" for p in activation_scripts(container.tree)]
    if not paths:
        return Activation(assign=fixed)
    prober = Prober(container, fixed)
    scripts = prober.scripts(paths)
    hidden = prober.of_image if outside else frozenset[str]()
    shower = _Shower(container=container, constant=constant, hidden=hidden)
    return Activation(assign=fixed, scripts=together(shower.show(scripts, fixed)))


def tell(activation: Activation, console: Console) -> None:
    """Say which scripts are sourced at run time, and why."""
    sometimes = []
    for script in activation.scripts:
        if script.why:
            console.warning(
                f"{script.path} depends on the moment it runs: it {script.why}. It is sourced at "
                "every start, which costs some milliseconds"
            )
        elif names := [*script.unless, *script.unless_empty]:
            sometimes.append(f"{Path(script.path).name} ({shortened(names, _MOST_NAMES)})")
    if sometimes:
        console.info(
            "activation scripts that are sourced where a variable is set that they look into: "
            + ", ".join(sometimes)
        )


def as_record(activation: Activation) -> tuple[ScriptRecord, ...]:
    """The scripts, for the manifest."""
    return tuple(
        ScriptRecord(
            script=script.path, why=script.why, unless=(*script.unless, *script.unless_empty)
        )
        for script in activation.scripts
    )


@dataclass(kw_only=True)
class _Shower:
    """Shows what each script does.

    :ivar constant: directories that never change. :ivar hidden: variables that the image sets and
        who applies the record does not see.
    """

    container: BuildContainer
    constant: Sequence[str]
    hidden: frozenset[str]

    def show(self, scripts: Sequence[Script], fixed: Iterable[str]) -> list[Shown]:
        """What each does where none of those before it is sourced.

        :param fixed: variables that are set before them.
        """
        known, follows = {*fixed}, dict[str, set[str]]()
        found = []
        for script in scripts:
            shown = self._show_one(script, known, follows)
            for change in shown.changes:
                if change.where:
                    known.discard(change.name)
                    source = change.where[1:]
                    causes = {source, *follows.get(source, ())} - known
                    follows.setdefault(change.name, set()).update(causes)
                else:
                    known.add(change.name)
                    follows.pop(change.name, None)
            known -= shown.flow.left
            found.append(shown)
        return found

    def _show_one(self, script: Script, known: set[str], follows: Mapping[str, set[str]]) -> Shown:
        runs, flow, changes = self._tried(script, known)
        tried = frozenset[str]().union(*runs)
        reasons = list(self._reasons(script, runs, flow))
        reasons += self._of_image(flow, changes or (), known)
        reasons += [f"sets {change.name}" for change in changes or () if why_not(change.name)]
        if not reasons and changes is None:
            reasons.append("makes of one variable what depends on others")
        looked = (flow.read - tried - flow.changing) | (flow.left - known)
        looked = {name for name in looked if _NAME.fullmatch(name)}  # no other can be set
        return Shown(
            path=script.path,
            flow=flow,
            reasons=list(dict.fromkeys(reasons)),
            changes=changes or (),
            unless=looked.union(*(follows.get(name, ()) for name in looked)),
            unless_empty=flow.or_empty & tried,
            footprint=footprint(script.texts),
        )

    def _tried(
        self, script: Script, known: set[str]
    ) -> tuple[Mapping[State, Run], Flow, tuple[VariableChange, ...] | None]:
        """The runs that tell most, what they read, and what they show, if anything."""
        before = script.chained.before
        for trial in script.trials:
            runs, flow = self._while_whole(script, trial, known)
            changes = changes_of(runs)
            tried = frozenset[str]().union(*runs)
            # What scripts before it set has been tried as what it is: something that has a value.
            set_before = {name for name in trial.asked if name in before and name != "PATH"}
            as_it_is = set_before <= tried and all(before[name] for name in set_before)
            if changes is not None and as_it_is and not known.intersection(trial.asked):
                return runs, flow, changes
        runs = {state: run for state, run in trial.runs.items() if state <= {"PATH"}}
        changes = None if known.intersection(trial.asked) else changes_of(runs)
        return runs, script.flow(runs.values(), known), changes

    def _while_whole(
        self, script: Script, trial: Trial, known: Iterable[str]
    ) -> tuple[dict[State, Run], Flow]:
        """The runs in which variables have values that are only handed on or asked for being there,
        and that lead to nothing that depends on the moment.
        """
        runs = dict(trial.runs)
        always = frozenset({"PATH"} & {*trial.asked})
        usual = {*self._of_run(script, runs[always])}
        odd = {state for state, run in runs.items() if {*self._of_run(script, run)} - usual}
        while True:
            flow = script.flow(runs.values(), known)
            tried = frozenset[str]().union(*runs) - always
            out = tried & flow.looked_into or {name for name in tried if always | {name} in odd}
            if not out and odd & {*runs}:
                out = tried
            if not out:
                return runs, flow
            runs = {state: run for state, run in runs.items() if not state & out}

    def _of_run(self, script: Script, run: Run) -> Iterator[str]:
        """What in a run depends on the moment, besides variables."""
        yield from Judge(is_constant=self._is_constant).reasons(run)
        yield from (f"sources {name}" for name in sourced_by(run) if name not in script.sourced)
        for name in sorted({*(run.after or ())} - {*run.before}):
            if name.startswith("BASH_FUNC_"):
                yield "exports a function"
            elif why_not(name):
                yield f"sets {name}"

    def _reasons(self, script: Script, runs: Mapping[State, Run], flow: Flow) -> Iterator[str]:
        for run in runs.values():
            yield from self._of_run(script, run)
        for text in script.texts:
            if not text.whole:
                yield "has a part that cannot be read"
            if "coproc" in text.commands:
                yield "runs coproc"
            for redirection in text.around:
                yield f"reads or makes files ({redirection})"
        special = flow.changing | (flow.looked_into & {"PATH"})
        yield from (f"reads {'' if name[0].isalpha() else '$'}{name}" for name in sorted(special))

    def _is_constant(self, path: str) -> bool:
        """Whether a path inside is one of the image, and so is what it leads to."""
        inside = self.container.install_path
        if _below(path, inside):
            tree = os.path.realpath(self.container.tree)
            real = os.path.realpath(f"{tree}{path[len(inside) :]}")
            return any(_below(real, root) for root in (tree, inside, *self.constant))
        return any(_below(path, root) for root in self.constant)

    def _of_image(
        self, flow: Flow, changes: Sequence[VariableChange], known: Iterable[str]
    ) -> Iterator[str]:
        """What an image sets is not seen from outside; but both runtimes can add to its PATH."""
        added = all(
            (change.kind == "<" and change.value.endswith(":"))
            or (change.kind == ">" and change.value.startswith(":"))
            for change in changes
            if change.name == "PATH"
        )
        removed = {change.name for change in changes if change.kind == "-"}
        for name in sorted((flow.read | removed) & self.hidden - {*known}):
            if name != "PATH" or not added:
                yield f"reads {name}, which the image sets"


def _below(path: str, root: str) -> bool:
    return path == root or path.startswith(f"{root}/")
