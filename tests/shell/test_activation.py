"""Activation scripts: which are shown to be constant, why others are not, and what is recorded."""

from __future__ import annotations

import io
import os
import random
import re
import shlex
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from tests.channel.activations import FILES, SCRIPTS
from wrapper.activation.changes import applied
from wrapper.activation.model import Activation, ActivationScript
from wrapper.activation.record import as_record, record_activation, tell
from wrapper.console import Console
from wrapper.runtime.container import BuildContainer

Env = Mapping[str, str]


class HostContainer:
    """Stands in for the build's container: the tree is where it is, programs run on the host."""

    own_system = False

    def __init__(self, root: Path) -> None:
        self.console = Console(stream=io.StringIO())
        self.environ: Env = {}
        self.tree = root / "tree"
        self.install_path = str(self.tree)
        self.bash = ["/bin/bash"]
        self.scratch = root / "scratch"
        self.scratch.mkdir(parents=True)

    def run(self, command: Sequence[str], **_: Any) -> None:
        subprocess.run(command, check=True, cwd=self.scratch, timeout=60, capture_output=True)


def record(root: Path, *scripts: str | bytes, **variables: str) -> Activation:
    container = HostContainer(root)
    folder = container.tree / "etc/conda/activate.d"
    folder.mkdir(parents=True, exist_ok=True)
    for number, script in enumerate(scripts):
        data = script if isinstance(script, bytes) else script.encode()
        (folder / f"{number}.sh").write_bytes(data)
    variables = {"CONDA_PREFIX": container.install_path, **variables}
    return record_activation(cast(BuildContainer, container), variables)


def one(root: Path, script: str) -> ActivationScript:
    """What is recorded of a script that is alone."""
    (found,) = record(root, script).scripts
    return found


# -- what a shell would do -----------------------------------------------------------------------
def sourced(env: Env, paths: Sequence[str]) -> dict[str, str]:
    """The environment of a program after a shell has sourced scripts."""
    code = (
        '_all=("$@"); set --; for _one in "${_all[@]}"; do . "$_one"; done >/dev/null 2>&1'
        "; set +p; exec /usr/bin/env -0"
    )
    done = subprocess.run(
        ["/bin/bash", "-p", "-c", code, "x", *paths],
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
    )
    pairs = [item.split("=", 1) for item in os.fsdecode(done.stdout).split("\0") if item]
    return {name: value for name, value in pairs if name not in ("_", "SHLVL", "PWD", "OLDPWD")}


def are_sourced(activation: Activation, env: Env) -> list[int]:
    """Positions of the scripts that a shim has sourced."""
    found: list[int] = []
    for number, script in enumerate(activation.scripts):
        empty = [name for name in script.unless_empty if env.get(name) == ""]
        if script.why or empty or {*script.unless} & {*env} or {*script.after} & {*found}:
            found.append(number)
    return found


def activated(activation: Activation, env: Env) -> dict[str, str]:
    """What a shim makes of an environment."""
    result = {**env, **activation.assign}
    numbers = are_sourced(activation, result)
    for number, script in enumerate(activation.scripts):
        if number not in numbers:
            result = applied(script.changes, result)
    return sourced(result, [activation.scripts[number].path for number in numbers])


def check(activation: Activation, env: Env) -> None:
    """A shim does what a shell does."""
    native = sourced({**env, **activation.assign}, [script.path for script in activation.scripts])
    assert activated(activation, env) == native, env


VALUES = [None, "", "x", "/a:/b", "a 'b' \"$HOME\" `id` * \\"]


def check_some(activation: Activation, names: Iterable[str] = "AB", count: int = 5) -> None:
    """:func:`check` with values of variables at random."""
    for script in activation.scripts:
        sources = {change.where[1:] for change in script.changes if change.where}
        changed = {change.name for change in script.changes}
        names = {*names, *script.unless_empty, *script.unless[:3], *sources, *changed}
    rng = random.Random(len(str(activation.scripts)))
    for _ in range(count):
        given = {name: rng.choice(VALUES) for name in sorted({*names} - {"PATH", "CONDA_PREFIX"})}
        env = {"PATH": "/usr/bin:/bin", "HOME": "/root"}
        check(activation, {**env, **{n: v for n, v in given.items() if v is not None}})


