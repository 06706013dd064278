from codequarry.data.sources.eval_readers.so_codenn import is_held_out, read_so_codenn, rows

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
