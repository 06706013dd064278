"""Questions and their SQL: WikiSQL, the other sets of text2sql-data, and Spider's development set."""

import bz2
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from codequarry.data.catalog.datasets import json_arrays, lot
from codequarry.data.catalog.schema import Files, Git, TrainSource
from codequarry.data.pair import Pair

# A few fields lost their table's alias upstream, so it is optional.
_FIELD = re.compile(r"(?:TABLEalias0\.)?(\S+?)_FIELD(?=\s|$)")
_VARIABLE = re.compile(r"\bvar\d+\b")
_ALIAS = re.compile(r"\b(\w+)alias0\b")
_PER_QUERY = 12  # wordings of one SQL query; some have hundreds
_LONGEST = 2_500  # characters of SQL
_COLUMNS = "\nTable columns: "


def read_wikisql(files: Files) -> Iterator[Pair]:
    """The training questions of WikiSQL, with the SQL of each over a table called `table`.

    Half of the questions carry the columns of their table, as far as any query names them: a user who asks
    for SQL gives the schema or does not. Which half is decided by a checksum of the question.
    """
    for _, content in files:
        entries = json.loads(bz2.decompress(content))
        columns: defaultdict[str, set[str]] = defaultdict(set)
        for sentence, sql in _training(entries):
            columns[sentence["table-id"]].update(name.lower() for name in _FIELD.findall(sql))
        for sentence, sql in _training(entries):
            if not set(_VARIABLE.findall(sql)) <= sentence["variables"].keys():
                continue  # upstream lost a value
            question = sentence["original"].strip()
            known = sorted(columns[sentence["table-id"]])
            if len(known) > 1 and lot(question) % 2:
                question += _COLUMNS + ", ".join(known)
            sql = _FIELD.sub(lambda field: field[1].lower(), sql)
            sql = sql.replace("FROM TABLE AS TABLEalias0", "FROM table").removesuffix(";").rstrip()
            yield Pair("nl2code", question, _filled(sql, sentence["variables"]), "wikisql", "sql")


def read_text2sql(source: str, files: Files) -> Iterator[Pair]:
    """Pairs of the JSON files of text2sql-data, under the source `source`.

    Of each SQL query the first of its equal forms and up to twelve wordings are taken. A variable that the
    wording does not fill takes the example upstream gives for it.
    """
    for entry in json_arrays(files):
        sql = _ALIAS.sub(lambda name: name[1].lower(), entry["sql"][0])
        examples = {variable["name"]: variable["example"] for variable in entry["variables"]}
        for sentence in entry["sentences"][:_PER_QUERY]:
            given = {name: value for name, value in sentence["variables"].items() if value}
            question = _filled(sentence["text"], sentence["variables"])
            document = _filled(sql, examples | given)
            if question and len(document) <= _LONGEST:
                yield Pair("nl2code", question, document, source, "sql")


def read_spider(files: Files) -> Iterator[Pair]:
    """The questions of Spider's development set with their SQL."""
    for entry in json_arrays(files):
        yield Pair("nl2code", entry["question"].strip(), entry["query"].strip(), "spider", "sql")


def _training(entries: list[Any]) -> Iterator[tuple[Mapping[str, Any], str]]:
    for entry in entries:
        for sentence in entry["sentences"]:
            if sentence["question-split"] == "train":
                yield sentence, entry["sql"][0]


def _filled(text: str, variables: Mapping[str, str]) -> str:
    """The text with its variables replaced, the longest name first, and single spaces."""
    for name in sorted(variables, key=len, reverse=True):
        text = text.replace(name, variables[name])
    return " ".join(text.split())


_TEXT2SQL = ("jkkummerfeld/text2sql-data", "5050bad2309a93636ea4788d3660c9202bf11e0e")
_UNLICENSED = ("academic", "atis", "geography", "imdb", "restaurants", "scholar", "yelp")
_SPIDER = ("taoyds/spider", "b7b5b8c890cd30e35427348bb9eb8c6d1350ca7c")

TRAIN_SOURCES: tuple[TrainSource, ...] = (
    TrainSource(
        name="wikisql",
        tasks=("nl2code",),
        where=(Git(*_TEXT2SQL, ("/data/wikisql.json.bz2",)),),
        licence="BSD-3-Clause",
        languages=("sql",),
        read=read_wikisql,
        size=55_208,
        note="The training split. WikiSQL, Zhong et al. 2017, by way of text2sql-data, whose SQL has each "
        "column's name where WikiSQL has its number. Differs from our first data, where one column in eight "
        "kept its alias and the lists of columns lacked those with odd names; 983 questions whose SQL lacks "
        "a value are left out.",
    ),
    TrainSource(
        name="text2sql_advising",
        tasks=("nl2code",),
        where=(Git(*_TEXT2SQL, ("/data/advising.json",)),),
        licence="CC-BY-4.0",
        languages=("sql",),
        read=partial(read_text2sql, "text2sql_advising"),
        size=2_426,
        note="Advising, Finegan-Dollak et al. 2018. Differs from our first data where a value stood empty: "
        "it takes the example of upstream.",
    ),
    TrainSource(
        name="text2sql_other",
        tasks=("nl2code",),
        where=(Git(*_TEXT2SQL, tuple(f"/data/{name}.json" for name in _UNLICENSED)),),
        licence="LicenseRef-unclear",
        languages=("sql",),
        read=partial(read_text2sql, "text2sql_other"),
        size=4_325,
        note="Upstream names no licence for these seven sets: not for commercial training.",
    ),
    TrainSource(
        name="spider",
        tasks=("nl2code",),
        where=(Git(*_SPIDER, ("/evaluation_examples/examples/dev.json",)),),
        licence="CC-BY-SA-4.0",
        languages=("sql",),
        read=read_spider,
        size=1_034,
        note="The development set, Yu et al. 2018. The code beside it is Apache-2.0, the data CC-BY-SA-4.0.",
    ),
)