# -- which are constant --------------------------------------------------------------------------
# Nothing is asked for at a start.
FREE = {
    "an assignment": "export A=1 B='' C=$CONDA_PREFIX/x",
    "a default": 'export A=${A:-/d}; [ -n "$B" ] || export B=/d',
    "a prepend": 'export PATH="$CONDA_PREFIX/x:$PATH" LD_LIBRARY_PATH=/l:$LD_LIBRARY_PATH',
    "an append": "export A=$A:/x B=${B:+$B:}/x; C+=:/y; export C",
    "a job's variable": "export THREADS=${SLURM_CPUS_PER_TASK:-1}",
    "two variables in one": 'export WHERE="/scratch/$PROJECT"',
    "unset": "unset PYTHONPATH A",
    "a file of the environment": '[ -e "$CONDA_PREFIX/etc/x" ] && export A=1 || export A=2',
    "files by a pattern": 'for A in "$CONDA_PREFIX"/etc/*/*.d; do export B=$A; done; unset A',
    "a script of the environment": ". $CONDA_PREFIX/etc/more.sh; . ${CONDA_PREFIX}/etc/more.sh",
    "one's own path": 'export A=$(dirname "${BASH_SOURCE[0]}")',
    "a message": 'echo "thank you" >&2; printf "%s\\n" cite >/dev/null',
    "a directory there is": 'mkdir -p "$CONDA_PREFIX/etc"',
    "the shell's kind": '[ -n "$BASH_VERSION" ] && export SHELL_KIND=bash',
    "nothing": "# nothing\n",
    "failing": "false; return 3",
    "a subshell": "(export A=1; cd $CONDA_PREFIX)",
    "options": "set +u; set -e; set +e; export A=1",
}
# Constant as long as one of these is not set.
UNLESS = {
    "a comparison": ('[ "$A" = x ] && export B=1', {"A"}),
    "a pattern": ('case "$A" in /x*) export B=1 ;; esac', {"A"}),
    "a part of it": ("export B=${A%%:*}", {"A"}),
    "a program's word": ('export B=$(echo "$A" | tr a b)', {"A"}),
    "a shell's variable": ("A=1; for B in 2; do C=$A; done", {"A", "B", "C"}),
    "its own variable": ('A=$CONDA_PREFIX/x; [ -d "$A" ] && export B=$A; unset A', set()),
    "what decides for another": ('[ -n "$A" ] && [ "$B" = 1 ] && export C=1', {"B"}),
    "a file that it names": ('[ -n "$A" ] && [ -e "$CONDA_PREFIX/$A" ]', {"A"}),
}
WHY = {
    "whoami": ("export A=/scratch/$(whoami)", "runs whoami"),
    "hostname": ("export A=`hostname`", "runs hostname"),
    "the date": ("export A=$(date +%F)", "runs date"),
    "id": ("[ $(id -u) = 0 ] && export A=1", "runs id"),
    "nproc": ("export OMP_NUM_THREADS=$(nproc)", "runs nproc"),
    "pwd": ("export A=$(pwd)", "runs pwd"),
    "$PWD": ("export A=$PWD", "reads PWD"),
    "$HOME": ('export A="$HOME/.a"', "reads HOME"),
    "~": ("export A=~/.a", "reads HOME"),
    "$$": ("export A=/tmp/$$", "reads $$"),
    "$HOSTNAME": ("export A=${HOSTNAME%%.*}", "reads HOSTNAME"),
    "$RANDOM": ("export A=$RANDOM", "reads RANDOM"),
    "$UID": ("export A=$UID", "reads UID"),
    "$PATH": ('case ":$PATH:" in *:/x:*) ;; *) PATH=/x:$PATH ;; esac', "reads PATH"),
    "a limit": ("ulimit -s unlimited", "runs ulimit"),
    "umask": ("umask 027", "runs umask"),
    "a terminal": ("[ -t 1 ] && export A=1", "tests for a terminal"),
    "a device": ("[ -e /dev/kfd ] && export A=1", "tests /dev/kfd"),
    "a device, in [[": ("[[ ! -c /dev/kfd ]] || export A=1", "tests /dev/kfd"),
    "a file here": ("test -f x && export A=1", "tests x"),
    "who may write": ('[ -w "$CONDA_PREFIX" ] && export A=1', "tests "),
    "files elsewhere": ("for f in /opt/*; do export A=$f; done", "looks for files: /opt/*"),
    "a script elsewhere": (". /etc/os-release", "sources /etc/os-release"),
    "a link that leads out": ('[ -e "$CONDA_PREFIX/etc/out" ] && export A=1', "tests "),
    "a directory": ('mkdir -p "$HOME/.side"', "makes files (mkdir)"),
    "a file": ("echo x >>~/.x", "reads or makes files (>> ~/.x)"),
    "a file alone": (": > /tmp/x", "reads or makes files (> /tmp/x)"),
    "a file of several": ("{ echo; } > $CONDA_PREFIX/x", "reads or makes files"),
    "a file to read": ("while read A; do export A; done </etc/hosts", "reads or makes files"),
    "input": ("read A; export A", "runs read"),
    "the time": ("printf -v A '%(%F)T'; export A", "runs printf"),
    "a program": ("python -c 1; export A=1", "runs python"),
    "a program of its own": ("$CONDA_PREFIX/bin/tool --env", "runs "),
    "a search": ("command -v gcc && export A=1", "runs command"),
    "another variable's name": ("export A=${!B}", "reads a variable whose name is computed"),
    "arithmetic": ("export A=$((SLURM_NTASKS * 2))", "calculates"),
    "all variables": ("export A=$(env | wc -l)", "runs env"),
    "another all": ("export A=$(export -p)", "declares variables in an unusual way"),
    "a module": ("module load x", "runs module"),
    "a trap": ("trap 'echo x' EXIT", "runs trap"),
    "its end": ("export A=1; exit 3", "ends its shell"),
    "a function": ("f() { echo; }; export -f f", "exports a function"),
    "another process": ("exec 5>/tmp/x", "reads or makes files (5> /tmp/x)"),
    "the trace": ("set +x; export A=$B", "runs set"),
    "sed that writes": ("echo x | sed 's/x/y/w /tmp/x'", "runs sed"),
    "a filter of files": ("export A=$(cat /etc/hostname)", "runs cat"),
    "a directory left": ("cd /tmp; export A=1", "runs cd"),
    "a pattern by a variable": ("A='/opt/*'; for f in $A; do export B=$f; done", "looks for files"),
    "zsh": ('export A=1; if [ -n "$Z" ]; then ${(%):-x}; fi', "has a part that cannot be read"),
}


