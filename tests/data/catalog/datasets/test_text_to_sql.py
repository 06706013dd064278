import bz2
import json

from codequarry.data.catalog.datasets.text_to_sql import read_spider, read_text2sql, read_wikisql


def wikisql_entry(question, sql, variables, split="train", table="1-1000181-1"):
    sentence = {
        "original": question,
        "question-split": split,
        "table-id": table,
        "text": question,
        "variables": variables,
    }
    return {"sentences": [sentence], "sql": [sql], "variables": []}


NOTES = wikisql_entry(
    "Tell me what the notes are for South Australia ",
    "SELECT TABLEalias0.NOTES_FIELD FROM TABLE AS TABLEalias0 "
    'WHERE TABLEalias0.CURRENT_SLOGAN_FIELD = "var0" ;',
    {"var0": "SOUTH AUSTRALIA"},
)
FORMAT = wikisql_entry(
    "What is the format for South Australia?",
    "SELECT TABLEalias0.FORMAT_FIELD FROM TABLE AS TABLEalias0 "
    'WHERE TABLEalias0.STATE/TERRITORY_FIELD = "var0" ;',
    {"var0": "South Australia"},
)


def read(*entries):
    packed = bz2.compress(json.dumps(entries).encode())
    return list(read_wikisql([("jkkummerfeld/text2sql-data/data/wikisql.json.bz2", packed)]))


def test_wikisql_names_columns_and_fills_values():
    notes, form = read(NOTES, FORMAT)
    assert notes.document == 'SELECT notes FROM table WHERE current_slogan = "SOUTH AUSTRALIA"'
    assert form.document == 'SELECT format FROM table WHERE state/territory = "South Australia"'


def test_wikisql_questions_carry_the_columns_of_their_table_or_nothing():
    columns = "\nTable columns: current_slogan, format, notes, state/territory"
    asked = {pair.query.removesuffix(columns) for pair in read(NOTES, FORMAT)}
    assert asked == {
        "Tell me what the notes are for South Australia",
        "What is the format for South Australia?",
    }
    # About half of many questions, and always the same ones.
    many = [wikisql_entry(f"Question {n}?", FORMAT["sql"][0], {"var0": "a"}) for n in range(200)]
    with_columns = sum("\nTable columns: " in pair.query for pair in read(*many))
    assert 60 < with_columns < 140
    assert read(*many) == read(*many)


def test_wikisql_leaves_out_other_splits_and_lost_values():
    test = wikisql_entry("What?", FORMAT["sql"][0], {"var0": "x"}, split="test")
    lost = wikisql_entry("Which?", FORMAT["sql"][0], {})
    assert [pair.query.partition("\n")[0] for pair in read(NOTES, test, lost)] == [
        "Tell me what the notes are for South Australia"
    ]


def test_text2sql_takes_twelve_wordings_and_upstreams_examples():
    entry = {
        "sentences": [
            {
                "text": f"Is course number0 open , way {way} ?",
                "variables": {"number0": "519", "department0": ""},
            }
            for way in range(15)
        ],
        "sql": [
            "SELECT DISTINCT COURSEalias0.NAME FROM COURSE AS COURSEalias0 , COURSE AS COURSEalias1 WHERE "
            'COURSEalias0.DEPARTMENT = "department0" AND COURSEalias0.NUMBER = number0 ;',
            "another form",
        ],
        "variables": [
            {"name": "department0", "example": "EECS", "location": "sql-only"},
            {"name": "number0", "example": "595", "location": "both"},
        ],
    }
    pairs = list(read_text2sql("advising", [("data/advising.json", json.dumps([entry]).encode())]))
    assert len(pairs) == 12
    assert pairs[0].query == "Is course 519 open , way 0 ?"
    assert pairs[0].source == "advising"
    assert pairs[0].document == (
        "SELECT DISTINCT course.NAME FROM COURSE AS course , COURSE AS COURSEalias1 WHERE "
        'course.DEPARTMENT = "EECS" AND course.NUMBER = 519 ;'
    )


def test_spider_is_taken_as_written():
    entry = {"question": "How many singers do we have?", "query": "SELECT count(*) FROM singer"}
    (pair,) = read_spider([("dev.json", json.dumps([entry]).encode())])
    assert (pair.query, pair.document) == ("How many singers do we have?", "SELECT count(*) FROM singer")
