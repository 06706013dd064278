import gzip
import json

from codequarry.data.catalog.datasets.python_problems import (
    read_conala,
    read_ds1000,
    read_human_eval,
    read_mbpp,
    read_mbxp_code2nl,
    set_of_pairs,
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

CONALA = [
    {
        "intent": "How can I send a signal from a python program?",
        "rewritten_intent": "send a signal `signal.SIGUSR1` to the current process",
        "snippet": "os.kill(os.getpid(), signal.SIGUSR1)",
        "question_id": 15080500,
    },
    {
        "intent": "How to convert a string from CP-1251 to UTF-8?",
        "rewritten_intent": None,
        "snippet": "d.decode('cp1251').encode('utf8')",
        "question_id": 7555335,
    },
]

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


def test_a_conala_intent_that_nobody_rewrote_is_taken_as_it_is() -> None:
    found = read_conala([("shilliscmu/TranxConalaBaseline/conala-test.json", json.dumps(CONALA).encode())])
    assert list(found.queries.values()) == [
        "send a signal `signal.SIGUSR1` to the current process",
        "How to convert a string from CP-1251 to UTF-8?",
    ]
    assert list(found.documents.values()) == [CONALA[0]["snippet"], CONALA[1]["snippet"]]


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


def test_equal_texts_become_one_and_every_pair_a_judgment() -> None:
    found = set_of_pairs(
        "small", "nl2code", [("add", "a + b", "python"), ("sum", "a + b", "go"), ("add", "b + a", "go")]
    )
    assert found.queries == {"q0": "add", "q1": "sum"}
    assert found.documents == {"d0": "a + b", "d1": "b + a"}
    assert found.relevant == {"q0": {"d0": 1, "d1": 1}, "q1": {"d0": 1}}
    assert found.languages == {"q0": "python", "q1": "go"}


def test_documents_given_beside_the_pairs_are_numbered_first() -> None:
    found = set_of_pairs("small", "nl2code", [("add", "a + b", "")], documents=["a - b", "a + b", "a - b"])
    assert found.documents == {"d0": "a - b", "d1": "a + b"}
    assert found.relevant == {"q0": {"d1": 1}}
    assert found.languages == {}
