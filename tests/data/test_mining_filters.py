import pytest

from codequarry.data.mining_filters import MAX_CODE, query_of, reason_against_code, reason_against_comment
from codequarry.data.syntax import parse_source

QUERIES = {
    "Adds one\nto a number.\n\nSlowly.": "Adds one to a number.",
    "Adds one.\n@param x a number": "Adds one.",
    "Adds one.\n:param x: a number": "Adds one.",
    "Adds one.\nArgs:\n    x: a number": "Adds one.",
    "Adds one.\nParameters\n----------\nx": "Adds one.",
    "@brief Adds one.": "Adds one.",
    "Uses :class:`~torch.nn.Module` and\n:func:`f`.": "Uses torch.nn.Module and f.",
    "Uses {@link Box#open} and {@code x}.<p>": "Uses Box#open and x.",
    "See `the paper <https://example.org/a>`_ for more.": "See the paper for more.",
    "See [the paper](https://example.org/a) for more.": "See the paper for more.",
    "Runs npm cache ls <name>.": "Runs npm cache ls <name>.",
    "Compares a &lt; b, ``fast``.": "Compares a < b, `fast`.",
}


@pytest.mark.parametrize("comment", QUERIES)
def test_a_query_is_the_first_paragraph_as_a_person_would_type_it(comment):
    assert query_of(comment) == QUERIES[comment]


REASONS = {
    "none": [""],
    "no letters": ["123 --- 456 ??"],
    "under 3 words": ["Constructor", "The x1"],
    "over": ["word " * 200],
    "boilerplate": [
        "See base class for details.",
        "TODO write this some day",
        "noqa because of the line",
        "Copyright 2020 by somebody else",
        "https://example.org/some/long/page",
        "{@inheritDoc} and no more words",
    ],
    "code, not words": ["x = compute(a, b)", "if (a) then b", "return a + b - c;", "from a import b as c"],
}


@pytest.mark.parametrize(
    ("reason", "query"), [(why, text) for why, texts in REASONS.items() for text in texts]
)
def test_a_comment_that_is_no_query_is_left_out_with_its_reason(reason, query):
    assert reason in (reason_against_comment(query) or "kept")


@pytest.mark.parametrize(
    "query",
    [
        "Return whether the value is set: true or false.",
        "If the name is taken (by a file), pick another",
        "for sorting tests by file",
        "See how long the queue is",
    ],
)
def test_words_are_not_taken_for_code(query):
    assert reason_against_comment(query) is None


CODES = {
    "under 3 lines": ("a.py", "def f():\n    return compute(1)"),
    "over": ("a.py", "def f():\n" + "    x = compute(1)\n" * (MAX_CODE // 19 + 1)),
    "empty body": ("a.py", "def f(\n    a,\n    b,\n) -> int:\n    ..."),
    "getter or setter": ("A.java", "class A { int y;\nint x() {\n  return this.x;\n}\n}"),
}


@pytest.mark.parametrize("reason", CODES)
def test_code_that_teaches_nothing_is_left_out_with_its_reason(reason):
    definition = next(one for one in parse_source(*CODES[reason]) if one.kind != "class")
    assert reason in (reason_against_code(definition) or "kept")


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("a.py", "def f(a):\n    a = a + 1\n    return a"),
        ("a.py", "def f(a):\n    if a:\n        pass"),
        ("a.go", "func f() int {\n\treturn a + b\n}"),
    ],
)
def test_short_code_that_does_something_is_kept(path, code):
    assert reason_against_code(parse_source(path, code)[0]) is None
