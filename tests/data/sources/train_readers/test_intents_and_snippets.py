import json

import pytest

from codequarry.data.sources.eval_readers.so_codenn import is_held_out
from codequarry.data.sources.train_readers.intents_and_snippets import (
    read_codenn,
    read_conala,
    read_concode,
    read_nl2bash,
    read_thirty_seconds,
)


def texts(pairs):
    return [(pair.query, pair.document) for pair in pairs]


def test_nl2bash_joins_line_to_line():
    files = [
        ("TellinaTool/nl2bash/data/bash/all.cm", b"find . -name x\n\nphp -i | more\n"),
        ("TellinaTool/nl2bash/data/bash/all.nl", b" Find x \nlost\nDisplay PHP info\n"),
    ]
    assert texts(read_nl2bash(files)) == [("Find x", "find . -name x"), ("Display PHP info", "php -i | more")]


def test_nl2bash_of_unequal_length_stops():
    files = [("all.cm", b"ls\n"), ("all.nl", b"List\nToo many\n")]
    with pytest.raises(ValueError, match="shorter"):
        list(read_nl2bash(files))


def test_conala_prefers_the_rewritten_intent():
    entries = [
        {
            "intent": "How to convert a list of multiple integers into a single integer?",
            "rewritten_intent": "convert a list of integers into a single integer",
            "snippet": "r = int(''.join(map(str, x)))",
        },
        {"intent": "zip lists in python", "rewritten_intent": None, "snippet": "zip(a, b)"},
    ]
    assert texts(read_conala([("conala-train.json", json.dumps(entries).encode())])) == [
        ("convert a list of integers into a single integer", "r = int(''.join(map(str, x)))"),
        ("zip lists in python", "zip(a, b)"),
    ]


def test_concode_keeps_the_comment_and_drops_class_and_trivia():
    lines = [
        {
            "nl": "actually walks the bag concode_field_sep Object _current concode_elem_sep int _total",
            "code": "int function ( ) { _total = extractList ( ) . size ( ) ; return _total ; }",
        },
        {
            "nl": "getter for percentage concode_field_sep x",
            "code": "boolean function ( ) { return percentage ; }",
        },
        {"nl": "the measurement has been started .", "code": "void function ( ) { }"},
    ]
    content = "\n".join(map(json.dumps, lines)).encode()
    assert texts(read_concode([("dev.json", content)])) == [
        (
            "actually walks the bag",
            "int function ( ) { _total = extractList ( ) . size ( ) ; return _total ; }",
        )
    ]


def test_codenn_unfolds_lines_and_leaves_out_what_is_evaluated_on():
    held = next(str(n) for n in range(99) if is_held_out(str(n)))
    free = next(str(n) for n in range(99) if not is_held_out(str(n)))
    row = "{}\t11694227\tRead write object to JSON\tvar a = new S();\\nvar b = a.Serialize(x);\t0"
    content = f"{row.format(held)}\n{row.format(free)}\nnot a row\n".encode()
    pair = ("Read write object to JSON", "var a = new S();\nvar b = a.Serialize(x);")
    test = list(read_codenn([("sriniiyer/codenn/data/stackoverflow/csharp/test.txt", content)]))
    assert texts(test) == [pair]
    assert test[0].language == "csharp"
    valid = read_codenn([("sriniiyer/codenn/data/stackoverflow/csharp/valid.txt", content)])
    assert texts(valid) == [pair, pair]


def test_thirty_seconds_gives_the_first_sentence_and_the_first_block():
    page = b"""---
title: chunk
---

Chunks an array into smaller `arrays`. Returns them.

- Use `Array.from()`.

```js
const chunk = arr => arr;
```

```js
chunk([1]);
```
"""
    assert texts(read_thirty_seconds([("snippets/chunk.md", page)])) == [
        ("Chunks an array into smaller arrays", "const chunk = arr => arr;")
    ]