def prepared(root: Path) -> Path:
    """A tree with what the scripts look at."""
    (root / "tree/etc/x/y.d").mkdir(parents=True)
    (root / "tree/share/gdal").mkdir(parents=True)
    (root / "tree/etc/more.sh").write_text("export MORE=${MORE:-1}\n")
    (root / "tree/etc/out").symlink_to("/etc")
    return root


@pytest.mark.parametrize("kind", FREE)
def test_what_is_constant_is_data_and_asks_for_nothing(kind: str, tmp_path: Path) -> None:
    activation = record(prepared(tmp_path), FREE[kind])
    assert (activation.scripts[0].why, activation.scripts[0].unless) == ("", ())
    check_some(activation)


@pytest.mark.parametrize("kind", UNLESS)
def test_what_looks_into_a_variable_is_data_where_that_is_not_set(
    kind: str, tmp_path: Path
) -> None:
    script, names = UNLESS[kind]
    activation = record(prepared(tmp_path), script)
    found = activation.scripts[0]
    assert found.why == "" and names <= {*found.unless}
    if len(names) <= 1:
        assert names == {*found.unless}
    check_some(activation)


@pytest.mark.parametrize("kind", WHY)
def test_what_depends_on_the_moment_is_left_to_the_moment(kind: str, tmp_path: Path) -> None:
    script, why = WHY[kind]
    found = one(prepared(tmp_path), script)
    assert why in found.why and found.changes == ()


# -- what is recorded ----------------------------------------------------------------------------
def _statements(rng: random.Random, depth: int = 0) -> str:
    """A few lines of shell about variables, at random."""
    a, b = rng.choice("ABCD"), rng.choice("ABCD")
    word = rng.choice(_WORDS).replace("X", a).replace("Y", b)
    test = rng.choice(_TESTS).replace("X", a).replace("Y", b)
    if depth < 2 and rng.random() < 0.4:
        inner, other = _statements(rng, depth + 1), _statements(rng, depth + 1)
        shape = rng.choice(_BLOCKS)
    else:
        inner, other, shape = "", "", rng.choice(_LINES)
    words = {"INNER": inner, "OTHER": other, "TEST": test, "WORD": word, "NAME": b, "FROM": a}
    return re.sub("|".join(words), lambda match: words[match[0]], shape)


