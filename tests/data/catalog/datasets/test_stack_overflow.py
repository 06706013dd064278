import json

from codequarry.data.catalog.datasets.stack_overflow import (
    is_held_out,
    read_code,
    read_codenn,
    read_conala,
    read_conala_pairs,
    read_so_codenn,
    read_text,
    rows,
)

CODE = """    DO amount TIMES.
        * do several times, and then some more of it
        * and yet more of it
    ENDDO.
"""


def page(*headings, title="Loops"):
    examples = "".join(
        f"\n## {heading}\nWith a [link](http://x.example) and words that explain it.\n\n{CODE}\n\n  [1]: http://y\n"
        for heading in headings
    )
    return f'---\ntitle: "{title}"\n---\n{examples}'.encode()


def read(reader, *headings, title="Loops"):
    return list(reader([("wikiod-com/wikiod/en/docs/abap/loops.md", page(*headings, title=title))]))


def test_every_example_is_in_exactly_one_of_the_two_sets():
    headings = [f"Example number {n}" for n in range(60)]
    code = {pair.query for pair in read(read_code, *headings)}
    text = {pair.query for pair in read(read_text, *headings)}
    assert not code & text
    assert code | text == {f"abap: Loops - {heading}" for heading in headings}
    assert 15 < len(code) < 45


def test_code_is_dedented_and_text_is_cleaned():
    headings = [f"Example number {n}" for n in range(60)]
    code, text = read(read_code, *headings)[0], read(read_text, *headings)[0]
    assert code.document == (
        "DO amount TIMES.\n    * do several times, and then some more of it\n    * and yet more of it\nENDDO."
    )
    assert text.document == f"With a link and words that explain it.\n\n{CODE.rstrip()}"
    assert (code.language, text.task) == ("abap", "qa")


def test_a_topic_that_the_title_names_comes_behind():
    pairs = read(read_text, *[f"Example {n}" for n in range(9)], title="ABAP Objects")
    assert pairs[0].query.endswith(" (abap)")


def test_parameter_tables_are_no_examples():
    assert read(read_code, "Parameters", "Remarks") == read(read_text, "Parameters", "Remarks") == []


# Lines of the source as they are: question, answer, title, code, label.
CSHARP = (
    "18775371\t18775328\tFinally dispose of WebSphere MQ connection\tusing(qmgr){\\n    //do stuff\\n}\t0\n"
    "30608570\t30608504\tDisplay variable in textbox\tif (Page.IsPostBack == false)\\n        {\\n\\n}\t0\n"
)

PYTHON = (
    '4288817\t4288788\tReading bytes from Python String\tmystring = "a1234f"\\ndata = list(mystring)\t0\n'
)


def test_the_held_out_rows_come_csharp_first_with_their_line_ends_restored() -> None:
    found = read_so_codenn(
        [
            ("sriniiyer/codenn/data/stackoverflow/python/test.txt", PYTHON.encode()),
            ("sriniiyer/codenn/data/stackoverflow/csharp/test.txt", CSHARP.encode()),
        ]
    )
    assert found.queries == {
        "q0": "Finally dispose of WebSphere MQ connection",
        "q1": "Reading bytes from Python String",
    }
    assert found.documents == {
        "d0": "using(qmgr){\n    //do stuff\n}",
        "d1": 'mystring = "a1234f"\ndata = list(mystring)',
    }
    assert found.languages == {"q0": "csharp", "q1": "python"}


def test_about_fifteen_percent_of_the_questions_are_held_out() -> None:
    assert is_held_out("18775371")
    assert not is_held_out("30608570")
    assert 1400 < sum(is_held_out(str(number)) for number in range(10_000)) < 1600


def test_what_is_too_short_to_be_asked_or_to_be_found_is_left_out() -> None:
    lines = [
        "1\t2\tTwo words\tlong enough, certainly\t0",
        "1\t2\tThree whole words\ttoo short\t0",
        "1\t2\tThree whole words\t" + "x" * 1001 + "\t0",
        "no row of five cells",
        "3\t4\tThree whole words\tjust long enough\t0",
    ]
    assert list(rows("\n".join(lines).encode())) == [("3", "Three whole words", "just long enough")]


def texts(pairs):
    return [(pair.query, pair.document) for pair in pairs]


def test_conala_prefers_the_rewritten_intent():
    entries = [
        {
            "intent": "How to convert a list of multiple integers into a single integer?",
            "rewritten_intent": "convert a list of integers into a single integer",
            "snippet": "r = int(''.join(map(str, x)))",
        },
        {"intent": "zip lists in python", "rewritten_intent": None, "snippet": "zip(a, b)"},
    ]
    assert texts(read_conala_pairs([("conala-train.json", json.dumps(entries).encode())])) == [
        ("convert a list of integers into a single integer", "r = int(''.join(map(str, x)))"),
        ("zip lists in python", "zip(a, b)"),
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


def test_a_conala_intent_that_nobody_rewrote_is_taken_as_it_is() -> None:
    found = read_conala([("shilliscmu/TranxConalaBaseline/conala-test.json", json.dumps(CONALA).encode())])
    assert list(found.queries.values()) == [
        "send a signal `signal.SIGUSR1` to the current process",
        "How to convert a string from CP-1251 to UTF-8?",
    ]
    assert list(found.documents.values()) == [CONALA[0]["snippet"], CONALA[1]["snippet"]]
