"""Python of any version, half-written or not: the oracle is the running Python, on what it can parse."""

import ast
import dataclasses
import importlib.util
import sys
import sysconfig
from pathlib import Path

import pytest

from codequarry.data.parsing import tree_sitter
from codequarry.data.parsing.parse import parse_source
from codequarry.data.parsing.python import python_definitions
from codequarry.data.parsing.python_tolerant import tolerant_definitions
from codequarry.data.parsing.tree_sitter import TooCostlyError

AROUND = '''def before(a):
    """Says what it is."""
    return a


{}

class After:
    """Comes last."""

    def method(self):
        # why
        return 1
'''

# Syntax that some Python knows and Python 3.11 does not, and what it defines.
OTHER_VERSIONS = {
    "type X[T] = list[T]": [],
    'def one[T: int](x: T) -> T:\n    """One."""\n    return x': [("one", "function", 1, 3, "One.", 3)],
    'async def one[*Ts, **P](x):\n    """One."""\n    await x': [("one", "function", 1, 3, "One.", 3)],
    "class One[T]:\n    def get(self) -> T: ...": [
        ("One", "class", 1, 2, "", 2), ("One.get", "method", 2, 2, "", 0)
    ],
    "class One[T = int, *Ts = *tuple[int, str], **P = [int]](Base):\n    x: T\n    y = 1": [
        ("One", "class", 1, 3, "", 2)
    ],
    'def one[\n    T: (int, str) = int,\n](x):\n    """One."""\n    return x': [
        ("one", "function", 1, 5, "One.", 5)
    ],
    "type One[T = int] = list[T]\ndef two(): return 1": [("two", "function", 2, 2, "", 0)],
    "def one(a):\n    # why\n    return f\"{a[\"b\"]} {'\\n'.join(a)}\"": [("one", "function", 1, 3, "", 3)],
    "def one(a):\n    return t\"{a!r:>{width}}\"": [("one", "function", 1, 2, "", 2)],
    "def one():\n    try:\n        pass\n    except ValueError, TypeError:\n        pass": [
        ("one", "function", 1, 5, "", 2)
    ],
    "def one(xs):\n    return [*x for x in xs]": [("one", "function", 1, 2, "", 2)],
    # Python 2
    'def one(a):\n    "One."\n    print "x", a\n    print >>f, a': [("one", "function", 1, 4, "One.", 3)],
    "def one(a, (b, c)):\n    raise Error, a": [("one", "function", 1, 2, "", 2)],
    'def one():\n    ur"""One."""\n    return `x` <> 0777L': [("one", "function", 1, 3, "One.", 3)],
    "def one():\n    try:\n        pass\n    except Error, e:\n        exec 'x' in e": [
        ("one", "function", 1, 5, "", 2)
    ],
    "def one(a):\n\tif a:\n            return 1\n\treturn 2": [("one", "function", 1, 4, "", 2)],
    # Only the check of a string fails.
    'def one():\n    """\\N{NO SUCH NAME}"""\n    return 1': [
        ("one", "function", 1, 3, "\\N{NO SUCH NAME}", 3)
    ],
}  # fmt: skip


def described(found):
    return [(one.name, one.kind, one.start_line, one.end_line, one.comment, one.body_line) for one in found]


@pytest.mark.parametrize("piece", OTHER_VERSIONS)
def test_the_syntax_of_every_version_is_parsed_under_the_oldest_that_is_supported(piece):
    text = AROUND.format(piece)
    below = piece.count("\n")
    inside = [
        (name, kind, start + 5, end + 5, comment, body and body + 5)
        for name, kind, start, end, comment, body in OTHER_VERSIONS[piece]
    ]
    assert described(parse_source("a.py", text)) == [
        ("before", "function", 1, 3, "Says what it is.", 3),
        *inside,
        ("After", "class", 8 + below, 13 + below, "Comes last.", 11 + below),
        ("After.method", "method", 11 + below, 13 + below, "", 13 + below),
    ]