_WORDS = [
    *('"/p:$X"', "${X:-/d}", "${X-/d}", "${X+s}", '"/p${X:+:$X}"', '"$X$Y"', "/k", ""),
    *('"${X#/}"', '"$(echo "$X")"', "$CONDA_PREFIX/X"),
]
_TESTS = [
    *('[ -n "$X" ]', '[[ -z "${X:-}" ]]', '[ "${X+x}" ]', "[[ $X == */p* ]]", '[ "x$X" = x ]'),
    *('[ -n "$X" -a -z "$Y" ]', "[[ -n $X && $Y = /k ]]", '[ -d "$CONDA_PREFIX/$X" ]'),
    *('test "$X"', '[ "$X" = "$Y" ]', "[[ ! -z ${X+x} ]]"),
]
_BLOCKS = [
    "if TEST; then\nINNER\nelse\nOTHER\nfi",
    "f() { local NAME=WORD; INNER; }; f",
    'case "$FROM" in /k) INNER ;; "") OTHER ;; esac',
    "for NAME in 1 2; do INNER; done",
]
_LINES = [
    *["export NAME=WORD"] * 4,
    *("NAME=WORD", "unset NAME", "export NAME", "NAME+=z", "TEST && export NAME=WORD"),
    *('export "NAME=$FROM" FROM=1', 'eval "export NAME=\\"\\$FROM\\""', "(export NAME=1)"),
]


@pytest.mark.parametrize("seed", range(12))
def test_a_shim_does_what_a_shell_does_at_random(seed: int, tmp_path: Path) -> None:
    """Scripts in a row, which look at what those before them set."""
    rng = random.Random(seed)
    scripts = ["\n".join(_statements(rng) for _ in range(rng.randint(1, 4))) for _ in range(3)]
    (tmp_path / "tree/A").mkdir(parents=True)
    check_some(record(tmp_path, *(f"{script}\n" for script in scripts)), "ABCD", 8)


def changes(script: ActivationScript) -> list[tuple[str, str, str, str]]:
    return [(change.where, change.kind, change.name, change.value) for change in script.changes]


def test_the_users_value_is_saved_and_replaced(tmp_path: Path) -> None:
    found = one(prepared(tmp_path), 'if [ -n "$A" ]; then export SAVED=$A; fi\nexport A=/a')
    assert changes(found) == [("+A", "&", "SAVED", "A"), ("", "=", "A", "/a")]


def test_a_variable_is_removed_though_the_build_had_none(tmp_path: Path) -> None:
    assert changes(one(prepared(tmp_path), "unset PYTHONPATH")) == [("", "-", "PYTHONPATH", "")]


def test_what_a_subshell_does_is_its_own(tmp_path: Path) -> None:
    activation = record(tmp_path, 'export A="$A:/q"', "(export A=sub B=sub; unset C); (unset A)")
    assert changes(activation.scripts[1]) == []
    check(activation, {"PATH": "/usr/bin:/bin", "A": "/mine", "B": "b", "C": "c"})


@pytest.mark.parametrize("script", ["N=A; unset $N", 'N=A; unset "$N"; export "$N=1"'])
def test_names_may_be_computed(script: str, tmp_path: Path) -> None:
    activation = record(tmp_path, "export A=1", script)
    check(activation, {"PATH": "/usr/bin:/bin", "A": "/mine"})


def test_a_job_decides_at_its_start(tmp_path: Path) -> None:
    activation = record(tmp_path, "export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}")
    for given, threads in ({}, "1"), ({"SLURM_CPUS_PER_TASK": "16"}, "16"):
        assert are_sourced(activation, given) == []
        assert activated(activation, given)["OMP_NUM_THREADS"] == threads


def test_the_builders_own_variables_are_in_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROJECT", "project_of_the_builder")
    activation = record(tmp_path, "export WHERE=/scratch/$PROJECT")
    assert "project_of" not in str(activation)


# -- together ------------------------------------------------------------------------------------
def when(activation: Activation) -> list[tuple[str, tuple[str, ...], tuple[int, ...]]]:
    return [(script.why, script.unless, script.after) for script in activation.scripts]


def test_what_a_script_set_is_constant_for_the_next(tmp_path: Path) -> None:
    activation = record(tmp_path, "export A=/a", '[ -n "$A" ] && export B=${A#/}; unset C', "D=$C")
    assert when(activation) == [("", (), ()), ("", (), ()), ("", ("D",), ())]


def test_what_comes_after_a_dynamic_script_and_reads_what_it_sets_is_dynamic(
    tmp_path: Path,
) -> None:
    activation = record(
        tmp_path, "export A=$(whoami)", "export B=x$A", "export C=1", "export A=2", "export D=$B"
    )
    assert [script.why for script in activation.scripts] == [
        *("runs whoami", "comes after 0.sh", "", "comes after 0.sh", "comes after 1.sh")
    ]


