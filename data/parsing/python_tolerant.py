"""The definitions of a Python file that the running Python cannot parse, by tree-sitter's grammar.

The grammar knows the syntax of every version, and this file takes care of what is no syntax of any: marks of
a merge conflict, magics of IPython, tags of a template, half-written statements. These are blanked out in a
copy, byte for byte, so that every line and column stays where it is; the definitions have the text as it is.

A broken statement may hide what follows: an open bracket or string takes all lines after it. Indentation
says where a statement of the same block begins, so each one is tried on its own, and the broken ones are
blanked out. A broken class loses its broken members only.
"""

import ast
import bisect
import contextlib
import itertools
import re
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from codequarry.data.parsing.definitions import (
    Definition,
    Kind,
    blank,
    is_between,
    size,
    unix_lines,
    without_conflict_marks,
)
from codequarry.data.parsing.languages import BY_NAME
from codequarry.data.parsing.python import MAX_CHARACTERS, Parts, Place, definition_of, in_order
from codequarry.data.parsing.tree_sitter import MAX_DEPTH, MAX_NAME, Budget, TooCostlyError

if TYPE_CHECKING:
    from tree_sitter import Node

_PACKAGE = "tree-sitter-python"
# What no Python knows outside a string: NUL, Ctrl-Z, spaces of other scripts or of no width.
_ODD_SPACE = re.compile("[\0\x1a\u00a0\u2000-\u200f\u2028\u2029\u202f\u205f\u2060\u3000\ufeff]")
_TAG = re.compile(r"\{%[^\n]{0,500}?%\}|\{#[^\n]{0,500}?#\}")
_VALUE = re.compile(r"\{\{[^\n{}]{0,200}\}\}")
_MAGIC = re.compile(r"[ \t]*(?:%{1,2}[A-Za-z]|!(?!=)|\?{1,2}\w|[\w.]+\?{1,2}\s*$)")
_ASSIGNED_MAGIC = re.compile(r"([ \t]*[\w, \t]{1,100}=[ \t]*)(?:!(?!=)|%[A-Za-z])")


def tolerant_definitions(text: str) -> tuple[Definition, ...] | None:
    """Functions, methods and classes of a Python text, by line; None where nothing in it could be used.

    A function that holds a syntax error is left out, and so is one with a merge conflict inside.
    Raises TooCostlyError for a text that is over its budget.
    """
    text = unix_lines(text)
    lines = text.split("\n")
    python, conflicts = without_conflict_marks(lines)
    python = [_ODD_SPACE.sub(blank, line) for line in python]
    budget = Budget(len(text))
    root = _parse(python, budget)
    is_broken = root.has_error
    if is_broken:
        inside = _rows_in_strings(python)
        python = _without_defaults(_without_tags_and_magics(python, inside))
        # Too many broken statements to look for: the first tree has at least what is whole in it.
        with contextlib.suppress(TooCostlyError):
            _blank_broken(python, 0, len(python), 0, inside, budget)
            root = _parse(python, budget)
    found = _definitions(root, lines, text.encode("utf-8", "replace"), conflicts, budget)
    return None if is_broken and not found else in_order(found)


def _parse(lines: Sequence[str], budget: Budget) -> "Node":
    return budget.parse("\n".join(lines).encode("utf-8", "replace"), _PACKAGE).root_node


def _without_tags_and_magics(lines: Sequence[str], inside: set[int]) -> list[str]:
    """The lines without tags of a template and, outside strings, without magics of IPython."""
    python = []
    continues = False
    for row, line in enumerate(lines):
        if "{" in line:
            line = _without_tags(line)
        if row not in inside:
            if continues or _MAGIC.match(line):
                continues = line.endswith("\\")
                line = _statement(line)
            elif match := _ASSIGNED_MAGIC.match(line):
                line = match[1] + "0" + blank(line[match.end(1) + 1 :])
        python.append(line)
    return python


def _without_tags(line: str) -> str:
    bare = _VALUE.sub(lambda match: "_" * size(match[0]), _TAG.sub(blank, line))
    return bare if bare.strip() else _comment(line)


