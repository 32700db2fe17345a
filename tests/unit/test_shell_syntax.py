"""What a piece of shell code uses, told from its text."""

from __future__ import annotations

from typing import Any

import pytest

from wrapper.activation.flow import Flow
from wrapper.activation.syntax import uses_of, uses_of_command
from wrapper.activation.uses import How
from wrapper.activation.watched import Run
from wrapper.doctor.activation import frozen

LETTERS = {How.VALUE: "v", How.FILLED: "f", How.ANY: "a"}


def reads(code: str) -> dict[str, str]:
    """How variables are read: the strongest of value, filled and any."""
    found: dict[str, str] = {}
    for read in uses_of(code).reads:
        found[read.name] = min(found.get(read.name, "z"), LETTERS[read.how])
    return found


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ('export A="x:$X" B=${X:-$Y} C', "Xv Yv Cv"),
        ('export "A=$X/y" $Z', "Xv Za"),
        ("A=${X:+:$W}${Y+s}${Z#*,}", "Xf Wv Yf Za"),
        ("A+=$X", "Av Xv"),
        ("A=$X cmd", "Xv"),
        ('[ -n "$X" ] && [ "${Y:-}" = "" ]; [ "x$Z" != x ]', "Xf Yf Zf"),
        ('[ -n "$X" -a ! -z "$Y" -o "$Z" = 1 ]', "Xf Yf Za"),
        ('test -z "$X"; test "$Y" = a; test "$Z"', "Xf Ya Zf"),
        ("[[ -n $X && ! -z $Y || $Z == a* ]]", "Xf Yf Za"),
        ("[[ -v X ]]; [ ! -z ${Y+x} ]", "Xf Yf"),
        ("[ -n $X ]", "Xa"),  # a value of two words is an error there
        ('[[ $X == *"$Y"* && $Z =~ $W ]]', "Xa Ya Za Wa"),
        ('case $X in "$Y"*|a) ;; *:$Z:*) ;; esac', "Xa Ya Za"),
        ("echo ${X%$Y} ${Z/a/$W} ${#V} ${U:1:2}", "Xa Ya Za Wa Va Ua"),
        ("cat <<E <<<$X\n$Y `echo $Z`\nE", "Xa Ya Za"),
        ('A=$(f "$X") B=`g $Y` C="${Z:-`h $W`}"', "Xa Ya Zv Wa"),
        ("for A in $X; do :; done", "Xa"),
        ("A=~/x; [ -f ~/.y ]", "HOMEa"),
        ("A=/tmp/$$ B=$- C=$! D=$0$_", "$a -v !v 0v _v"),
        ('f "$1" "$@" $# $? "${2:-a}"', ""),
        ("echo '$X' \\$Y # $Z", "Xa"),  # what is quoted may be for an eval
    ],
)
def test_variables_are_read(code: str, expected: str) -> None:
    assert reads(code) == {word[:-1]: word[-1] for word in expected.split()}


@pytest.mark.parametrize(
    ("code", "field", "expected"),
    [
        ("f() { local a=1 b; c=2; }; export D=1; for e in 1; do :; done", "functions", {"f"}),
        ("{ echo; } >x; while :; do :; done <y; f() { :; } 2>/dev/null", "around", ["<y", ">x"]),
        ("echo >x 2>&1; : >>y </dev/null; cat <z &>/dev/null", "redirections", ["<z", ">>y", ">x"]),
        ("a | b && ! c || d & $e $(f) `g` <(h)", "commands", ["", *"abcdfgh"]),
        (
            '[ -d /x ]; [[ ! -e "$Y" ]]; test -f z',
            "tests",
            [("-d", "/x"), ("-e", '"$Y"'), ("-f", "z")],
        ),
        ("echo $x; for y in $z; do :; done", "split", {"echo", "for"}),
        ("case $a in $b) ;; esac", "patterns", ["b"]),
        ("export A B=1 C", "marked", ["A", "C"]),
    ],
)
def test_what_else_is_used(code: str, field: str, expected: Any) -> None:
    found = getattr(uses_of(code), field)
    assert (sorted(found) if isinstance(found, list) else found) == expected


