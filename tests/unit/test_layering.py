"""The shape of the program: imports go one way, three libraries have one place each."""

from __future__ import annotations

import ast
import functools
import graphlib
from collections.abc import Callable, Iterator
from pathlib import Path

import wrapper

ROOT = Path(wrapper.__file__).parent
MODULES = sorted(p for p in ROOT.rglob("*.py") if "templates" not in p.parts)
# Lowest first: a package imports of those before it only. (Modules beside them are of all heights,
# and no module needs one that needs it.)
PACKAGES = [
    *("util", "inputs", "runtime", "activation", "images", "mpi", "prefix", "base_python", "base"),
    *("conda", "pip", "build", "commands", "doctor", "cli"),
]
ONLY_IN = {"click": "cli", "rich": "console", "subprocess": "process"}
# Where values of others enter that are not looked at as a whole: docs/architecture.md says which.
UNTYPED = {
    *("util.toml", "installed", "base_python.packages", "inputs.lockfile"),
    "settings_keys",
}


def name_of(path: Path) -> str:
    """A module's dotted name below ``wrapper``; a package has that of its directory."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


NAMES = {name_of(path) for path in MODULES}


def package_of(name: str) -> str:
    return name.partition(".")[0]


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
    """Modules of the program that a module imports."""
    names = {name.removeprefix("wrapper.") for name in imported(path) if "wrapper." in name}
    modules = {name if name in NAMES else name.rpartition(".")[0] for name in names}
    return modules - {name_of(path), "", "__version__"}


def violations(rule: Callable[[Path], set[str]]) -> dict[str, set[str]]:
    """What breaks a rule, by module."""
    found = {str(path.relative_to(ROOT)): rule(path) for path in MODULES}
    return {name: broken for name, broken in found.items() if broken}


def test_no_module_needs_one_that_needs_it() -> None:
    order = graphlib.TopologicalSorter({name_of(path): own_imports(path) for path in MODULES})
    order.prepare()


def test_packages_have_an_order() -> None:
    assert {name for name in NAMES if (ROOT / name / "__init__.py").exists()} == {*PACKAGES}

    def rule(path: Path) -> set[str]:
        package = package_of(name_of(path))
        if package not in PACKAGES:
            return set()
        later = PACKAGES[PACKAGES.index(package) + 1 :]
        return {name for name in own_imports(path) if package_of(name) in later}

    assert violations(rule) == {}


def test_some_libraries_have_one_place() -> None:
    def rule(path: Path) -> set[str]:
        used = {name.partition(".")[0] for name in imported(path)} & ONLY_IN.keys()
        return {name for name in used if package_of(name_of(path)) != ONLY_IN[name]}

    assert violations(rule) == {}


def test_types_hold_but_where_values_of_others_enter() -> None:
    """Elsewhere ``object`` says that nobody has looked yet, and a data class that somebody has."""
    found = {name_of(path) for path in MODULES if "typing.Any" in imported(path)}
    assert found == UNTYPED


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
    printing["build/conda_in_scripts.py"] = {"print"}  # inside a build, whose log it goes to

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
