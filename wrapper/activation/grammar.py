"""Bash's grammar as tree-sitter has it: the parser, and the kinds of nodes in its trees."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tree_sitter import Node, Parser


@functools.cache
def parser() -> Parser:
    import tree_sitter
    import tree_sitter_bash

    return tree_sitter.Parser(tree_sitter.Language(tree_sitter_bash.language()))


# Nodes that only hold others, which are looked at one by one.
HOLDERS = {
    *("program", "list", "pipeline", "negated_command", "subshell", "do_group", "if_statement"),
    *("elif_clause", "else_clause", "while_statement", "command_substitution", "case_statement"),
    *("process_substitution", "parenthesized_expression", "array", "herestring_redirect"),
    *("heredoc_redirect", "heredoc_body", "string", "concatenation", "brace_expression"),
    *("command_name", "variable_assignments"),
}
PLAIN = {
    *("raw_string", "ansi_c_string", "string_content", "number", "heredoc_start", "heredoc_end"),
    *("heredoc_content", "comment", "regex", "file_descriptor", "test_operator", "word"),
    *("special_variable_name", "variable_name", "extglob_pattern"),
}
# An expansion in any text, quoted or not; one that a backslash keeps from being one is none.
EXPANSION = re.compile(r"(?<!\\)(?:\\\\)*\$(?:\{[#!]?)?([A-Za-z_]\w*|\d+|[-$!?#@*])")
SUBSTITUTION = re.compile(r"(?<!\\)(?:\\\\)*(\$\((?!\()|`[^`]*`|[<>]\()")
SIMPLE = {
    *("command", "declaration_command", "unset_command", "variable_assignment"),
    *("variable_assignments", "command_name"),
}
FILE_TEST = re.compile("-[abcdefghkprsuwxGLNOSt]")
HARMLESS = re.compile(r"\d*[<>]&(\d+|-)|(&>|\d*>|\d*>>|\d*<|&>>)\s*/dev/null")
SPECIAL = {"?", "#", "@", "*"}  # a script's own: known where all else is
OPTIONS = {
    "export": re.compile(r"--"),
    "declare": re.compile(r"--|-[aAg]+"),
    "typeset": re.compile(r"--|-[aAg]+"),
    "local": re.compile(r"--|-[aAg]+"),
}


def text_of(node: Node | None) -> str:
    return ((node.text if node else b"") or b"").decode("utf-8", "surrogateescape")


def literal(node: Node) -> str | None:
    """The text of a word without expansions; ``None`` where it has some."""
    if node.type in ("word", "number", "variable_name"):
        return re.sub(r"\\(.)", r"\1", text_of(node))
    if node.type == "extglob_pattern" and re.fullmatch(r"[\w./:-]+", text_of(node)):
        return text_of(node)  # what stands after "!=" has this kind in any case
    if node.type == "raw_string":
        return text_of(node)[1:-1]
    if node.type == "string" and all(
        child.type == "string_content" for child in node.named_children
    ):
        return text_of(node)[1:-1]
    if node.type == "concatenation":
        parts = [literal(child) for child in node.children]
        return None if None in parts else "".join(part for part in parts if part is not None)
    return None


def words_of_test(node: Node) -> Iterator[Node]:
    """The words between ``[`` and ``]``."""
    for child in node.children:
        if child.type in ("unary_expression", "binary_expression", "parenthesized_expression"):
            yield from words_of_test(child)
        elif child.type not in ("[", "]"):
            yield child
