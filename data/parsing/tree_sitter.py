"""The definitions of a file in a language with a tree-sitter grammar.

Grammars are separate packages, one per language, imported when the first file of that language is met.
Every file has a budget, counted in steps of the parser and in characters, so that the same tree gives the
same definitions on every machine. Seconds count only where a step takes several times as long as in code:
recovering from errors in what is no code of this language at all.
"""

import functools
import importlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from codequarry.common.errors import MissingPackageError
from codequarry.data.parsing.definitions import (
    Definition,
    Kind,
    dedent,
    is_between,
    plain_comment,
    unix_lines,
    without_conflict_marks,
)
from codequarry.data.parsing.languages import Grammar

if TYPE_CHECKING:
    from tree_sitter import Node, Parser, Point, Tree

_COMMENTS = frozenset({"comment", "line_comment", "block_comment"})
_DOC_OPENINGS = (b"/**", b"///", b"//!", b"/*!")
MAX_STEPS = 100_000  # of 100 operations each, for a million characters; dense code takes about 60,000
MAX_SECONDS = 3.0  # of the processor, for a million characters; MAX_STEPS take about one and a half
MAX_DEPTH = 150  # nodes walked through; an `#elif` is one level
MAX_NAME = 300  # characters
MAX_COPIES = 30  # times the text, that all definitions together may hold: a nested one holds its lines again
MAX_LINE = 5_000  # characters; what shares such a line with others was not written by hand
_AT_ONCE = 1 << 16  # bytes that the parser is handed


class TooCostlyError(Exception):
    """A text used up its budget: it is read by lines."""


class Budget:
    """What is left for one file, over all parses of it or of its parts."""

    def __init__(self, characters: int) -> None:
        size = max(1.0, characters / 1_000_000)
        self.steps = int(MAX_STEPS * size)
        self.ends = time.thread_time() + MAX_SECONDS * size
        self.copies = MAX_COPIES * characters + MAX_LINE

    def parse(self, data: bytes, package: str, factory: str = "language") -> "Tree":
        """The syntax tree of UTF-8 bytes.

        Raises TooCostlyError when the steps are used up, and MissingPackageError without the grammar.
        """

        def read(offset: int, point: "Point") -> bytes:
            return data[offset : offset + _AT_ONCE]

        def is_over(offset: int, has_error: bool) -> bool:
            self.steps -= 1
            return self.steps < 0 or time.thread_time() > self.ends

        parser = grammar_parser(package, factory)
        try:
            return parser.parse(read, progress_callback=is_over)
        except ValueError:
            parser.reset()  # or the next parse would continue this one
            raise TooCostlyError("over the steps or seconds of its size") from None

    def copy(self, characters: int) -> None:
        """Account for a definition of so many characters."""
        self.copies -= characters
        if self.copies < 0:
            raise TooCostlyError(f"definitions of over {MAX_COPIES} times the text")


@functools.cache
def grammar_parser(package: str, factory: str) -> "Parser":
    """The parser of one grammar package.

    Raises MissingPackageError with the install command where the package is missing.
    """
    try:
        from tree_sitter import Language, Parser

        module = importlib.import_module(package.replace("-", "_"))
    except ImportError as missing:
        raise MissingPackageError(
            f"Reading this language needs the package {package}, which is not installed: "
            f"run `pip install tree-sitter {package}`."
        ) from missing
    return Parser(Language(getattr(module, factory)()))


def tree_sitter_definitions(text: str, grammar: Grammar) -> tuple[Definition, ...] | None:
    """Functions, methods and classes of one file, by line; None where nothing in it could be used.

    A function that holds a syntax error or a merge conflict is left out; the whole ones around it are used.
    Raises TooCostlyError for a text that is over its budget.
    """
    text = unix_lines(text)
    budget = Budget(len(text))
    lines = text.split("\n")
    known, conflicts = without_conflict_marks(lines)
    data = "\n".join(known).encode("utf-8", "replace")
    root = budget.parse(data, grammar.package, grammar.factory).root_node
    walk = _Walk(grammar, lines, data, conflicts, budget)
    walk.children(root, "", False)
    if root.has_error and not walk.found:
        return None
    return tuple(sorted(walk.found, key=lambda one: (one.start_line, -one.end_line)))


