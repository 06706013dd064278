"""The definitions of a Python file, by the standard library's own parser."""

import ast
import inspect
import warnings
from collections.abc import Sequence

from codequarry.data.parsing.definitions import Definition, Kind, dedent, plain_comment, unix_lines

_Node = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def parse_python(text: str) -> ast.Module | None:
    """The syntax tree, or None for what this Python cannot parse: Python 2, null bytes, endless nesting."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a bad escape in the source is not our user's concern
        try:
            return ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


def python_definitions(text: str) -> tuple[Definition, ...] | None:
    """Functions, methods and classes of a Python file, by line; None where it does not parse."""
    text = unix_lines(text)
    tree = parse_python(text)
    if tree is None:
        return None
    lines = text.split("\n")
    found: list[Definition] = []
    waiting: list[tuple[ast.stmt, str, bool]] = [(node, "", False) for node in tree.body]
    while waiting:
        node, scope, in_class = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.append(_definition(node, scope, "method" if in_class else "function", lines))
        elif isinstance(node, ast.ClassDef):
            found.append(_definition(node, scope, "class", lines))
            waiting += [(child, f"{scope}{node.name}.", True) for child in node.body]
        else:
            # `if TYPE_CHECKING:`, `try:` and the like hold definitions of the scope around them.
            waiting += [(child, scope, in_class) for child in _statements_inside(node)]
    return tuple(sorted(found, key=lambda one: (one.start_line, -one.end_line)))


def _statements_inside(node: ast.stmt) -> list[ast.stmt]:
    blocks = [getattr(node, field, []) for field in ("body", "orelse", "finalbody")]
    blocks += [handler.body for handler in getattr(node, "handlers", [])]
    return [child for block in blocks for child in block]


def _definition(node: _Node, scope: str, kind: Kind, lines: Sequence[str]) -> Definition:
    start = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    end = node.end_lineno or node.lineno
    code_lines = lines[start - 1 : end]
    doc = node.body[0]
    comment, first, last = "", 0, 0
    bare_lines = code_lines
    body = node.body
    if isinstance(doc, ast.Expr) and isinstance(doc.value, ast.Constant) and isinstance(doc.value.value, str):
        comment = inspect.cleandoc(doc.value.value).strip()
        first, last = doc.lineno, doc.end_lineno or doc.lineno
        bare_lines = _without(doc, start, code_lines)
        body = node.body[1:]
    if not comment:
        comment, first, last = _comment_above(lines, start)
    return Definition(
        name=f"{scope}{node.name}",
        kind=kind,
        start_line=start,
        end_line=end,
        code=dedent(code_lines),
        bare_code=dedent(bare_lines),
        comment=comment,
        comment_start_line=first,
        comment_end_line=last,
        body_line=_body_line(body, node, lines),
    )


def _body_line(body: Sequence[ast.stmt], node: _Node, lines: Sequence[str]) -> int:
    if not body:
        return 0
    line = min([body[0].lineno, *(one.lineno for one in getattr(body[0], "decorator_list", []))])
    alone = line > node.lineno and not lines[line - 1].encode()[: body[0].col_offset].strip()
    return line if alone else 0


def _without(doc: ast.Expr, start: int, code_lines: Sequence[str]) -> list[str]:
    """The lines without the docstring; what shares a line with it, such as `def f(): "doc"`, stays."""
    first, last = doc.lineno - start, (doc.end_lineno or doc.lineno) - start
    # The parser counts columns in UTF-8 bytes.
    before = code_lines[first].encode()[: doc.col_offset].decode()
    after = code_lines[last].encode()[doc.end_col_offset or 0 :].decode().lstrip(" ;")
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