_TYPE_PARAMETERS = re.compile(r"^[ \t]*(?:(?:async[ \t]+)?def|class|type)[ \t]+\w+[ \t]*\[", re.MULTILINE)
_LONGEST_LIST = 2_000  # characters


def _without_defaults(lines: Sequence[str]) -> list[str]:
    """The lines without defaults of type parameters, `class A[T = int]`, which the grammar does not know."""
    text, parts, position = "\n".join(lines), [], 0
    for match in _TYPE_PARAMETERS.finditer(text):
        if match.start() < position:
            continue
        depth, is_default = 1, False
        parts.append(text[position : match.end()])
        position = match.end()
        while depth and position < min(len(text), match.end() + _LONGEST_LIST):
            letter = text[position]
            depth += (letter in "([{") - (letter in ")]}")
            is_default = depth > 0 and (is_default or letter == "=") and not (depth == 1 and letter == ",")
            parts.append(blank(letter) if is_default and letter != "\n" else letter)
            position += 1
    return "".join([*parts, text[position:]]).split("\n")


def _comment(line: str) -> str:
    return "#" * size(line)


def _statement(line: str) -> str:
    """A statement in place of a line: a block needs one."""
    body = line.lstrip(" \t")
    return line[: len(line) - len(body)] + "0".ljust(size(body)) if body else line


# --- Broken statements ---

_CONTINUES = re.compile(r"[)\]}#]")
_CLAUSE = re.compile(r"(else|elif|except|finally)\b")
_HAS_CLAUSES = re.compile(r"(if|for|while|try|async[ \t]+for)\b")
_BLOCK = re.compile(r"(class|if|elif|else|try|except|finally|for|while|with|async[ \t]+(for|with))\b")
_QUOTE = re.compile(r"#[^\n]*|\"{3}|'{3}|\"(?:\\.|[^\"\\\n])*+\"?|'(?:\\.|[^'\\\n])*+'?", re.DOTALL)
_HEAD = re.compile(r"^[ \t]*(async[ \t]+def|def|class)\b", re.MULTILINE)
_HEADER = "class _:"


def _rows_in_strings(lines: Sequence[str]) -> set[int]:
    """The rows, from 0, that begin inside a string of three quotes."""
    text = "\n".join(lines)
    inside, endless = _in_strings(text)
    if endless:
        inside, _ = _in_strings(text, _never_closed(text, endless))
    return inside


def _in_strings(text: str, never_closed: int = -1) -> tuple[set[int], str]:
    """These rows, and the quotes of a string without an end; at `never_closed` one begins that has none."""
    inside: set[int] = set()
    endless = ""
    row = counted = position = 0
    while match := _QUOTE.search(text, position):
        position, quote = match.end(), match[0]
        if quote not in ('"""', "'''") or match.start() == never_closed or quote == endless:
            continue
        end = _end_of_string(text, position, quote)
        if end < 0:
            endless = quote
            continue
        row += text.count("\n", counted, position)
        rows = text.count("\n", position, end)
        inside.update(range(row + 1, row + rows + 1))
        row, counted, position = row + rows, end, end
    return inside, endless


def _never_closed(text: str, quote: str) -> int:
    """Where the quotes are that someone forgot to close.

    From there on strings and code change places. A string seldom holds a definition, so these are the quotes
    without which the fewest do.
    """
    heads = [match.start() for match in _HEAD.finditer(text)]
    quotes: list[int] = []
    position = 0
    while (end := _end_of_string(text, position, quote)) >= 0:
        quotes.append(end - len(quote))
        position = end
    # Whether a definition is between these quotes and the next.
    between = [bisect.bisect(heads, a) != bisect.bisect(heads, b) for a, b in itertools.pairwise(quotes)]
    odd = sum(between[1::2])
    best, found = odd, quotes[0] if quotes else -1
    for at in range(2, len(quotes), 2):
        odd += between[at - 2] - between[at - 1]
        if odd <= best:
            best, found = odd, quotes[at]
    return found


def _end_of_string(text: str, position: int, quote: str) -> int:
    while (at := text.find(quote, position)) >= 0:
        before = text[max(0, at - 50) : at]
        if (len(before) - len(before.rstrip("\\"))) % 2 == 0:
            return at + len(quote)
        position = at + 1
    return -1


