"""Records of other layouts, with more columns, and with nulls, in all three formats."""

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codequarry.data.pair import FIELDS, Pair
from codequarry.data.pair_columns import LAYOUTS, NEGATIVES, PairColumns, check_columns, parse_columns
from codequarry.data.pair_files import PairError, PairRead, read_pair_folders, read_pairs

OWN = {"task": "qa", "query": "why?", "document": "because", "source": "faq", "language": "english"}

Writer = Callable[[str, list[dict[str, Any]]], Path]


@pytest.fixture(params=["jsonl", "jsonl.gz", "parquet"])
def write(request: pytest.FixtureRequest, tmp_path: Path) -> Writer:
    """Writes records as pandas and datasets do: with a null where a record lacks a column."""

    def written(name: str, records: list[dict[str, Any]]) -> Path:
        columns = dict.fromkeys(column for record in records for column in record)
        rows = [{column: record.get(column) for column in columns} for record in records]
        path = tmp_path / f"{name}.{request.param}"
        if request.param == "parquet":
            pyarrow = pytest.importorskip("pyarrow")
            pytest.importorskip("pyarrow.parquet").write_table(pyarrow.Table.from_pylist(rows), path)
        else:
            lines = "\n".join(map(json.dumps, rows)).encode()
            path.write_bytes(gzip.compress(lines) if path.suffix == ".gz" else lines)
        return path

    return written


@pytest.mark.parametrize("negatives", [None, [], [None], ["no"], ["no", None, "never"]])
def test_a_null_is_absent_in_every_format(write: Writer, negatives: Any) -> None:
    records = [OWN | {"negatives": negatives}, OWN | {"query": "how?", "negatives": ["some"]}]
    read = read_pairs(write("pairs", records))
    wanted = tuple(text for text in negatives or () if text is not None)
    assert [pair.negatives for pair in read.pairs] == [wanted, ("some",)]
    assert read.notes == ()


def test_a_nan_is_absent_as_pandas_means_it(tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").write_text(json.dumps(OWN | {"negatives": float("nan")}))
    assert read_pairs(tmp_path).pairs == [Pair(**OWN)]


@pytest.mark.parametrize("extra", ["__index_level_0__", "id", "Unnamed: 0", "score", "meta", "negativs"])
def test_a_column_that_is_no_part_of_a_pair_is_passed_over_and_named_once(write: Writer, extra: str) -> None:
    records = [OWN | {"query": f"why {n}?", extra: n} for n in range(5)]
    read = read_pairs(write("pairs", records))
    assert [pair.query for pair in read.pairs] == [f"why {n}?" for n in range(5)]
    assert read.pairs[0] == Pair(**OWN | {"query": "why 0?"})
    assert len(read.notes) == 1
    assert read.notes[0].startswith(f"columns that are no part of a pair are passed over: {extra}.")
    assert ("negatives=negativs" in read.notes[0]) == (extra == "negativs")


def test_it_is_named_once_for_a_folder_of_files(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(OWN | {"id": 1, name: 2}))
    read = read_pairs(tmp_path)
    assert read.notes == ("columns that are no part of a pair are passed over: id, a, b, c.",)
    assert read_pair_folders(tmp_path, subfolders=True).notes == read.notes


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda row: f"{row.query}, {row.document}")
@pytest.mark.parametrize("negatives", [(), *((name,) for name in NEGATIVES), ("negative_1", "negative_2")])
def test_every_known_layout_is_read_and_said(write: Writer, layout: Any, negatives: tuple[str, ...]) -> None:
    record = {layout.query: "why?", layout.document: "because"} | dict.fromkeys(negatives, "no")
    path = write("faq", [record] * 2)
    if negatives == ("negatives",) and layout.origin == "ours":
        return
    read = read_pairs(path, task="qa")
    wanted = Pair("qa", "why?", "because", "faq", "unknown", ("no",) * len(negatives))
    assert read.pairs == [wanted, wanted]
    said = " ".join(read.notes)
    for column, field in ((layout.query, "query"), (layout.document, "document")):
        assert (f"{column} as {field}" in said) == (column != field)
    assert "source (2 records, the file's name is taken) and language (2 records, 'unknown'" in said


