"""What a piece of shell code uses: variables, files, commands, told from its text.

The parser is tree-sitter's. Whatever it does not know, or we do not, is named in :attr:`Uses.odd`;
so whoever reads these values never takes a part for all.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wrapper.activation.grammar import (
    EXPANSION,
    FILE_TEST,
    HARMLESS,
    HOLDERS,
    OPTIONS,
    PLAIN,
    SIMPLE,
    SPECIAL,
    SUBSTITUTION,
    literal,
    parser,
    text_of,
    words_of_test,
)
from wrapper.activation.uses import How, Read, Scope, Uses, Write

if TYPE_CHECKING:
    from tree_sitter import Node


def uses_of(code: str) -> Uses:
    """What a piece of code uses, all branches of it."""
    reader = _Reader()
    root = parser().parse(code.encode("utf-8", "surrogateescape")).root_node
    reader.walk(root)
    reader.add_rest(root, code)
    return reader.found


@functools.lru_cache(maxsize=4096)  # loops and several runs say the same again
def uses_of_command(text: str) -> Uses:
    """What one command uses, as bash itself names it before it runs it (``BASH_COMMAND``)."""
    if re.match(r"(for|select) ", text):
        text += "; do :; done"
    elif text.startswith("case "):
        text += " *) ;; esac"
    return uses_of(text)


# -- the tree ------------------------------------------------------------------------------------
@dataclass
class _Reader:
    """Walks a tree. ``how`` and ``into`` say what becomes of what is read."""

    found: Uses = field(default_factory=Uses)
    _expanded: Counter[str] = field(default_factory=Counter)

    def walk(self, node: Node, how: How = How.ANY, into: str = "") -> None:
        kind = node.type
        special: Callable[[Node, How, str], None] | None = getattr(self, f"_{kind}", None)
        if node.is_error or node.is_missing:
            self._odd("has a part that cannot be read", node)
            self.found.whole &= node.parent is not None and node.parent.type == "string"
        elif special:
            special(node, how, into)
        elif kind in HOLDERS:
            self._all(node.named_children, how, into)
        elif kind not in PLAIN:
            self._odd("has a part that cannot be read", node)
        if kind == "word":
            self._tilde(node)

    def add_rest(self, root: Node, code: str) -> None:
        """What the tree has in other places than expected, or not at all: nothing is left out."""
        before, self.found.steps = self.found.steps, []
        data = bytearray(code.encode("utf-8", "surrogateescape"))
        nodes, substitutions = [root], 0
        while nodes:
            node = nodes.pop()
            nodes += node.children
            substitutions += node.type in ("command_substitution", "process_substitution")
            if node.type == "comment":
                data[node.start_byte : node.end_byte] = b" " * (node.end_byte - node.start_byte)
            elif node.type == "~":
                self._read("HOME", How.ANY)
        text = data.decode("utf-8", "surrogateescape")
        for name, count in Counter(EXPANSION.findall(text)).items():
            if count > self._expanded[name]:
                self._read(name, How.ANY)
        self.found.hidden = len(SUBSTITUTION.findall(text)) > substitutions
        self.found.steps += before

    def _all(self, nodes: Iterable[Node], how: How = How.ANY, into: str = "") -> None:
        for node in nodes:
            self.walk(node, how, into)

    def _odd(self, what: str, node: Node) -> None:
        words = " ".join(text_of(node).split())
        self.found.odd.append(f"{what}: {words if len(words) < 40 else words[:36] + ' ...'}")

    def _read(self, name: str, how: How, into: str = "", *, empty: bool = False) -> None:
        if not (name.isdigit() and name != "0") and name not in SPECIAL:
            self.found.steps.append(Read(name, how, into, empty))

    def _tilde(self, word: Node) -> None:
        if re.search(r"(^|[:=])~", text_of(word)):
            self._read("HOME", How.ANY)

    # -- expansions
    def _simple_expansion(self, node: Node, how: How, into: str) -> None:
        name = text_of(node)[1:]
        self._expanded[name] += 1
        self._read(name, how, into)

    def _expansion(self, node: Node, how: How, into: str) -> None:
        """``${NAME}``, ``${NAME:-word}`` and so on."""
        self._expanded.update(EXPANSION.findall(text_of(node))[:1])
        first, *rest = node.children[1:-1]
        if first.type == "!":
            return self._odd("reads a variable whose name is computed", node)
        if first.type == "#" and rest:
            first, *rest = rest
            return self._parts(first, rest)
        operator = rest[0].type if rest else ""
        if first.type == "subscript" or operator not in ("", ":-", "-", ":+", "+"):
            return self._parts(first, rest)
        if operator:
            rest = rest[1:]
        empty = operator in ("-", "+") and bool(rest)
        if operator in (":+", "+"):
            how_itself = How.FILLED if how is not How.ANY else How.ANY
            self._read(text_of(first), how_itself, into, empty=empty or operator == "+")
        else:
            self._read(text_of(first), how, into, empty=empty)
        self._all([child for child in rest if child.is_named], how, into)
        return None

    def _parts(self, name: Node, rest: Sequence[Node]) -> None:
        """An expansion that looks into the value."""
        if name.type == "subscript":
            self.walk(name)
        else:
            self._read(text_of(name), How.ANY)
        operator = rest[0].type if rest else ""
        if operator == "@":
            self._odd("transforms a variable", name)
        if operator in (":=", "="):
            self.found.steps.append(Write(text_of(name)))
        if operator == ":" and any(child.type not in (":", "number") for child in rest):
            self._odd("calculates", name)
        self._all([child for child in rest if child.is_named])

    def _subscript(self, node: Node, how: How, into: str) -> None:
        index = node.child_by_field_name("index")
        if index is None or not re.fullmatch(r"@|\*|\d+", text_of(index)):
            self._odd("calculates an index", node)
        self._read(text_of(node.child_by_field_name("name")), How.ANY)

    def _arithmetic_expansion(self, node: Node, how: How, into: str) -> None:
        """Names in it are read, and names in their values: who knows."""
        if re.search(r"[A-Za-z_$`]", text_of(node)):
            self._odd("calculates", node)

    def _compound_statement(self, node: Node, how: How, into: str) -> None:
        arithmetic = text_of(node).startswith("((")
        self._odd("calculates", node) if arithmetic else self._all(node.named_children)

    # -- assignments
    def _variable_assignment(self, node: Node, how: How, into: str) -> None:
        self.found.steps.append(Write(self._assigned(node)))

    def _assigned(self, node: Node) -> str:
        """Look at what is assigned; returns the variable."""
        target, value = node.child_by_field_name("name"), node.child_by_field_name("value")
        name = text_of(target).partition("[")[0]
        if target and target.type == "subscript":
            self.walk(target)
        if any(child.type == "+=" for child in node.children):
            self._read(name, How.VALUE, name)
        if value and value.type == "array":
            self.walk(value)
        elif value:
            self.walk(value, How.VALUE, name)
        return name

    def _declaration_command(self, node: Node, how: How, into: str) -> None:
        keyword = node.children[0].type
        words = [text_of(child) for child in node.named_children if child.type == "word"]
        options = OPTIONS.get(keyword)
        scope = Scope.SHELL if keyword == "export" or "-g" in words else Scope.LOCAL
        if not options or not all(map(options.fullmatch, words)):
            self._odd("declares variables in an unusual way", node)
        self.found.commands.append(keyword)
        written: dict[str, None] = {}  # after all words are expanded
        for child in node.named_children:
            if child.type == "variable_assignment":
                written[self._assigned(child)] = None
            elif child.type == "variable_name" and keyword == "export":
                self._read(text_of(child), How.VALUE, text_of(child))
                self.found.marked.append(text_of(child))
            elif child.type == "variable_name":
                written[text_of(child)] = None
            elif child.type != "word":
                if keyword != "export":
                    self._odd("sets a variable whose name is computed", node)
                if name := self._computed(child):
                    written[name] = None
                self._splitting(keyword, [child])
        self.found.steps += [Write(name, scope) for name in written]

    def _computed(self, node: Node) -> str:
        """A word such as ``"NAME=$VALUE"``: the name is told where it comes first."""
        match = re.match(r"[\"']?([A-Za-z_]\w*)=", text_of(node))
        whole = match and node.type == "string"
        self.walk(node, How.VALUE if whole else How.ANY, match[1] if match and whole else "")
        return match[1] if match else ""

    def _unset_command(self, node: Node, how: How, into: str) -> None:
        self.found.commands.append("unset")
        functions = any(text_of(child) == "-f" for child in node.named_children)
        for child in node.named_children:
            if child.type == "variable_name" and not functions:
                self.found.steps.append(Write(text_of(child), unset=True))
            elif child.type not in ("word", "variable_name"):
                self.walk(child)
                self._splitting("unset", [child])

    # -- commands
    def _command(self, node: Node, how: How, into: str) -> None:
        name = node.child_by_field_name("name")
        word = literal(name.named_children[0]) if name and name.named_children else None
        self.found.commands.append(word or "")
        for child in node.named_children:
            if child.type == "variable_assignment":
                self.found.steps.append(Write(self._assigned(child), Scope.COMMAND))
        words = [child for child in node.named_children if child.type != "variable_assignment"]
        if word == "test":
            self._test_words(words[1:])
        else:
            self._all(words)
        self._splitting(word or "", words)

    def _splitting(self, command: str, words: Sequence[Node]) -> None:
        for word in words:
            inner = word.named_children[0] if word.type == "command_name" else word
            parts = inner.children if inner.type == "concatenation" else [inner]
            if any("expansion" in part.type or "substitution" in part.type for part in parts):
                self.found.split.add(command)
            if any(
                part.type == "word" and re.search(r"(?<!\\)[*?\[]", text_of(part)) for part in parts
            ):
                self._pattern(inner)

    def _pattern(self, word: Node) -> None:
        """A pattern of file names: constant below the environment, which nobody changes."""
        if not re.match(r"(\"?\$CONDA_PREFIX|\"?\$\{CONDA_PREFIX\})\"?/", text_of(word)):
            self._odd("looks for files", word)

    def _test_words(self, words: Sequence[Node]) -> None:
        """Arguments of ``test`` or ``[``: one test, or several between ``-a`` and ``-o``."""
        texts = [text_of(word) for word in words]
        joints = [n for n, text in enumerate(texts) if text in ("-a", "-o") and n]
        if joints:
            self._test_words(words[: joints[0]])
            return self._test_words(words[joints[0] + 1 :])
        if texts[:1] == ["!"]:
            return self._test_words(words[1:])
        if len(words) == 1:
            return self._filled(words[0], quoted=True)
        if len(words) == 2 and texts[0] in ("-n", "-z"):
            return self._filled(words[1], quoted=True)
        if len(words) == 2 and texts[0] == "-v":
            return self._is_set(words[1])
        if len(words) == 3 and texts[1] in ("=", "==", "!="):
            return self._compare(words[0], words[2], quoted=True)
        pairs = itertools.pairwise(texts)
        self.found.tests += [pair for pair in pairs if FILE_TEST.fullmatch(pair[0])]
        return self._all(word for word in words if word.is_named)

    def _is_set(self, word: Node) -> None:
        name = literal(word)
        if name is None or not name.isidentifier():
            return self._odd("asks for a variable whose name is computed", word)
        return self._read(name, How.FILLED, empty=True)

    def _test_command(self, node: Node, how: How, into: str) -> None:
        opening = node.children[0].type
        if opening == "((":
            return self._odd("calculates", node)
        self.found.commands.append(opening)
        if opening == "[":  # a command: the grammar knows its words, but not how they belong
            words = list(words_of_test(node))
            self._splitting("[", [word for word in words if word.is_named])
            return self._test_words(words)
        for child in node.named_children:
            self._condition(child)
        return None

    def _condition(self, node: Node) -> None:
        if node.type == "parenthesized_expression":
            return self._condition(node.named_children[0])
        if node.type == "unary_expression":
            return self._unary(node)
        if node.type == "binary_expression":
            return self._binary(node)
        if node.type in ("test_command", "redirected_statement"):
            return self.walk(node)
        return self._filled(node, quoted=False)

    def _unary(self, node: Node) -> None:
        operator, operand = node.children[0], node.children[-1]
        sign = text_of(operator)
        if sign == "!":
            return self._condition(operand)
        if sign in ("-n", "-z"):
            return self._filled(operand, quoted=False)
        if sign == "-v":
            return self._is_set(operand)
        self.found.tests.append((sign, text_of(operand)))
        return self.walk(operand)

    def _binary(self, node: Node) -> None:
        left, operator, *right = node.children
        sign = text_of(operator)
        if sign in ("&&", "||") and len(right) == 1:
            self._condition(left)
            return self._condition(right[0])
        if sign in ("=", "==", "!=") and len(right) == 1:
            return self._compare(left, right[0], quoted=False)
        return self._all(child for child in (left, *right) if child.is_named)

    def _compare(self, left: Node, right: Node, *, quoted: bool) -> None:
        """``"$X" = ""`` and ``"x$X" = "x"`` only ask whether it has a value."""
        for one, other in ((left, right), (right, left)):
            word = literal(other)
            parts = one.children[1:-1] if one.type == "string" else [one]
            start = text_of(parts[0]) if parts and parts[0].type == "string_content" else ""
            if word is not None and word == start and len(parts) == (2 if start else 1):
                return self._filled(one, quoted=quoted)
        return self._all([left, right])

    def _filled(self, word: Node, *, quoted: bool) -> None:
        """A test of whether a word is empty."""
        one = word.type == "string" or (not quoted and word.type.endswith("expansion"))
        # ${NAME+x} is a word or none
        one = one or bool(re.fullmatch(r"\$\{\w+:?\+\w+\}", text_of(word)))
        self.walk(word, How.FILLED if one else How.ANY)

    # -- statements
    def _for_statement(self, node: Node, how: How, into: str) -> None:
        name = text_of(node.child_by_field_name("variable"))
        values = node.children_by_field_name("value")
        self._all(values)
        self._splitting("for", values)
        self.found.steps.append(Write(name))
        self._all([node.child_by_field_name("body") or node])

    def _case_item(self, node: Node, how: How, into: str) -> None:
        patterns = node.children_by_field_name("value")
        before = len(self.found.reads)
        self._all(patterns)
        self.found.patterns += [read.name for read in self.found.reads[before:]]
        known = {pattern.id for pattern in patterns}
        self._all([child for child in node.named_children if child.id not in known])

    def _function_definition(self, node: Node, how: How, into: str) -> None:
        self.found.functions.add(text_of(node.child_by_field_name("name")))
        if body := node.child_by_field_name("body"):
            self.walk(body)
        redirections = map(text_of, node.children_by_field_name("redirect"))
        self.found.around += [text for text in redirections if not HARMLESS.fullmatch(text)]

    def _redirected_statement(self, node: Node, how: How, into: str) -> None:
        body = node.child_by_field_name("body")
        simple = body is None or body.type in SIMPLE or text_of(body).startswith("[ ")
        for child in node.named_children:
            if child.type == "file_redirect" and not HARMLESS.fullmatch(text_of(child)):
                (self.found.redirections if simple else self.found.around).append(text_of(child))
        self._all(node.named_children)

    def _file_redirect(self, node: Node, how: How, into: str) -> None:
        self._all(node.children_by_field_name("destination"))
        of_heredoc = node.parent is not None and node.parent.type == "heredoc_redirect"
        if of_heredoc and not HARMLESS.fullmatch(text_of(node)):
            self.found.redirections.append(text_of(node))
