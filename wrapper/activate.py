"""What activating an environment changes, found out once, at build time, and kept as data.

A package may bring a script in ``etc/conda/activate.d`` that a shell sources at activation. Each
is run in the container under several starting environments, and what it does is told from the
differences: it *assigns* a variable whatever was there, gives a *default* where something was
unset, or *prepends* to a value. A script that does anything else depends on the moment it runs
(``$HOME``, ``$$``, the date) and is sourced at run time instead.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from wrapper import foreign
from wrapper.console import Console
from wrapper.container import BuildContainer
from wrapper.models import Activation, Guarded
from wrapper.spec.names import why_not

Env = dict[str, str]
# Variables of the shell itself, different in every run.
_SHELL_OWN = ("_", "SHLVL", "PWD", "OLDPWD")
_SENTINEL = "/containerize-probe"


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


def record_activation(container: BuildContainer, variables: Mapping[str, str]) -> Activation:
    """Find out what activation changes in the environment of ``container``.

    :param variables: set in any case: conda's own and the user's (``variables:`` of an env.yml).
    :raises ScriptError: the container cannot run at all (a failing script is no error).
    """
    declared = package_variables(container.tree, container.console)
    fixed = {**declared, **variables}  # in conda's order
    scripts = [f"{container.install_path}/{p}" for p in activation_scripts(container.tree)]
    if not scripts:
        return Activation(assign=fixed)
    return _combine(fixed, scripts, _probe(container, fixed, scripts))


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One script's behaviour.

    :ivar before: environment before it. :ivar after: and after it.
    :ivar other_before: the same in a different world (another user, home, PATH).
    :ivar preset: for each variable that it changed: the environment after it where that variable
        had the value of :func:`sentinel` before.
    """

    before: Env
    after: Env
    other_before: Env
    other_after: Env
    preset: Mapping[str, Env]


def _probe(container: BuildContainer, fixed: Env, scripts: Sequence[str]) -> list[Probe]:
    folder = container.scratch / "activation"
    folder.mkdir()
    path = f"{container.install_path}/bin"
    one = {"HOME": "/home-a", "USER": "a", "LANG": "C", "PATH": f"{path}:/usr/bin:/bin", **fixed}
    two = {
        **{"HOME": "/home-b", "USER": "b", "LANG": "C.UTF-8", "TMPDIR": "/tmp-b"},
        **{"PATH": f"{path}:/other/bin:/usr/bin:/bin", **fixed},
    }
    chains = [folder / "one", folder / "two"]
    _run_jobs(container, [(env, out, scripts) for env, out in zip((one, two), chains, strict=True)])
    states, others = (
        [_read(Path(f"{out}.{i}")) for i in range(len(scripts) + 1)] for out in chains
    )

    jobs = []
    places: dict[tuple[int, str], Path] = {}
    for index, script in enumerate(scripts):
        for name in _changed(states[index], states[index + 1]):
            places[index, name] = folder / f"preset-{len(places)}"
            start = {**states[index], name: sentinel(name)}
            jobs.append((start, places[index, name], [script]))
    _run_jobs(container, jobs)
    return [
        Probe(
            before=states[index],
            after=states[index + 1],
            other_before=others[index],
            other_after=others[index + 1],
            preset={
                name: _read(Path(f"{place}.1"))
                for (position, name), place in places.items()
                if position == index
            },
        )
        for index in range(len(scripts))
    ]


def _run_jobs(container: BuildContainer, jobs: Sequence[tuple[Env, Path, Sequence[str]]]) -> None:
    """Run all (environment, output, scripts) in one start of the container."""
    if not jobs:
        return
    probe = str(files("wrapper") / "templates" / "probe.sh")
    lines = []
    for env, out, scripts in jobs:
        start = Path(f"{out}.start")  # as words they would be seen by everybody
        pairs = "".join(f"{name}={value}\0" for name, value in env.items())
        start.write_bytes(pairs.encode("utf-8", "surrogateescape"))
        words = [*container.bash, "--noprofile", "--norc", probe, str(out), str(start)]
        lines.append(f"(exec -c {shlex.join([*words, *scripts])})")
    job_file = jobs[0][1].with_suffix(".jobs")
    # A script that ends its shell must not end the build: the last status is ours.
    text = "\n".join([*lines, "exit 0"]) + "\n"
    job_file.write_bytes(text.encode("utf-8", "surrogateescape"))
    container.run([*container.bash, str(job_file)], what="recording the activated environment")


