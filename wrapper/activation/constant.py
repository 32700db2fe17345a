"""Is what a script does the same at every start? Told from a run: what it ran, tested and read.

Whatever is not known to be constant is a reason why not, as words that go on after "it".
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from wrapper.activation.syntax import uses_of, uses_of_command
from wrapper.activation.watched import Run

Words = tuple[str, ...]

# Builtins that change nothing outside their shell and ask nothing there, given some arguments.
_BUILTINS = {"export", "declare", "typeset", "alias"}
_PURE = {
    *(":", "true", "false", "echo", "printf", "unset", "local", "unalias", "complete"),
    *("return", "break", "continue", "shift", "eval", "for", "case"),
    *("basename", "dirname", "tr", "expr", "seq"),  # programs: arguments and input alone
}
MAKES = {"mkdir", "touch", "ln", "cp", "mv", "rm", "rmdir", "tee", "install", "mktemp", "chmod"}
# Programs that read their input, or files that they are given: the options that leave it at that,
# and those of them whose value may be the next word.
_FILTERS = {
    "cat": (r"-[A-Za-z]*", ""),
    "cut": (r"-[bcdf].*|-s", "bcdf"),
    "grep": (r"-[vqioEFwxcn]+", ""),
    "head": (r"-[cn].*|-\d+", "cn"),
    "tail": (r"-[cn].*|-\d+", "cn"),
    "wc": (r"-[clmw]+", ""),
}
_ONE_FILE_TESTS = "adefhkprsuwxbcgGLNOS"
_OF_AN_IMAGE = "adefprsxbcS"  # that it has these is fixed; who owns or may write it is not
QUIET = {
    *(*_PURE, *_BUILTINS, *MAKES, *_FILTERS),
    *("sed", "uname", "set", "cd", "pwd", "[", "[[", "test"),
}
"""Commands that look at no variable of the environment but those that one sees in their words."""
_GLOB = re.compile(r"[*?\[]")
_KNOWN_SET = re.compile(r"set (--.*|([-+][eu]+|[-+]o|errexit|nounset|pipefail| )+)", re.S)
# R looks for a Java, and writes what it finds into R's own directory, which is in the image.
_KNOWN = {("R", "CMD", "javareconf")}


@dataclass(frozen=True, kw_only=True)
class Judge:
    """What of a run depends on the moment.

    :ivar is_constant: whether a path inside (absolute, without ``..``) never changes.
    """

    is_constant: Callable[[str], bool]

    def reasons(self, run: Run) -> Iterator[str]:
        """Why a run says nothing of the next, if no variable that it read has changed."""
        if run.after is None:
            yield "ends its shell"
            return
        if run.executed is None:
            yield "runs commands whose words cannot be read"
            return
        for _, text in run.texts:
            uses = uses_of_command(text)
            yield from uses.odd
            for redirection in uses.redirections:
                yield f"reads or makes files ({redirection})"
            if text.startswith("set") and "set" in uses.commands and not _KNOWN_SET.fullmatch(text):
                yield "runs set"  # it may end this very record
            own = {write.name for write in uses.writes if write.name.startswith(("BASH", "PS4"))}
            yield from (f"sets {name}" for name in sorted(own))
        yield from _moves(run)
        for words in run.executed:
            if words and words[0] not in run.functions:
                yield from self._of_command(words)
        yield from _splits(run)

    def _of_command(self, words: Words) -> Iterator[str]:
        name, *arguments = words
        if name in ("[", "[[", "test"):
            yield from self._of_test(words)
        elif name in (".", "source"):
            if not self._is_constant(arguments[0] if arguments else ""):
                yield f"sources {' '.join(arguments)}"
        elif name == "eval":
            code = uses_of(" ".join(arguments))
            yield from (f"reads or makes files ({redirection})" for redirection in code.around)
            yield from (f"compares with ${name}" for name in code.patterns)
        elif name == "cd":
            if not self._is_constant(arguments[-1] if arguments else ""):
                yield "runs cd"
        elif name in MAKES:
            if not (name == "mkdir" and self._all_constant(arguments)):
                yield f"makes files ({name})"
        elif not self._is_pure(name, arguments) and words[:3] not in _KNOWN:
            yield f"runs {name}"

    def _is_pure(self, name: str, arguments: Sequence[str]) -> bool:
        if name in _BUILTINS:
            return bool(arguments)
        if name == "printf":
            return not any(re.match(r"-v|.*%\(", word, re.S) for word in arguments)
        if name == "sed":
            return _substitutes(arguments)
        if name == "uname":
            return arguments in ([], ["-s"], ["-m"])
        if name in _FILTERS:
            files = _operands(arguments, *_FILTERS[name])
            return files is not None and self._all_constant(files[name == "grep" :])
        return name in _PURE or name in ("set", "pwd")  # which are looked at before

    def _all_constant(self, arguments: Sequence[str]) -> bool:
        return all(self._is_constant(word) for word in arguments if not word.startswith("-"))

    def _is_constant(self, path: str) -> bool:
        return path.startswith("/") and self.is_constant(posixpath.normpath(path))

    def _of_test(self, words: Words) -> Iterator[str]:
        inner = [word for word in words[1:] if word not in ("]", "]]", "(", ")")]
        for index, word in enumerate(inner):
            following = inner[index + 1] if index + 1 < len(inner) else ""
            if word == "-t":
                yield "tests for a terminal"
            elif word in ("-nt", "-ot", "-ef"):
                yield "compares files"
            elif word == "-o" and (index == 0 or inner[index - 1] == "!"):
                yield "tests a shell option"
            elif word in ("-eq", "-ne", "-lt", "-le", "-gt", "-ge"):
                if not all(re.fullmatch(r"[-+]?\d*", n) for n in (inner[index - 1], following)):
                    yield "calculates"
            elif re.fullmatch(f"-[{_ONE_FILE_TESTS}]", word):
                if word == "-a" and not following.startswith("/"):
                    continue  # "and"
                if following and not (word[1] in _OF_AN_IMAGE and self._is_constant(following)):
                    yield f"tests {following}"


def _substitutes(arguments: Sequence[str]) -> bool:
    """Whether a sed only replaces text in its input."""
    scripts = [word for word in arguments if word not in ("-e", "-E", "-r", "-n")]
    return len(scripts) == 1 and all(
        re.fullmatch(r"s(.)((?!\1)[^\\]|\\.)*\1((?!\1)[^\\]|\\.)*\1[gpiI0-9]*", part, re.S)
        for part in scripts
    )


def _operands(arguments: Sequence[str], options: str, valued: str) -> list[str] | None:
    """What is no option and no option's value; ``None`` where there is another option."""
    left, skip = list[str](), False
    for word in arguments:
        if skip:
            skip = False
        elif not word.startswith("-"):
            left.append(word)
        elif not re.fullmatch(options, word, re.S):
            return None
        else:
            skip = len(word) == 2 and word[1] in valued
    return left


def _moves(run: Run) -> Iterator[str]:
    """Where it is started from counts for ``pwd`` by itself, and a ``cd`` outside of ``$(…)``."""
    before: dict[int, str] = {}
    for shell, text in run.texts:
        word = text.partition(" ")[0]
        moved = before.get(shell, "").startswith("cd ")
        if word in ("cd", "pwd") and not (shell and (word == "cd" or moved)):
            yield f"runs {word}"
        before[shell] = text


def _splits(run: Run) -> Iterator[str]:
    """Words that a variable brought, and that the shell takes for patterns of file names."""
    split = {name for _, text in run.texts for name in uses_of_command(text).split}
    if "for" in split and any(map(_GLOB.search, [*run.assigned, *run.before.values()])):
        yield "looks for files"
    for words in run.executed or ():
        if ({*words[:1], ""} & split) and any(map(_GLOB.search, words[1:])):
            yield f"looks for files ({' '.join(words)})"
