import gzip
import json

from codequarry.data.catalog.datasets.text_to_code import (
    read_codesearchnet_real,
    read_concode,
    read_ds1000,
    read_human_eval,
    read_mbpp,
    read_mbxp_code2nl,
    read_thirty_seconds,
)

# Records of the sources as they are, without the fields that nothing reads.
MBPP = (
    r'{"text": "Write a python function to find remainder of two numbers.", "code": "def find(n,m):\r\n  '
    r'r = n%m\r\n  return (r)", "task_id": 502}'
    "\n"
    r'{"text": "Write a python function to find quotient of two numbers.", "code": "def find(n,m):  \r\n    '
    r'q = n//m \r\n    return (q)", "task_id": 292}'
    "\n"
)

DS1000 = {
    "prompt": "Problem:\nHow do I get the value with max diff?\nA:\n<code>\n",
    "reference_code": "result = df.loc[df['diff'].idxmax()]\n",
}

HUMAN_EVAL = [
    {
        "prompt": 'def below(numbers, limit):\n    """ Check that all numbers\n    are below the limit.\n'
        '    >>> below([1, 2], 3)\n    True\n    """\n',
        "canonical_solution": "    return all(number < limit for number in numbers)\n\n",
    },
    {
        "prompt": 'def helper(x):\n    """Another function."""\n    return x\n\n'
        "def twice(x):\n    '''Double it.\n    For example twice(2) is 4.\n    '''\n",
        "canonical_solution": "    return 2 * x\n",
    },
]


def test_a_human_eval_query_is_the_functions_own_docstring_up_to_its_examples() -> None:
    lines = "\n".join(json.dumps(row) for row in HUMAN_EVAL)
    found = read_human_eval([("openai/human-eval/data/HumanEval.jsonl.gz", gzip.compress(lines.encode()))])
    assert list(found.queries.values()) == ["Check that all numbers are below the limit.", "Double it."]
    assert list(found.documents.values()) == [
        "return all(number < limit for number in numbers)",
        "return 2 * x",
    ]


def test_mbpp_keeps_its_carriage_returns() -> None:
    found = read_mbpp([("deepseek-ai/DeepSeek-Coder/mbpp.jsonl", MBPP.encode())])
    assert found.queries == {
        "q0": "Write a python function to find remainder of two numbers.",
        "q1": "Write a python function to find quotient of two numbers.",
    }
    assert found.documents["d0"] == "def find(n,m):\r\n  r = n%m\r\n  return (r)"
    assert found.relevant == {"q0": {"d0": 1}, "q1": {"d1": 1}}


def test_a_ds1000_prompt_loses_its_first_word() -> None:
    found = read_ds1000([("ds1000.jsonl", json.dumps(DS1000).encode())])
    assert found.queries == {"q0": "How do I get the value with max diff?\nA:\n<code>"}
    assert found.documents == {"d0": "result = df.loc[df['diff'].idxmax()]"}


def test_a_line_separator_inside_a_string_does_not_end_the_record() -> None:
    record = json.dumps({"text": "a\u2028b", "code": "c\x0bd"}, ensure_ascii=False)
    found = read_mbpp([("mbpp.jsonl", record.encode())])
    assert found.queries == {"q0": "a\u2028b"}


# Records of the source as they are, without the fields that nothing reads.
RUBY = {
    "task_id": "MBRBP/502",
    "language": "ruby",
    "prompt": "\n##\n# You are an expert Ruby programmer, and here is your task.\n# # Write a "
    "Ruby function to find remainder of two numbers.\n#\n# irb> find(3, 3)\n# => 0\ndef find(n, m)",
    "description": "Write a Ruby function to find remainder of two numbers.",
    "canonical_solution": "  return n % m\n\nend\n",
}

PYTHON = {
    "task_id": "MBPP/135",
    "language": "python",
    "prompt": '\n\ndef hexagonal_num(n):\n\t"""\n\tWrite a function to find the nth hexagonal number.\n\t>>> '
    'hexagonal_num(10)\n\t190\n\t"""\n',
    "description": "Write a function to find the nth hexagonal number.",
    "canonical_solution": "\t \n\treturn n*(2*n - 1) ",
}

