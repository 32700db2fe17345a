"""The shape of the package: imports go one way, three libraries have one place each.

``LAYERS`` is the order, lowest first. A module imports only from layers below its own; a new
module has to find its place here.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import wrapper

ROOT = Path(wrapper.__file__).parent
WHOLE = {"cli", "doctor", "spec"}  # packages with one place in the order
PACKAGES = {p.parent.name for p in ROOT.glob("*/__init__.py")} - WHOLE
MODULES = sorted(p for p in ROOT.rglob("*.py") if "templates" not in p.parts)

# One's result is the next one's argument, so that none knows another.
STEPS = {
    *("conda.resolve", "conda.fetch", "conda.install", "pip.installer", "pip.managed"),
    *("scripts", "bytecode", "activation.record", "home", "reuse.taken"),
    *("squash", "record", "deploy", "tree", "skeleton"),
}
LAYERS: list[set[str]] = [
    {"errors", "credentials", "models", "background", "binds", "bundled", "foreign", "owner"}
    | {"compression", "rocm", "squashfs.layout"}
    | {"activation.grammar", "activation.model", "activation.uses", "activation.watched"},
    {"copying", "removal", "squashfs.compressors", "activation.syntax"},
    {"cache", "squashfs.reader"},
    {"console", "lock", "memo", "toml", "yaml_nodes", "squashfs.writer"}
    | {"activation.changes", "activation.constant", "activation.flow"},
    {"process", "spec", "manifest", "installed", "base.catalogue", "pip.config"}
    | {"sif.file", "sif.content", "sif.systems", "activation.together"},
    {"site_keys", "pip.local", "image.format", "base.definition", "tykky.prefix"},
    {"site"},
    {"workspace", "prefix", "runtime", "changes", "conda.channels", "host_program", "base.debian"}
    | {"conda.client", "conda.contents", "trust", "reuse.packages"}
    | {"pip.failure", "pip.uv_lock", "pip.outer", "pip.origin"},
    {"image.store", "image.tree"},
    {"image.pull"},
    {"image.find"},
    {"image.software"},
    {"image.facts"},
    {"container", "shims"},  # shims is text only: names and facts in, scripts out
    {"generations", "sif.os_packages", "pip.interpreter", "reuse.python", "activation.probing"},
    {"sif.output", "smoke"},
    STEPS,
    {"packed", "trial", "inputs"},
    {"start"},
    {"build", "base.build"},
    {"facts", "base.built"},
    {"installation", "base.commands"},
    {"conda.build", "pip.build", "wrap.install", "wrap.container", "past", "base.choose"},
    {"sif.build", "tykky.adopt"},
    {"plans"},
    {"pipeline", "sif.pipeline", "conda.command"},  # conda.command: inside a build
    {"commands.repack"},
    {"doctor"},
    {"cli"},
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
COMPOSERS = {
    "start",
    "build",
    "installation",
    "conda.build",
    "pip.build",
    "wrap.install",
    "wrap.container",
}
COMPOSERS |= {"tykky.adopt", "base.choose", "pipeline", "conda.command", "inputs", "plans"}
COMPOSERS |= {"sif.build", "sif.pipeline", "base.build", "base.built", "base.commands", "doctor"}
COMPOSERS |= {"facts", "trial", "commands.repack"}
# Who may know a step besides the modules that put steps together.
KNOWN_STEPS = {("cli", "squash"): "containerize info names the tools that a build would use"}
ONLY_IN = {
    "click": {"cli"},
    "rich": {"console"},
    "subprocess": {"process"},
}


def name_of(path: Path) -> str:
    """A module's name in ``LAYERS``: with its package, or one of ``WHOLE``."""
    return short(".".join(path.relative_to(ROOT).with_suffix("").parts))


def short(dotted: str) -> str:
    """The name in ``LAYERS`` of what a dotted name below ``wrapper`` leads to."""
    parts = dotted.removesuffix(".__init__").split(".")
    return ".".join(parts[:2] if parts[0] in PACKAGES else parts[:1])