def _blank_broken(
    lines: list[str], first: int, last: int, indent: int, inside: set[int], budget: Budget
) -> None:
    """Blank out the broken statements of one block, rows `first` to `last - 1`, in place."""
    pieces = _statements(lines, first, last, indent, inside)
    waiting = [pieces]
    while waiting:
        group = waiting.pop()
        if not _has_error(lines, group, indent, budget):
            continue
        if len(group) > 1:
            middle = len(group) // 2
            waiting += [group[:middle], group[middle:]]
            continue
        start, end = group[0]
        if indent < MAX_DEPTH and (within := _block_of(lines, start, end, indent, inside)):
            _blank_broken(lines, within[0], end, within[1], inside, budget)
            if not _has_error(lines, group, indent, budget):
                continue
        filled = [row for row in range(start, end) if lines[row].strip() and lines[row].lstrip()[0] != "#"]
        margin = lines[start][: len(lines[start]) - len(lines[start].lstrip())]
        for row in range(start, filled[-1] + 1 if filled else end):
            length = size(lines[row])
            fits = indent and row in (filled[0], filled[-1]) and length > len(margin)
            lines[row] = (f"{margin}0" if fits else "").ljust(length)


def _has_error(lines: Sequence[str], pieces: Sequence[tuple[int, int]], indent: int, budget: Budget) -> bool:
    if not pieces:
        return False
    header = [_HEADER] if indent else []
    return _parse([*header, *lines[pieces[0][0] : pieces[-1][1]]], budget).has_error


def _statements(
    lines: Sequence[str], first: int, last: int, indent: int, inside: set[int]
) -> list[tuple[int, int]]:
    """The rows of each statement of a block with this indentation: its first, and the one behind its last.

    A line with less indentation, such as `else:`, stands between two statements and belongs to neither.
    """
    found: list[tuple[int, int]] = []
    start: int | None = None
    is_decorated = has_clauses = False
    for row in range(first, last):
        body = lines[row].lstrip()
        if not body or row in inside or _CONTINUES.match(body):
            continue
        deeper = _indent(lines[row]) - indent
        if deeper > 0 and start is not None:
            continue
        is_clause = has_clauses and deeper == 0 and _CLAUSE.match(body)
        if start is not None and not is_decorated and not is_clause:
            found.append((start, row))
            start = None
        if start is None and deeper >= 0:
            start = row
            has_clauses = _HAS_CLAUSES.match(body) is not None
        is_decorated = body.startswith("@")
    return [*found, (start, last)] if start is not None else found


def _indent(line: str) -> int:
    shown = line[:MAX_NAME].expandtabs()  # a tab goes to the next multiple of eight columns, as in Python 2
    return len(shown) - len(shown.lstrip())


def _block_of(
    lines: Sequence[str], start: int, end: int, indent: int, inside: set[int]
) -> tuple[int, int] | None:
    """The first row of the block that a statement opens, and its indentation; None where it opens none."""
    head = next((row for row in range(start, end) if not lines[row].lstrip().startswith(("@", "#"))), end - 1)
    if not _BLOCK.match(lines[head].lstrip()):
        return None
    is_open = False
    for row in range(head, end):
        body = lines[row].strip()
        if is_open and body and body[0] != "#":
            return (row, _indent(lines[row])) if _indent(lines[row]) > indent else None
        is_open = is_open or body.partition("#")[0].rstrip().endswith(":")
    return None


# --- Definitions of a tree ---

_COMPOUND = frozenset(
    {"block", "function_definition", "class_definition", "decorated_definition", "match_statement"}
    | {"case_clause", "if_statement", "elif_clause", "else_clause", "for_statement", "while_statement"}
    | {"with_statement", "try_statement", "except_clause", "except_group_clause", "finally_clause"}
)
_NO_DOCSTRING = re.compile(rb"[A-Za-z]*[bftBFT]")