def _read(path: Path) -> Env:
    """A file of ``env -0``; what was not written (the script ended the shell) is no change."""
    if not path.is_file():
        return {}
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    pairs = (item.partition("=") for item in text.split("\0") if item)
    return {name: value for name, _, value in pairs if name not in _SHELL_OWN}


def sentinel(name: str) -> str:
    """The value that a variable is preset to, to see what a script makes of it."""
    return f"{_SENTINEL}/{name}"


def _changed(before: Env, after: Env) -> list[str]:
    return sorted(n for n in {*before, *after} if before.get(n) != after.get(n))


# -- from observations to data -----------------------------------------------------------------
@dataclass(frozen=True, kw_only=True)
class Effect:
    """What one script does, where that can be said once for all."""

    assign: Env
    prepend: Env
    unset: tuple[str, ...]
    guards: tuple[str, ...]


def classify(probe: Probe) -> Effect | None:
    """The effect of a script, or ``None`` where it depends on the moment."""
    if not probe.after or not probe.other_after:
        return None  # it ended the shell
    names = _changed(probe.before, probe.after)
    odd = [name for name in names if why_not(name)]  # exported functions among them
    if odd or names != _changed(probe.other_before, probe.other_after):
        return None
    assign: Env = {}
    prepend: Env = {}
    unset: list[str] = []
    guards: list[str] = []
    for name in names:
        value, other = probe.after.get(name), probe.other_after.get(name)
        preset = probe.preset.get(name, {})
        start = {**probe.before, name: sentinel(name)}
        added = _prepended(probe.before.get(name), value)
        if value is None and other is None and name not in preset:
            unset.append(name)
        elif added and added == _prepended(probe.other_before.get(name), other):
            if preset.get(name) != f"{added}:{sentinel(name)}":
                return None
            prepend[name] = added
        elif value is None or value != other:
            return None
        elif not _changed(start, preset):
            guards.append(name)
            assign[name] = value
        elif preset.get(name) == value:
            assign[name] = value
        elif preset.get(name) == f"{value.rstrip(':')}:{sentinel(name)}":
            prepend[name] = value.rstrip(":")
        else:
            return None
    if guards and (prepend or unset):
        return None
    return Effect(assign=assign, prepend=prepend, unset=tuple(unset), guards=tuple(guards))


def _prepended(before: str | None, after: str | None) -> str | None:
    """What stands before the old value now, or ``None`` where the new one is no prepend."""
    if before and after and after.endswith(f":{before}"):
        return after[: -len(before) - 1]
    return None


def _combine(fixed: Env, scripts: Sequence[str], probes: Sequence[Probe]) -> Activation:
    """One activation of all scripts: the shim assigns, prepends, gives defaults, and unsets."""
    assign, prepend = dict(fixed), Env()
    default: list[Guarded] = []
    unset: list[str] = []
    dynamic: list[str] = []
    late: set[str] = set()  # set by the shim only after what a later script would do
    for script, probe in zip(scripts, probes, strict=True):
        effect, names = classify(probe), _changed(probe.before, probe.after)
        if effect is None or late.intersection(names) or set(unset).intersection(effect.guards):
            dynamic.append(script)
            late.update(names)
            continue
        if effect.guards:
            default.append(Guarded(guards=effect.guards, assign=effect.assign))
            late.update(names)
            continue
        for name in names:  # the latest word on a variable counts
            if name in unset and name in effect.prepend:
                assign[name] = effect.prepend[name]
            elif name in effect.prepend:
                rest = [prepend[name]] if name in prepend else []
                prepend[name] = ":".join([effect.prepend[name], *rest])
            else:
                assign.pop(name, None)
                prepend.pop(name, None)
            if name in unset:
                unset.remove(name)
        assign.update(effect.assign)
        unset += effect.unset
    return Activation(
        assign=assign,
        default=tuple(default),
        prepend=prepend,
        unset=tuple(unset),
        scripts=tuple(dynamic),
    )
