from codequarry.data.catalog.datasets.compiler_errors import read_errors

PAGE = b"""---
title: "Compiler Error C2504"
---
# Compiler Error C2504

> '*class*' : base class undefined

## Remarks

The base class is declared but never defined. Possible causes:

1. External base class not declared with [extern](../../cpp/extern-cpp.md).
"""
INDEX = (
    b"# Compiler errors C2500 through C2599\n\nThe articles here explain errors.\n\n## See also\n\nMore.\n"
)


def test_a_message_asks_as_the_compiler_prints_it():
    (pair,) = read_errors([("c2504.md", PAGE)])
    assert pair.query == "Error C2504: 'class' : base class undefined"
    assert pair.document == (
        "## Remarks\n\nThe base class is declared but never defined. Possible causes:\n\n"
        "1. External base class not declared with extern."
    )


def test_a_page_that_only_lists_others_gives_nothing():
    assert list(read_errors([("index.md", INDEX), ("empty.md", b"")])) == []
