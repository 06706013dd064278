import pytest

from codequarry.data.mining.comment_query import query_of

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
    '<summary>\nSets <see cref="P:A.Size"/> to <paramref name="x"/>.\n</summary>\n<param name="x">': (
        "Sets A.Size to x."
    ),
    ":call-seq:\n  f(x)": "",
    "Compares a &lt; b, ``fast``.": "Compares a < b, `fast`.",
}


@pytest.mark.parametrize("comment", QUERIES)
def test_a_query_is_the_first_paragraph_as_a_person_would_type_it(comment):
    assert query_of(comment) == QUERIES[comment]