def same_both_ways(file):
    """Whether both parsers find the same in a file; None where the running Python cannot parse it."""
    text = file.read_bytes().decode("utf-8-sig", "replace")
    expected = python_definitions(text)
    if expected is None:
        return None
    found = tolerant_definitions(text) or ()
    lost = set(expected) - set(found)
    # One function of the standard library's own tests is written in a way that its grammar does not know.
    lost = {one for one in lost if one.name.rpartition(".")[2] != "test_weird_attribute_position_regressions"}
    assert not lost, (file, sorted(one.name for one in lost))
    assert not set(found) - set(expected), file
    return True


MODULES = [
    "ast",
    "argparse",
    "asyncio.tasks",
    "dataclasses",
    "decimal",
    "enum",
    "typing",
    "inspect",
    "turtle",
]


@pytest.mark.parametrize("name", MODULES)
def test_tree_sitter_finds_what_the_running_python_finds_in_the_standard_library(name):
    assert same_both_ways(Path(importlib.util.find_spec(name).origin)) is True


@pytest.mark.exhaustive
def test_tree_sitter_finds_what_the_running_python_finds_in_all_of_the_standard_library():
    root = Path(sysconfig.get_paths()["stdlib"])
    files = [file for file in root.rglob("*.py") if "site-packages" not in file.parts]
    assert sum(same_both_ways(file) is True for file in files) > 500


MODULE = '''"""A module."""
import os

TEMPLATE = """
def template():
    pass
"""


# Adds.
def add(a, b):
    return a + b


@cache
@retry(
    3,
)
def one(
    x,
    y=(1, 2),
) -> int:
    """One.

    More = text.
    """
    # why
    if x:
        return {
            "a": y,
        }
    return x


class Stack(list):
    """A stack."""

    size = 3

    def push(self, item):
        """Push it."""
        self.append(item)

    @property
    async def top(self):
        # The top.
        return self[-1]

    class Inner:
        def deep(self): return f"{self!r:>{10}}"


if os:
    def maybe():
        """Maybe."""
        return 1
else:
    def maybe():
        return 2

try:
    import x
except ImportError:
    def fallback():
        """Falls."""
        return None


async def last(a):
    """Last."""
    return """
text at the margin
"""
'''
BROKEN = [
    "def broken(\n", "def broken(a)\n    return 1\n", "def broken(a):\n    x = (1,\n    y = 2\n",
    "def broken(a):\n", "def broken(a):\n    return [1, 2\n", "class Broken(\n", "class Broken:\n",
    "x = {\n", "x = 'open\n", 'x = f"{a\n',
    'def broken(a):\n    """A docstring without end.\n    return 1\n',
    "<<<<<<< HEAD\nx = 1\n=======\nx = 2\n>>>>>>> b\n",
    "<<<<<<< HEAD\nx = (\n||||||| base\nx = 0\n=======\nx = [\n>>>>>>> b\n",
    "%matplotlib inline\n!ls | grep 'a\n", "{% if x %}\ny = {{ y }}\n{% endif %}\n", "x = )\n", "x = ]]}\n",
    "for\n", "return (\n", "def\n", "class\n", "x?\n", "x = !ls -l 'a\n", "!pip install \\\n    'a\n",
    "lambda:::\n", "print 'a' % \n", "foo(async=\n", "if x\n    y = 1\n", "from x import (a,\n",
    "else:\n    y\n", "try:\n    x = 1\n", "x = y = = z\n", "\x00\x1a\n", "¿que?\n", "$ pip install x\n",
    ">>> x = 1\n... y\n", "with open(x) as f\n    pass\n", "while True:\n    x = [\n    break\n",
    "match x:\n    case {\n", "x = 1\xa0+\u200b 2\n",
]  # fmt: skip


MARKS = ("<<<<<<<", "|||||||", "=======", ">>>>>>>")


