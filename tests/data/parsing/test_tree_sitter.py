import pytest

from codequarry.data.parsing.languages import LANGUAGES, language_of
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


# A function, and a half-written one; of languages that know only methods, inside a class.
FUNCTIONS = {
    "a.js": ("", "/** Says {0}. */\nfunction {0}(a) {{\n  return a + 1;\n}}\n", "function broken(a", ""),
    "a.ts": (
        "", "/** Says {0}. */\nfunction {0}(a: number) {{\n  return a;\n}}\n",
        "function broken(a: number", "",
    ),
    "a.tsx": (
        "", "/** Says {0}. */\nfunction {0}(a) {{\n  return <p>{{a}}</p>;\n}}\n",
        "function broken(a", "",
    ),
    "a.go": (
        "package a\n", "// Says {0}.\nfunc {0}(a int) int {{\n\treturn a\n}}\n",
        "func broken(a int", "",
    ),
    "a.rs": ("", "/// Says {0}.\npub fn {0}(a: i32) -> i32 {{\n    a\n}}\n", "fn broken(a: i32", ""),
    "a.c": ("", "/* Says {0}. */\nint {0}(int a) {{\n  return a;\n}}\n", "int broken(int a", ""),
    "a.cpp": ("", "/* Says {0}. */\nint {0}(int a) {{\n  return a;\n}}\n", "int broken(int a", ""),
    "a.rb": ("", "# Says {0}.\ndef {0}(a)\n  a\nend\n", "def broken(a", ""),
    "a.php": (
        "<?php\n", "/** Says {0}. */\nfunction {0}($a) {{\n    return $a;\n}}\n",
        "function broken($a", "",
    ),
    "A.java": (
        "class A {{\n", "  /** Says {0}. */\n  int {0}(int a) {{\n    return a;\n  }}\n",
        "  int broken(int a", "}}\n",
    ),
    "a.cs": (
        "class A {{\n", "  /// Says {0}.\n  int {0}(int a) {{\n    return a;\n  }}\n",
        "  int broken(int a", "}}\n",
    ),
    "a.py": ("", "# Says {0}.\ndef {0}(a):\n    return a\n", "def broken(a", ""),
}  # fmt: skip
UNFINISHED = ["\n", ") {\n", ") {\n  if (a) {\n    b();\n", ") {\n  x = b(1,\n", ") {\n  return [1, 2\n"]


def found_in(path, text):
    return [
        (one.name.rpartition(".")[2], text.split("\n")[one.start_line - 1 : one.end_line], one.comment)
        for one in parse_source(path, text)
        if one.kind != "class"
    ]


def lines_of(function, name):
    return [line for line in function.format(name).split("\n")[1:] if line]


def test_every_language_with_a_grammar_is_half_written_here():
    written = {language_of(path).name for path in FUNCTIONS}
    assert written == {language.name for language in LANGUAGES if language.grammar}


@pytest.mark.parametrize("path", FUNCTIONS)
def test_a_half_written_last_function_costs_itself(path):
    head, function, broken, foot = FUNCTIONS[path]
    for unfinished in UNFINISHED:
        if path in ("a.py", "a.rb"):
            unfinished = unfinished.replace(" {", ":" if path == "a.py" else "")
        text = (
            head.format()
            + function.format("one")
            + "\n"
            + function.format("two")
            + "\n"
            + broken
            + unfinished
        )
        text += foot.format()
        whole = [(name, lines_of(function, name), f"Says {name}.") for name in ("one", "two")]
        assert [one for one in found_in(path, text) if one[0] != "broken"] == whole, unfinished


@pytest.mark.parametrize("path", FUNCTIONS)
def test_both_sides_of_a_conflict_between_functions_are_read(path):
    head, function, _, foot = FUNCTIONS[path]
    one, ours, theirs, two = (function.format(name) for name in ("one", "ours", "theirs", "two"))
    text = f"{head.format()}{one}<<<<<<< HEAD\n{ours}=======\n{theirs}>>>>>>> other\n{two}{foot.format()}"
    names = ("one", "ours", "theirs", "two")
    assert found_in(path, text) == [(name, lines_of(function, name), f"Says {name}.") for name in names]


@pytest.mark.parametrize("path", FUNCTIONS)
def test_a_conflict_inside_a_function_costs_it(path):
    head, function, _, foot = FUNCTIONS[path]
    one, cut, two = (function.format(name).split("\n") for name in ("one", "cut", "two"))
    side = cut[2:3]
    cut = [
        *cut[:2],
        "<<<<<<< HEAD",
        *side,
        "||||||| base",
        *side,
        "=======",
        *side,
        ">>>>>>> other",
        *cut[3:],
    ]
    text = head.format() + "\n".join([*one, *cut, *two]) + foot.format()
    assert found_in(path, text) == [
        (name, lines_of(function, name), f"Says {name}.") for name in ("one", "two")
    ]


def test_code_that_shares_a_very_long_line_is_no_definition_and_its_neighbours_are():
    data = f'const logo = "{"iVBOR" * 10_000}";\n'
    text = f"{data}function one() {{\n  return 1;\n}}\n" + "function f(){return 1}" * 5_000
    assert [one.name for one in parse_source("a.js", text)] == ["one"]
