import pytest

from codequarry.data.parsing.parse import parse_source

WRAPPERS = [
    "(function () {\n  // Adds.\n  function add() {}\n})();",
    "(() => {\n  // Adds.\n  function add() {}\n})();",
    "!function () {\n  // Adds.\n  function add() {}\n}();",
    "(function () {\n  // Adds.\n  function add() {}\n}).call(this);",
    "var m = (function () {\n  // Adds.\n  function add() {}\n})();",
    "define(['a'], function (a) {\n  // Adds.\n  var add = function () {};\n});",
    "(function (root, factory) {\n  factory();\n}(this, function () {\n  // Adds.\n  function add() {}\n}));",
]


@pytest.mark.parametrize("text", WRAPPERS)
def test_what_a_javascript_module_wraps_is_defined_on_its_own(text):
    found = [(one.name, one.comment, one.start_line) for one in parse_source("a.js", text)]
    assert found == [("add", "Adds.", text[: text.index("Adds")].count("\n") + 2)]


BODIES = {
    "a.py": ('def f(a):\n    """Doc."""\n    # why\n    return a\n', "    return a"),
    "a.js": ("function f(\n  a\n) {\n  /** Doc. */\n  return a\n}", "  return a\n}"),
    "A.java": (
        "class A {\n  int f(int a)\n  {\n    // why\n    return a;\n  }\n}",
        "  // why\n  return a;\n}",
    ),
    "a.go": ("func f(a int) int {\n\treturn a\n}", "\treturn a\n}"),
    "a.rs": ("fn f(a: i32) -> i32\nwhere\n    i32: Copy,\n{\n    a\n}", "    a\n}"),
    "a.c": ("int f(int a)\n{\n  return a;\n}", "  return a;\n}"),
    "a.cpp": ("A::A(int a)\n    : a_(a) {\n  go();\n}", "  go();\n}"),
    "a.rb": ("def f(a)\n  g(a)\nend", "  g(a)\nend"),
    "a.php": ("<?php\nfunction f($a)\n{\n    return $a;\n}", "    return $a;\n}"),
    "a.cs": ("class A {\n  int F(int a)\n  {\n    return a;\n  }\n}", "  return a;\n}"),
}


@pytest.mark.parametrize("path", BODIES)
def test_the_body_begins_behind_signature_and_docstring(path):
    text, body = BODIES[path]
    one = next(one for one in parse_source(path, text) if one.kind != "class")
    assert "\n".join(one.code.split("\n")[one.body_line - one.start_line :]) == body


def test_a_body_on_the_line_of_its_signature_has_no_line_of_its_own():
    for path, text in (
        ("a.py", "def f(): return 1"),
        ("a.go", "func f() int { return 1 }"),
        ("a.rb", "def f = 1"),
    ):
        assert parse_source(path, text)[0].body_line == 0
