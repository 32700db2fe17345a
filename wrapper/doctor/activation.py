"""What the packages' activation scripts do at a start, and what an old record of them froze.

Before manifests had the key ``activation``, scripts were run in some environments, and what was the
same in all of them was taken for constant. Of such installations the scripts' texts are looked at.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from wrapper.activation.constant import MAKES, QUIET
from wrapper.activation.flow import FIXED
from wrapper.activation.grammar import parser, text_of
from wrapper.activation.syntax import uses_of
from wrapper.console import counted, shortened
from wrapper.doctor.finding import Finding, ok, warning
from wrapper.manifest import Manifest, ScriptRecord
from wrapper.util import foreign

_WHAT = "activation"
_FOLDER = "etc/conda/activate.d"
_MOST_BYTES = 1 << 20  # of one script
# What only building packages, or another shell, comes to.
_ELSEWHERE = re.compile(r"CONDA_BUILD\b|ZSH_NAME")
_ASKED_BY_ALL = FIXED | {"BASH_VERSION", "PS1", "ZSH_NAME"}
_CONDAS = ("CONDA_", "_CONDA_")


def recorded(scripts: Sequence[ScriptRecord]) -> list[Finding]:
    """What the manifest says: nothing is frozen."""
    always = [script for script in scripts if script.why]
    detail = f"{counted(len(scripts), 'script')} of packages, {len(always)} sourced at every start"
    names = [f"{Path(s.script).name} ({s.why})" for s in always]
    return [ok(_WHAT, f"{detail}: {', '.join(names)}" if names else detail)]


def looked_into(
    data: Manifest, env: str, unpack: Callable[[str], Path], update: str
) -> list[Finding]:
    """What an old record froze.

    :param env: the text of what shims, or the image, know of the activation.
    :param unpack: takes a path in the image out of it; returns where it is then.
    :param update: what the owner can do.
    """
    match = re.search(r"CONDA_PREFIX=(/[\w./+-]+)", env)
    root = match[1] if match else data.install_path
    folder = unpack(f"{root.removeprefix(data.image_root)}/{_FOLDER}".lstrip("/"))
    found = []
    for path in sorted(folder.glob("*.sh")):
        if f"{_FOLDER}/{path.name}" in env:
            continue  # sourced at every start
        text = foreign.read_bytes(path, most=_MOST_BYTES, follow=False)
        if reasons := list(dict.fromkeys(frozen(text.decode("utf-8", "surrogateescape"), env))):
            found.append(f"{path.name} {shortened(reasons)}")
    if not found:
        return [ok(_WHAT, "recorded by an earlier version; nothing that changes was found")]
    detail = "what these scripts did when it was built counts at every start: " + "; ".join(found)
    return [warning(_WHAT, detail, update)]


def frozen(code: str, env: str) -> Iterator[str]:
    """Why what a script does may be different at another start, as far as its text says.

    :param env: what is recorded, as text.
    """
    uses = uses_of(_pruned(code))
    own = {write.name for write in uses.writes if not write.unset}
    own |= {*re.findall(r"\beval (\w+)=", code)}
    for read in uses.reads:
        if not (read.name in own | _ASKED_BY_ALL or read.name.startswith(_CONDAS)):
            sign = "" if read.name[0].isalpha() or read.name[0] == "_" else "$"
            yield f"reads {sign}{read.name}"
    for command in uses.commands:
        if command in MAKES and "$CONDA_PREFIX" not in code:
            yield f"makes files ({command})"
        elif command and command not in QUIET | uses.functions | {"eval", ".", "source", "R"}:
            yield f"runs {command}"
    for operator, operand in uses.tests:
        if operator == "-t":
            yield "tests for a terminal"
        elif operand.startswith(("/", '"/', "'/")):
            yield f"tests {shlex.split(operand)[0]}"
    yield from (f"makes files ({text})" for text in uses.redirections + uses.around)
    for write in uses.writes:
        if write.unset and write.name not in own and not re.search(rf"\b{write.name}\b", env):
            yield f"removes {write.name}"


def _pruned(code: str) -> str:
    """Without what is done only where packages are built, or in another shell than bash."""
    data = bytearray(code.encode("utf-8", "surrogateescape"))
    nodes = [parser().parse(bytes(data)).root_node]
    while nodes:
        node = nodes.pop()
        nodes += node.children
        if node.type not in ("if_statement", "elif_clause") or not node.named_children:
            continue
        if _ELSEWHERE.search(text_of(node.named_children[0])):
            then = next((child for child in node.children if child.type == "then"), None)
            ends = [c for c in node.children if c.type in ("else_clause", "elif_clause", "fi")]
            if then and ends:
                data[then.end_byte : ends[0].start_byte] = b" " * (
                    ends[0].start_byte - then.end_byte
                )
    return data.decode("utf-8", "surrogateescape")