def test_what_a_dynamic_script_reads_is_not_set_before_it(tmp_path: Path) -> None:
    """Natively it sees the value before."""
    activation = record(tmp_path, "export A=$(id -u)${B}", "export B=1")
    assert [script.why for script in activation.scripts] == ["runs id", "comes after 0.sh"]


def test_a_program_that_could_read_anything_holds_all_that_come_after(tmp_path: Path) -> None:
    activation = record(tmp_path, "export A=$(python -c 1)", "export B=1")
    assert [script.why for script in activation.scripts] == ["runs python", "comes after 0.sh"]


def test_nproc_heeds_a_variable(tmp_path: Path) -> None:
    activation = record(tmp_path, "export A=$(nproc)", "export OMP_NUM_THREADS=1", "export B=1")
    assert [bool(script.why) for script in activation.scripts] == [True, True, False]


def test_where_one_is_sourced_those_that_depend_on_it_are_too(tmp_path: Path) -> None:
    activation = record(
        tmp_path, '[ "$X" = 1 ] && export A=2 || export A=1', "export B=x$A", "export C=3"
    )
    assert when(activation) == [("", ("X",), ()), ("", (), (0,)), ("", (), ())]


@pytest.mark.parametrize("first", ["helper() { echo 1; }", "helper=1", "export helper"])
def test_what_scripts_leave_in_the_shell_for_each_other_stays_together(
    tmp_path: Path, first: str
) -> None:
    second = "export A=$(helper)" if "(" in first else "helper+=x; export A=$helper"
    activation = record(tmp_path, first, second)
    assert all(script.why for script in activation.scripts)
    check(activation, {"PATH": "/usr/bin:/bin"})


def with_kinds(root: Path) -> Activation:
    """The scripts of well-known kinds, all in one environment."""
    container = HostContainer(root)
    folder = container.tree / "etc/conda/activate.d"
    folder.mkdir(parents=True)
    for name, text in SCRIPTS.items():
        (folder / name).write_text(text)
    for name, text in FILES.items():
        (container.tree / name).parent.mkdir(parents=True, exist_ok=True)
        (container.tree / name).write_text(text)
        (container.tree / name).chmod(0o755)
    variables = {"CONDA_PREFIX": container.install_path}
    return record_activation(cast(BuildContainer, container), variables)


def test_scripts_of_well_known_kinds_are_data(tmp_path: Path) -> None:
    """Compilers' scripts use the same names for what they need for themselves."""
    activation = with_kinds(tmp_path)
    assert [script.why for script in activation.scripts] == [""] * len(SCRIPTS)
    ordinary = {"PATH": "/bin", "HOME": "/root", "USER": "me", "LANG": "C", "TERM": "xterm"}
    assert are_sourced(activation, ordinary) == []
    looking = {Path(script.path).name for script in activation.scripts if script.unless}
    assert len(looking) == 6, "compilers, MPI, CUDA, libxml2"
    env = {"PATH": "/usr/bin:/bin", "HOME": "/root"}
    for given in (
        {},
        {"DEMO_GDAL_DATA": "/mine", "DEMO_JAVA_HOME": "", "DEMO_CATALOGS": "file:///mine"},
        {"DEMO_CERT_FILE": "/mine", "DEMO_PERL5LIB": "/mine", "DEMO_NVCC_FLAGS": "-v"},
        {"DEMO_CFLAGS": "-O0 -g", "DEMO_WHICH_R": "/usr/bin/R"},
        {"DEMO_GCC": "/usr/bin/gcc", "DEMO_MPI_AGENT": "rsh", "DEMO_PROJ_DATA": "/a 'b' $(c)"},
    ):
        check(activation, {**env, **given})


# -- what is told --------------------------------------------------------------------------------
def test_the_build_says_which_scripts_are_sourced_and_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    activation = record(tmp_path, "export A=$(whoami)$HOME", "export B=${C%%x}", "export D=1")
    tell(activation, Console())
    told = " ".join(capsys.readouterr().err.split())
    assert "0.sh depends on the moment it runs: it runs whoami, reads HOME." in told
    assert "sourced where a variable is set that they look into: 1.sh (C)" in told
    assert "2.sh" not in told
    assert [entry.why for entry in as_record(activation)] == ["runs whoami, reads HOME", "", ""]


