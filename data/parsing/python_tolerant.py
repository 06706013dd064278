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
import re
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from codequarry.data.parsing.definitions import Definition, Kind, unix_lines
from codequarry.data.parsing.languages import BY_NAME
from codequarry.data.parsing.python import MAX_CHARACTERS, Parts, Place, definition_of, in_order
from codequarry.data.parsing.tree_sitter import MAX_DEPTH, MAX_NAME, Budget, TooCostlyError

if TYPE_CHECKING:
    from tree_sitter import Node

_PACKAGE = "tree-sitter-python"
_CONFLICT = re.compile(r"<{7} |\|{7} |={7}$|>{7} ")
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
    known, conflicts = _without_marks(lines)
    budget = Budget(len(text))
    root = _parse(known, budget)
    if root.has_error:
        inside = _rows_in_strings(known)
        python = _without_tags_and_magics(known, inside)
        # Too many broken statements to look for: the first tree has at least what is whole in it.
        with contextlib.suppress(TooCostlyError):
            _blank_broken(python, 0, len(python), 0, inside, budget)
            root = _parse(python, budget)
    found = _definitions(root, lines, text.encode("utf-8", "replace"), budget)
    whole = [one for one in found if one.kind == "class" or not _holds(conflicts, one)]
    return None if root.has_error and not whole else in_order(whole)


def _holds(rows: Sequence[int], one: Definition) -> bool:
    """Whether one of these sorted rows, counted from 0, is among the lines of a definition."""
    return bisect.bisect_left(rows, one.start_line - 1) != bisect.bisect_left(rows, one.end_line)


def _parse(lines: Sequence[str], budget: Budget) -> "Node":
    return budget.parse("\n".join(lines).encode("utf-8", "replace"), _PACKAGE).root_node


def _without_marks(lines: Sequence[str]) -> tuple[list[str], list[int]]:
    """The lines without odd spaces and the marks of a merge conflict, and the rows of these."""
    known, conflicts = [], []
    in_conflict = False
    for row, line in enumerate(lines):
        in_conflict = in_conflict or line.startswith("<<<<<<< ")
        if in_conflict and _CONFLICT.match(line):
            in_conflict = not line.startswith(">")
            conflicts.append(row)
            known.append(_comment(line))
        else:
            known.append(_ODD_SPACE.sub(_blank, line))
    return known, conflicts


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
                line = match[1] + "0" + _blank(line[match.end(1) + 1 :])
        python.append(line)
    return python


def _without_tags(line: str) -> str:
    bare = _VALUE.sub(lambda match: "_" * _size(match[0]), _TAG.sub(_blank, line))
    return bare if bare.strip() else _comment(line)


def _size(text: str) -> int:
    return len(text.encode("utf-8", "replace"))


def _blank(text: "str | re.Match[str]") -> str:
    return " " * _size(text if isinstance(text, str) else text[0])


def _comment(line: str) -> str:
    return "#" * _size(line)


def _statement(line: str) -> str:
    """A statement in place of a line: a block needs one."""
    body = line.lstrip(" \t")
    return line[: len(line) - len(body)] + "0".ljust(_size(body)) if body else line


# --- Broken statements ---

_CONTINUES = re.compile(r"[)\]}#]|(else|elif|except|finally)\b")
_DEFINITION = re.compile(r"(async[ \t]+)?def\b|class\b|@")
_BLOCK = re.compile(r"(class|if|elif|else|try|except|finally|for|while|with|async[ \t]+(for|with))\b")
_QUOTE = re.compile(r"#[^\n]*|\"{3}|'{3}|\"(?:\\.|[^\"\\\n])*+\"?|'(?:\\.|[^'\\\n])*+'?", re.DOTALL)
_TOP = re.compile(r"^(async[ \t]+def|def|class)\b", re.MULTILINE)
_HEADER = "class _:"


def _rows_in_strings(lines: Sequence[str]) -> set[int]:
    """The rows, from 0, that begin inside a string of three quotes."""
    text = "\n".join(lines)
    inside = _in_strings(text, distrust=False)
    return _in_strings(text, distrust=True) or set() if inside is None else inside