def _definitions(
    root: "Node", lines: Sequence[str], data: bytes, conflicts: Sequence[int], budget: Budget
) -> list[Definition]:
    grammar = BY_NAME["python"].grammar
    assert grammar is not None
    found: list[Definition] = []
    waiting = [(child, child, "", False, 0) for child in root.named_children]
    while waiting:
        node, outer, scope, in_class, depth = waiting.pop()
        if depth > MAX_DEPTH:
            continue
        if node.type in grammar.wrappers:
            inner = node.child_by_field_name("definition")
            waiting += [(inner, outer, scope, in_class, depth)] if inner is not None else []
            continue
        is_class = node.type in grammar.classes
        if is_class or node.type in grammar.functions:
            kind: Kind = "class" if is_class else "method" if in_class else "function"
            parts = _parts(node, outer, scope, kind, data)
            if parts is None:
                continue
            is_cut = not is_class and is_between(conflicts, parts.start - 1, parts.end)
            if not is_cut and not _is_broken(outer, node, is_class) and _is_whole(parts, lines):
                budget.copy(outer.end_byte - outer.start_byte + len(scope))
                found.append(definition_of(parts, lines))
            if is_class:
                inside = f"{parts.name}."
                body = _code(node.child_by_field_name("body"))
                waiting += [(child, child, inside, True, depth + 1) for child in body]
        elif node.type in grammar.passages or node.type == "ERROR":
            waiting += [(child, child, scope, in_class, depth + 1) for child in node.named_children]
    return found


def _code(node: "Node | None") -> "list[Node]":
    return [child for child in node.named_children if child.type != "comment"] if node is not None else []


def _parts(node: "Node", outer: "Node", scope: str, kind: Kind, data: bytes) -> Parts | None:
    """Where the parts of a definition are; None for one without a name or a body."""
    name, body = node.child_by_field_name("name"), _code(node.child_by_field_name("body"))
    if name is None or not body or name.start_byte == name.end_byte:
        return None
    own_name = data[name.start_byte : name.end_byte].decode("utf-8", "replace")[:MAX_NAME]
    docstring = _docstring(body[0], data)
    behind = body if docstring is None else body[1:]
    doc = None
    if docstring is not None:
        start, end = body[0].start_point, body[0].end_point
        doc = Place(start.row + 1, start.column, end.row + 1, end.column)
    last = body[-1]
    while last.type in _COMPOUND and (inner := _code(last)):
        last = inner[-1]
    return Parts(
        name=scope + own_name,
        kind=kind,
        start=outer.start_point.row + 1,
        head=node.start_point.row + 1,
        end=last.end_point.row + 1,
        doc=doc,
        docstring=docstring or "",
        body=(behind[0].start_point.row + 1, behind[0].start_point.column) if behind else None,
    )


def _docstring(statement: "Node", data: bytes) -> str | None:
    """The value of a statement that is a string and nothing else."""
    node = statement
    while node.type in ("expression_statement", "parenthesized_expression"):
        inner = _code(node)
        if len(inner) != 1:
            return None
        node = inner[0]
    strings = [node] if node.type == "string" else _code(node) if node.type == "concatenated_string" else []
    if not strings or any(_NO_DOCSTRING.match(data, one.start_byte) for one in strings):
        return None
    written = data[node.start_byte : node.end_byte].decode("utf-8", "replace")
    if len(written) <= MAX_CHARACTERS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return str(ast.literal_eval(f"({written})"))
            except (SyntaxError, ValueError, MemoryError, RecursionError):
                pass  # an escape that is none, or Python 2's ur""
    return written.lstrip("rRuU").strip("\"'")


def _is_broken(outer: "Node", node: "Node", is_class: bool) -> bool:
    """Whether a syntax error is in the definition; of a class only in its head."""
    if not outer.has_error:
        return False
    allowed = node.child_by_field_name("body") if is_class else None
    around = [child for child in outer.children if child != node] if outer != node else []
    return any(child.has_error and child != allowed for child in (*around, *node.children))


def _is_whole(parts: Parts, lines: Sequence[str]) -> bool:
    """Whether the code right below a definition, without a blank line between, is no part of it.

    Code that is further indented than `def`, and less than the body above it, cuts the body short.
    """
    indent = _indent(lines[parts.head - 1])
    for line in lines[parts.end :]:
        body = line.lstrip()
        if not body or body[0] != "#":
            return not body or _indent(line) <= indent
    return True
