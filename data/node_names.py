"""What the nodes of a tree-sitter tree are called: the name of a definition, in any of our languages."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tree_sitter import Node

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