def _in_strings(text: str, distrust: bool) -> set[int] | None:
    """As `_rows_in_strings`; None where such a string never ends.

    distrust: take a string that holds a definition at the left margin for one that someone forgot to close.
    """
    inside: set[int] = set()
    tops = [match.start() for match in _TOP.finditer(text)]
    endless: set[str] = set()
    row = counted = position = 0
    while match := _QUOTE.search(text, position):
        position, quote = match.end(), match[0]
        if quote not in ('"""', "'''"):
            continue
        end = -1 if quote in endless else _end_of_string(text, position, quote)
        if end < 0:
            if not distrust:
                return None
            endless.add(quote)
        elif distrust and bisect.bisect(tops, position) != bisect.bisect(tops, end):
            continue
        else:
            row += text.count("\n", counted, position)
            rows = text.count("\n", position, end)
            inside.update(range(row + 1, row + rows + 1))
            row, counted, position = row + rows, end, end
    return inside


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
        filled = [row for row in range(start, end) if lines[row].strip()]
        margin = lines[start][: len(lines[start]) - len(lines[start].lstrip())]
        for row in range(start, end):
            size = _size(lines[row])
            fits = indent and row in (filled[0], filled[-1]) and size > len(margin)
            lines[row] = (f"{margin}0" if fits else "").ljust(size)


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
    is_decorated = False
    for row in range(first, last):
        body = lines[row].lstrip()
        if not body or row in inside:
            continue
        deeper = _indent(lines[row]) - indent
        ends = deeper < 0 and body[0] != "#" and body[0] not in ")]}"
        begins = deeper == 0 and not is_decorated and not _CONTINUES.match(body)
        if start is not None and (ends or begins):
            found.append((start, row))
            start = None
        if start is None and not ends and body[0] != "#":
            start = row
        is_decorated = deeper <= 0 and body.startswith("@")
    return [*found, (start, last)] if start is not None else found


def _indent(line: str) -> int:
    shown = line[:MAX_NAME].expandtabs()  # a tab goes to the next multiple of eight columns, as in Python 2
    return len(shown) - len(shown.lstrip())


def _block_of(
    lines: Sequence[str], start: int, end: int, indent: int, inside: set[int]
) -> tuple[int, int] | None:
    """The first row of the block that a statement opens, and its indentation; None where it opens none."""
    head = next(row for row in range(start, end) if not lines[row].lstrip().startswith(("@", "#")))
    if not _BLOCK.match(lines[head].lstrip()):
        return None
    for row in range(head + 1, end):
        body = lines[row].lstrip()
        if row not in inside and body and body[0] != "#" and lines[row - 1].rstrip().endswith(":"):
            return (row, _indent(lines[row])) if _indent(lines[row]) > indent else None
    return None


# --- Definitions of a tree ---

_COMPOUND = frozenset(
    {"block", "function_definition", "class_definition", "decorated_definition", "match_statement"}
    | {"case_clause", "if_statement", "elif_clause", "else_clause", "for_statement", "while_statement"}
    | {"with_statement", "try_statement", "except_clause", "except_group_clause", "finally_clause"}
)
_NO_DOCSTRING = re.compile(rb"[A-Za-z]*[bftBFT]")


def _definitions(root: "Node", lines: Sequence[str], data: bytes, budget: Budget) -> list[Definition]:
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
            if not _is_broken(outer, node, is_class) and _is_whole(parts, lines):
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
    """Whether a syntax error is in the definition: of a class only in its head, of type parameters nowhere.

    The defaults of type parameters are newer than the grammar.
    """
    if not outer.has_error:
        return False
    allowed = [node.child_by_field_name("type_parameters")]
    allowed += [node.child_by_field_name("body")] if is_class else []
    around = [child for child in outer.children if child != node] if outer != node else []
    return any(child.has_error and child not in allowed for child in (*around, *node.children))


def _is_whole(parts: Parts, lines: Sequence[str]) -> bool:
    """Whether the next code after a definition is no further indented than the definition itself."""
    indent = _indent(lines[parts.head - 1])
    for line in lines[parts.end :]:
        if (body := line.lstrip()) and body[0] != "#":
            return _indent(line) <= indent
    return True