# -- from a tree ---------------------------------------------------------------------------------
def test_without_scripts_nothing_runs(tmp_path: Path) -> None:
    got = record(tmp_path, MINE="it's")
    assert (got.assign["MINE"], got.scripts) == ("it's", ())
    assert not [*(tmp_path / "scratch").iterdir()]


def test_the_users_variables_come_before_those_of_packages(tmp_path: Path) -> None:
    folder = tmp_path / "tree/etc/conda/env_vars.d"
    folder.mkdir(parents=True)
    (folder / "a.json").write_text('{"MINE": "package", "THEIRS": "package"}')
    got = record(tmp_path, MINE="user")
    assert (got.assign["MINE"], got.assign["THEIRS"]) == ("user", "package")


def test_a_script_that_ends_its_shell_does_not_end_the_build(tmp_path: Path) -> None:
    got = record(tmp_path, "export A=1", "exit 3", "export B=1")
    assert [script.why for script in got.scripts][:2] == ["", "ends its shell"]


def test_a_value_may_be_any_bytes(tmp_path: Path) -> None:
    first, second = record(tmp_path, b"export A=\xff\xfe\n", "export B=1").scripts
    assert changes(first) == [("", "=", "A", "\udcff\udcfe")]
    assert shlex.quote(first.changes[0].value).encode("utf-8", "surrogateescape") == b"'\xff\xfe'"
    assert changes(second) == [("", "=", "B", "1")]


def test_a_script_may_use_a_shims_own_names_for_itself(tmp_path: Path) -> None:
    """What it exports or removes under them is not recorded: it is sourced at run time."""
    for number, script in enumerate(("export _cw_name=x", "unset _cw_name", "unset IFS")):
        found = one(tmp_path / str(number), script)
        assert found.why.startswith("sets ") and found.changes == ()


def test_no_value_of_a_variable_is_a_word_of_a_process(tmp_path: Path) -> None:
    words = "tr '\\0' ' ' </proc/$$/cmdline"
    record(tmp_path, f'export SEEN="$({words})"\n', TOKEN="s3cret")
    files = [path.read_bytes() for path in (tmp_path / "scratch").rglob("*.1")]
    seen = [one for text in files for one in text.split(b"\0") if one.startswith(b"SEEN=")]
    assert any(b"probe.sh" in one for one in seen)
    assert not any(b"s3cret" in one for one in seen)


class ImageContainer(HostContainer):
    """One whose image sets variables of its own."""

    own_system = True

    def run(self, command: Sequence[str], **_: Any) -> None:
        env = {"PATH": "/usr/bin:/bin", "OF_IMAGE": "1", "LD_LIBRARY_PATH": "/.singularity.d/libs"}
        subprocess.run(command, check=True, cwd=self.scratch, env=env, capture_output=True)


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("export A=$OF_IMAGE", "reads OF_IMAGE, which the image sets"),
        ("unset OF_IMAGE", "reads OF_IMAGE, which the image sets"),
        ("export LD_PRELOAD=$LD_LIBRARY_PATH", "reads LD_LIBRARY_PATH, which the image sets"),
        ("export PATH=/x:$PATH B=$OTHER", ""),
        ("export PATH=/x$PATH", "reads PATH, which the image sets"),
        ("export OF_IMAGE=2", ""),
    ],
)
def test_what_an_image_sets_is_not_seen_from_outside(tmp_path: Path, script: str, why: str) -> None:
    container = ImageContainer(tmp_path)
    folder = container.tree / "etc/conda/activate.d"
    folder.mkdir(parents=True)
    (folder / "a.sh").write_text(script)
    got = record_activation(cast(BuildContainer, container), {"CONDA_PREFIX": "/c"})
    assert got.scripts[0].why == why


def test_directories_of_a_base_image_are_constant_where_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "base/etc").mkdir(parents=True)
    (tmp_path / "base/etc/a.sh").write_text(f"[ -d {tmp_path}/base/etc ] && export A=1\n")
    container = HostContainer(tmp_path)
    folder = container.tree / "etc/conda/activate.d"
    folder.mkdir(parents=True)
    (folder / "a.sh").write_text(f". {tmp_path}/base/etc/a.sh")
    for places, why in ([], f"sources {tmp_path}/base/etc/a.sh"), ([f"{tmp_path}/base"], ""):
        got = record_activation(cast(BuildContainer, container), {}, places)
        assert got.scripts[0].why.startswith(why) and bool(got.scripts[0].why) == bool(why)
        subprocess.run(["rm", "-r", container.scratch / "activation"], check=True)
