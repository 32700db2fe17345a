"""What ``run`` does before a program: told from the image's files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.images import write_files
from wrapper.console import Console
from wrapper.images.format import ImageFormat
from wrapper.images.software import EntryPoint, find_entry_point
from wrapper.images.tree import read_tree

SETTINGS = '#!/bin/bash\nexport A=1\nexec "$@"\n'
OCI = "#!/bin/sh\nOCI_ENTRYPOINT='{}'\nOCI_CMD='\"bash\"'\n# …\nexec \"$@\"\n"


def found(root: Path, console: Console, runscript: str, entry: str = SETTINGS) -> EntryPoint:
    write_files(root, {".singularity.d/runscript": runscript, "opt/bin/entry": entry})
    (root / "opt/bin/entry").chmod(0o755)
    sandbox = ImageFormat(kind="sandbox")
    tree = read_tree(root, format=sandbox, unsquashfs=Path("none"), scratch=root, console=console)
    return find_entry_point(tree, {"PATH": "/usr/bin:/opt/bin"})


@pytest.mark.parametrize("words", ['"/opt/bin/entry"', '"entry"'])
def test_a_script_that_ends_in_the_program_stands_before_it(
    tmp_path: Path, console: Console, words: str
) -> None:
    assert found(tmp_path, console, OCI.format(words)) == EntryPoint(words=("/opt/bin/entry",))


def test_words_of_its_own_come_along(tmp_path: Path, console: Console) -> None:
    entry = found(tmp_path, console, OCI.format('"/opt/bin/entry" "a b" "--"'))
    assert entry.words == ("/opt/bin/entry", "a b", "--")


@pytest.mark.parametrize(
    "last", ['exec "$@"', "exec $@", 'exec -- "${@}"', 'exec "$@";\n# the end\n\n']
)
def test_the_ways_to_become_the_program(tmp_path: Path, console: Console, last: str) -> None:
    assert found(tmp_path, console, OCI.format('"entry"'), f"#!/bin/sh\nA=1\n{last}").words


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ('#!/bin/sh\nexec python main.py "$@"\n', "does not end in"),
        ('#!/bin/sh\nexec "$@" || echo failed\n', "does not end in"),
        ("\x7fELF", "is a program, and no script"),
    ],
)
def test_what_cannot_stand_before_it_is_said(
    tmp_path: Path, console: Console, entry: str, why: str
) -> None:
    told = found(tmp_path, console, OCI.format('"/opt/bin/entry"'), entry)
    assert not told.words and why in told.why_not and "/opt/bin/entry" in told.why_not


@pytest.mark.parametrize(
    "before",
    [
        'set -- python3 "$@"',
        'export A=1; set -- "$A" "$@"',
        "set - a",
        "set a b",
        "set -e -- a",
        "cd /workspace",
        "[ -n x ] && cd /workspace",
        "if cd /workspace; then :; fi",
        "shift",
        "case $1 in -x) shift ;; esac",
        "f() { pushd /x; }",
        "command cd /x",
    ],
)
def test_one_that_changes_the_call_cannot_stand_before_it(
    tmp_path: Path, console: Console, before: str
) -> None:
    entry = f'#!/bin/bash\n{before}\nexec "$@"\n'
    told = found(tmp_path, console, OCI.format('"entry"'), entry)
    assert not told.words and before in told.why_not
    own = found(tmp_path, console, f'#!/bin/sh\nexport B=1\n{before}\nexec "$@"\n')
    assert not own.words and before in own.why_not


@pytest.mark.parametrize(
    "before",
    [
        "set -euo pipefail",
        "set +x -e",
        "HERE=$(cd /opt && pwd)",
        "# cd /x",
        "export set=1 shift=1 ABCD=cd",
        "cat <<EOF\ncd /x\nshift\nEOF",
        "cat >&2 <<-'EOF'\nhello\n\tEOF",
        'cat <<<"$HOME"',
        "source /opt/setvars.sh",
    ],
)
def test_one_that_only_sets_things_does(tmp_path: Path, console: Console, before: str) -> None:
    entry = f'#!/bin/bash\n{before}\nexec "$@"\n'
    assert found(tmp_path, console, OCI.format('"entry"'), entry).words, before


@pytest.mark.parametrize(
    "entry",
    [
        'cat <<EOF\nexec "$@"\n',
        'cat <<EOF\nexec "$@"\nEOF\n',
        'echo \\\nexec "$@"\n',
        'false &&\nexec "$@"\n',
    ],
)
def test_the_last_line_may_be_no_command(tmp_path: Path, console: Console, entry: str) -> None:
    told = found(tmp_path, console, OCI.format('"entry"'), f"#!/bin/bash\n{entry}")
    assert not told.words and "does not end in" in told.why_not


def test_one_that_is_not_there_is_said(tmp_path: Path, console: Console) -> None:
    assert "is not in it" in found(tmp_path, console, OCI.format('"/gone"')).why_not


@pytest.mark.parametrize(
    "runscript",
    [
        "",
        OCI.format(""),
        "OCI_ENTRYPOINT='\"unclosed'\n",
        '#!/bin/sh\nexec "$@"\n',
        '#!/bin/sh\nexec python /app/main.py "$@"\n',
    ],
)
def test_where_nothing_is_set_nothing_is_done(
    tmp_path: Path, console: Console, runscript: str
) -> None:
    assert found(tmp_path, console, runscript) == EntryPoint()


def test_a_definitions_own_runscript_counts_where_it_sets_something(
    tmp_path: Path, console: Console
) -> None:
    assert found(tmp_path, console, SETTINGS).words == ("/.singularity.d/runscript",)
    other = found(tmp_path, console, '#!/bin/sh\n. /opt/x.sh\nexec python "$@"\n')
    assert not other.words and "runscript" in other.why_not