@dataclass
class _Walk:
    grammar: Grammar
    lines: list[str]
    data: bytes
    conflicts: list[int]
    budget: Budget
    found: list[Definition] = field(default_factory=list)
    depth: int = 0

    def text_of(self, node: "Node | None") -> str:
        """The text of a node, with question marks for what is not Unicode."""
        return (
            self.data[node.start_byte : node.end_byte].decode("utf-8", "replace") if node is not None else ""
        )

    def children(self, parent: "Node", scope: str, in_class: bool, before: "Sequence[Node]" = ()) -> None:
        if self.depth == MAX_DEPTH:  # what is nested deeper costs itself, and not the file
            return
        self.depth += 1
        leading = list(before)  # comments and attributes since the last other node
        for node in parent.children:
            if node.type in _COMMENTS or node.type in self.grammar.attached:
                leading.append(node)
            else:
                self.visit(node, node, leading, scope, in_class)
                leading = []
        self.depth -= 1

    def visit(
        self, node: "Node", outer: "Node", leading: "Sequence[Node]", scope: str, in_class: bool
    ) -> None:
        """Look at one node; `outer` is the widest node whose lines belong to it, such as an `export`."""
        grammar, kind = self.grammar, node.type
        is_function = kind in grammar.functions or kind in grammar.methods
        if is_function and outer.has_error:
            # A macro such as BEGIN_NAMESPACE makes one broken function of a whole file: look inside.
            self.children(node.child_by_field_name("body") or node, scope, in_class)
        elif is_function:
            name = name_of(node, self.text_of)
            is_method = in_class or kind in grammar.methods or "." in name
            self.add(name, "method" if is_method else "function", node, outer, leading, scope)
        elif kind in grammar.classes:
            body = node.child_by_field_name("body")
            name = name_of(node, self.text_of) or name_of(outer, self.text_of)
            if body is not None or kind == "struct_item":
                self.add(name, "class", node, outer, leading, scope)
            if body is not None:
                self.children(body, f"{scope}{name}." if name else scope, True, _comments_before(node, body))
        elif kind in grammar.bindings:
            for body in module_bodies(node, self.text_of):
                self.children(body, scope, in_class)
            for name, value, line_node in bound_values(node, self.text_of):
                self.bound(name, value, outer if line_node is node else line_node, leading, scope, in_class)
            for child in node.named_children:
                if child.type in grammar.scopes or child.type in grammar.passages:
                    self.visit(child, outer, leading, scope, in_class)
        elif kind in grammar.scopes:
            body, name = node.child_by_field_name("body"), name_of(node, self.text_of)
            if body is not None:
                inside, in_impl = f"{scope}{name}." if name else scope, kind == "impl_item"
                self.children(body, inside, in_impl, _comments_before(node, body))
        elif kind in grammar.wrappers and any(child.type == "(" for child in node.children):
            self.children(node, scope, in_class)  # a Go group, `type ( … )`: each type is on its own
        elif kind in grammar.wrappers:
            for child in node.named_children:
                self.visit(child, outer, leading, scope, in_class)
        elif kind in grammar.passages or kind == "ERROR":
            self.children(node, scope, in_class, leading)

    def bound(
        self, name: str, value: "Node", outer: "Node", leading: "Sequence[Node]", scope: str, in_class: bool
    ) -> None:
        if value.type in FUNCTION_VALUES:
            self.add(name, "method" if in_class else "function", value, outer, leading, scope)
        else:
            self.add(name, "class", value, outer, leading, scope)
            body = value.child_by_field_name("body")
            if body is not None:
                self.children(body, f"{scope}{name}.", True)

    def add(
        self, name: str, kind: Kind, node: "Node", outer: "Node", leading: "Sequence[Node]", scope: str
    ) -> None:
        if outer.has_error or not name:
            return
        start, end = outer.start_point[0], _last_row(outer)
        if len(self.lines[start]) > MAX_LINE or len(self.lines[end]) > MAX_LINE:
            return
        if kind != "class" and is_between(self.conflicts, start, end + 1):
            return
        self.budget.copy(outer.end_byte - outer.start_byte + len(self.lines[start]) + len(scope))
        block: list[Node] = []
        for above in reversed(leading):
            if _last_row(above) < min(start, block[-1].start_point[0] if block else start) - 1:
                break
            if above.type not in _COMMENTS:
                start = above.start_point[0]
            elif not self.owns_its_lines(above) or (block and self.is_block(above)):
                break
            else:
                block.append(above)
                if self.is_block(above):
                    break
        # An attribute above a comment takes the comment inside; only what precedes all of it counts.
        block = [comment for comment in block if _last_row(comment) < start]
        comment, first, last = self.comment_of(block[::-1])
        # The first comment in a class describes its first member.
        inner = [] if kind == "class" else self.opening_doc(node)
        if not comment:
            comment, first, last = self.comment_of(inner)
        code_lines = self.lines[start : end + 1]
        hidden = {row for each in inner for row in range(each.start_point[0], _last_row(each) + 1)}
        bare_lines = [line for row, line in enumerate(code_lines, start) if row not in hidden]
        self.found.append(
            Definition(
                name=scope + name,
                kind=kind,
                start_line=start + 1,
                end_line=end + 1,
                code=dedent(code_lines),
                bare_code=dedent(bare_lines),
                comment=comment,
                comment_start_line=first,
                comment_end_line=last,
                body_line=self.body_line(node, inner, start),
            )
        )

    def body_line(self, node: "Node", inner: "Sequence[Node]", start: int) -> int:
        """The line on which the body's first statement or comment is alone; 0 where there is none."""
        body = node.child_by_field_name("body")
        if body is None:
            return 0
        within = body.named_children[: len(inner) + 1] if self.opens_with(body, b"{") else [body]
        first = next((child for child in within if child not in inner), None)
        if first is None or first.start_point[0] <= start or not self.owns_its_lines(first):
            return 0
        return first.start_point[0] + 1

    def is_block(self, comment: "Node") -> bool:
        return self.opens_with(comment, b"/*")

    def opens_with(self, node: "Node", opening: bytes | tuple[bytes, ...]) -> bool:
        """Whether the text of a node begins so, without a copy of it."""
        return self.data.startswith(opening, node.start_byte)

    def owns_its_lines(self, node: "Node") -> bool:
        """Whether only indentation is before it: a comment after code belongs to that code."""
        row, column = node.start_point
        return not self.lines[row][:column].strip()

    def comment_of(self, block: "Sequence[Node]") -> tuple[str, int, int]:
        raw = "\n".join(self.text_of(node).rstrip("\n") for node in block)
        comment = plain_comment(raw)
        return (comment, block[0].start_point[0] + 1, _last_row(block[-1]) + 1) if comment else ("", 0, 0)

    def opening_doc(self, node: "Node") -> "list[Node]":
        """The doc comment with which a body opens, if it has lines of its own."""
        body = node.child_by_field_name("body")
        opening: list[Node] = []
        for child in body.children[1:] if body is not None else []:
            if child.type not in _COMMENTS or not self.opens_with(child, _DOC_OPENINGS):
                break
            ends_its_line = self.text_of(child).rstrip().endswith(self.lines[_last_row(child)].strip())
            if not (ends_its_line and self.owns_its_lines(child)):
                break
            opening.append(child)
        return opening