def test_a_column_wins_over_the_option_and_the_default(write: Writer) -> None:
    record = {"anchor": "why?", "positive": "because", "task": "nl2code", "source": "s", "language": "c"}
    wanted = Pair("nl2code", "why?", "because", "s", "c")
    assert read_pairs(write("faq", [record]), task="qa").pairs == [wanted]


def test_lists_of_positives_are_a_pair_each_with_all_negatives(write: Writer) -> None:
    records = [
        {"query": "q", "pos": ["one", "two"], "neg": ["no", "never"], "pos_scores": [1, 0.5]},
        {"query": "r", "pos": ["three"], "neg": []},
    ]
    read = read_pairs(write("data", records), task="qa")
    assert [(pair.query, pair.document, pair.negatives) for pair in read.pairs] == [
        ("q", "one", ("no", "never")),
        ("q", "two", ("no", "never")),
        ("r", "three", ()),
    ]
    passages = {"query": "q", "positive_passages": [{"docid": "1", "title": "T", "text": "one"}],
                "negative_passages": [{"docid": "2", "title": "", "text": "no"}]}  # fmt: skip
    pair = read_pairs(write("tevatron", [passages]), task="qa").pairs[0]
    assert (pair.document, pair.negatives) == ("T\none", ("no",))


def test_numbered_negatives_keep_their_order_and_nulls_are_left_out(write: Writer) -> None:
    records = [
        {"anchor": "q", "positive": "d"} | {f"negative_{n}": f"no {n}" for n in (10, 2, 1)},
        {"anchor": "r", "positive": "e", "negative_2": "only"},
    ]
    pairs = read_pairs(write("data", records), task="qa").pairs
    assert [pair.negatives for pair in pairs] == [("no 1", "no 2", "no 10"), ("only",)]


@pytest.mark.parametrize(
    ("columns", "record"),
    [
        ("query=q,document=d", {"q": "why?", "d": "because"}),
        ("query=q", {"q": "why?", "positive": "because"}),
        ("document=d", {"anchor": "why?", "d": "because"}),
        ("document=answer,query=document", {"document": "why?", "answer": "because"}),
        ("query=q , document = d,negatives=bad", {"q": "why?", "d": "because", "bad_1": "no", "neg": "x"}),
        ("query=sentence1,document=sentence2", {"sentence1": "why?", "sentence2": "because", "score": 1.0}),
        ("task=kind,source=from,language=tongue,query=a,document=b",
         {"kind": "qa", "from": "here", "tongue": "c", "a": "why?", "b": "because"}),
    ],
)  # fmt: skip
def test_columns_can_be_named(write: Writer, columns: str, record: dict[str, Any]) -> None:
    read = read_pairs(write("faq", [record] * 2), columns=parse_columns(columns), task="qa")
    wanted = Pair("qa", "why?", "because", record.get("from", "faq"), record.get("tongue", "unknown"))
    assert {(pair.task, pair.query, pair.document, pair.source, pair.language) for pair in read.pairs} == {
        (wanted.task, wanted.query, wanted.document, wanted.source, wanted.language)
    }
    assert read.pairs[0].negatives == (("no",) if "bad_1" in record else ())


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("query", "'query' is not FIELD=COLUMN"),
        ("query=a,,document=b", "'' is not FIELD=COLUMN"),
        ("query=", "'query=' is not FIELD=COLUMN"),
        ("quer=a", "'quer' is not a field of a pair. Did you mean 'query'"),
        ("query=a,query=b", "names query twice"),
        ("query=a,document=a", "'a' is named for two fields"),
    ],
)
def test_a_mapping_that_says_nothing_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        parse_columns(text)