def boundaries(lines):
    """The rows before which a statement may be written, in the module and its class, and the indentation."""
    tree = ast.parse("\n".join(lines))
    stack = next(node for node in tree.body if isinstance(node, ast.ClassDef))
    for statements, indent in ((tree.body[3:], ""), (stack.body[2:], "    ")):
        for statement in statements:
            first = [*getattr(statement, "decorator_list", []), statement][0]
            if lines[first.lineno - 2] == "":
                yield first.lineno - 1, indent
    yield len(lines) - 1, ""


def key(one, at=sys.maxsize, more=0):
    """What is known of a definition when `more` lines are written at row `at`; of a class, not its body."""
    known = dataclasses.asdict(one)
    del known["code"], known["bare_code"]
    for name in ("start_line", "end_line", "comment_start_line", "comment_end_line", "body_line"):
        known[name] += more if known[name] > at else 0
    known["body_line"] *= one.kind != "class"
    return tuple(known.values())


@pytest.mark.parametrize("piece", BROKEN)
def test_an_unfinished_piece_costs_itself_wherever_it_stands(piece):
    lines = MODULE.split("\n")
    whole = python_definitions(MODULE)
    places = list(boundaries(lines))
    assert len(places) > 7
    for at, indent in places:
        above = next(line for line in reversed(lines[:at]) if line)
        if piece.startswith("else") and above.startswith(8 * " "):
            continue  # it belongs to the statement before, or breaks that
        written = [line if line[:7] in MARKS else indent + line for line in piece.split("\n")[:-1]]
        text = "\n".join([*lines[:at], *written, *lines[at:]])
        assert python_definitions(text) is None, "the piece is to be broken"
        expected = {key(one, at, len(written)) for one in whole}
        found = {key(one) for one in parse_source("a.py", text)}
        assert expected - found == set(), (at, piece)
        assert {one[0].rpartition(".")[2] for one in found - expected} <= {"Broken"}, (at, piece)


def test_a_function_that_holds_a_conflict_is_left_out_and_its_class_is_not():
    conflict = "<<<<<<< HEAD\n        return 1\n=======\n        return 2\n>>>>>>> b\n"
    text = f"class A:\n    def f(self):\n{conflict}\n    def g(self):\n        return 3\n"
    assert [one.name for one in parse_source("a.py", text)] == ["A", "A.g"]


def test_both_sides_of_a_conflict_are_read():
    side = "def {0}():\n    return 1\n"
    text = f"<<<<<<< HEAD\n{side.format('ours')}=======\n{side.format('theirs')}>>>>>>> b\n"
    assert [(one.name, one.start_line) for one in parse_source("a.py", text)] == [("ours", 2), ("theirs", 5)]


def test_an_underlined_heading_is_no_conflict():
    text = 'def f():\n    """\nHeading\n=======\n    """\n    print 1\n'
    (one,) = parse_source("a.py", text)
    assert one.comment == "Heading\n======="


def test_a_line_that_cuts_a_body_short_costs_the_function():
    text = "def f():\n        x = 1\n    return x\n\n\ndef g():\n    return 2\n"
    assert [one.name for one in parse_source("a.py", text)] == ["g"]


def test_magics_inside_a_function_cost_nothing():
    text = "def f(a):\n    if a:\n        !pip install a\n    files = !ls\n    %time g(a)\n    return files\n"
    (one,) = parse_source("a.py", text)
    assert (one.start_line, one.end_line, one.code) == (1, 6, text.rstrip("\n"))


def test_a_file_in_which_nothing_parses_does_not_parse():
    assert tolerant_definitions("))) (((\n]]] [[[\n") is None


def test_a_file_over_its_budget_is_told_from_one_that_does_not_parse(monkeypatch):
    monkeypatch.setattr(tree_sitter, "MAX_STEPS", 10)
    with pytest.raises(TooCostlyError):
        tolerant_definitions("x = `x`\n" * 1_000)
