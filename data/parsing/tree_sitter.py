"""The definitions of a file in a language with a tree-sitter grammar.

Grammars are separate packages, one per language, imported when the first file of that language is met.
"""

import functools
import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from codequarry.common.errors import MissingPackageError
from codequarry.data.parsing.definitions import Definition, Kind, dedent, plain_comment, unix_lines
from codequarry.data.parsing.languages import Grammar

if TYPE_CHECKING:
    from tree_sitter import Node, Parser

_COMMENTS = frozenset({"comment", "line_comment", "block_comment"})
_DOC_OPENINGS = ("/**", "///", "//!", "/*!")


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

    A definition that holds a syntax error is left out, and the whole ones around it are used.
    """
    text = unix_lines(text)
    root = grammar_parser(grammar.package, grammar.factory).parse(text.encode("utf-8", "replace")).root_node
    walk = _Walk(grammar, text.split("\n"))
    try:
        walk.children(root, "", False)
    except RecursionError:
        return None
    if root.has_error and not walk.found:
        return None
    return tuple(sorted(walk.found, key=lambda one: (one.start_line, -one.end_line)))


@dataclass
class _Walk:
    grammar: Grammar
    lines: list[str]
    found: list[Definition] = field(default_factory=list)

    def children(self, parent: "Node", scope: str, in_class: bool, before: "Sequence[Node]" = ()) -> None:
        leading = list(before)  # comments and attributes since the last other node
        for node in parent.children:
            if node.type in _COMMENTS or node.type in self.grammar.attached:
                leading.append(node)
            else:
                self.visit(node, node, leading, scope, in_class)
                leading = []

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
            name = name_of(node)
            is_method = in_class or kind in grammar.methods or "." in name
            self.add(name, "method" if is_method else "function", node, outer, leading, scope)
        elif kind in grammar.classes:
            body = node.child_by_field_name("body")
            name = name_of(node) or name_of(outer)
            if body is not None or kind == "struct_item":
                self.add(name, "class", node, outer, leading, scope)
            if body is not None:
                self.children(body, f"{scope}{name}." if name else scope, True, _comments_before(body))
        elif kind in grammar.bindings:
            for body in module_bodies(node):
                self.children(body, scope, in_class)
            for name, value, line_node in bound_values(node):
                self.bound(name, value, outer if line_node is node else line_node, leading, scope, in_class)
            for child in node.named_children:
                if child.type in grammar.scopes:
                    self.visit(child, outer, leading, scope, in_class)
        elif kind in grammar.scopes:
            body, name = node.child_by_field_name("body"), name_of(node)
            if body is not None:
                inside, in_impl = f"{scope}{name}." if name else scope, kind == "impl_item"
                self.children(body, inside, in_impl, _comments_before(body))
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
        within = body.named_children if text_of(body).startswith("{") else [body]
        first = next((child for child in within if child not in inner), None)
        if first is None or first.start_point[0] <= start or not self.owns_its_lines(first):
            return 0
        return first.start_point[0] + 1

    def is_block(self, comment: "Node") -> bool:
        return text_of(comment).startswith("/*")

    def owns_its_lines(self, node: "Node") -> bool:
        """Whether only indentation is before it: a comment after code belongs to that code."""
        row, column = node.start_point
        return not self.lines[row][:column].strip()

    def comment_of(self, block: "Sequence[Node]") -> tuple[str, int, int]:
        raw = "\n".join(text_of(node).rstrip("\n") for node in block)
        comment = plain_comment(raw)
        return (comment, block[0].start_point[0] + 1, _last_row(block[-1]) + 1) if comment else ("", 0, 0)

    def opening_doc(self, node: "Node") -> "list[Node]":
        """The doc comment with which a body opens, if it has lines of its own."""
        body = node.child_by_field_name("body")
        opening: list[Node] = []
        for child in body.children[1:] if body is not None else []:
            text = text_of(child)
            ends_its_line = text.rstrip().endswith(self.lines[_last_row(child)].strip())
            if child.type not in _COMMENTS or not text.startswith(_DOC_OPENINGS):
                break
            if not (ends_its_line and self.owns_its_lines(child)):
                break
            opening.append(child)
        return opening


def _comments_before(body: "Node") -> "list[Node]":
    """Ruby's grammar puts the comments that open a body before it."""
    found: list[Node] = []
    above = body.prev_sibling
    while above is not None and above.type in _COMMENTS:
        found.append(above)
        above = above.prev_sibling
    return found[::-1]


def _last_row(node: "Node") -> int:
    # Rust's line comments end at column 0 of the next row.
    row, column = node.end_point
    return row - 1 if column == 0 and row > node.start_point[0] else row


FUNCTION_VALUES = frozenset({"arrow_function", "function_expression", "generator_function"})


def text_of(node: "Node | None") -> str:
    """The source text of a node; "" for None."""
    return (node.text or b"").decode("utf-8", "replace") if node is not None else ""


def bound_values(node: "Node") -> "Iterator[tuple[str, Node, Node]]":
    """Names that a statement gives to function and class expressions: name, value, node whose lines count."""
    if node.type == "type_spec":  # Go
        value = node.child_by_field_name("type")
        if value is not None and value.type in ("struct_type", "interface_type"):
            yield text_of(node.child_by_field_name("name")), value, node
        return
    if node.type in ("field_definition", "public_field_definition"):
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
                    for label in ("name", "property", "left")
                    if (found := owner.child_by_field_name(label)) is not None
                ),
                "",
            )
            yield name, value, node if len(owners) == 1 else owner


def module_bodies(statement: "Node") -> "Iterator[Node]":
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


def name_of(node: "Node") -> str:
    """The name a definition carries, without type parameters, with dots between its parts; "" if none."""
    if node.type == "impl_item":
        name = text_of(node.child_by_field_name("type"))
    elif node.type in ("export_statement", "type_definition"):
        name = text_of(node.child_by_field_name("declarator"))
    elif node.type in ("method", "singleton_method"):  # Ruby, where `<=>` is a name as well
        return text_of(node.child_by_field_name("name"))
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
    return name if "operator" in name else name.split("<")[0].strip()