@pytest.mark.parametrize(
    ("code", "odd"),
    [
        ("echo ${!x}", "reads a variable whose name is computed"),
        ("echo $((x + 1))", "calculates"),
        ("((x++))", "calculates"),
        ("echo ${a[$i]}", "calculates an index"),
        ("echo ${x@P}", "transforms a variable"),
        ("declare -n x=y", "declares variables in an unusual way"),
        ("export -n x", "declares variables in an unusual way"),
        ("ls *.txt", "looks for files: *.txt"),
        ('for f in "$HOME"/*; do :; done', "looks for files"),
        ("echo $'\\x' $(", "has a part that cannot be read"),
    ],
)
def test_what_cannot_be_told_is_said(code: str, odd: str) -> None:
    assert any(odd in told for told in uses_of(code).odd)


def test_a_text_that_another_shell_reads_is_whole_but_for_a_word() -> None:
    assert uses_of('if a; then b "${(%):-%x}"; fi').whole
    assert not uses_of("if a; then b").whole


@pytest.mark.parametrize("text", ['for t in "$@"', 'case "$t" in ', "select x in a"])
def test_beginnings_of_statements_are_read_as_bash_names_them(text: str) -> None:
    assert not uses_of_command(text).odd


def flow(*texts: str, constant: str = "", after: dict[str, str] | None = None) -> Flow:
    """:param texts: a run's commands, those in a subshell with ``(`` before them."""
    found = Flow(constant=frozenset(constant.split()))
    run = Run(
        before={},
        after=after or {},
        texts=[(int(text[0] == "("), text.lstrip("(")) for text in texts],
        variables=frozenset("ABCD"),
    )
    found.add(run, [])
    return found


@pytest.mark.parametrize(
    ("texts", "whole", "looked_into"),
    [
        (["A=$X", '[ -n "$A" ]', "export B=$A"], "X", ""),
        (["A=$X", 'echo "$A"'], "X", "X"),
        (["A=1", 'echo "$A"'], "", ""),
        (["(A=1", 'echo "$A"'], "", "A"),
        (["A=1 true", 'echo "$A"'], "", "A"),
        (["export A=1 B=$A", 'echo "$B"'], "A", "A"),  # words come before assignments
        (["A=$X", "A=1", 'echo "$A"'], "X", ""),
        (["f", "local A", "A=$X", 'echo "$A"'], "X", "A X"),
        (["unset A", 'echo "$A"'], "", ""),
        (["A=$K", 'echo "$K$A"'], "", ""),
        (["A=$X f", "echo"], "X", "X"),
    ],
)
def test_values_are_followed_from_variable_to_variable(
    texts: list[str], whole: str, looked_into: str
) -> None:
    found = flow(*texts, constant="K")
    assert (found.whole, found.looked_into) == ({*whole.split()}, {*looked_into.split()})


def test_what_stays_in_the_shell_is_told() -> None:
    found = flow("A=1", "export B=2", "(C=3", "export E", after={"B": "2"})
    assert (found.left, found.marked) == ({"A", "C", "E"}, {"E"})  # C may be from elsewhere


@pytest.mark.parametrize(
    ("code", "reasons"),
    [
        ("export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}", ["reads SLURM_CPUS_PER_TASK"]),
        ("export A=$(whoami); [ -e /dev/kfd ] && B=1", ["runs whoami", "tests /dev/kfd"]),
        ("[ -t 1 ] && ulimit -s unlimited", ["runs ulimit", "tests for a terminal"]),
        ('mkdir -p "$HOME/.x"; unset PYTHONPATH', ["reads HOME", "makes files (mkdir)"]),
        ('if [ -n "$A" ]; then export _CONDA_SET_A=$A; fi; export A=$CONDA_PREFIX/a', []),
        ('if [ "${CONDA_BUILD:-0}" = 1 ]; then env >/tmp/x; else export A=1; fi', []),
        ('[ -d "$CONDA_PREFIX/x" ] && export PATH=$CONDA_PREFIX/x:$PATH', []),
        ("# $HOME $(date)\nf() { export A=1; }; f", []),
    ],
)
def test_what_an_old_record_froze_is_told_from_the_text(code: str, reasons: list[str]) -> None:
    found = list(frozen(code, "_cw_unsets=()"))
    assert found[: len(reasons)] == reasons and (reasons or not found)


def test_an_old_record_has_what_was_set_when_it_was_made() -> None:
    assert [*frozen("unset A B", "_cw_unsets=(B)")] == ["removes A"]