def test_every_field_can_be_mapped() -> None:
    check_columns({field: f"their {field}" for field in FIELDS})


FAULTS = {
    "no known column": ({"a": "x", "b": "y"}, {}, "lacks query and document, and its columns are a, b."),
    "no task": ({"anchor": "x", "positive": "y"}, {}, "lacks task.*--task .*one of nl2code, qa"),
    "near": (OWN | {"documnt": "y"}, {}, "'documnt' is not a field. Did you mean 'document'"),
    "score": ({"sentence1": "a", "sentence2": "b", "score": 0.5}, {"task": "qa"}, "has a 'score', by"),
    "label": ({"question": "a", "answer": "b", "label": 0}, {"task": "qa"}, "has a 'label', by which"),
    "named but absent": ({"q": "x", "b": "y"}, {"columns": {"query": "g"}},
                         "lacks 'g', which was named for query"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("count", [1, 3, 2_000])
def test_a_fault_of_the_whole_file_is_told_once_and_without_skip_bad(
    write: Writer, fault: str, count: int
) -> None:
    record, options, sentence = FAULTS[fault]
    if "documnt" in record:
        record = {name: value for name, value in record.items() if name != "document"}
    path = write("wrong", [record] * count)
    for skip_bad in (False, True):
        with pytest.raises(PairError, match=f"(?s)wrong.*{sentence}") as error:
            read_pairs(path, skip_bad=skip_bad, **options)
        assert "--skip-bad" not in str(error.value)
        assert str(error.value).count(str(path)) <= 2


def test_lines_that_are_all_wrong_for_another_reason_are_told_once_too(write: Writer) -> None:
    path = write("wrong", [OWN | {"task": "translation"}] * 40)
    with pytest.raises(PairError, match=r"none of its 40 records .* Number 1: .*'translation'") as error:
        read_pairs(path)
    assert "--skip-bad" not in str(error.value)


@pytest.mark.parametrize("bad_at", [0, 1, 3])
def test_a_bad_record_among_good_ones_is_one_of_its_line(write: Writer, bad_at: int) -> None:
    records = [OWN | {"query": f"q{n}"} for n in range(4)]
    records[bad_at] = OWN | {"query": None}
    path = write("pairs", records)
    with pytest.raises(PairError, match=f"pairs.*:{bad_at + 1}: The record lacks query.*--skip-bad"):
        read_pairs(path)
    read = read_pairs(path, skip_bad=True)
    assert (len(read.pairs), read.skipped) == (3, 1)


@pytest.mark.parametrize("field", ["query", "document"])
def test_a_text_that_is_null_in_one_record_is_missed_without_advice_on_columns(
    write: Writer, field: str
) -> None:
    records = [OWN | {"query": f"why {number}?", "id": number} for number in range(5)]
    with pytest.raises(PairError, match=f"The record lacks {field}: a pair has") as refused:
        read_pairs(write("pairs", [*records, records[0] | {field: None}]))
    assert "--columns" not in str(refused.value)


def test_a_file_that_skip_bad_leaves_out_whole_is_named(tmp_path: Path) -> None:
    (tmp_path / "good.jsonl").write_text(json.dumps(OWN))
    (tmp_path / "wrong.jsonl").write_text("\n".join([json.dumps({"a": "b"})] * 3))
    read: PairRead = read_pairs(tmp_path, skip_bad=True)
    assert (len(read.pairs), read.skipped) == (1, 3)
    assert "wrong.jsonl: none of its 3 records is a pair." in " ".join(read.notes)


def test_an_array_on_one_line_is_answered_with_how_to_write_it(tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").write_text(json.dumps([OWN, OWN]))
    with pytest.raises(PairError, match=r"expected an object with .*, one a line"):
        read_pairs(tmp_path)


def test_an_unknown_task_is_refused_before_anything_is_read() -> None:
    with pytest.raises(ValueError, match=r"'nl2cod' is not a task\. Did you mean 'nl2code'"):
        PairColumns(task="nl2cod")
