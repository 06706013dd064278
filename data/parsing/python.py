"""The definitions of a Python file, by the parser of the running Python; see python_tolerant.py for the rest.

Both ways find the same: a definition is described by the lines and columns of its parts (`Parts`), and
`definition_of` makes the rest of them.
"""

import ast
import inspect
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from codequarry.data.parsing.definitions import Definition, Kind, dedent, plain_comment, unix_lines

_Node = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
# The standard library's parser cannot be stopped: these bounds keep it under two seconds and 300 MB. It takes
# up to a kilobyte a character, and Python 3.11 reads an f-string in the square of its fields.
MAX_CHARACTERS = 300_000
MAX_BRACES = 5_000


@dataclass(frozen=True, slots=True)
class Place:
    """A statement: 1-based lines, columns counted in UTF-8 bytes."""

    line: int
    column: int
    end_line: int
    end_column: int


@dataclass(frozen=True, slots=True)
class Parts:
    """Where the parts of one definition are.

    start: the first line, decorators included.
    head: the line of `def` or `class`.
    doc, docstring: the statement that is its docstring, and its value; None and "" without one.
    body: line and column of the first statement after the docstring; None without one.
    """

    name: str
    kind: Kind
    start: int
    head: int
    end: int
    doc: Place | None
    docstring: str
    body: tuple[int, int] | None


def parse_python(text: str) -> ast.Module | None:
    """The syntax tree, or None for what this Python cannot parse: another version's, endless nesting."""
    if len(text) > MAX_CHARACTERS or text.count("{") > MAX_BRACES:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a bad escape in the source is not our user's concern
        try:
            return ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


def python_definitions(text: str) -> tuple[Definition, ...] | None:
    """Functions, methods and classes of a Python file, by line; None where this Python cannot parse it."""
    text = unix_lines(text)
    tree = parse_python(text)
    if tree is None:
        return None
    return definitions_of_tree(tree, text.split("\n"))


def definitions_of_tree(tree: ast.Module, lines: Sequence[str]) -> tuple[Definition, ...]:
    """The definitions of a syntax tree, with the text of these lines."""
    found: list[Definition] = []
    waiting: list[tuple[ast.stmt, str, bool]] = [(node, "", False) for node in tree.body]
    while waiting:
        node, scope, in_class = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.append(definition_of(_parts(node, scope, "method" if in_class else "function"), lines))
        elif isinstance(node, ast.ClassDef):
            found.append(definition_of(_parts(node, scope, "class"), lines))
            waiting += [(child, f"{scope}{node.name}.", True) for child in node.body]
        else:
            # `if TYPE_CHECKING:`, `try:` and the like hold definitions of the scope around them.
            waiting += [(child, scope, in_class) for child in _statements_inside(node)]
    return in_order(found)


def in_order(found: Sequence[Definition]) -> tuple[Definition, ...]:
    """By first line, a class before its methods."""
    return tuple(sorted(found, key=lambda one: (one.start_line, -one.end_line)))


def _statements_inside(node: ast.stmt) -> list[ast.stmt]:
    blocks = [getattr(node, field, []) for field in ("body", "orelse", "finalbody")]
    blocks += [handler.body for handler in getattr(node, "handlers", [])]
    return [child for block in blocks for child in block]


def _parts(node: _Node, scope: str, kind: Kind) -> Parts:
    body, doc, docstring = node.body, None, ""
    first = body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        value = first.value.value
        if isinstance(value, str):
            last = first.end_lineno or first.lineno, first.end_col_offset or 0
            doc, docstring = Place(first.lineno, first.col_offset, *last), value
            body = body[1:]
    return Parts(
        name=f"{scope}{node.name}",
        kind=kind,
        start=min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)]),
        head=node.lineno,
        end=node.end_lineno or node.lineno,
        doc=doc,
        docstring=docstring,
        body=(_first_line(body[0]), body[0].col_offset) if body else None,
    )


def _first_line(node: ast.stmt) -> int:
    lines: list[int] = [node.lineno, *(one.lineno for one in getattr(node, "decorator_list", []))]
    return min(lines)


def definition_of(parts: Parts, lines: Sequence[str]) -> Definition:
    """The definition whose parts are at these places of a file."""
    code_lines = bare_lines = lines[parts.start - 1 : parts.end]
    comment, first, last = "", 0, 0
    if parts.doc is not None:
        comment = inspect.cleandoc(parts.docstring).strip()
        first, last = parts.doc.line, parts.doc.end_line
        bare_lines = _without(parts.doc, parts.start, code_lines)
    if not comment:
        comment, first, last = _comment_above(lines, parts.start)
    return Definition(
        name=parts.name,
        kind=parts.kind,
        start_line=parts.start,
        end_line=parts.end,
        code=dedent(code_lines),
        bare_code=dedent(bare_lines),
        comment=comment,
        comment_start_line=first,
        comment_end_line=last,
        body_line=_body_line(parts, lines),
    )


def _body_line(parts: Parts, lines: Sequence[str]) -> int:
    if parts.body is None:
        return 0
    line, column = parts.body
    alone = line > parts.head and not _encoded(lines[line - 1])[:column].strip()
    return line if alone else 0


def _encoded(line: str) -> bytes:
    """Both parsers count columns in UTF-8 bytes."""
    return line.encode("utf-8", "replace")


def _without(doc: Place, start: int, code_lines: Sequence[str]) -> list[str]:
    """The lines without the docstring; what shares a line with it, such as `def f(): "doc"`, stays."""
    first, last = doc.line - start, doc.end_line - start
    before = _encoded(code_lines[first])[: doc.column].decode("utf-8", "replace")
    after = _encoded(code_lines[last])[doc.end_column :].decode("utf-8", "replace").lstrip(" ;")
    shared = [before + after] if before.strip() or (after and not after.startswith("#")) else []
    rest = list(code_lines[last + 1 :])
    if not shared and rest and not rest[0].strip():
        rest = rest[1:]
    return [*code_lines[:first], *shared, *rest]


def _comment_above(lines: Sequence[str], start: int) -> tuple[str, int, int]:
    line = lines[start - 1]
    opening = line[: len(line) - len(line.lstrip())] + "#"
    first = start
    while first > 1 and lines[first - 2].startswith(opening):
        first -= 1
    comment = plain_comment("\n".join(lines[first - 1 : start - 1]))
    return (comment, first, start - 1) if comment else ("", 0, 0)
