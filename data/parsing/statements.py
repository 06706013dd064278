"""Where a function can be cut in two: at a line on which a statement begins, never inside a string."""

import ast

from codequarry.data.parsing.languages import BY_NAME, Grammar
from codequarry.data.parsing.python import parse_python
from codequarry.data.parsing.tree_sitter import grammar_parser

_NEAR = 0.25  # how far from the middle a cut may lie, as a share of the lines


def cut_in_two(code: str, language: str) -> tuple[str, str] | None:
    """The two halves of a function, cut before the statement nearest to its middle line.

    None where no statement begins within a quarter of its length from the middle, or the function alone
    does not parse.
    """
    lines = code.split("\n")
    middle = len(lines) / 2
    near = [start for start in statement_lines(code, language) if abs(start - middle) <= _NEAR * len(lines)]
    if not near:
        return None
    cut = min(near, key=lambda start: (abs(start - middle), start))
    return "\n".join(lines[:cut]).rstrip(), "\n".join(lines[cut:]).strip("\n")


def statement_lines(code: str, language: str) -> list[int]:
    """The lines, counted from 0, whose first word begins a statement inside a function; [] if unknown."""
    if language == "python":
        rows = _python_starts(code)
    else:
        grammar = BY_NAME[language].grammar
        rows = _grammar_starts(code, grammar) if grammar is not None else []
    lines = code.split("\n")
    return sorted({row for row, column in rows if row and not lines[row][:column].strip()})


def _python_starts(code: str) -> list[tuple[int, int]]:
    tree = parse_python(code)
    if tree is None:
        return []
    starts: list[tuple[int, int]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt):
            first = [*getattr(node, "decorator_list", []), node][0]
            starts.append((first.lineno - 1, node.col_offset))
    return starts


def _grammar_starts(code: str, grammar: Grammar) -> list[tuple[int, int]]:
    parser = grammar_parser(grammar.package, grammar.factory)
    root = parser.parse(f"{grammar.opening}{code}".encode("utf-8", "replace")).root_node
    if root.has_error:  # a method alone is no program in most languages
        wrapped = f"{grammar.opening}class A {{{code}\n}};"
        root = parser.parse(wrapped.encode("utf-8", "replace")).root_node
        if root.has_error:
            return []
    starts: list[tuple[int, int]] = []
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node.type in grammar.blocks:
            starts += [(child.start_point.row, child.start_point.column) for child in node.named_children]
        waiting += node.named_children
    return starts