CPP = {
    "task_id": "MBCPP/234",
    "language": "cpp",
    "prompt": "#include <bits/stdc++.h>\nusing namespace std;\n\n\n/**\n * Write a function to find the "
    "volume of a cube.\n */\nint volumeCube(int l) {\n",
    "description": "Write a function to find the volume of a cube.",
    "canonical_solution": "  return l * l * l; /* cubed */\n}",
}

UNSOLVED = {**CPP, "language": "go", "canonical_solution": None}


def _files(*records: dict[str, str | None]) -> list[tuple[str, bytes]]:
    return [("amazon-science/mxeval/a.jsonl", "\n".join(map(json.dumps, records)).encode())]


def test_the_prompt_loses_its_comment_and_the_solution_keeps_its_own() -> None:
    found = read_mbxp_code2nl(_files(RUBY, PYTHON, CPP, UNSOLVED))
    said = {
        found.languages[query]: (text, found.documents[next(iter(found.relevant[query]))])
        for query, text in found.queries.items()
    }
    assert said == {
        "ruby": ("def find(n, m)  return n % m\n\nend", RUBY["description"]),
        "python": ("def hexagonal_num(n):\n\t\t \n\treturn n*(2*n - 1)", PYTHON["description"]),
        "cpp": (
            "using namespace std;\n\n\n\nint volumeCube(int l) {  return l * l * l; /* cubed */\n}",
            CPP["description"],
        ),
    }


def test_the_same_two_thousand_are_drawn_every_time() -> None:
    many = [{**PYTHON, "canonical_solution": f"\treturn {number}"} for number in range(2100)]
    once, twice = read_mbxp_code2nl(_files(*many)), read_mbxp_code2nl(_files(*many))
    assert len(once.queries) == 2000
    assert list(once.queries.items()) == list(twice.queries.items())


# A record of the source as it is; Go's line ends are tokens.
GO = {
    "idx": "maxmin-8",
    "nl_tokens": ["CanPageDown", "returns", "whether", "a", "list", "can", "still", "PageDown", "()", "."],
    "pl_tokens": "func ( l * List ) CanPageDown ( ) bool { <mask> := len ( l . scope ) | return l . start"
    " + l . size < max | }".replace("|", "\n").split(" "),
}


def _file(language: str, *comments: str) -> tuple[str, bytes]:
    rows = [
        {"idx": "maxmin-1", "nl_tokens": comment.split(), "pl_tokens": ["<mask>", "(", str(number), ")"]}
        for number, comment in enumerate(comments)
    ]
    return f"microsoft/CodeXGLUE/data/{language}/clozeTest.json", json.dumps(rows).encode()


def test_tokens_are_joined_by_a_space_and_lines_by_their_end() -> None:
    found = read_codesearchnet_real([("x/go/clozeTest.json", json.dumps([GO]).encode())])
    assert found.queries == {"q0": "CanPageDown returns whether a list can still PageDown () ."}
    assert found.documents == {
        "d0": "func ( l * List ) CanPageDown ( ) bool { max := len ( l . scope )\n"
        "return l . start + l . size < max\n}"
    }
    assert found.languages == {"q0": "go"}


def test_the_mask_is_min_only_where_the_comment_speaks_of_min_and_not_of_max() -> None:
    found = read_codesearchnet_real([_file("python", "the minimum", "the maximum", "Min and Max", "else")])
    assert list(found.documents.values()) == ["min ( 0 )", "max ( 1 )", "max ( 2 )", "max ( 3 )"]


def test_python_comes_first_whatever_the_order_of_the_files() -> None:
    found = read_codesearchnet_real([_file("go", "of go"), _file("python", "of python")])
    assert found.languages == {"q0": "python", "q1": "go"}


def texts(pairs):
    return [(pair.query, pair.document) for pair in pairs]


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