NODES = {path: list(ast.walk(ast.parse(path.read_text()))) for path in MODULES}


def imported(path: Path) -> Iterator[str]:
    """Dotted names of all that a module imports, wherever it does."""
    for node in NODES[path]:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            assert node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@functools.cache
def own_imports(path: Path) -> set[str]:
    """Modules of the package, by their names in ``LAYERS``."""
    names = {
        short(name.removeprefix("wrapper."))
        for name in imported(path)
        if name.startswith("wrapper.")
    }
    return names - {name_of(path), "__version__"}


def violations(rule: Callable[[Path], set[str]]) -> dict[str, set[str]]:
    """What breaks a rule, by module."""
    found = {str(path.relative_to(ROOT)): rule(path) for path in MODULES}
    return {name: broken for name, broken in found.items() if broken}


def test_every_module_has_its_place() -> None:
    names = {name_of(path) for path in MODULES}
    assert names - PACKAGES == {*RANK, "__init__"}
    assert sum(len(layer) for layer in LAYERS) == len(RANK), "one place each"


def test_imports_go_down() -> None:
    def rule(path: Path) -> set[str]:
        rank = RANK.get(name_of(path), 0)
        return {name for name in own_imports(path) if RANK.get(name, rank) >= rank}

    assert violations(rule) == {}


def test_only_those_who_put_steps_together_know_them() -> None:
    def rule(path: Path) -> set[str]:
        name = name_of(path)
        if name in COMPOSERS:
            return set()
        return {s for s in own_imports(path) & STEPS if (name, s) not in KNOWN_STEPS}

    assert violations(rule) == {}


def test_exceptions_are_in_use() -> None:
    used = {(name_of(path), step) for path in MODULES for step in own_imports(path) & STEPS}
    assert set(KNOWN_STEPS) <= used


def test_some_libraries_have_one_place() -> None:
    def rule(path: Path) -> set[str]:
        used = {name.split(".")[0] for name in imported(path)}
        return {n for n, places in ONLY_IN.items() if n in used and name_of(path) not in places}

    assert violations(rule) == {}


def test_programs_are_started_in_one_place() -> None:
    """No way around ``subprocess``, but for a command that begins again in another encoding.

    (``os._exit`` ends a process, it starts none.)
    """
    starts = ("system", "popen", "fork", "spawn", "posix_spawn", "exec")

    def rule(path: Path) -> set[str]:
        return {
            node.attr
            for node in NODES[path]
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "os"
            and node.attr.startswith(starts)
        }

    assert violations(rule) == {"process.py": {"execv"}}


def test_results_and_messages_are_printed_in_few_places() -> None:
    """Where text from anywhere loses what would steer a terminal."""
    printing = {"cli/common.py": {"echo"}, "console.py": {"print"}, "cli/doctor.py": {"secho"}}
    printing["conda/command.py"] = {"print"}  # inside a build, whose log it goes to

    def rule(path: Path) -> set[str]:
        called = {
            getattr(node.func, "attr", getattr(node.func, "id", ""))
            for node in NODES[path]
            if isinstance(node, ast.Call)
        }
        known = printing.get(str(path.relative_to(ROOT)), set())
        return (called & {"echo", "secho", "print", "print_exc"}) - known

    assert violations(rule) == {}


def test_what_switches_passes_the_point_of_no_return_in_one_way() -> None:
    """Signals alone are ignored only where the process ends anyway."""
    places = {"process.py", "cli/common.py"}

    def rule(path: Path) -> set[str]:
        used = {node.attr for node in NODES[path] if isinstance(node, ast.Attribute)}
        halves = used & {"ignore_signals", "log_may_fail"}
        return set() if str(path.relative_to(ROOT)) in places else halves

    assert violations(rule) == {}