def _comments_before(parent: "Node", body: "Node") -> "list[Node]":
    """Ruby's grammar puts the comments that open a body before it."""
    found: list[Node] = []
    for child in parent.children:
        if child == body:
            return found
        if child.type in _COMMENTS:
            found.append(child)
        else:
            found.clear()
    return found


def _last_row(node: "Node") -> int:
    # Rust's line comments end at column 0 of the next row.
    row, column = node.end_point
    return row - 1 if column == 0 and row > node.start_point[0] else row


TextOf = Callable[["Node | None"], str]
FUNCTION_VALUES = frozenset({"arrow_function", "function_expression", "generator_function"})


def bound_values(node: "Node", text_of: TextOf) -> "Iterator[tuple[str, Node, Node]]":
    """Names that a statement gives to function and class expressions: name, value, node whose lines count."""
    if node.type == "type_spec":  # Go
        value = node.child_by_field_name("type")
        if value is not None and value.type in ("struct_type", "interface_type"):
            yield text_of(node.child_by_field_name("name")), value, node
        return
    if node.type in ("field_definition", "public_field_definition", "pair"):
        owners = [node]
    elif node.type == "expression_statement":
        owners = [child for child in node.named_children if child.type == "assignment_expression"]
    else:
        owners = [child for child in node.named_children if child.type == "variable_declarator"]
    for owner in owners:
        value = owner.child_by_field_name("value") or owner.child_by_field_name("right")
        if value is not None and (value.type in FUNCTION_VALUES or value.type == "class"):
            name = next(
                (
                    text_of(found)
                    for label in ("name", "property", "left", "key")
                    if (found := owner.child_by_field_name(label)) is not None
                ),
                "",
            )
            yield name[:MAX_NAME], value, node if len(owners) == 1 else owner


def module_bodies(statement: "Node", text_of: TextOf) -> "Iterator[Node]":
    """Bodies of the functions that wrap a JavaScript module: called on the spot, or handed to `define`.

    `(function () { … })()`, `var a = (function () { … })()`, `define(["b"], function (b) { … })`.
    """
    for child in statement.named_children:
        call: Node | None = child
        if child.type == "variable_declarator":
            call = child.child_by_field_name("value")
        call = _unwrapped(call)
        if call is None or call.type != "call_expression":
            continue
        callee = _unwrapped(call.child_by_field_name("function"))
        if callee is not None and callee.type == "member_expression":  # `.call(this)`
            callee = _unwrapped(callee.child_by_field_name("object"))
        arguments = call.child_by_field_name("arguments")
        if callee is None or arguments is None:
            continue
        if callee.type in FUNCTION_VALUES or text_of(callee) == "define":
            for value in (callee, *arguments.named_children):
                body = value.child_by_field_name("body") if value.type in FUNCTION_VALUES else None
                if body is not None:
                    yield body


def _unwrapped(node: "Node | None") -> "Node | None":
    while node is not None and node.type in ("parenthesized_expression", "unary_expression"):
        node = node.named_children[-1] if node.named_children else None
    return node


def name_of(node: "Node", text_of: TextOf) -> str:
    """The name a definition carries, without type parameters, with dots between its parts; "" if none."""
    if node.type == "impl_item":
        name = text_of(node.child_by_field_name("type"))
    elif node.type in ("export_statement", "type_definition"):
        name = text_of(node.child_by_field_name("declarator"))
    elif node.type in ("method", "singleton_method"):  # Ruby, where `<=>` is a name as well
        return text_of(node.child_by_field_name("name"))[:MAX_NAME]
    elif node.type == "function_definition" and node.child_by_field_name("declarator") is not None:
        inner: Node | None = node
        while inner is not None and (deeper := inner.child_by_field_name("declarator")) is not None:
            inner = deeper
        name = text_of(inner)
    elif node.type == "function_expression":
        name = text_of(node.child_by_field_name("name")) or "default"
    else:
        name = text_of(node.child_by_field_name("name"))
    receiver = node.child_by_field_name("receiver")
    if receiver is not None:
        owner = text_of(receiver).strip("() \n").split()[-1:]
        name = f"{owner[0].lstrip('*').split('[')[0]}.{name}" if owner else name
    name = name.replace("::", ".")
    return (name if "operator" in name else name.split("<")[0].strip())[:MAX_NAME]
